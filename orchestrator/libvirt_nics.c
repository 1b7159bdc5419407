/* <interface> of a domain's XML. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"

/* What it is connected to. */
static void read_source(struct reading *r, xmlNode *n, json_t *nic)
{
	xmlNode *source = x_child(n, "source");
	const char *type = x_attr(n, "type"), *bridge = x_attr(source, "bridge");
	if (str_eq(type, "network") && x_attr(source, "network")) {
		put(nic, "network", x_attr(source, "network"));
	} else if (str_eq(type, "bridge") && bridge) {
		put(nic, "bridge", bridge);
		if (str_starts(bridge, "virbr"))
			x_note(r, n, true,
				"'%.15s' belongs to a network of libvirt's, and goes with libvirt: name that network",
				bridge);
	} else if (str_eq(type, "user")) {
		json_object_set_new(nic, "user", json_object());
	} else if (str_eq(type, "direct")) {
		x_note(r, n, true,
			"macvtap cannot be taken: make a bridge with '%.15s' in it and name that",
			x_attr(source, "dev") ? x_attr(source, "dev") : "the device");
	} else {
		x_note(r, n, true,
			"only interfaces of type network, bridge and user are taken, not '%.20s'",
			type ? type : "");
	}
	x_attr(source, "portid");
	if (x_child(n, "virtualport"))
		x_note(r, n, true, "a port of Open vSwitch or the like cannot be taken");
	if (x_child(n, "vlan"))
		x_note(r, n, true,
			"a VLAN's tag cannot be taken: name a bridge that is on that VLAN");
}

static void read_model(struct reading *r, xmlNode *n, json_t *nic)
{
	static const char *const models[][2] = {{"virtio", "virtio"}, {"virtio-net", "virtio"},
		{"virtio-transitional", "virtio"}, {"virtio-non-transitional", "virtio"},
		{"e1000", "e1000"}, {"e1000e", "e1000e"}};
	xmlNode *model = x_child(n, "model");
	const char *name = x_attr(model, "type");
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (str_eq(name, models[i][0])) {
			put(nic, "model", models[i][1]);
			return;
		}
	put(nic, "model", "e1000");
	x_remark(r, model ? model : n, "the guest sees an e1000 instead of a '%.20s'",
		name ? name : "rtl8139");
}

static void read_forward(struct reading *r, xmlNode *n, json_t *list)
{
	bool udp = x_attr_is(n, "proto", "udp");
	const char *address = x_attr(n, "address");
	for (xmlNode *range = x_child(n, "range"); range; range = x_next(range)) {
		unsigned start = x_number(range, "start", 0), to = x_number(range, "to", start);
		if (x_number(range, "end", start) != start)
			x_note(r, range, false,
				"a range of ports has no equivalent: write one for each");
		else
			json_array_append_new(
				list, json_sprintf("%s:%.40s:%u-%u", udp ? "udp" : "tcp",
					      address ? address : "0.0.0.0", start, to));
	}
}

static void read_user(struct reading *r, xmlNode *n, json_t *nic)
{
	json_t *user = json_object_get(nic, "user"), *list = json_array();
	if (!user) {
		json_decref(list);
		return;
	}
	if (x_attr_is(x_child(n, "backend"), "type", "passt"))
		x_pass_children(n, "backend");
	for (xmlNode *f = x_child(n, "portForward"); f; f = x_next(f))
		read_forward(r, f, list);
	json_object_set_new(user, "hostfwd", list);
}

static void read_tap(struct reading *r, xmlNode *n, json_t *nic)
{
	xmlNode *driver = x_child(n, "driver");
	unsigned queues = x_number(driver, "queues", 0),
		 mtu = x_number(x_child(n, "mtu"), "size", 0);
	x_attr(driver, "name"); /* vhost or not: roost takes it where it is there */
	x_attr(x_child(n, "target"), "dev");
	if (x_attr_is(x_child(n, "link"), "state", "down"))
		put(nic, "link", "down");
	if (json_object_get(nic, "user")) {
		if (queues || mtu)
			x_remark(r, n, "user networking has neither queues nor an MTU here");
		return;
	}
	if (queues > 1)
		json_object_set_new(nic, "queues", json_integer(queues));
	if (mtu)
		json_object_set_new(nic, "mtu", json_integer(mtu));
	if (x_attr_is(x_child(n, "port"), "isolated", "yes"))
		json_object_set_new(nic, "isolated", json_true());
	xmlNode *filter = x_child(n, "filterref");
	if (filter)
		x_note(r, filter, false,
			"its rules are left: roost's own guard lets no guest pose as another");
}

static void read_place(struct reading *r, xmlNode *n, const xmlNode *devices, bool old, json_t *nic)
{
	struct libvirt_pci at;
	char text[16];
	xmlNode *address = x_child(n, "address");
	switch (libvirt_pci(devices, address, old, &at)) {
	case 0:
		snprintf(text, sizeof(text), "%02x:%02x.0", at.bus & 0xff, at.slot & 0xff);
		put(nic, "pci", text);
		break;
	case -1:
		x_note(r, address, true,
			"behind such a bridge, or as a second function, there is no place here: the interface would have another name in the guest");
		break;
	default:
		break;
	}
	x_pass(address);
	if (x_attr(x_child(n, "acpi"), "index"))
		x_note(r, x_child(n, "acpi"), true,
			"has no equivalent, and the interface would have another name in the guest");
}

static void read_nic(struct reading *r, xmlNode *n, const xmlNode *devices, bool old, json_t *nics)
{
	json_t *nic = json_object();
	const char *mac = x_attr(x_child(n, "mac"), "address");
	_cleanup_free_ char *lower = lower_hex(mac);
	put(nic, "mac", lower);
	read_source(r, n, nic);
	read_model(r, n, nic);
	read_user(r, n, nic);
	read_tap(r, n, nic);
	read_place(r, n, devices, old, nic);
	x_pass_children(n, "alias");
	json_array_append_new(nics, nic);
}

void libvirt_read_nics(struct reading *r, xmlNode *devices, bool old)
{
	json_t *nics = json_array();
	for (xmlNode *n = x_child(devices, "interface"); n; n = x_next(n))
		read_nic(r, n, devices, old, nics);
	json_object_set_new(r->out, "interfaces", nics);
}
