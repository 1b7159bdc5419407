#include "images/sysprep_identity.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "images/ext_file.h"
#include "images/ext_write.h"

enum { KEYS_MAX = 65536, FILE_MAX = 65536, KEY_NAME_MAX = 64 };

/* The first that there is, and that the server shows, is the one by which the system is known. */
static const char *const kinds[] = {"ed25519", "ecdsa", "rsa"};

/* A key of one kind, if the system has it. */
struct host_key {
	bool there;
	char type[KEY_NAME_MAX]; /* as SSH names it */
};

/* ---- the machine's id ---------------------------------------------------------------------------------- */

static int drop_machine_id(struct ext_tree *t, struct err *err)
{
	static const struct sysprep_row rows[] = {{ACT_EMPTY, "/etc/machine-id", NULL},
		{ACT_PLAIN, "/var/lib/dbus/machine-id", NULL}};
	_cleanup_buf_ struct buf text = {0};
	if (tree_read(t, "/etc/machine-id", FILE_MAX, &text, err) < 0)
		return -1;
	/* systemd's word for one that has never booted: empty means less than that */
	size_t first = text.data && str_starts(text.data, "uninitialized");
	for (size_t i = first; i < ARRAY_SIZE(rows); i++)
		if (tree_do(t, &rows[i], err) < 0)
			return -1;
	return 0;
}

/* ---- which keys there are ------------------------------------------------------------------------------ */

static char *path_of(const char *kind, const char *suffix)
{
	return str_fmt("/etc/ssh/ssh_host_%s_key%s", kind, suffix);
}

static bool is_file(struct ext_tree *t, const char *path, ext2_ino_t *ino, struct ext_volume **v)
{
	struct ext2_inode inode;
	*ino = tree_find(t, path, v);
	return *ino && ext2fs_read_inode((*v)->fs, *ino, &inode) == 0 &&
	       LINUX_S_ISREG(inode.i_mode);
}

/* One on a larger curve stays so. */
static int find_curve(struct ext_tree *t, struct host_key *k, struct err *err)
{
	static const char *const larger[] = {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"};
	_cleanup_free_ char *path = path_of("ecdsa", ".pub");
	_cleanup_buf_ struct buf text = {0};
	if (tree_read(t, path, FILE_MAX, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(larger); i++)
		if (text.data && str_starts(text.data, larger[i]))
			snprintf(k->type, sizeof(k->type), "%s", larger[i]);
	return 0;
}

static int find_keys(struct ext_tree *t, struct host_key keys[], json_t *wants, struct err *err)
{
	static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct ext_volume *v;
		ext2_ino_t ino;
		_cleanup_free_ char *path = path_of(kinds[i], "");
		keys[i].there = is_file(t, path, &ino, &v);
		if (!keys[i].there)
			continue;
		snprintf(keys[i].type, sizeof(keys[i].type), "%s", types[i]);
		if (str_eq(kinds[i], "ecdsa") && find_curve(t, &keys[i], err) < 0)
			return -1;
		json_array_append_new(wants, json_string(keys[i].type));
	}
	return 0;
}

/* Keys that nobody makes any more, and what was signed for the old ones. */
static int drop_other_keys(struct ext_tree *t, struct err *err)
{
	static const struct sysprep_row rows[] = {
		{ACT_FILES, "/etc/ssh/ssh_host_!(@(ed25519|ecdsa|rsa)_key?(.pub))", NULL},
		{ACT_FILES, "/etc/dropbear/*_host_*", NULL}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (tree_do(t, &rows[i], err) < 0)
			return -1;
	return 0;
}

/* ---- the new ones -------------------------------------------------------------------------------------- */

/* A line, which ends with the stream at the latest. */
static json_t *read_line(int fd, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	buf_reserve(&text, KEYS_MAX);
	for (ssize_t n = 1; n > 0 && text.len<KEYS_MAX; text.len += n> 0 ? (size_t)n : 0)
		n = read(fd, text.data + text.len, KEYS_MAX - text.len);
	json_t *keys = json_text_parse(text.data, text.len, err);
	if (!keys)
		err_prefix(err, "the new host keys");
	return keys;
}

static json_t *ask(json_t *wants, int fd, struct err *err)
{
	_cleanup_json_ json_t *question = json_pack("{s:O}", "wants", wants);
	_cleanup_free_ char *line = json_line(question);
	dprintf(STDOUT_FILENO, "%s\n", line);
	return read_line(fd, err);
}

/* The file keeps its owner, its mode and its labels. */
static int put_private(struct ext_tree *t, const char *kind, const char *text, struct err *err)
{
	struct ext_volume *v;
	ext2_ino_t ino;
	_cleanup_free_ char *path = path_of(kind, "");
	if (!is_file(t, path, &ino, &v))
		return err_set(err, ERR_REFUSED, "'%s' has gone", path);
	return ext_put_text(v, ino, text, err) < 0 ? err_prefix(err, "'%s'", path) : 0;
}

struct text {
	const char *rest;
};

static ssize_t read_text(void *about, void *data, size_t len, struct err *err)
{
	struct text *text = about;
	size_t n = strnlen(text->rest, len);
	(void)err;
	memcpy(data, text->rest, n);
	text->rest += n;
	return (ssize_t)n;
}

static int put_public(struct ext_tree *t, const char *kind, const char *key, struct err *err)
{
	struct ext_volume *v;
	ext2_ino_t ino;
	_cleanup_free_ char *path = path_of(kind, ".pub"), *line = str_fmt("%s\n", key);
	if (is_file(t, path, &ino, &v))
		return ext_put_text(v, ino, line, err) < 0 ? err_prefix(err, "'%s'", path) : 0;
	ino = tree_find(t, "/etc/ssh", &v);
	return ino ? ext_put_file(v, ino, strrchr(path, '/') + 1, 0644, read_text,
			     &(struct text){line}, err)
		   : err_set(err, ERR_REFUSED, "'/etc/ssh' has gone");
}

static int put_keys(
	struct ext_tree *t, const struct host_key keys[], const json_t *made, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *pair = json_object_get(made, keys[i].type);
		const char *private = json_get_str(pair, "private", NULL),
			   *public = json_get_str(pair, "public", NULL);
		if (!keys[i].there)
			continue;
		if (!private || !public)
			return err_set(err, ERR_USAGE, "there is no new key of the type '%s'",
				keys[i].type);
		if (put_private(t, kinds[i], private, err) < 0 ||
			put_public(t, kinds[i], public, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the one that is shown ----------------------------------------------------------------------------- */

/* Without a line about it sshd shows all that there are. */
static bool is_shown(char *config, const char *kind)
{
	_cleanup_free_ char *copy = xstrdup(config), *path = path_of(kind, "");
	char *rest = copy, *line;
	bool any = false;
	while ((line = strsep(&rest, "\n"))) {
		char *word = strsep(&line, " \t=");
		if (!word || strcasecmp(word, "HostKey") != 0)
			continue;
		any = true;
		if (line && strstr(line, path))
			return true;
	}
	return !any;
}

static int tell_shown(struct ext_tree *t, const struct host_key keys[], const json_t *made,
	json_t *report, struct err *err)
{
	_cleanup_buf_ struct buf config = {0};
	if (tree_read(t, "/etc/ssh/sshd_config", FILE_MAX, &config, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (keys[i].there && is_shown(config.data ? config.data : (char[]){""}, kinds[i])) {
			const json_t *pair = json_object_get(made, keys[i].type);
			json_object_set(report, "host_key", json_object_get(pair, "public"));
			return 0;
		}
	return 0;
}

int sysprep_identity(struct ext_tree *t, int fd, json_t *report, struct err *err)
{
	struct host_key keys[ARRAY_SIZE(kinds)] = {0};
	_cleanup_json_ json_t *wants = json_array(), *made = NULL;
	if (drop_machine_id(t, err) < 0 || drop_other_keys(t, err) < 0 ||
		find_keys(t, keys, wants, err) < 0)
		return -1;
	if (!json_array_size(wants))
		return 0;
	made = ask(wants, fd, err);
	if (!made || put_keys(t, keys, made, err) < 0)
		return -1;
	return tell_shown(t, keys, made, report, err);
}
