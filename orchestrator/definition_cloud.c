/* Definitions: what the files say that `cloud_init` names. */
#include "orchestrator/definition_yaml.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/password.h"
#include "orchestrator/record.h"
#include "orchestrator/seed_write.h"
#include "orchestrator/userdata_check.h"
#include "orchestrator/userdata_keys.h"

enum { KEY_FILE_MAX = 256 * 1024, SEED_FILE_MAX = 1024 * 1024 };

/* ---- public keys ----------------------------------------------------------------------------- */

/* One of the lists of keys. */
struct key_list {
	const char *name;
	char **keys; /* KEYS_MAX of them */
	size_t *count;
};

static int take_key(struct key_list *l, const char *text, const struct node *n, struct err *err)
{
	if (*l->count == KEYS_MAX)
		return node_error(n, err, "more than %d keys, with those in files", KEYS_MAX);
	l->keys[(*l->count)++] = xstrdup(text);
	return 0;
}

/* A line is a key, as in authorized_keys; comments and empty lines are passed over. */
static int take_key_file(struct key_list *l, const struct node *n, struct err *err)
{
	_cleanup_buf_ struct buf content = {0};
	_cleanup_free_ char *file = node_file(n, err);
	size_t before = *l->count;
	if (!file)
		return -1;
	if (file_read(AT_FDCWD, file, KEY_FILE_MAX, &content, err) < 0)
		return locate_file(n, err);
	if (strstr(content.data, "PRIVATE KEY")) {
		node_error(n, err, "'%s' is a private key, which must not leave its owner", file);
		return err_hint(err, "give the public one: %s.pub", file);
	}
	char *rest = content.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		if (check_public_key(line, n, err) < 0)
			return err_hint(err, "it was read from '%s'", file);
		if (take_key(l, line, n, err) < 0)
			return -1;
	}
	return *l->count > before ? 0 : node_error(n, err, "'%s' holds no public key", file);
}

static int read_keys(struct key_list *l, const struct node *cloud_init, struct err *err)
{
	const struct node *list = *l->count ? node_get(cloud_init, l->name) : NULL;
	char *given[KEYS_MAX] = {0};
	size_t count = *l->count;
	int result = 0;
	memcpy(given, l->keys, sizeof(given));
	memset(l->keys, 0, sizeof(given));
	*l->count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct node *n = list->children[i];
		if (result == 0)
			result = looks_like_public_key(given[i]) ? take_key(l, given[i], n, err)
								 : take_key_file(l, n, err);
		free(given[i]);
	}
	return result;
}

/* ---- the seed's own files ------------------------------------------------------------------- */

/* The public half of what user-data installs; NULL where that is not right. */
static char *public_of(const struct userdata_keys *k, struct err *err)
{
	_cleanup_json_ json_t *params = json_pack("{s:s}", "private", k->private);
	_cleanup_secret_ struct buf input = {0};
	char *line = json_line(params);
	buf_reserve(&input, strlen(line));
	buf_str(&input, line);
	explicit_bzero(line, strlen(line));
	free(line);
	_cleanup_json_ json_t *answer = seed_ask("roost-ssh", "pubkey", NULL, &input, err);
	return answer ? xstrdup(json_get_str(answer, "public", "")) : NULL;
}

/* Both are "TYPE BASE64", perhaps with a comment. */
static bool same_key(const char *a, const char *b)
{
	size_t len = strlen(a);
	return strncmp(a, b, len) == 0 && (b[len] == '\0' || b[len] == ' ');
}

/* The guest is known by the key that it will have. */
static int settle_host_key(struct cloud_init_def *c, const struct buf *user_data,
	const struct node *cloud_init, struct err *err)
{
	_cleanup_(userdata_keys_free) struct userdata_keys k = {0};
	userdata_keys_find(user_data->data, user_data->len, &k);
	if (!k.private) {
		if (k.no_vendor_data && !c->host_key)
			fprintf(stderr,
				"roost: warning: %s: vendor_data is switched off, which brings the host "
				"key that the guest is to be known by\n",
				c->user_data);
		return 0;
	}
	_cleanup_free_ char *public = public_of(&k, err);
	if (!public)
		return err_prefix(err, "%s:%u: ed25519_private", c->user_data, k.line);
	if (c->host_key && !same_key(public, c->host_key))
		return node_error(node_place(cloud_init, "host_key"), err,
			"'%s' has another one, %s", c->user_data, public);
	free(c->host_key);
	c->host_key = TAKE(public);
	return 0;
}

static int read_seed_file(
	const char *file, bool packed, const struct node *n, struct buf *text, struct err *err)
{
	_cleanup_free_ char *named = str_fmt("'%s'", file);
	if (file_read(AT_FDCWD, file, SEED_FILE_MAX, text, err) < 0 ||
		seed_check_text(named, text, packed, err) < 0)
		return locate_file(n, err);
	return 0;
}

static int check_seed_files(
	struct cloud_init_def *c, const struct node *cloud_init, struct err *err)
{
	const struct {
		const char *key, *file;
		bool parts; /* cloud-init makes parts of it: it may be a script, or compressed */
	} files[] = {
		{"user_data", c->user_data, true},
		{"vendor_data", c->vendor_data, true},
		{"meta_data", c->meta_data, false},
		{"network_config", c->network_config, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_secret_ struct buf text = {0};
		const struct node *n = node_place(cloud_init, files[i].key);
		const char *file = files[i].file;
		if (!file)
			continue;
		if (read_seed_file(file, files[i].parts, n, &text, err) < 0)
			return -1;
		if ((files[i].parts ? userdata_look(file, &text, err)
				    : userdata_check_map(file, text.data, text.len, err)) < 0)
			return -1;
		if (file == c->user_data && settle_host_key(c, &text, cloud_init, err) < 0)
			return -1;
	}
	return 0;
}

/* Nothing but the hash is kept; and the same password keeps the one that it has. */
static int take_password(struct definition *d, const struct node *cloud_init, struct err *err)
{
	struct cloud_init_def *c = &d->cloud_init;
	struct err ignored = ERR_INIT;
	if (!c->password_file)
		return 0;
	_cleanup_definition_ struct definition *was = record_read(d->name, &ignored);
	c->password_hash =
		password_hash_of(c->password_file, was ? was->cloud_init.password_hash : NULL, err);
	if (!c->password_hash)
		return locate_file(node_place(cloud_init, "password_file"), err);
	free(TAKE(c->password_file));
	return 0;
}

int definition_cloud_files(struct definition *d, const struct node *cloud_init, struct err *err)
{
	struct cloud_init_def *c = &d->cloud_init;
	struct key_list ours = {"keys", c->keys, &c->key_count},
			images = {"image_user_keys", c->image_user_keys, &c->image_user_key_count};
	if (check_seed_files(c, cloud_init, err) < 0 || take_password(d, cloud_init, err) < 0 ||
		read_keys(&ours, cloud_init, err) < 0)
		return -1;
	return read_keys(&images, cloud_init, err);
}
