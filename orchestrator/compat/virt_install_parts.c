/* What stands behind an option's '=', and the options of the machine: memory, CPUs, firmware, what it boots. */
#include "orchestrator/compat/virt_install.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/run_options.h"

/* ---- parts ---------------------------------------------------------------------------------------- */

/* Up to `end`, or the text's: quotes and backslashes, which hide it, are taken out where they stand. */
static char *word_of(char **rest, char end)
{
	char *from = *rest, *to = from, *at = from, quote = '\0';
	for (; *at && (quote || *at != end); at++) {
		if (quote ? *at == quote : *at == '"' || *at == '\'')
			quote = quote ? '\0' : *at;
		else if (*at == '\\' && at[1] && quote != '\'')
			*to++ = *++at;
		else
			*to++ = *at;
	}
	*rest = *at ? at + 1 : NULL;
	*to = '\0';
	return from;
}

int parts_of(
	const char *option, const char *text, const char *first, struct parts *out, struct err *err)
{
	*out = (struct parts){.option = option, .text = xstrdup(text)};
	char *rest = out->text;
	while (rest) {
		char *word = word_of(&rest, ','), *value = strchr(word, '=');
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

const char *parts_take_either(struct parts *p, const char *key, const char *older)
{
	const char *old = parts_take(p, older), *value = parts_take(p, key);
	return value ? value : old;
}

static bool is_on(const char *value)
{
	return str_eq(value, "on") || str_eq(value, "yes") || str_eq(value, "true") ||
	       str_eq(value, "1") || str_eq(value, "y");
}

static bool is_off(const char *value)
{
	return str_eq(value, "off") || str_eq(value, "no") || str_eq(value, "false") ||
	       str_eq(value, "0") || str_eq(value, "n");
}

bool parts_on(struct parts *p, const char *key)
{
	return is_on(parts_take(p, key));
}

bool parts_off(struct parts *p, const char *key)
{
	return is_off(parts_take(p, key));
}

static bool same(const char *value, const char *held)
{
	return str_eq(value, held) || (str_eq(held, "on") && is_on(value)) ||
	       (str_eq(held, "off") && is_off(value));
}

void parts_hold(struct parts *p, const char *const holds[], size_t count)
{
	for (size_t i = 0; i < p->count; i++)
		for (size_t n = 0; n < count; n++) {
			size_t len = strcspn(holds[n], "=");
			if (strlen(p->keys[i]) == len && strncmp(p->keys[i], holds[n], len) == 0 &&
				same(p->values[i], holds[n] + len + 1))
				p->taken[i] = true;
		}
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

int parts_refuse(const char *option, const char *value, const char *known, struct err *err)
{
	err_set(err, ERR_USAGE, "Error: %s %s: '%s' is not supported", option, value, value);
	return err_hint(err, "roost has %s", known);
}

static void set(struct install_ask *a, const char *key, const char *value)
{
	json_set_text(a->definition, key, value);
}

/* A text that may have commas of its own, up to the next of `keys`; freed by the caller. */
static char *take_long(struct parts *p, const char *key, const char *const keys[], size_t count)
{
	struct buf text = {0};
	size_t i = 0;
	while (i < p->count && !str_eq(p->keys[i], key))
		i++;
	if (i == p->count)
		return NULL;
	buf_str(&text, p->values[i]);
	for (p->taken[i++] = true; i < p->count; p->taken[i++] = true) {
		for (size_t n = 0; n < count; n++)
			if (str_eq(p->keys[i], keys[n]))
				return buf_steal(&text);
		buf_fmt(&text, ",%s%s%s", p->keys[i], p->values[i][0] ? "=" : "", p->values[i]);
	}
	return buf_steal(&text);
}

/* ---- what it is called ---------------------------------------------------------------------------------- */

int ask_description(struct install_ask *a, const char *text, struct err *err)
{
	(void)err;
	set(a, "description", text);
	return 0;
}

int ask_metadata(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const keys[] = {"name", "title", "uuid", "description"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--metadata", text, NULL, &p, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_free_ char *value = take_long(&p, keys[i], keys, ARRAY_SIZE(keys));
		set(a, keys[i], value);
	}
	a->name = json_get_str(a->definition, "name", NULL);
	return parts_end(&p, err);
}

/* ---- memory and CPUs ---------------------------------------------------------------------------------- */

/* As Python has it. */
static int check_number(const char *option, const char *text, struct err *err)
{
	if (!text || (text[0] && !text[strspn(text, "0123456789")]))
		return 0;
	return err_set(err, ERR_USAGE, "Error: %s %s: invalid literal for int() with base 10: '%s'",
		option, text, text);
}

/* In MiB, as all of virt-install's. */
static int set_memory(struct install_ask *a, const char *key, const char *text, struct err *err)
{
	uint64_t mib;
	if (!text)
		return 0;
	if (check_number("--memory", text, err) < 0)
		return -1;
	if (str_parse_u64(text, 1, (uint64_t)1 << 24, "--memory", &mib, err) < 0)
		return -1;
	_cleanup_free_ char *size = str_fmt("%lluM", (unsigned long long)mib);
	set(a, key, size);
	return 0;
}

int ask_memory(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"hugepages=off"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--memory", text, "memory", &p, err) < 0)
		return -1;
	const char *memory = parts_take(&p, "memory"), *current = parts_take(&p, "currentMemory"),
		   *most = parts_take(&p, "maxmemory"),
		   *plugged = parts_take_either(&p, "maxMemory", "hotplugmemorymax");
	parts_take_either(&p, "maxMemory.slots", "hotplugmemoryslots"); /* none are needed */
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	most = plugged ? plugged : most ? most : current ? memory : NULL;
	if (parts_end(&p, err) < 0 || set_memory(a, "memory", current ? current : memory, err) < 0)
		return -1;
	return set_memory(a, "max_memory", most, err);
}

int ask_vcpus(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const topology[] = {"sockets", "dies", "cores", "threads"};
	static const char *const holds[] = {"cpuset=auto", "placement=static"};
	_cleanup_parts_ struct parts p = {0};
	uint64_t all = 1, n;
	bool told = false;
	if (parts_of("--vcpus", text, "vcpus", &p, err) < 0)
		return -1;
	const char *now = parts_take_either(&p, "vcpus", "vcpu"),
		   *current = parts_take(&p, "vcpu.current"), *most = parts_take(&p, "maxvcpus");
	for (size_t i = 0; i < ARRAY_SIZE(topology); i++) {
		const char *value = parts_take(&p, topology[i]);
		if (value && str_parse_u64(value, 1, VCPUS_MAX, topology[i], &n, err) < 0)
			return -1;
		all *= value ? n : 1;
		told = told || value;
	}
	_cleanup_free_ char *product = str_fmt("%llu", (unsigned long long)all);
	if (told)
		warn(a, "--vcpus sockets=, cores= and threads= are not heeded: a guest of roost's has one CPU a socket, to plug and unplug");
	if (current && !most)
		most = now;
	if (check_number("--vcpus", now, err) < 0 || check_number("--vcpus", current, err) < 0 ||
		check_number("--vcpus", most, err) < 0)
		return -1;
	set(a, "vcpus", current ? current : now ? now : told ? product : NULL);
	set(a, "max_vcpus", most);
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	return parts_end(&p, err);
}

/* "+x2apic", "require=x2apic" and so on: what QEMU has behind the model. */
static void take_features(struct parts *p, struct buf *out)
{
	static const struct {
		const char *word, *sign;
	} policies[] = {{"force", "+"}, {"require", "+"}, {"optional", "+"}, {"disable", "-"},
		{"forbid", "-"}};
	for (size_t i = 0; i < p->count; i++) {
		const char *key = p->keys[i];
		if (p->taken[i])
			continue;
		if (!p->values[i][0] && (key[0] == '+' || key[0] == '-') && key[1]) {
			buf_fmt(out, ",%s", key);
			p->taken[i] = true;
		}
		for (size_t n = 0; n < ARRAY_SIZE(policies); n++)
			if (str_eq(key, policies[n].word)) {
				buf_fmt(out, ",%s%s", policies[n].sign, p->values[i]);
				p->taken[i] = true;
			}
	}
}

int ask_cpu(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const hosts[] = {"host-passthrough", "host-model", "host", "host-copy",
		"host-model-only", "maximum"};
	static const char *const usual[] = {"hypervisor-default", "none", "default"};
	static const char *const holds[] = {"check=none", "check=partial", "match=exact",
		"migratable=on", "mode=custom", "fallback=allow", "fallback=forbid"};
	_cleanup_buf_ struct buf features = {0};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--cpu", text, "model", &p, err) < 0)
		return -1;
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	const char *mode = parts_take(&p, "mode"), *model = parts_take(&p, "model");
	model = model ? model : mode;
	take_features(&p, &features);
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (str_eq(model, usual[i]))
			model = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if (str_eq(model, hosts[i])) /* the host's under KVM, all that there is under TCG */
			model = NULL;
	if (model || features.len) {
		_cleanup_free_ char *cpu =
			str_fmt("%s%s", model ? model : "max", features.len ? features.data : "");
		set(a, "cpu", cpu);
	}
	return parts_end(&p, err);
}

/* ---- the platform --------------------------------------------------------------------------------------- */

int ask_virt_type(struct install_ask *a, const char *text, struct err *err)
{
	if (!str_eq(text, "kvm") && !str_eq(text, "qemu"))
		return err_set(err, ERR_USAGE,
			"Host does not support domain type %s for virtualization type 'hvm' with architecture 'x86_64'",
			text);
	set(a, "accel", str_eq(text, "kvm") ? "kvm" : "tcg");
	/* who lets it do without KVM once wants to start it again */
	if (str_eq(text, "kvm") && str_eq(getenv("ROOST_ACCEL_FALLBACK"), "tcg"))
		set(a, "accel_fallback", "tcg");
	return 0;
}

int ask_arch(struct install_ask *a, const char *text, struct err *err)
{
	(void)a;
	if (str_eq(text, "x86_64") || str_eq(text, "i686"))
		return 0;
	err_set(err, ERR_USAGE,
		"Host does not support any virtualization options for architecture '%s'", text);
	return err_hint(err, "roost has x86_64, which i686 runs on as well");
}

int ask_machine(struct install_ask *a, const char *text, struct err *err)
{
	if (!str_eq(text, "pc") && !str_eq(text, "q35") && !str_starts(text, "pc-q35-") &&
		!str_starts(text, "pc-i440fx-"))
		return parts_refuse("--machine", text, "q35 and pc", err);
	set(a, "machine", text);
	return 0;
}

static const char *const boot_keys[] = {"hd", "cdrom", "network", "uefi", "firmware", "loader",
	"loader.readonly", "loader_ro", "loader.type", "loader_type", "loader.secure",
	"loader_secure", "nvram.template", "nvram_template", "menu", "bootmenu.enable",
	"bootmenu.timeout", "kernel", "initrd", "cmdline", "kernel_args", "extra_args", "useserial",
	"bios.useserial", "machine", "arch"};

/* The firmware's code and variables are roost's choice: a file of OVMF's means UEFI. */
static int take_firmware(struct install_ask *a, struct parts *p, struct err *err)
{
	static const char *const holds[] = {"loader.readonly=on", "loader_ro=on",
		"loader.type=pflash", "loader_type=pflash", "firmware.feature0.enabled=off",
		"firmware.feature1.enabled=off", "firmware.feature0.name=secure-boot",
		"firmware.feature1.name=enrolled-keys"};
	const char *firmware = parts_take(p, "firmware"), *loader = parts_take(p, "loader"),
		   *secure = parts_take_either(p, "loader.secure", "loader_secure"),
		   *uefi = parts_take(p, "uefi");
	bool ovmf = loader && (strstr(loader, "OVMF") || strstr(loader, "edk2"));
	bool keys = str_eq(parts_take(p, "firmware.feature0.enabled"), "yes");
	if (loader && !ovmf)
		return parts_refuse("--boot", loader, "BIOS and UEFI: --boot uefi", err);
	if (firmware && !str_eq(firmware, "efi") && !str_eq(firmware, "bios"))
		return parts_refuse("--boot firmware", firmware, "efi and bios", err);
	if (uefi || ovmf || str_eq(firmware, "efi"))
		set(a, "firmware", "uefi");
	if (is_on(secure) || keys)
		set(a, "secure_boot", "true");
	parts_take_either(p, "nvram.template", "nvram_template"); /* as the code wants them */
	parts_hold(p, holds, ARRAY_SIZE(holds));
	return 0;
}

static void take_menu(struct install_ask *a, struct parts *p)
{
	const char *menu = parts_take_either(p, "bootmenu.enable", "menu"),
		   *timeout = parts_take(p, "bootmenu.timeout");
	parts_take_either(p, "bios.useserial", "useserial"); /* it uses what there is */
	if (!is_on(menu))
		return;
	if (timeout)
		json_object_set_new(a->definition, "boot_menu",
			json_pack("{s:o}", "timeout", json_sprintf("%sms", timeout)));
	else
		set(a, "boot_menu", "true");
}

int ask_boot(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const devices[][2] = {
		{"hd", "disk"}, {"cdrom", "cdrom"}, {"network", "network"}};
	static const char *const of_cmdline[] = {"extra_args", "kernel_args", "cmdline"};
	_cleanup_parts_ struct parts p = {0};
	_cleanup_json_ json_t *order = json_array();
	if (parts_of("--boot", text, NULL, &p, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(of_cmdline); i++) {
		_cleanup_free_ char *cmdline =
			take_long(&p, of_cmdline[i], boot_keys, ARRAY_SIZE(boot_keys));
		set(a, "cmdline", cmdline);
	}
	for (size_t i = 0; i < p.count; i++)
		for (size_t n = 0; n < ARRAY_SIZE(devices); n++)
			if (str_eq(p.keys[i], devices[n][0]) && !p.taken[i]) {
				p.taken[i] = true;
				json_array_append_new(order, json_string(devices[n][1]));
			}
	const char *machine = parts_take(&p, "machine"), *arch = parts_take(&p, "arch");
	if (take_firmware(a, &p, err) < 0 || (machine && ask_machine(a, machine, err) < 0) ||
		(arch && ask_arch(a, arch, err) < 0))
		return -1;
	take_menu(a, &p);
	set(a, "kernel", parts_take(&p, "kernel"));
	set(a, "initrd", parts_take(&p, "initrd"));
	if (json_array_size(order))
		json_object_set(a->definition, "boot", order);
	return parts_end(&p, err);
}

/* ---- what every guest has, or none ------------------------------------------------------------------------- */

static int ask_held(const char *option, const char *text, const char *const holds[], size_t count,
	const char *known, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	if (parts_of(option, text, NULL, &p, err) < 0)
		return -1;
	parts_hold(&p, holds, count);
	return parts_end(&p, err) < 0 ? err_hint(err, "roost has %s", known) : 0;
}

int ask_features(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"acpi=on", "apic=on", "pae=on", "vmport.state=off",
		"vmport=off", "smm.state=on", "smm=on", "kvm.hidden.state=off", "kvm_hidden=off"};
	(void)a;
	return ask_held("--features", text, holds, ARRAY_SIZE(holds),
		"acpi, apic and pae on, vmport off; smm with --boot uefi,loader.secure=yes", err);
}

int ask_clock(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"offset=utc", "hpet_present=off", "kvmclock_present=on",
		"rtc_present=on", "pit_present=on", "tsc_present=on", "rtc_tickpolicy=delay",
		"pit_tickpolicy=delay"};
	(void)a;
	return ask_held("--clock", text, holds, ARRAY_SIZE(holds),
		"offset=utc, and no HPET; the timers are as QEMU has them", err);
}

int ask_pm(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"suspend_to_mem.enabled=on", "suspend_to_mem=on",
		"suspend_to_disk.enabled=on", "suspend_to_disk=on"};
	(void)a;
	return ask_held("--pm", text, holds, ARRAY_SIZE(holds), "both on", err);
}

int ask_events(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const holds[] = {"on_poweroff=destroy"};
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--events", text, NULL, &p, err) < 0)
		return -1;
	const char *crash = parts_take(&p, "on_crash");
	set(a, "on_reboot", parts_take(&p, "on_reboot"));
	set(a, "on_crash", str_eq(crash, "preserve") ? "pause" : crash);
	parts_hold(&p, holds, ARRAY_SIZE(holds));
	return parts_end(&p, err);
}

/* ---- and the rest --------------------------------------------------------------------------------------------- */

int ask_check(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	if (parts_of("--check", text, NULL, &p, err) < 0)
		return -1;
	bool on = !parts_off(&p, "all");
	a->check_use = !parts_off(&p, "path_in_use") && on && a->check_use;
	a->check_size = !parts_off(&p, "disk_size") && on && a->check_size;
	a->check_mac = !parts_off(&p, "mac_in_use") && on && a->check_mac;
	parts_take(&p, "path_exists"); /* what is there is never written over */
	return parts_end(&p, err);
}

/* QEMU's own words, in order. */
int ask_qemu(struct install_ask *a, const char *text, struct err *err)
{
	json_t *list = json_object_get(a->definition, "qemu_args");
	if (str_starts(text, "env="))
		return parts_refuse("--qemu-commandline", "env", "QEMU's arguments", err);
	if (!list)
		json_object_set_new(a->definition, "qemu_args", list = json_array());
	_cleanup_free_ char *copy = xstrdup(str_starts(text, "args=") ? text + 5 : text);
	for (char *rest = copy; rest;) {
		char *word = word_of(&rest, ' ');
		if (*word)
			json_array_append_new(list, json_string(word));
	}
	return 0;
}
