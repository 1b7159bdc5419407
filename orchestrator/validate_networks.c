#include "orchestrator/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/network.h"
#include "orchestrator/network_up.h"
#include "orchestrator/paths.h"

/* What the environment names, else the program in PATH's folders or in /usr/sbin. */
static bool is_there(const char *variable, const char *program)
{
	const char *chosen = getenv(variable), *path = getenv("PATH");
	_cleanup_free_ char *folders = str_fmt("%s:/usr/sbin", path ? path : "/usr/bin");
	char *save = NULL;
	if (chosen && chosen[0])
		return access(chosen, X_OK) == 0;
	for (char *folder = strtok_r(folders, ":", &save); folder;
		folder = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = str_fmt("%s/%s", folder, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

void validate_dnsmasq(struct validate_row *r)
{
	if (is_there("ROOST_DNSMASQ", "dnsmasq"))
		validate_say(r, VALIDATE_PASS, "networks have addresses and names", "");
	else
		validate_say(r, VALIDATE_WARN,
			"no dnsmasq: no network can start but those of bridges",
			"install the package dnsmasq-base");
}

/* One that has no place for our rules may have some of its own that let the network pass: that is proven at its start. */
static void tell_filters(struct validate_row *r, const json_t *filters)
{
	size_t i;
	json_t *f;
	const char *opened = NULL;
	json_array_foreach (filters, i, f) {
		const char *filter = json_get_str(f, "filter", "");
		if (!json_get_bool(f, "opened", false)) {
			_cleanup_free_ char *detail = str_fmt(
				"%s may drop what guests of networks send to the world", filter);
			validate_say(r, VALIDATE_WARN, detail, json_get_str(f, "remedy", ""));
			return;
		}
		opened = filter;
	}
	_cleanup_free_ char *detail = str_fmt("%s%s; forwarding %s",
		opened ? opened : "nothing drops what guests of networks send to the world",
		opened ? " gets a rule of ours for each network" : "",
		setting_is("/proc/sys/net/ipv4/ip_forward", '1')
			? "is on"
			: "is off, the first network switches it on");
	validate_say(r, VALIDATE_PASS, detail, "");
}

void validate_uplink(struct validate_row *r)
{
	struct err ignored = ERR_INIT;
	struct network n;
	if (geteuid() != 0 && paths_are_system()) {
		validate_say(
			r, VALIDATE_PASS, "`sudo roost validate` looks at the host's firewall", "");
		return;
	}
	if (geteuid() != 0) {
		bool there = is_there("ROOST_SLIRP4NETNS", "slirp4netns");
		validate_say(r, there ? VALIDATE_PASS : VALIDATE_WARN,
			there ? "slirp4netns leads networks to the world"
			      : "no slirp4netns: networks work, but do not lead to the world",
			there ? "" : "install the package slirp4netns");
		return;
	}
	_cleanup_free_ char *interface = network_load(NETWORK_DEFAULT, &n, &ignored) == 0
						 ? str_fmt("rn-%s", n.id)
						 : xstrdup("rn-ID");
	_cleanup_json_ json_t *filters = network_ask_host("--filters", interface);
	if (filters)
		tell_filters(r, filters);
	else
		validate_say(r, VALIDATE_WARN, "the host's firewall cannot be read",
			"`nft list ruleset` as root says why");
}
