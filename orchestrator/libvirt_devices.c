/* <devices> of a domain's XML, but for its disks and interfaces. */
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"

/* What the guest has beside, and would miss: what has none of it is told by x_tell_rest(). */
static void refuse(struct reading *r, xmlNode *devices)
{
	static const struct {
		const char *name, *why;
	} rows[] = {
		{"hostdev", "a device of the host's cannot be handed through"},
		{"filesystem",
			"a folder of the host's cannot be shared: the guest would miss it when it boots"},
		{"shmem", "shared memory has no equivalent"},
		{"memory", "a memory module has no equivalent: take it out and raise <memory>"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (xmlNode *n = x_child(devices, rows[i].name); n; n = x_next(n))
			x_note(r, n, true, "%s", rows[i].why);
}

/* ---- consoles --------------------------------------------------------------------------------------- */

static void look_at_backend(struct reading *r, xmlNode *n)
{
	const char *type = x_attr(n, "type");
	if (type && !str_eq(type, "pty"))
		x_note(r, n, false,
			"type '%.20s': it is kept in console.log, and `roost console` is its other end",
			type);
	x_pass(n);
}

static void add_console(struct reading *r, xmlNode *n, json_t *list, const char *kind)
{
	enum { CONSOLES = 4 };
	if (json_array_size(list) == CONSOLES) {
		x_note(r, n, false, "there are %d consoles at most", CONSOLES);
		return;
	}
	json_array_append_new(list, json_string(kind));
	look_at_backend(r, n);
}

static void read_consoles(struct reading *r, xmlNode *devices)
{
	json_t *list = json_array();
	for (xmlNode *n = x_child(devices, "serial"); n; n = x_next(n)) {
		const char *target = x_attr(x_child(n, "target"), "type");
		if (target && !str_eq(target, "isa-serial"))
			x_note(r, n, false, "a serial line on '%.20s' is an ISA one here", target);
		add_console(r, n, list, "serial");
	}
	for (xmlNode *n = x_child(devices, "console"); n; n = x_next(n)) {
		bool serial =
			!x_child(n, "target") || x_attr_is(x_child(n, "target"), "type", "serial");
		if (serial && json_array_size(list)) {
			x_pass(n); /* the first serial line by another name */
			continue;
		}
		if (!json_array_size(list)) {
			if (!serial)
				x_note(r, n, false,
					"a serial line is added: the first console is one here");
			json_array_append_new(list, json_string("serial"));
		}
		if (!serial)
			add_console(r, n, list, "virtio");
		x_pass(n);
	}
	json_object_set_new(r->out, "console", list);
	if (!json_array_size(list))
		json_object_set_new(r->out, "console", json_false());
}

static void read_channels(struct reading *r, xmlNode *devices)
{
	bool agent = false;
	for (xmlNode *n = x_child(devices, "channel"); n; n = x_next(n)) {
		const char *name = x_attr(x_child(n, "target"), "name");
		if (str_eq(name, "org.qemu.guest_agent.0")) {
			agent = true;
			x_pass(n);
		} else {
			x_note(r, n, false, "a channel '%.40s' has no equivalent",
				name                               ? name
				: x_attr_is(n, "type", "spicevmc") ? "spice"
								   : "");
		}
	}
	json_object_set_new(r->out, "agent", json_boolean(agent));
}

/* ---- display ---------------------------------------------------------------------------------------- */

static void read_graphics(struct reading *r, xmlNode *devices)
{
	bool vnc = false, password = false;
	for (xmlNode *n = x_child(devices, "graphics"); n; n = x_next(n)) {
		const char *type = x_attr(n, "type"), *listen = x_attr(n, "listen");
		xmlNode *at = x_child(n, "listen");
		const char *address = x_attr(at, "address");
		address = address ? address : listen;
		if (!str_eq(type, "vnc") && !str_eq(type, "spice")) {
			x_note(r, n, false, "graphics of type '%.20s' have no equivalent",
				type ? type : "");
			continue;
		}
		vnc = true;
		if (str_eq(type, "spice"))
			x_note(r, n, false, "is VNC here: `roost domdisplay` tells where");
		if (x_attr(n, "passwd")) {
			password = true;
			x_note(r, n, false,
				"its password is not taken: `roost set-vnc-password` sets one, and nobody gets in before");
		}
		if (address && address[0] && !str_starts(address, "127.") &&
			!str_eq(address, "::1"))
			x_note(r, n, false,
				"listens on a unix socket here, not on %.46s: `roost vncdisplay` tells which",
				address);
		x_pass(n);
	}
	json_object_set_new(
		r->out, "vnc", password ? json_pack("{s:b}", "password", 1) : json_boolean(vnc));
}

static void read_video(struct reading *r, xmlNode *devices)
{
	bool vga = false;
	for (xmlNode *n = x_child(devices, "video"); n; n = x_next(n)) {
		const char *model = x_attr(x_child(n, "model"), "type");
		if (str_eq(model, "none")) {
			x_pass(n);
			continue;
		}
		if (vga)
			x_note(r, n, false, "there is one graphics card here");
		else if (!str_eq(model, "vga"))
			x_note(r, n, false, "the guest sees a VGA card instead of '%.20s'",
				model ? model : "cirrus");
		vga = true;
		x_pass(n);
	}
	put(r->out, "display", vga ? "vga" : "none");
}

static void read_inputs(struct reading *r, xmlNode *devices)
{
	for (xmlNode *n = x_child(devices, "input"); n; n = x_next(n)) {
		if (x_attr_is(n, "bus", "ps2"))
			x_pass(n);
		else
			x_note(r, n, false,
				"a %.20s on '%.20s' has no equivalent: PS/2 ones are there",
				x_attr(n, "type") ? x_attr(n, "type") : "device",
				x_attr(n, "bus") ? x_attr(n, "bus") : "usb");
	}
}

/* ---- small devices ---------------------------------------------------------------------------------- */

static void read_watchdog(struct reading *r, xmlNode *devices)
{
	xmlNode *n = x_child(devices, "watchdog");
	const char *model = x_attr(n, "model"), *action = x_attr(n, "action");
	bool known_model = str_eq(model, "i6300esb") || str_eq(model, "itco");
	bool known_action = !action || str_eq(action, "reset") || str_eq(action, "poweroff") ||
			    str_eq(action, "pause") || str_eq(action, "none");
	if (!n)
		return;
	if (!known_model)
		x_note_attr(r, n, "model", false, "the guest sees an i6300esb instead of '%.20s'",
			model ? model : "");
	if (!known_action)
		x_note_attr(r, n, "action", false, "'%.20s' is %s here", action,
			str_eq(action, "shutdown") ? "poweroff" : "reset");
	json_object_set_new(r->out, "watchdog",
		json_pack("{s:s, s:s}", "model", known_model ? model : "i6300esb", "action",
			!action                      ? "reset"
			: known_action               ? action
			: str_eq(action, "shutdown") ? "poweroff"
						     : "reset"));
	x_pass_children(n, "address");
	x_pass_children(n, "alias");
}

static void read_rng(struct reading *r, xmlNode *devices)
{
	bool any = false;
	for (xmlNode *n = x_child(devices, "rng"); n; n = x_next(n)) {
		xmlNode *backend = x_child(n, "backend");
		if (any || !x_attr_is(backend, "model", "random"))
			x_note(r, n, false, "%s",
				any ? "there is one source of random numbers here"
				    : "its numbers come from the host's /dev/urandom here");
		x_attr(n, "model");
		x_pass(backend);
		x_pass_children(n, "address");
		x_pass_children(n, "alias");
		any = true;
	}
	json_object_set_new(r->out, "rng", json_boolean(any));
}

static void read_tpm(struct reading *r, xmlNode *devices)
{
	xmlNode *n = x_child(devices, "tpm"), *backend = x_child(n, "backend");
	const char *version = x_attr(backend, "version");
	if (!n)
		return;
	x_attr(backend, "persistent_state");
	if (!x_attr_is(backend, "type", "emulator") || (version && !str_eq(version, "2.0"))) {
		x_note(r, n, true, "only an emulated TPM 2.0 can be taken");
		return;
	}
	if (x_child(backend, "encryption"))
		x_note(r, n, true, "its state is encrypted, and libvirt has the key");
	json_object_set_new(r->out, "tpm",
		json_pack("{s:s}", "model", x_attr_is(n, "model", "tpm-crb") ? "crb" : "tis"));
	x_pass(n);
}

static void read_balloon(struct reading *r, xmlNode *devices)
{
	xmlNode *n = x_child(devices, "memballoon");
	static const char *const of_no_meaning[] = {"autodeflate", "freePageReporting"};
	if (x_attr_is(n, "model", "none"))
		x_note(r, n, false, "there is always a memory balloon here");
	for (size_t i = 0; i < ARRAY_SIZE(of_no_meaning); i++)
		x_attr(n, of_no_meaning[i]);
	static const char *const inside[] = {"address", "alias", "stats", "driver"};
	for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
		x_pass_children(n, inside[i]);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void libvirt_read_devices(struct reading *r, xmlNode *domain)
{
	/* controllers and panic devices are roost's own, whatever was there; a QEMU is */
	static const char *const of_no_meaning[] = {"emulator", "panic", "hub"};
	xmlNode *devices = x_child(domain, "devices");
	refuse(r, devices);
	libvirt_read_disks(r, devices);
	libvirt_read_nics(r, devices, libvirt_machine_is_old(domain));
	read_consoles(r, devices);
	read_channels(r, devices);
	read_graphics(r, devices);
	read_video(r, devices);
	read_inputs(r, devices);
	read_watchdog(r, devices);
	read_rng(r, devices);
	read_tpm(r, devices);
	read_balloon(r, devices);
	for (size_t i = 0; i < ARRAY_SIZE(of_no_meaning); i++)
		x_pass_children(devices, of_no_meaning[i]);
	for (xmlNode *n = x_child(devices, "controller"); n; n = x_next(n))
		x_pass(n);
	x_pass_children(devices, "audio"); /* <sound> is what the guest would hear of it */
}
