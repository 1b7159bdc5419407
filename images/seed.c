#include "images/seed.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define LABEL_MAX    63
#define HOSTNAME_MAX 253
#define USER_MAX     32

static const char pem_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
static const char pem_end[] = "-----END OPENSSH PRIVATE KEY-----\n";
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

static int refuse(struct err *err, const char *what, const char *why)
{
	return err_set(err, ERR_USAGE, "cloud-init seed: the %s %s", what, why);
}

/* ---- checks -------------------------------------------------------------------------------------- */

static int check_instance_id(const char *id, struct err *err)
{
	for (const char *p = id; *p; p++)
		if (*p < ' ' || *p > '~')
			return refuse(err, "instance id", "must be printable ASCII");
	return id[0] ? 0 : refuse(err, "instance id", "is empty");
}

int seed_check_hostname(const char *name, struct err *err)
{
	size_t label = 0;
	for (const char *p = name; *p; p++) {
		label = *p == '.' ? 0 : label + 1;
		bool inner = *p == '-' || *p == '.';
		if (!isalnum((unsigned char)*p) && *p != '_' && !(inner && p > name))
			return refuse(
				err, "host name", "may have letters, digits, '-', '_' and '.'");
		if (label > LABEL_MAX || (*p == '.' && (p[-1] == '.' || p[1] == '\0')))
			return refuse(err, "host name", "has a part that is empty or over 63 long");
	}
	if (name[0] == '\0' || strlen(name) > HOSTNAME_MAX)
		return refuse(err, "host name", "must have 1 to 253 characters");
	return 0;
}

static int check_user(const char *user, struct err *err)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz_";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
	if (!user[0] || !strchr(first, user[0]) || user[strspn(user, rest)] ||
		strlen(user) > USER_MAX)
		return refuse(err, "user", "must be [a-z_][a-z0-9_-]* of at most 32 characters");
	return 0;
}

int seed_check_text(const char *what, const struct buf *text, bool packed, struct err *err)
{
	const char *data = text->data ? text->data : "";
	if (packed && str_starts(data, "\x1f\x8b"))
		return 0;
	if (memchr(data, '\0', text->len))
		return err_set(err, ERR_USAGE, "%s has a NUL byte: it is not text", what);
	_cleanup_json_ json_t *utf8 = json_stringn(data, text->len);
	return utf8 ? 0 : err_set(err, ERR_USAGE, "%s is not UTF-8 text", what);
}

/* One line, UTF-8, and not the secret half by mistake. */
static int check_public_key(const char *key, const char *what, struct err *err)
{
	_cleanup_json_ json_t *text = json_string(key);
	if (!text)
		return refuse(err, what, "is not UTF-8");
	for (const char *p = key; *p; p++)
		if (iscntrl((unsigned char)*p) && *p != '\t')
			return refuse(err, what, "must be one line without control characters");
	if (strstr(key, "PRIVATE KEY"))
		return refuse(err, what, "is a private one: give the .pub file");
	if (!strchr(key, ' '))
		return refuse(err, what, "does not look like 'ssh-ed25519 AAAA...'");
	return 0;
}

/* Between its two marker lines a key has base64 and nothing else, so it needs no quoting. */
static int check_private_key(const char *pem, struct err *err)
{
	if (!str_starts(pem, pem_begin) || !str_ends(pem, pem_end))
		return refuse(err, "host key", "is not an OpenSSH private key");
	const char *p = pem + strlen(pem_begin);
	const char *end = pem + strlen(pem) - strlen(pem_end);
	while (p < end) {
		size_t len = strspn(p, base64);
		if (len == 0 || p[len] != '\n')
			return refuse(err, "host key", "has a line that is not base64");
		p += len + 1;
	}
	return p == end ? 0 : refuse(err, "host key", "is not an OpenSSH private key");
}

/* gzip is for what cloud-init makes parts of. */
static int check_texts(const struct seed *s, struct err *err)
{
	const struct {
		const char *what;
		const struct buf *text;
		bool packed;
	} texts[] = {
		{"user-data", s->user_data, true},
		{"meta-data", s->meta_data, false},
		{"vendor-data", s->vendor_data, true},
		{"network-config", s->network_config, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *what = str_fmt("cloud-init seed: the %s", texts[i].what);
		if (texts[i].text && seed_check_text(what, texts[i].text, texts[i].packed, err) < 0)
			return -1;
	}
	return 0;
}

static int check_password_hash(const char *hash, struct err *err)
{
	for (const char *p = hash; p && *p; p++)
		if (*p <= ' ' || *p > '~')
			return refuse(err, "password", "is not hashed");
	return 0;
}

static int check(const struct seed *s, struct err *err)
{
	if (check_instance_id(s->instance_id, err) < 0 || seed_check_hostname(s->hostname, err) < 0)
		return -1;
	if (!s->user_data && check_user(s->user, err) < 0)
		return -1;
	if (check_texts(s, err) < 0 || check_password_hash(s->password_hash, err) < 0)
		return -1;
	for (size_t i = 0; !s->user_data && i < s->key_count; i++)
		if (check_public_key(s->keys[i], "public key", err) < 0)
			return -1;
	for (size_t i = 0; !s->user_data && i < s->image_user_key_count; i++)
		if (check_public_key(s->image_user_keys[i], "public key", err) < 0)
			return -1;
	if (!s->host_key_private != !s->host_key_public)
		return refuse(err, "host key", "needs both its halves");
	if (!s->host_key_private)
		return 0;
	if (!str_starts(s->host_key_public, "ssh-ed25519 "))
		return refuse(err, "host key", "must be an ssh-ed25519 one");
	if (check_public_key(s->host_key_public, "host key's public half", err) < 0)
		return -1;
	return check_private_key(s->host_key_private, err);
}

/* ---- YAML ---------------------------------------------------------------------------------------- */

/* The code point at *p, which stands in valid UTF-8; *p moves past it. */
static unsigned decode(const char **p)
{
	unsigned char c = (unsigned char)*(*p)++;
	if (c < 0x80)
		return c;
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	unsigned code = c & (0x3fU >> more);
	for (; more; more--)
		code = code << 6 | ((unsigned char)*(*p)++ & 0x3fU);
	return code;
}

/* A double-quoted scalar in pure ASCII, so that no line break of Unicode's can end it. */
static void yaml_quoted(struct buf *b, const char *text)
{
	buf_str(b, "\"");
	for (const char *p = text; *p;) {
		unsigned code = decode(&p);
		if (code == '"' || code == '\\')
			buf_fmt(b, "\\%c", code);
		else if (code >= ' ' && code <= '~')
			buf_fmt(b, "%c", code);
		else
			buf_fmt(b, "\\U%08X", code);
	}
	buf_str(b, "\"");
}

static void yaml_field(struct buf *b, const char *key, const char *value)
{
	buf_fmt(b, "%s: ", key);
	yaml_quoted(b, value);
	buf_str(b, "\n");
}

static void yaml_begin(struct buf *b)
{
	/* room at once: a buffer that grows leaves copies of the key behind in freed memory */
	buf_reserve(b, 64 * 1024);
	buf_str(b, "#cloud-config\n");
}

static void add_host_key(struct buf *b, const struct seed *s)
{
	if (!s->host_key_private)
		return;
	buf_str(b, "ssh_keys:\n  ed25519_private: |\n");
	for (const char *line = s->host_key_private; *line;) {
		size_t len = strcspn(line, "\n") + 1;
		buf_fmt(b, "    %.*s", (int)len, line);
		line += len;
	}
	yaml_field(b, "  ed25519_public", s->host_key_public);
}

/* `indent`, and a line for each. */
static void yaml_list(struct buf *b, const char *indent, char *const texts[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_fmt(b, "%s- ", indent);
		yaml_quoted(b, texts[i]);
		buf_str(b, "\n");
	}
}

static void our_user_data(const struct seed *s, struct buf *b)
{
	yaml_begin(b);
	yaml_field(b, "hostname", s->hostname);
	buf_str(b, "users:\n");
	if (s->image_user_key_count) /* that is what cloud-init calls him */
		buf_str(b, "  - name: default\n    ssh_authorized_keys:\n");
	yaml_list(b, "      ", s->image_user_keys, s->image_user_key_count);
	yaml_field(b, "  - name", s->user);
	buf_fmt(b,
		"    shell: /bin/bash\n"
		"    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"
		"    lock_passwd: %s\n",
		s->password_hash ? "false" : "true");
	if (s->password_hash) /* unlike `passwd` it counts for a user, too, who is there already */
		yaml_field(b, "    hashed_passwd", s->password_hash);
	if (s->key_count)
		buf_str(b, "    ssh_authorized_keys:\n");
	yaml_list(b, "      ", s->keys, s->key_count);
	add_host_key(b, s);
	buf_str(b, "disable_root: false\nssh_pwauth: false\n");
	if (s->once)
		buf_str(b, "runcmd:\n  - [touch, /etc/cloud/cloud-init.disabled]\n");
}

/* Written even if it is empty: that it is there counts. */
static void as_written(const struct buf *text, struct buf *out)
{
	if (text)
		buf_add(out, text->data, text->len);
}

/* cloud-init takes an archive's parts by their first lines, but opens no further ones in it. */
static int check_joins(const struct buf *vendor_data, struct err *err)
{
	static const char *const plain[] = {"#cloud-config\n", "#cloud-config\r", "#cloud-config ",
		"#!", "#cloud-boothook", "#part-handler", "## template:"};
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (str_starts(vendor_data->data, plain[i]))
			return 0;
	refuse(err, "vendor-data", "cannot be joined with the guest's host key");
	return err_hint(
		err, "beside a user-data of its own it must be a #cloud-config or a script");
}

/* The host key, where it has no other place; and the caller's. */
static int make_vendor_data(const struct seed *s, struct buf *out, struct err *err)
{
	_cleanup_secret_ struct buf ours = {0};
	bool theirs = s->vendor_data && s->vendor_data->len;
	if (!s->user_data || !s->host_key_private) {
		as_written(s->vendor_data, out);
		return 0;
	}
	yaml_begin(theirs ? &ours : out);
	add_host_key(theirs ? &ours : out, s);
	if (!theirs)
		return 0;
	if (check_joins(s->vendor_data, err) < 0)
		return -1;
	buf_reserve(out, 64 * 1024 + 12 * s->vendor_data->len);
	buf_str(out, "#cloud-config-archive\n- content: ");
	yaml_quoted(out, ours.data);
	buf_str(out, "\n- content: ");
	yaml_quoted(out, s->vendor_data->data);
	buf_str(out, "\n");
	return 0;
}

int seed_build(const struct seed *s, struct seed_files *out, struct err *err)
{
	if (check(s, err) < 0)
		return -1;
	_cleanup_(seed_files_free) struct seed_files f = {0};
	if (make_vendor_data(s, &f.vendor_data, err) < 0)
		return -1;
	if (s->user_data)
		as_written(s->user_data, &f.user_data);
	else
		our_user_data(s, &f.user_data);
	if (s->meta_data) {
		as_written(s->meta_data, &f.meta_data);
	} else {
		yaml_field(&f.meta_data, "instance-id", s->instance_id);
		yaml_field(&f.meta_data, "local-hostname", s->hostname);
	}
	as_written(s->network_config, &f.network_config);
	*out = f;
	f = (struct seed_files){0};
	return 0;
}

/* ---- freeing, and the way to roost-image --------------------------------------------------------- */

void seed_files_free(struct seed_files *f)
{
	buf_wipe(&f->user_data);
	buf_wipe(&f->meta_data);
	buf_wipe(&f->vendor_data);
	buf_wipe(&f->network_config);
}

void seed_request(const struct seed_files *f, const struct seed_kind *kind, struct buf *out)
{
	const struct {
		const char *name;
		const struct buf *content;
	} files[] = {
		{"user-data", &f->user_data},
		{"meta-data", &f->meta_data},
		{"vendor-data", &f->vendor_data},
		{"network-config", &f->network_config},
	};
	_cleanup_json_ json_t *o =
		json_pack("{s:s, s:s}", "filesystem", kind->filesystem, "format", kind->format);
	size_t all = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		all += files[i].content->len;
		if (files[i].content->data)
			json_object_set_new(
				o, files[i].name, json_integer((json_int_t)files[i].content->len));
	}
	_cleanup_free_ char *line = json_line(o);
	buf_reserve(out, strlen(line) + 1 + all);
	buf_fmt(out, "%s\n", line);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		buf_add(out, files[i].content->data, files[i].content->len);
}
