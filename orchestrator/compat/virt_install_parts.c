#include "orchestrator/compat/virt_install.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/password.h"
#include "orchestrator/run_options.h"

/* ---- parts ---------------------------------------------------------------------------------------- */

int parts_of(
	const char *option, const char *text, const char *first, struct parts *out, struct err *err)
{
	*out = (struct parts){.option = option, .text = xstrdup(text)};
	char *rest = out->text, *word;
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');
		if (!*word)
			continue;
		if (out->count == PARTS_MAX)
			return err_set(err, ERR_USAGE, "%s: too many options", option);
		if (value)
			*value++ = '\0';
		bool bare = !value && !out->count && first;
		out->keys[out->count] = bare ? first : word;
		out->values[out->count++] = bare ? word : value ? value : "";
	}
	return 0;
}

void parts_free(struct parts *p)
{
	free(TAKE(p->text));
}

const char *parts_take(struct parts *p, const char *key)
{
	const char *value = NULL;
	for (size_t i = 0; i < p->count; i++) {
		if (!str_eq(p->keys[i], key))
			continue;
		p->taken[i] = true;
		value = p->values[i];
	}
	return value;
}

static bool is_on(const char *value)
{
	return str_eq(value, "on") || str_eq(value, "yes") || str_eq(value, "true") ||
	       str_eq(value, "1");
}

bool parts_on(struct parts *p, const char *key)
{
	return is_on(parts_take(p, key));
}

int parts_end(const struct parts *p, struct err *err)
{
	_cleanup_buf_ struct buf names = {0};
	for (size_t i = 0; i < p->count; i++)
		if (!p->taken[i])
			buf_fmt(&names, "%s'%s'", names.len ? ", " : "", p->keys[i]);
	return names.len
		       ? err_set(err, ERR_USAGE, "Unknown %s options: [%s]", p->option, names.data)
		       : 0;
}

static int unknown(const char *option, const char *value, const char *known, struct err *err)
{
	err_set(err, ERR_USAGE, "Error: %s %s: '%s' is not supported", option, value, value);
	return err_hint(err, "roost has %s", known);
}

static void set(struct install_ask *a, const char *key, const char *value)
{
	json_set_text(a->definition, key, value);
}

/* ---- memory and CPUs ---------------------------------------------------------------------------------- */

/* In MiB, as all of virt-install's. */
static int set_memory(struct install_ask *a, const char *key, const char *text, struct err *err)
{
	uint64_t mib;
	if (!text)
		return 0;
	if (str_parse_u64(text, 1, (uint64_t)1 << 24, "--memory", &mib, err) < 0)
		return -1;
	_cleanup_free_ char *size = str_fmt("%lluM", (unsigned long long)mib);
	set(a, key, size);
	return 0;
}

int ask_memory(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of("--memory", text, "memory", &p, err) < 0)
		return -1;
	const char *memory = parts_take(&p, "memory"), *current = parts_take(&p, "currentMemory"),
		   *most = parts_take(&p, "maxmemory");
	if (parts_end(&p, err) < 0 || set_memory(a, "memory", current ? current : memory, err) < 0)
		return -1;
	return set_memory(a, "max_memory", most ? most : current ? memory : NULL, err);
}

int ask_vcpus(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const topology[] = {"sockets", "cores", "threads"};
	_cleanup_parts_ struct parts p;
	if (parts_of("--vcpus", text, "vcpus", &p, err) < 0)
		return -1;
	set(a, "vcpus", parts_take(&p, "vcpus"));
	set(a, "max_vcpus", parts_take(&p, "maxvcpus"));
	for (size_t i = 0; i < ARRAY_SIZE(topology); i++)
		if (parts_take(&p, topology[i]))
			warn("--vcpus %s= is not heeded: a guest of roost's has one CPU a socket, to plug and unplug",
				topology[i]);
	return parts_end(&p, err);
}

int ask_cpu(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const hosts[] = {"host-passthrough", "host-model", "host", "host-copy"};
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if (str_eq(text, hosts[i])) /* the host's under KVM, all that there is under TCG */
			return 0;
	set(a, "cpu", str_starts(text, "model=") ? text + strlen("model=") : text);
	return 0;
}

/* ---- networks ----------------------------------------------------------------------------------------- */

int ask_network(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of("--network", text, "network", &p, err) < 0)
		return -1;
	const char *network = parts_take(&p, "network"), *bridge = parts_take(&p, "bridge"),
		   *mac = parts_take(&p, "mac"), *model = parts_take(&p, "model"), *more;
	if ((more = parts_take(&p, "mac.address")))
		mac = more;
	if ((more = parts_take(&p, "model.type")))
		model = more;
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(network, "none")) {
		a->no_nic = true;
		return 0;
	}
	bool user = str_eq(network, "user");
	_cleanup_json_ json_t *nic = json_object();
	if (user)
		json_object_set_new(nic, "user", json_pack("{s:[s]}", "hostfwd", "-22"));
	else
		json_set_text(nic, bridge ? "bridge" : "network",
			bridge    ? bridge
			: network ? network
				  : "default");
	if (!str_eq(mac, "RANDOM"))
		json_set_text(nic, "mac", mac);
	json_set_text(nic, "model", model);
	json_array_append(a->nics, nic);
	return 0;
}

/* ---- what is seen and heard ------------------------------------------------------------------------------ */

int ask_graphics(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of("--graphics", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"), *listen = parts_take(&p, "listen"),
		   *port = parts_take(&p, "port");
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(type, "spice"))
		warn("--graphics spice is not there: the guest gets VNC");
	else if (!str_eq(type, "none") && !str_eq(type, "vnc"))
		return unknown("--graphics", type ? type : text, "vnc and none", err);
	if (listen || port)
		warn("--graphics listen= and port= are not heeded: VNC listens on a unix socket alone; `roost viewer` leads there");
	a->vnc = !str_eq(type, "none");
	return 0;
}

int ask_video(struct install_ask *a, const char *text, struct err *err)
{
	(void)a, (void)err;
	if (!str_eq(text, "vga") && !str_eq(text, "model=vga") && !str_eq(text, "none"))
		warn("--video %s is not there: the guest gets VGA", text);
	return 0;
}

static int ask_line(struct install_ask *a, const char *option, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of(option, text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"), *target = parts_take(&p, "target_type"), *more;
	if ((more = parts_take(&p, "target.type")))
		target = more;
	if (parts_end(&p, err) < 0)
		return -1;
	if (type && !str_eq(type, "pty") && !str_eq(type, "none"))
		return unknown(option, type,
			"pty: `roost console` attaches to it, `roost logs` shows what came", err);
	if (str_eq(target, "virtio"))
		json_object_set_new(
			a->definition, "console", json_pack("[s, s]", "serial", "virtio"));
	return 0;
}

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
	if (str_eq(text, "none"))
		set(a, "agent", "false");
	else if (strstr(text, "spice") || strstr(text, "vdagent"))
		warn("--channel %s is not there", text);
	else if (!strstr(text, "org.qemu.guest_agent.0"))
		return unknown("--channel", text, "the guest agent's, which every guest has", err);
	return 0;
}

int ask_rng(struct install_ask *a, const char *text, struct err *err)
{
	if (str_eq(text, "none"))
		set(a, "rng", "false");
	else if (!strstr(text, "random"))
		return unknown("--rng", text, "/dev/urandom and none", err);
	return 0;
}

int ask_tpm(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of("--tpm", text, "type", &p, err) < 0)
		return -1;
	const char *type = parts_take(&p, "type"), *model = parts_take(&p, "model"), *more;
	if ((more = parts_take(&p, "backend.type")))
		type = more;
	const char *version = parts_take(&p, "version");
	if ((more = parts_take(&p, "backend.version")))
		version = more;
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(type, "none"))
		return 0;
	if ((type && !str_eq(type, "emulator") && !str_eq(type, "default")) ||
		(version && !str_eq(version, "2.0")))
		return unknown("--tpm", text, "emulator, version 2.0", err);
	if (!model)
		set(a, "tpm", "true");
	else
		json_object_set_new(a->definition, "tpm",
			json_pack("{s:s}", "model", str_starts(model, "tpm-") ? model + 4 : model));
	return 0;
}

/* ---- boot ------------------------------------------------------------------------------------------------- */

int ask_boot(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const devices[][2] = {
		{"hd", "disk"}, {"cdrom", "cdrom"}, {"network", "network"}};
	_cleanup_parts_ struct parts p;
	_cleanup_json_ json_t *order = json_array();
	if (parts_of("--boot", text, NULL, &p, err) < 0)
		return -1;
	for (size_t i = 0; i < p.count; i++)
		for (size_t n = 0; n < ARRAY_SIZE(devices); n++)
			if (str_eq(p.keys[i], devices[n][0]) && !p.values[i][0]) {
				p.taken[i] = true;
				json_array_append_new(order, json_string(devices[n][1]));
			}
	const char *firmware = parts_take(&p, "firmware");
	if (parts_take(&p, "uefi") || str_eq(firmware, "efi"))
		set(a, "firmware", "uefi");
	if (parts_on(&p, "menu"))
		set(a, "boot_menu", "true");
	set(a, "kernel", parts_take(&p, "kernel"));
	set(a, "initrd", parts_take(&p, "initrd"));
	set(a, "cmdline", parts_take(&p, "kernel_args"));
	if (json_array_size(order))
		json_object_set(a->definition, "boot", order);
	return parts_end(&p, err);
}

int ask_virt_type(struct install_ask *a, const char *text, struct err *err)
{
	if (!str_eq(text, "kvm") && !str_eq(text, "qemu"))
		return err_set(err, ERR_USAGE,
			"Host does not support domain type %s for virtualization type 'hvm' with architecture 'x86_64'",
			text);
	set(a, "accel", str_eq(text, "kvm") ? "kvm" : "tcg");
	return 0;
}

int ask_check(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	if (parts_of("--check", text, NULL, &p, err) < 0)
		return -1;
	const char *all = parts_take(&p, "all"), *use = parts_take(&p, "path_in_use");
	parts_take(&p, "disk_size"), parts_take(&p, "path_exists"), parts_take(&p, "mac_in_use");
	if (str_eq(all, "off") || str_eq(use, "off"))
		a->check_use = false;
	return parts_end(&p, err);
}

/* ---- cloud-init --------------------------------------------------------------------------------------------- */

/* As virtinst's: 16 letters and digits. Told once, kept only hashed. */
static int generate_password(json_t *cloud, struct err *err)
{
	static const char letters[] = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	unsigned char random[64];
	char word[17];
	size_t n = 0;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_errno(err, "no random numbers");
	for (size_t i = 0; i < sizeof(random) && n < 16; i++)
		if (random[i] < 4 * (sizeof(letters) - 1)) /* each as often as the others */
			word[n++] = letters[random[i] % (sizeof(letters) - 1)];
	word[n] = '\0';
	_cleanup_close_ int fd = memfd_create("password", MFD_CLOEXEC);
	_cleanup_free_ char *path = str_fmt("/proc/self/fd/%d", fd);
	if (fd < 0 || write_all(fd, word, n) < 0)
		return err_errno(err, "cannot keep a password");
	_cleanup_free_ char *hash = password_hash_of(path, NULL, err);
	if (!hash)
		return -1;
	printf("Password for first root login is: %s\n", word);
	explicit_bzero(word, sizeof(word));
	json_set_text(cloud, "password_hash", hash);
	return 0;
}

int ask_cloud_init(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const files[][2] = {{"user-data", "user_data"},
		{"meta-data", "meta_data"}, {"network-config", "network_config"},
		{"root-password-file", "password_file"}};
	_cleanup_parts_ struct parts p;
	_cleanup_json_ json_t *cloud = json_pack("{s:[]}", "keys");
	if (parts_of("--cloud-init", text[0] ? text : "root-password-generate=on", NULL, &p, err) <
		0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		json_set_text(cloud, files[i][1], parts_take(&p, files[i][0]));
	const char *root = parts_take(&p, "root-ssh-key"),
		   *user = parts_take(&p, "clouduser-ssh-key");
	bool generate = parts_on(&p, "root-password-generate"), disable = parts_on(&p, "disable");
	for (int i = 0; i < 2; i++)
		if (i ? root : user)
			json_array_append_new(
				json_object_get(cloud, "keys"), json_string(i ? root : user));
	if (parts_end(&p, err) < 0 || (generate && generate_password(cloud, err) < 0))
		return -1;
	if (root || generate || json_object_get(cloud, "password_file"))
		json_set_text(cloud, "user", "root");
	if (disable) /* a seed that stays the same is not heeded twice anyhow */
		warn("--cloud-init disable=on is not heeded: the seed stays, and cloud-init acts on it once");
	json_object_set(a->definition, "cloud_init", cloud);
	return 0;
}
