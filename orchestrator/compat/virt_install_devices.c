/* virt-install's options for devices, but for disks: what roost's guests have of them, and what they have instead. */
#include "orchestrator/compat/virt_install.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run_options.h"

static void set(struct install_ask *a, const char *key, const char *value)
{
	json_set_text(a->definition, key, value);
}

/* ---- networks ----------------------------------------------------------------------------------------- */

static bool is_type(const char *word)
{
	static const char *const types[] = {"network", "bridge", "user", "direct", "ethernet",
		"hostdev", "vhostuser", "vdpa", "udp", "mcast", "server", "client", "internal"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq(word, types[i]))
			return true;
	return false;
}

/* "network", "bridge" or "user", and of which one. */
static const char *kind_of(const struct install_ask *a, struct parts *p, const char **source)
{
	const char *type = parts_take(p, "type"), *network = parts_take(p, "network"),
		   *bridge = parts_take(p, "bridge"), *named = parts_take(p, "source");
	if (type && str_starts(type, "bridge:"))
		bridge = type + strlen("bridge:"), type = NULL;
	if (type && str_starts(type, "network:"))
		network = type + strlen("network:"), type = NULL;
	if (str_eq(type, "default")) /* virtinst's, of each kind of connection */
		type = a->session ? "user" : "network";
	else if (type && !is_type(type)) /* a network, by its name alone */
		network = type, type = NULL;
	*source = named ? named : type ? (bridge ? bridge : network) : bridge ? bridge : network;
	return type ? type : bridge ? "bridge" : "network";
}

static int take_link(struct parts *p, json_t *nic, struct err *err)
{
	const char *state = parts_take_either(p, "link.state", "link_state"),
		   *mtu = parts_take(p, "mtu.size"),
		   *queues = parts_take_either(p, "driver.queues", "driver_queues");
	if (str_eq(state, "down") || str_eq(state, "no") || str_eq(state, "off"))
		json_set_text(nic, "link", "down");
	else if (state && !str_eq(state, "up") && !str_eq(state, "yes") && !str_eq(state, "on"))
		return parts_refuse("--network link.state", state, "up and down", err);
	json_set_text(nic, "mtu", mtu);
	json_set_text(nic, "queues", queues);
	return 0;
}

int ask_network(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	_cleanup_json_ json_t *nic = json_object();
	const char *source;
	if (str_eq(text, "none")) {
		a->no_nic = true;
		return 0;
	}
	if (parts_of("--network", text, "type", &p, err) < 0)
		return -1;
	const char *kind = kind_of(a, &p, &source),
		   *mac = parts_take_either(&p, "mac.address", "mac"),
		   *model = parts_take_either(&p, "model.type", "model");
	if (take_link(&p, nic, err) < 0 || parts_end(&p, err) < 0)
		return -1;
	if (str_eq(kind, "user"))
		json_object_set_new(nic, "user", json_pack("{s:[s]}", "hostfwd", "-22"));
	else if (str_eq(kind, "bridge") && str_eq(source, "virbr0") && !if_nametoindex(source))
		return parts_refuse("--network bridge", source,
			"network=default: its bridge is not on the host", err);
	else if (str_eq(kind, "network") || (str_eq(kind, "bridge") && source))
		json_set_text(nic, kind, source ? source : "default");
	else
		return parts_refuse("--network", kind,
			"network=NAME, bridge=NAME of the host's, user and none", err);
	if (model && !str_eq(model, "virtio") && !str_eq(model, "e1000") &&
		!str_eq(model, "e1000e"))
		return parts_refuse("--network model", model, "virtio, e1000e and e1000", err);
	if (!str_eq(mac, "RANDOM"))
		json_set_text(nic, "mac", mac);
	json_set_text(nic, "model", model);
	json_array_append(a->nics, nic);
	return 0;
}

int ask_bridge(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_free_ char *words = str_fmt("bridge=%s", text);
	return ask_network(a, words, err);
}

/* ---- what is seen -------------------------------------------------------------------------------------- */

static bool is_local(const char *address)
{
	return !address || str_eq(address, "127.0.0.1") || str_eq(address, "localhost") ||
	       str_eq(address, "::1") || str_eq(address, "none") || str_eq(address, "socket");
}

int ask_graphics(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--graphics", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"), *listen = parts_take(&p, "listen"),
		   *port = parts_take(&p, "port"),
		   *password = parts_take_either(&p, "password", "passwd"),
		   *keymap = parts_take(&p, "keymap");
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(type, "spice"))
		warn(a, "--graphics spice is not there: the guest gets VNC");
	else if (type && !str_eq(type, "none") && !str_eq(type, "vnc") && !str_eq(type, "default"))
		return parts_refuse("--graphics", type, "vnc and none", err);
	if (!is_local(listen) || (port && !str_eq(port, "-1")))
		warn(a, "--graphics listen= and port= are not heeded: VNC listens on a unix socket alone; `roost viewer` leads there");
	if (keymap && !str_eq(keymap, "none") && !str_eq(keymap, "local"))
		warn(a, "--graphics keymap= is not heeded: the viewer has its own");
	if (password && (!password[0] || strlen(password) > 8))
		return err_set(err, ERR_USAGE, "Error: --graphics password= has 1 to 8 characters");
	a->vnc = !str_eq(type, "none") && !a->no_video;
	free(a->vnc_password);
	a->vnc_password = a->vnc ? xstrdup(password) : NULL;
	return 0;
}

int ask_video(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--video", text, "model.type", &p, err) < 0)
		return -1;
	const char *model = parts_take_either(&p, "model.type", "model");
	if (str_eq(model, "none")) {
		a->no_video = true;
		a->vnc = false;
		return parts_end(&p, err);
	}
	for (size_t i = 0; i < p.count; i++) /* of other cards */
		p.taken[i] = p.taken[i] || str_starts(p.keys[i], "model.") ||
			     str_starts(p.keys[i], "vram") || str_starts(p.keys[i], "vgamem") ||
			     str_eq(p.keys[i], "ram") || str_eq(p.keys[i], "heads");
	if (!str_eq(model, "vga") || p.count > 1)
		warn(a, "--video %s is not there: the guest gets VGA", text);
	a->vga = true;
	return parts_end(&p, err);
}

/* ---- and heard ------------------------------------------------------------------------------------------- */

static int ask_line(struct install_ask *a, const char *option, const char *text, struct err *err)
{
	static const char *const holds[] = {
		"target.port=0", "target_port=0", "source.mode=bind", "log.append=on"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of(option, text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"),
		   *target = parts_take_either(&p, "target.type", "target_type");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if (str_eq(type, "none")) {
		a->no_console = true;
		return parts_end(&p, err);
	}
	if (type && !str_eq(type, "pty"))
		return parts_refuse(option, type,
			"pty: `roost console` attaches to it, `roost logs` shows what came", err);
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(target, "virtio"))
		a->virtio_consoles++;
	else if (target && !str_eq(target, "serial") && !str_eq(target, "isa-serial") &&
		 !str_eq(target, "isa"))
		return parts_refuse(option, target, "serial lines and virtio consoles", err);
	else if (str_eq(option, "--serial"))
		a->serials++;
	return 0;
}

/* One that is serial is the first line, which every guest has. */
int ask_console(struct install_ask *a, const char *text, struct err *err)
{
	return ask_line(a, "--console", text, err);
}

int ask_serial(struct install_ask *a, const char *text, struct err *err)
{
	return ask_line(a, "--serial", text, err);
}

int ask_channel(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"target.type=virtio", "target_type=virtio",
		"source.mode=bind", "mode=bind", "target.address=on"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--channel", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"),
		   *name = parts_take_either(&p, "target.name", "name"),
		   *path = parts_take_either(&p, "source.path", "path");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if (str_eq(type, "none")) {
		set(a, "agent", "false");
		return 0;
	}
	if (str_eq(type, "spicevmc") || str_eq(type, "spiceport") || str_eq(type, "qemu-vdagent")) {
		warn(a, "--channel %s is not there: roost has no SPICE", type);
		return 0;
	}
	if (!str_eq(name, "org.qemu.guest_agent.0") || (type && !str_eq(type, "unix")))
		return parts_refuse("--channel", name ? name : text,
			"the guest agent's, unix,name=org.qemu.guest_agent.0, which every guest has",
			err);
	if (path)
		warn(a, "--channel path= is not heeded: `virsh qemu-agent-command` reaches the agent");
	return parts_end(&p, err);
}

/* ---- small ones --------------------------------------------------------------------------------------- */

int ask_rng(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"model=virtio"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--rng", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take_either(&p, "backend.model", "type"),
		   *device = parts_take_either(&p, "backend", "device");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if (str_eq(type, "none"))
		set(a, "rng", "false");
	else if ((type && !str_eq(type, "random") && !str_eq(type, "builtin") &&
			 !str_eq(type, "/dev/random") && !str_eq(type, "/dev/urandom")) ||
		 (device && !str_starts(device, "/dev/")))
		return parts_refuse("--rng", text, "/dev/urandom and none", err);
	return parts_end(&p, err);
}

int ask_tpm(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {
		"backend.persistent_state=on", "persistent_state=on", "active_pcr_banks.sha256=on"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--tpm", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take_either(&p, "backend.type", "type"),
		   *model = parts_take(&p, "model"),
		   *version = parts_take_either(&p, "backend.version", "version");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(type, "none"))
		return 0;
	if ((type && !str_eq(type, "emulator") && !str_eq(type, "default")) ||
		(version && !str_eq(version, "2.0")))
		return parts_refuse("--tpm", text, "emulator, version 2.0", err);
	if (!model || str_eq(model, "default"))
		set(a, "tpm", "true");
	else if (str_eq(model, "tpm-crb") || str_eq(model, "tpm-tis"))
		json_object_set_new(
			a->definition, "tpm", json_pack("{s:s}", "model", model + strlen("tpm-")));
	else
		return parts_refuse("--tpm model", model, "tpm-crb and tpm-tis", err);
	return 0;
}

int ask_watchdog(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const actions[] = {"reset", "poweroff", "pause", "none"};
	_cleanup_parts_ struct parts p = {0};
	_cleanup_json_ json_t *watchdog = json_object();
	bool known = false;
	if (parts_of("--watchdog", text, "model", &p, err) < 0)
		return -1;
	const char *model = parts_take(&p, "model"), *action = parts_take(&p, "action");
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(model, "none"))
		return 0;
	if (model && !str_eq(model, "default") && !str_eq(model, "i6300esb") &&
		!str_eq(model, "itco"))
		return parts_refuse("--watchdog", model, "i6300esb and itco", err);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		known = known || str_eq(action, actions[i]);
	if (action && !known && !str_eq(action, "default"))
		return parts_refuse(
			"--watchdog action", action, "reset, poweroff, pause and none", err);
	json_set_text(watchdog, "model", model && !str_eq(model, "default") ? model : "i6300esb");
	json_set_text(watchdog, "action", known ? action : NULL);
	json_object_set(a->definition, "watchdog", watchdog);
	return 0;
}

/* What every guest has, in the words of its option. */
static int ask_own(const char *option, const char *text, const char *const own[], size_t count,
	const char *known, struct err *err)
{
	static const char *const holds[] = {"autodeflate=on", "freePageReporting=on"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of(option, text, "model", &p, err) < 0)
		return -1;
	const char *model = parts_take(&p, "model");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if (parts_end(&p, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (str_eq(model, own[i]))
			return 0;
	return parts_refuse(option, model ? model : text, known, err);
}

int ask_memballoon(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const own[] = {
		"virtio", "virtio-non-transitional", "virtio-transitional", "default"};
	(void)a;
	return ask_own(
		"--memballoon", text, own, ARRAY_SIZE(own), "virtio, which every guest has", err);
}

int ask_panic(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const own[] = {"isa", "pvpanic", "default"};
	(void)a;
	return ask_own("--panic", text, own, ARRAY_SIZE(own), "isa, which every guest has", err);
}

int ask_sound(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const own[] = {"none"};
	(void)a;
	return ask_own("--sound", text[0] ? text : "default", own, ARRAY_SIZE(own), "none", err);
}

int ask_input(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"bus=ps2", "bus=default"};
	_cleanup_parts_ struct parts p = {0};
	(void)a;
	if (parts_of("--input", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type");
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	if ((!str_eq(type, "keyboard") && !str_eq(type, "mouse")) || parts_end(&p, err) < 0)
		return parts_refuse("--input", text,
			"a keyboard and a mouse on PS/2, which every guest has", err);
	return 0;
}

int ask_controller(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const own[][2] = {{"usb", "none"}, {"scsi", "virtio-scsi"},
		{"virtio-serial", ""}, {"sata", ""}, {"pci", "pcie-root"}};
	_cleanup_parts_ struct parts p = {0};
	(void)a;
	if (parts_of("--controller", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"), *model = parts_take(&p, "model");
	if (!str_eq(parts_take(&p, "index"), "0") && parts_end(&p, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (str_eq(type, own[i][0]) && str_eq(model ? model : "", own[i][1]))
			return parts_end(&p, err);
	return parts_refuse("--controller", text,
		"those that its devices want: virtio-scsi with a disk of bus=scsi, and no USB",
		err);
}
