#include "orchestrator/userdata_check.h"

#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/str.h"

/* What may stand behind a key; a scalar without quotes is what YAML 1.1 takes it for. */
enum {
	MAP = 1,
	LIST = 2,
	TEXT = 4,
	NUMBER = 8, /* a whole one */
	FLAG = 16,
	OTHER = 32, /* a fraction or a date */
	NOTHING = 64,
	PLAIN = TEXT | NUMBER | FLAG | OTHER /* where cloud-init's schema says nothing */
};

static const struct known {
	const char *name;
	int kinds;
	const char *words; /* the only texts, if not NULL: "one two" */
} known[] = {
	{"allow_public_ssh_keys", FLAG, NULL},
	{"ansible", MAP, NULL},
	{"apk_repos", MAP, NULL},
	{"apt", MAP, NULL},
	{"apt_pipelining", TEXT | NUMBER | FLAG, "none unchanged os"},
	{"apt_reboot_if_required", FLAG, NULL},
	{"apt_update", FLAG, NULL},
	{"apt_upgrade", FLAG, NULL},
	{"authkey_hash", TEXT, NULL},
	{"autoinstall", MAP, NULL},
	{"bootcmd", LIST, NULL},
	{"byobu_by_default", TEXT,
		"enable-system enable-user disable-system disable-user enable disable user system"},
	{"ca-certs", MAP, NULL},
	{"ca_certs", MAP, NULL},
	{"chef", MAP, NULL},
	{"chpasswd", MAP, NULL},
	{"cloud_config_modules", LIST, NULL},
	{"cloud_final_modules", LIST, NULL},
	{"cloud_init_modules", LIST, NULL},
	{"create_hostname_file", FLAG, NULL},
	{"datasource", MAP, NULL},
	{"datasource_list", LIST, NULL},
	{"debug", MAP, NULL},
	{"def_log_file", TEXT, NULL},
	{"def_log_file_mode", PLAIN, NULL},
	{"device_aliases", MAP, NULL},
	{"disable_ec2_metadata", FLAG, NULL},
	{"disable_network_activation", FLAG, NULL},
	{"disable_root", FLAG, NULL},
	{"disable_root_opts", TEXT, NULL},
	{"disk_setup", MAP, NULL},
	{"drivers", MAP, NULL},
	{"fan", MAP, NULL},
	{"final_message", TEXT, NULL},
	{"fqdn", TEXT, NULL},
	{"fs_setup", LIST, NULL},
	{"groups", LIST | MAP | TEXT, NULL},
	{"growpart", MAP, NULL},
	{"grub-dpkg", MAP, NULL},
	{"grub_dpkg", MAP, NULL},
	{"hostname", TEXT, NULL},
	{"keyboard", MAP, NULL},
	{"landscape", MAP, NULL},
	{"launch-index", PLAIN, NULL},
	{"locale", TEXT | FLAG, NULL},
	{"locale_configfile", TEXT, NULL},
	{"log_cfgs", LIST, NULL},
	{"logcfg", TEXT, NULL},
	{"lxd", MAP, NULL},
	{"manage_etc_hosts", FLAG | TEXT, "localhost template"},
	{"manage_resolv_conf", FLAG, NULL},
	{"mcollective", MAP, NULL},
	{"merge_how", LIST | TEXT | MAP, NULL},
	{"merge_type", LIST | TEXT | MAP, NULL},
	{"migrate", FLAG, NULL},
	{"mount_default_fields", LIST, NULL},
	{"mounts", LIST, NULL},
	{"network", MAP, NULL},
	{"no_ssh_fingerprints", FLAG, NULL},
	{"ntp", MAP | NOTHING, NULL},
	{"output", MAP, NULL},
	{"package_reboot_if_required", FLAG, NULL},
	{"package_update", FLAG, NULL},
	{"package_upgrade", FLAG, NULL},
	{"packages", LIST, NULL},
	{"password", TEXT, NULL},
	{"phone_home", MAP, NULL},
	{"power_state", MAP, NULL},
	{"prefer_fqdn_over_hostname", FLAG, NULL},
	{"preserve_hostname", FLAG, NULL},
	{"puppet", MAP, NULL},
	{"random_seed", MAP, NULL},
	{"reporting", MAP, NULL},
	{"resize_rootfs", FLAG | TEXT, "noblock"},
	{"resolv_conf", MAP, NULL},
	{"rh_subscription", MAP, NULL},
	{"rpi", MAP, NULL},
	{"rsyslog", MAP, NULL},
	{"runcmd", LIST, NULL},
	{"salt_minion", MAP, NULL},
	{"snap", MAP, NULL},
	{"spacewalk", MAP, NULL},
	{"ssh", MAP, NULL},
	{"ssh_authorized_keys", LIST, NULL},
	{"ssh_deletekeys", FLAG, NULL},
	{"ssh_fp_console_blacklist", LIST, NULL},
	{"ssh_genkeytypes", LIST, NULL},
	{"ssh_import_id", LIST, NULL},
	{"ssh_key_console_blacklist", LIST, NULL},
	{"ssh_keys", MAP, NULL},
	{"ssh_publish_hostkeys", MAP, NULL},
	{"ssh_pwauth", FLAG | TEXT, NULL},
	{"ssh_quiet_keygen", FLAG, NULL},
	{"swap", MAP, NULL},
	{"syslog_fix_perms", LIST | TEXT, NULL},
	{"system_info", MAP, NULL},
	{"timezone", TEXT, NULL},
	{"ubuntu_advantage", MAP, NULL},
	{"ubuntu_autoinstall", MAP, NULL},
	{"ubuntu_pro", MAP, NULL},
	{"updates", MAP, NULL},
	{"user", TEXT | MAP, NULL},
	{"users", LIST | MAP | TEXT, NULL},
	{"vendor_data", MAP, NULL},
	{"vendor_data2", MAP, NULL},
	{"wireguard", MAP | NOTHING, NULL},
	{"write_files", LIST, NULL},
	{"yum_repo_dir", TEXT, NULL},
	{"yum_repos", MAP, NULL},
	{"zypper", MAP, NULL},
};

/* ---- the first line ---------------------------------------------------------------------------------- */

/* "Name:" */
static bool is_header(const char *text)
{
	size_t len =
		strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-");
	return (len && text[len] == ':') || str_starts(text, "From ");
}

/* In the first 4096 bytes cloud-init looks for that; without it MIME is none to it. */
static bool has_mime_version(const char *text)
{
	const char *at = strcasestr(text, "mime-version:");
	return at && at - text <= 4096 - (ptrdiff_t)strlen("mime-version:");
}

enum userdata_form userdata_form_of(const char *text, size_t len)
{
	static const char *const others[] = {"#!", "#include", "#cloud-boothook", "#part-handler",
		"#upstart-job", "#cloud-config-jsonp", "## template: jinja"};
	size_t line = strcspn(text, "\r\n");
	while (line && (text[line - 1] == ' ' || text[line - 1] == '\t'))
		line--;
	if (line == strlen("#cloud-config") && strncmp(text, "#cloud-config", line) == 0)
		return FORM_CONFIG;
	if (strncasecmp(text, "#cloud-config-archive", strlen("#cloud-config-archive")) == 0)
		return FORM_ARCHIVE;
	if (is_header(text) && has_mime_version(text))
		return FORM_MIME;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (strncasecmp(text, others[i], strlen(others[i])) == 0)
			return FORM_OTHER;
	bool gzip = len > 2 && (unsigned char)text[0] == 0x1f && (unsigned char)text[1] == 0x8b;
	return gzip ? FORM_OTHER : FORM_UNKNOWN;
}

static int no_header(const char *what, const char *text, struct err *err)
{
	bool mime = strncasecmp(text, "Content-Type:", strlen("Content-Type:")) == 0;
	err_set(err, ERR_USAGE, "%s:1: %s: cloud-init would pass it over", what,
		mime ? "its MIME headers lack MIME-Version"
		     : "the first line does not say what it is");
	return err_hint(err, mime ? "begin it with a line MIME-Version: 1.0"
				  : "begin it with #cloud-config, or #! if it is a script");
}

/* ---- the keys at the top ----------------------------------------------------------------------------- */

struct look {
	yaml_parser_t parser;
	yaml_event_t event; /* the last one; all zero: none */
	const char *what;
	unsigned above, line; /* userdata_part */
	struct userdata_strangers *strangers;
	bool seen[ARRAY_SIZE(known)];
};

static unsigned line_of(const struct look *l)
{
	return (unsigned)l->event.start_mark.line + 1 + l->above;
}

static int next(struct look *l, struct err *err)
{
	yaml_event_delete(&l->event);
	if (yaml_parser_parse(&l->parser, &l->event))
		return 0;
	return err_set(err, ERR_USAGE, "%s:%zu: it is not well-formed YAML: %s", l->what,
		l->parser.problem_mark.line + 1 + l->above,
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

/* What a scalar without quotes is: the expressions of https://yaml.org/type/, as PyYAML has them. */
static const struct {
	int kind;
	const char *expression;
} resolved[] = {
	{NOTHING, "^(~|null|Null|NULL)?$"},
	{FLAG, "^(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"},
	{NUMBER,
		"^([-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0[0-7_]*|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])*)$"},
	{OTHER, "^([-+]?[0-9][0-9_]*\\.[0-9_]*([eE][-+][0-9]+)?|\\.[0-9][0-9_]*([eE][-+][0-9]+)?|"
		"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\\.[0-9_]*|[-+]?\\.(inf|Inf|INF)|\\.(nan|NaN|NAN))$"},
	{OTHER, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$|^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:"
		"[0-9]{2}:[0-9]{2}(\\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?$"},
};

static int kind_of_plain(const char *text)
{
	int kind = TEXT;
	for (size_t i = 0; kind == TEXT && i < ARRAY_SIZE(resolved); i++) {
		regex_t r;
		if (regcomp(&r, resolved[i].expression, REG_EXTENDED | REG_NOSUB) != 0)
			continue;
		if (regexec(&r, text, 0, NULL, 0) == 0)
			kind = resolved[i].kind;
		regfree(&r);
	}
	return kind;
}

/* What the value that begins is; of an alias, or with a tag of its own, anything. */
static int kinds_of(const struct look *l)
{
	switch (l->event.type) {
	case YAML_MAPPING_START_EVENT:
		return MAP;
	case YAML_SEQUENCE_START_EVENT:
		return LIST;
	case YAML_SCALAR_EVENT:
		if (l->event.data.scalar.tag)
			break;
		return l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE
			       ? kind_of_plain((const char *)l->event.data.scalar.value)
			       : TEXT;
	default:
		break;
	}
	return ~0;
}

static bool is_word(const char *text, const char *words)
{
	size_t len = strlen(text);
	for (const char *w = words; *w; w += strcspn(w, " "), w += strspn(w, " "))
		if (strcspn(w, " ") == len && strncmp(w, text, len) == 0)
			return true;
	return false;
}

/* "a list, a mapping or a text" */
static void wanted(const struct known *k, struct buf *out)
{
	static const struct {
		int kind;
		const char *name;
	} names[] = {{LIST, "a list"}, {MAP, "a mapping"}, {TEXT, "a text"}, {NUMBER, "a number"},
		{FLAG, "true or false"}};
	int left = k->kinds & (LIST | MAP | TEXT | NUMBER | FLAG);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(left & names[i].kind))
			continue;
		left &= ~names[i].kind;
		buf_fmt(out, "%s%s", out->len ? (left ? ", " : " or ") : "", names[i].name);
		if (k->words && names[i].kind == TEXT)
			buf_fmt(out, " of: %s", k->words);
	}
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
		s->lines[s->count] = l->line ? l->line : line_of(l);
		char *name = s->names[s->count++];
		snprintf(name, sizeof(s->names[0]), "%s", key);
		for (char *p = name; *p; p++) /* it goes to a terminal */
			*p = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p;
	}
	return 0;
}

static int check_value(struct look *l, const struct known *k, unsigned line, struct err *err)
{
	int kinds = kinds_of(l);
	bool scalar = l->event.type == YAML_SCALAR_EVENT;
	const char *text = scalar ? (const char *)l->event.data.scalar.value : "";
	if (k->kinds & kinds && !(kinds == TEXT && k->words && !is_word(text, k->words)))
		return 0;
	_cleanup_buf_ struct buf right = {0};
	wanted(k, &right);
	err_set(err, ERR_USAGE, "%s:%u: '%s' wants %s", l->what, line, k->name, right.data);
	if (k->kinds & TEXT && !k->words && kinds & (NUMBER | FLAG | OTHER))
		err_hint(err, "put it in quotes: \"%.60s\"", text);
	return -1;
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

/* Up to the first value; 0: there is none. */
static int begin(struct look *l, struct err *err)
{
	do { /* the stream's and the document's beginning */
		if (next(l, err) < 0)
			return -1;
	} while (l->event.type == YAML_STREAM_START_EVENT ||
		 l->event.type == YAML_DOCUMENT_START_EVENT);
	return l->event.type != YAML_STREAM_END_EVENT && kinds_of(l) != NOTHING;
}

static int finish(struct look *l, struct err *err)
{
	while (l->event.type != YAML_STREAM_END_EVENT)
		if (next(l, err) < 0)
			return -1;
	return 0;
}

static int check_config(struct look *l, struct err *err)
{
	int begins = begin(l, err);
	if (begins <= 0)
		return begins; /* 0: a header alone */
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return err_set(err, ERR_USAGE,
			"%s:%u: a #cloud-config is a mapping: keys, each with its value", l->what,
			line_of(l));
	for (;;) {
		if (next(l, err) < 0)
			return -1;
		if (l->event.type == YAML_MAPPING_END_EVENT)
			return finish(l, err);
		if (check_pair(l, err) < 0)
			return -1;
	}
}

static int check_map(struct look *l, struct err *err)
{
	int begins = begin(l, err);
	if (begins <= 0)
		return begins;
	if (l->event.type != YAML_MAPPING_START_EVENT)
		return err_set(err, ERR_USAGE, "%s:%u: it is no mapping: keys, each with its value",
			l->what, line_of(l));
	return finish(l, err);
}

static int run(struct look *l, int (*check)(struct look *l, struct err *err), const char *text,
	size_t len, struct err *err)
{
	if (!yaml_parser_initialize(&l->parser))
		return err_set(err, ERR_SYSTEM, "%s: out of memory", l->what);
	yaml_parser_set_input_string(&l->parser, (const unsigned char *)text, len);
	int result = check(l, err);
	yaml_event_delete(&l->event);
	yaml_parser_delete(&l->parser);
	return result;
}

int userdata_check_map(const char *what, const char *text, size_t len, struct err *err)
{
	struct look l = {.what = what};
	return run(&l, check_map, text, len, err);
}

int userdata_check_config(
	const struct userdata_part *p, struct userdata_strangers *out, struct err *err)
{
	struct look l = {.what = p->what, .above = p->above, .line = p->line, .strangers = out};
	return run(&l, check_config, p->text, p->len, err);
}

int userdata_check(const char *what, const char *text, size_t len, struct userdata_strangers *out,
	struct err *err)
{
	const struct userdata_part whole = {.what = what, .text = text, .len = len};
	*out = (struct userdata_strangers){.count = 0};
	switch (len ? userdata_form_of(text, len) : FORM_OTHER) {
	case FORM_CONFIG:
		return userdata_check_config(&whole, out, err);
	case FORM_ARCHIVE:
		return userdata_check_archive(what, text, len, out, err);
	case FORM_MIME:
		return userdata_check_mime(what, text, len, out, err);
	case FORM_OTHER:
		return 0;
	default:
		return no_header(what, text, err);
	}
}

int userdata_look(const char *file, const struct buf *text, struct err *err)
{
	struct userdata_strangers strangers;
	if (userdata_check(file, text->data, text->len, &strangers, err) < 0)
		return -1;
	for (size_t i = 0; i < strangers.count; i++)
		fprintf(stderr, "roost: warning: %s:%u: cloud-init 22.4 knows no key '%s'\n", file,
			strangers.lines[i], strangers.names[i]);
	return 0;
}
