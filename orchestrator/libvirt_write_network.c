/* Networks as libvirt's XML. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_make.h"
#include "orchestrator/libvirt_xml.h"

static void add_hosts(xmlNode *ip, const json_t *hosts)
{
	xmlNode *dhcp = m_add(ip, "dhcp", NULL);
	size_t i;
	json_t *host;
	json_array_foreach (hosts, i, host) {
		xmlNode *n = m_add(dhcp, "host", NULL);
		m_set(n, "mac", json_get_str(host, "mac", NULL));
		m_set(n, "name", json_get_str(host, "name", NULL));
		m_set(n, "ip", json_get_str(host, "address", NULL));
	}
}

static void add_ip(xmlNode *root, const char *address, bool six, const json_t *hosts)
{
	_cleanup_free_ char *text = xstrdup(address);
	char *slash = text ? strchr(text, '/') : NULL;
	if (!slash)
		return;
	*slash = '\0';
	xmlNode *ip = m_add(root, "ip", NULL);
	m_set(ip, "family", six ? "ipv6" : "ipv4");
	m_set(ip, "address", text);
	m_set(ip, "prefix", slash + 1);
	if (!six)
		add_hosts(ip, hosts);
}

static void add_dns(xmlNode *root, const json_t *n)
{
	size_t i;
	json_t *server;
	const json_t *servers = json_object_get(n, "dns_servers");
	bool enabled = json_get_bool(n, "dns", true);
	if (enabled && !json_array_size(servers))
		return;
	xmlNode *dns = m_add(root, "dns", NULL);
	if (!enabled)
		m_set(dns, "enable", "no");
	json_array_foreach (servers, i, server)
		m_set(m_add(dns, "forwarder", NULL), "addr", json_string_value(server));
}

/* Of libvirt's `nat` IPv6 goes out as it is, unless this is said. */
static void add_forward(xmlNode *root, const char *mode, bool six)
{
	xmlNode *forward = m_add(root, "forward", NULL);
	m_set(forward, "mode", str_eq(mode, "routed") ? "route" : mode);
	if (six && str_eq(mode, "nat"))
		m_set(m_add(forward, "nat", NULL), "ipv6", "yes");
}

static void fill(xmlNode *root, const json_t *request)
{
	const json_t *n = json_object_get(request, "definition");
	const char *mode = json_get_str(n, "mode", "nat"), *six = json_get_str(n, "address6", NULL);
	bool bridge = str_eq(mode, "bridge"), has_six = six && !str_eq(six, "none");
	m_add(root, "name", json_get_str(n, "name", ""));
	if (json_get_str(n, "uuid", NULL))
		m_add(root, "uuid", json_get_str(n, "uuid", ""));
	if (!str_eq(mode, "isolated"))
		add_forward(root, mode, has_six);
	if (bridge)
		m_set(m_add(root, "bridge", NULL), "name", json_get_str(n, "bridge", ""));
	if (json_get_int(n, "mtu", 0))
		m_number(m_add(root, "mtu", NULL), "size", json_get_int(n, "mtu", 0));
	if (bridge)
		return;
	if (json_get_str(n, "domain", NULL))
		m_set(m_add(root, "domain", NULL), "name", json_get_str(n, "domain", ""));
	add_dns(root, n);
	add_ip(root, json_get_str(n, "address", NULL), false, json_object_get(request, "hosts"));
	if (has_six)
		add_ip(root, six, true, NULL);
}

char *libvirt_write_network(const json_t *request, struct err *err)
{
	if (!json_is_object(json_object_get(request, "definition"))) {
		err_set(err, ERR_USAGE, "there is no network to write");
		return NULL;
	}
	return m_text("network", fill, request);
}
