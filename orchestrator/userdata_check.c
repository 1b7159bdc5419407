#include "orchestrator/userdata_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"

/* What may stand behind a key. */
enum {
	MAP = 1,
	LIST = 2,
	PLAIN = 4,   /* text, number, true or false: cloud-init makes one of the other */
	FLAG = 8,    /* true or false only */
	NOTHING = 16 /* no value at all */
};

static const struct known {
	const char *name;
	int kinds;
} known[] = {
	{"allow_public_ssh_keys", FLAG},
	{"ansible", MAP},
	{"apk_repos", MAP},
	{"apt", MAP},
	{"apt_pipelining", PLAIN},
	{"apt_reboot_if_required", FLAG},
	{"apt_update", FLAG},
	{"apt_upgrade", FLAG},
	{"authkey_hash", PLAIN},
	{"autoinstall", MAP},
	{"bootcmd", LIST},
	{"byobu_by_default", PLAIN},
	{"ca-certs", MAP},
	{"ca_certs", MAP},
	{"chef", MAP},
	{"chpasswd", MAP},
	{"cloud_config_modules", LIST},
	{"cloud_final_modules", LIST},
	{"cloud_init_modules", LIST},
	{"create_hostname_file", FLAG},
	{"datasource", MAP},
	{"datasource_list", LIST},
	{"debug", MAP},
	{"def_log_file", PLAIN},
	{"def_log_file_mode", PLAIN},
	{"device_aliases", MAP},
	{"disable_ec2_metadata", FLAG},
	{"disable_network_activation", FLAG},
	{"disable_root", FLAG},
	{"disable_root_opts", PLAIN},
	{"disk_setup", MAP},
	{"drivers", MAP},
	{"fan", MAP},
	{"final_message", PLAIN},
	{"fqdn", PLAIN},
	{"fs_setup", LIST},
	{"groups", LIST | MAP | PLAIN},
	{"growpart", MAP},
	{"grub-dpkg", MAP},
	{"grub_dpkg", MAP},
	{"hostname", PLAIN},
	{"keyboard", MAP},
	{"landscape", MAP},
	{"launch-index", PLAIN},
	{"locale", PLAIN},
	{"locale_configfile", PLAIN},
	{"log_cfgs", LIST},
	{"logcfg", PLAIN},
	{"lxd", MAP},
	{"manage_etc_hosts", PLAIN},
	{"manage_resolv_conf", FLAG},
	{"mcollective", MAP},
	{"merge_how", LIST | PLAIN | MAP},
	{"merge_type", LIST | PLAIN | MAP},
	{"migrate", FLAG},
	{"mount_default_fields", LIST},
	{"mounts", LIST},
	{"network", MAP},
	{"no_ssh_fingerprints", FLAG},
	{"ntp", MAP | NOTHING},
	{"output", MAP},
	{"package_reboot_if_required", FLAG},
	{"package_update", FLAG},
	{"package_upgrade", FLAG},
	{"packages", LIST},
	{"password", PLAIN},
	{"phone_home", MAP},
	{"power_state", MAP},
	{"prefer_fqdn_over_hostname", FLAG},
	{"preserve_hostname", FLAG},
	{"puppet", MAP},
	{"random_seed", MAP},
	{"reporting", MAP},
	{"resize_rootfs", PLAIN},
	{"resolv_conf", MAP},
	{"rh_subscription", MAP},
	{"rpi", MAP},
	{"rsyslog", LIST | MAP},
	{"runcmd", LIST},
	{"salt_minion", MAP},
	{"snap", MAP},
	{"spacewalk", MAP},
	{"ssh", MAP},
	{"ssh_authorized_keys", LIST},
	{"ssh_deletekeys", FLAG},
	{"ssh_fp_console_blacklist", LIST},
	{"ssh_genkeytypes", LIST},
	{"ssh_import_id", LIST},
	{"ssh_key_console_blacklist", LIST},
	{"ssh_keys", MAP},
	{"ssh_publish_hostkeys", MAP},
	{"ssh_pwauth", PLAIN},
	{"ssh_quiet_keygen", FLAG},
	{"swap", MAP},
	{"syslog_fix_perms", LIST | PLAIN},
	{"system_info", MAP},
	{"timezone", PLAIN},
	{"ubuntu_advantage", MAP},
	{"ubuntu_autoinstall", MAP},
	{"ubuntu_pro", MAP},
	{"updates", MAP},
	{"user", PLAIN | MAP},
	{"users", LIST | MAP | PLAIN},
	{"vendor_data", MAP},
	{"vendor_data2", MAP},
	{"wireguard", MAP | NOTHING},
	{"write_files", LIST},
	{"yum_repo_dir", PLAIN},
	{"yum_repos", MAP},
	{"zypper", MAP},
};

/* ---- the first line ---------------------------------------------------------------------------------- */

enum form { FORM_CONFIG, FORM_OTHER, FORM_UNKNOWN };

static enum form form_of(const char *text, size_t len)
{
	static const char *const others[] = {"#!", "#include", "#cloud-boothook", "#part-handler",
		"#upstart-job", "#cloud-config-archive", "#cloud-config-jsonp",
		"## template:", "Content-Type:", "MIME-Version:", "From "};
	size_t line = strcspn(text, "\r\n");
	while (line && (text[line - 1] == ' ' || text[line - 1] == '\t'))
		line--;
	if (line == strlen("#cloud-config") && strncmp(text, "#cloud-config", line) == 0)
		return FORM_CONFIG;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (strncasecmp(text, others[i], strlen(others[i])) == 0)
			return FORM_OTHER;
	bool gzip = len > 2 && (unsigned char)text[0] == 0x1f && (unsigned char)text[1] == 0x8b;
	return gzip ? FORM_OTHER : FORM_UNKNOWN;
}

static int no_header(const char *what, struct err *err)
{
	err_set(err, ERR_USAGE,
		"%s:1: the first line does not say what it is: cloud-init would pass it over",
		what);
	return err_hint(err, "begin it with #cloud-config, or #! if it is a script");
}

/* ---- the keys at the top ----------------------------------------------------------------------------- */

struct look {
	yaml_parser_t parser;
	yaml_event_t event; /* the last one; all zero: none */
	const char *what;
	struct userdata_strangers *strangers;
	bool seen[ARRAY_SIZE(known)];
};

static unsigned line_of(const struct look *l)
{
	return (unsigned)l->event.start_mark.line + 1;
}

static int next(struct look *l, struct err *err)
{
	yaml_event_delete(&l->event);
	if (yaml_parser_parse(&l->parser, &l->event))
		return 0;
	return err_set(err, ERR_USAGE, "%s:%zu: it is not well-formed YAML: %s", l->what,
		l->parser.problem_mark.line + 1,
		l->parser.problem ? l->parser.problem : "out of memory");
}

/* Passes over the value that begins with the last event, whatever is in it. */
static int pass_over(struct look *l, struct err *err)
{
	for (int depth = 0;;) {
		yaml_event_type_t type = l->event.type;
		depth += (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) -
			 (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT);
		if (depth == 0)
			return 0;
		if (next(l, err) < 0)
			return -1;
	}
}

static bool is_plain_word(const struct look *l, const char *const words[])
{
	const char *text = (const char *)l->event.data.scalar.value;
	for (size_t i = 0; l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && words[i]; i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* What the value that begins is, of the kinds above; of an alias anything. */
static int kinds_of(const struct look *l)
{
	static const char *const truths[] = {"true", "false", "yes", "no", "on", "off", NULL};
	static const char *const nothings[] = {"", "~", "null", NULL};
	switch (l->event.type) {
	case YAML_MAPPING_START_EVENT:
		return MAP;
	case YAML_SEQUENCE_START_EVENT:
		return LIST;
	case YAML_SCALAR_EVENT:
		if (is_plain_word(l, nothings))
			return NOTHING;
		return PLAIN | (is_plain_word(l, truths) ? FLAG : 0);
	default:
		return MAP | LIST | PLAIN | FLAG | NOTHING;
	}
}

static const char *wanted(int kinds)
{
	if (kinds & FLAG)
		return "true or false";
	if (kinds & MAP && kinds & LIST)
		return "a list or a mapping";
	if (kinds & LIST)
		return "a list";
	return kinds & MAP ? (kinds & PLAIN ? "a value or a mapping" : "a mapping")
			   : "a plain value";
}

static int unknown_key(struct look *l, const char *key, struct err *err)
{
	const char *names[ARRAY_SIZE(known) + 1] = {NULL};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		names[i] = known[i].name;
	const char *near = str_nearest(key, names);
	if (near) {
		err_set(err, ERR_USAGE, "%s:%u: cloud-init knows no key '%.60s'", l->what,
			line_of(l), key);
		return err_hint(err, "did you mean '%s'?", near);
	}
	struct userdata_strangers *s = l->strangers;
	if (s->count < USERDATA_STRANGERS_MAX) {
		s->lines[s->count] = line_of(l);
		char *name = s->names[s->count++];
		snprintf(name, sizeof(s->names[0]), "%s", key);
		for (char *p = name; *p; p++) /* it goes to a terminal */
			*p = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p;
	}
	return 0;
}

static int check_value(struct look *l, const struct known *k, unsigned line, struct err *err)
{
	if (k->kinds & kinds_of(l))
		return 0;
	return err_set(
		err, ERR_USAGE, "%s:%u: '%s' wants %s", l->what, line, k->name, wanted(k->kinds));
}

/* A key and its value; the last event is the key. */
static int check_pair(struct look *l, struct err *err)
{
	const struct known *k = NULL;
	unsigned line = line_of(l);
	if (l->event.type != YAML_SCALAR_EVENT)
		return err_set(err, ERR_USAGE, "%s:%u: a key is a text", l->what, line);
	const char *key = (const char *)l->event.data.scalar.value;
	for (size_t i = 0; i < ARRAY_SIZE(known) && !k; i++)
		k = str_eq(known[i].name, key) ? &known[i] : NULL;
	if (!k && unknown_key(l, key, err) < 0)
		return -1;
	if (k && l->seen[k - known])
		return err_set(err, ERR_USAGE, "%s:%u: '%s' is there twice: only one would count",
			l->what, line, k->name);
	if (k)
		l->seen[k - known] = true;
	if (next(l, err) < 0 || (k && check_value(l, k, line, err) < 0))
		return -1;
	return pass_over(l, err);
}

static int check_config(struct look *l, struct err *err)
{
	do { /* the stream's and the document's beginning */
		if (next(l, err) < 0)
			return -1;
	} while (l->event.type == YAML_STREAM_START_EVENT ||
		 l->event.type == YAML_DOCUMENT_START_EVENT);
	if (l->event.type == YAML_STREAM_END_EVENT || kinds_of(l) == NOTHING)
		return 0; /* a header alone */
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return err_set(err, ERR_USAGE,
			"%s:%u: a #cloud-config is a mapping: keys, each with its value", l->what,
			line_of(l));
	for (;;) {
		if (next(l, err) < 0)
			return -1;
		if (l->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (check_pair(l, err) < 0)
			return -1;
	}
	while (l->event.type != YAML_STREAM_END_EVENT)
		if (next(l, err) < 0)
			return -1;
	return 0;
}

int userdata_check(const char *what, const char *text, size_t len, struct userdata_strangers *out,
	struct err *err)
{
	struct look l = {.what = what, .strangers = out};
	*out = (struct userdata_strangers){.count = 0};
	enum form form = len ? form_of(text, len) : FORM_OTHER;
	if (form == FORM_UNKNOWN)
		return no_header(what, err);
	if (form == FORM_OTHER)
		return 0;
	if (!yaml_parser_initialize(&l.parser))
		return err_set(err, ERR_SYSTEM, "%s: out of memory", what);
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
	int result = check_config(&l, err);
	yaml_event_delete(&l.event);
	yaml_parser_delete(&l.parser);
	return result;
}

void userdata_tell(const char *what, const struct userdata_strangers *strangers)
{
	for (size_t i = 0; i < strangers->count; i++)
		fprintf(stderr, "roost: warning: %s:%u: cloud-init 22.4 knows no key '%s'\n", what,
			strangers->lines[i], strangers->names[i]);
}
