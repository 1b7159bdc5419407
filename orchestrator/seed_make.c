/*
 * A guest's seed, made by two children: roost-ssh makes keys, roost-image writes the ISO 9660
 * image. What is secret goes to them over pipes.
 *
 * The private host key is kept in the guest's folder (host_key, 0600) so that a changed definition
 * makes a new seed with the same key; the public one is in the record, and every connection is
 * checked against it. The instance's own key, ssh/id_ed25519, serves whoever may use the instance.
 */
#include "orchestrator/seed_make.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/seed.h"
#include "orchestrator/paths.h"
#include "orchestrator/seed_write.h"

enum { TEXT_MAX = 1024 * 1024, IDENTITY_KEYS = KEYS_MAX + 1 };

/* ---- keys ----------------------------------------------------------------------------------------- */

static json_t *new_key(const char *comment, struct err *err)
{
	_cleanup_json_ json_t *params = json_pack("{s:s}", "comment", comment);
	_cleanup_buf_ struct buf input = {0};
	_cleanup_free_ char *line = json_line(params);
	buf_str(&input, line);
	return seed_ask("roost-ssh", "keygen", NULL, &input, err);
}

static int write_pair(int dir, const char *name, const json_t *key, bool shared, struct err *err)
{
	const char *private = json_get_str(key, "private", ""),
		   *public = json_get_str(key, "public", "");
	_cleanup_free_ char *public_name = str_fmt("%s.pub", name);
	_cleanup_free_ char *line = str_fmt("%s\n", public);
	if (file_replace(dir, public_name, line, strlen(line), true, err) < 0)
		return -1;
	return shared ? file_replace(dir, name, private, strlen(private), true, err)
		      : file_replace_secret(dir, name, private, strlen(private), true, err);
}

char *instance_key_path(struct err *err)
{
	const char *state = paths_state(err);
	if (!state)
		return NULL;
	_cleanup_free_ char *folder = str_fmt("%s/ssh", state);
	_cleanup_free_ char *path = str_fmt("%s/id_ed25519", folder);
	_cleanup_close_ int dir = dir_make_shared(folder, err);
	if (dir < 0)
		return NULL;
	if (faccessat(dir, "id_ed25519", F_OK, 0) < 0) {
		/* two first guests, defined at the same moment, get one key */
		_cleanup_close_ int lock = file_lock_wait(dir, "lock", err);
		if (lock < 0)
			return NULL;
		if (faccessat(dir, "id_ed25519", F_OK, 0) == 0)
			return TAKE(path);
		_cleanup_json_ json_t *key = new_key("roost", err);
		if (!key || write_pair(dir, "id_ed25519", key, true, err) < 0)
			return NULL;
	}
	return TAKE(path);
}

static char *read_line(int dir, const char *file, struct err *err)
{
	struct buf text = {0};
	if (file_read(dir, file, TEXT_MAX, &text, err) < 0) {
		buf_free(&text);
		return NULL;
	}
	text.data[strcspn(text.data, "\n")] = '\0';
	return buf_steal(&text);
}

static char *instance_public_key(struct err *err)
{
	_cleanup_free_ char *path = instance_key_path(err);
	_cleanup_free_ char *public = path ? str_fmt("%s.pub", path) : NULL;
	return public ? read_line(AT_FDCWD, public, err) : NULL;
}

/* What is ours, in a folder that is the keeper's: what he may have put in its place is not read. */
static int read_own(int dir, const char *file, struct buf *out, struct err *err)
{
	_cleanup_close_ int fd = file_open_owned(dir, file, O_RDONLY, geteuid(), err);
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", fd);
	return fd < 0 ? -1 : file_read(AT_FDCWD, self, TEXT_MAX, out, err);
}

static void set_issued(struct definition *d, const char *public)
{
	char *key = xstrdup(public);
	free(d->issued.host_key);
	d->issued.host_key = key;
}

/* The guest's host key: made once, when first needed. */
static int own_host_key(int dir, struct definition *d, struct buf *private, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf public = {0};
	if (!d->issued.host_key || faccessat(dir, "host_key", F_OK, 0) < 0) {
		_cleanup_json_ json_t *key = new_key(d->name, err);
		if (!key || write_pair(dir, "host_key", key, false, err) < 0)
			return -1;
		set_issued(d, json_get_str(key, "public", ""));
	} else if (read_own(dir, "host_key.pub", &public, &ignored) == 0) {
		/* it was perhaps one of the user's meanwhile */
		public.data[strcspn(public.data, "\n")] = '\0';
		set_issued(d, public.data);
	}
	return read_own(dir, "host_key", private, err);
}

/* By which the guest is known: what its user-data installs, else ours. */
static int settle_host_key(int dir, struct definition *d, struct buf *private, struct err *err)
{
	if (!d->cloud_init.host_key)
		return own_host_key(dir, d, private, err);
	set_issued(d, d->cloud_init.host_key);
	return 0;
}

/* ---- the seed ------------------------------------------------------------------------------------- */

static void mix(uint64_t *hash, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++) /* FNV-1a: no secret, only a difference */
		*hash = (*hash ^ ((const unsigned char *)data)[i]) * 1099511628211ULL;
}

static void mix_text(uint64_t *hash, const char *text)
{
	mix(hash, text, strlen(text) + 1);
}

static void mix_file(uint64_t *hash, const char *name, const struct buf *content)
{
	if (!content)
		return;
	mix_text(hash, name);
	mix(hash, content->data, content->len);
}

/* What decides the content, so that cloud-init runs anew when it changes, and only then. */
static char *instance_id(const struct definition *d, const struct seed *s)
{
	uint64_t hash = 14695981039346656037ULL;
	mix_text(&hash, s->hostname);
	mix_text(&hash, s->user);
	mix_text(&hash, s->user_data ? s->user_data->data : "");
	for (size_t i = 0; i < s->key_count; i++)
		mix_text(&hash, s->keys[i]);
	for (size_t i = 0; i < s->image_user_key_count; i++)
		mix_text(&hash, s->image_user_keys[i]);
	mix_file(&hash, "vendor-data", s->vendor_data);
	mix_file(&hash, "network-config", s->network_config);
	if (s->password_hash)
		mix_text(&hash, s->password_hash);
	return str_fmt("%s-%08llx", d->uuid, (unsigned long long)(hash & 0xffffffff));
}

/* Before the record, which is flushed with the folder, says that it is there. */
static int flush(int dir, const char *file, struct err *err)
{
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 || fsync(fd) < 0 ? err_errno(err, "cannot write '%s'", file) : 0;
}

static int write_image(int dir, const struct seed *s, struct err *err)
{
	struct seed_files files = {0};
	char folder[4096] = "";
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", dir);
	/* the child needs the folder's name, which is a temporary one for a new guest */
	if (readlink(self, folder, sizeof(folder) - 1) < 0)
		return err_errno(err, "cannot tell the guest's folder");
	_cleanup_free_ char *out = str_fmt("%s/seed.iso", folder);
	if (seed_build(s, &files, err) < 0)
		return -1;
	int result = seed_write(&files, &(struct seed_kind){"iso9660", "raw"}, out, err);
	seed_files_free(&files);
	return result < 0 ? -1 : flush(dir, "seed.iso", err);
}

struct own_files {
	struct buf user_data, meta_data, vendor_data, network_config;
};

static void own_files_free(struct own_files *f)
{
	buf_wipe(&f->user_data);
	buf_wipe(&f->meta_data);
	buf_wipe(&f->vendor_data);
	buf_wipe(&f->network_config);
}

/* *out is NULL without one. */
static int read_file(const char *file, struct buf *text, const struct buf **out, struct err *err)
{
	if (file && file_read(AT_FDCWD, file, TEXT_MAX, text, err) < 0)
		return -1;
	*out = file ? text : NULL;
	return 0;
}

static int read_files(
	const struct cloud_init_def *c, struct own_files *f, struct seed *s, struct err *err)
{
	if (read_file(c->user_data, &f->user_data, &s->user_data, err) < 0 ||
		read_file(c->meta_data, &f->meta_data, &s->meta_data, err) < 0 ||
		read_file(c->vendor_data, &f->vendor_data, &s->vendor_data, err) < 0)
		return -1;
	return read_file(c->network_config, &f->network_config, &s->network_config, err);
}

int seed_make(int guest_dir, struct definition *d, struct err *err)
{
	const struct cloud_init_def *c = &d->cloud_init;
	_cleanup_free_ char *own = instance_public_key(err), *id = NULL;
	_cleanup_secret_ struct buf private = {0};
	_cleanup_(own_files_free) struct own_files files = {0};
	char *keys[IDENTITY_KEYS];
	struct seed s = {.hostname = c->hostname ? c->hostname : d->name,
		.user = c->user ? c->user : "roost",
		.keys = keys,
		.image_user_keys = c->image_user_keys,
		.image_user_key_count = c->image_user_key_count,
		.once = c->once,
		.password_hash = c->password_hash};
	if (!own || settle_host_key(guest_dir, d, &private, err) < 0 ||
		read_files(c, &files, &s, err) < 0)
		return -1;
	for (size_t i = 0; i < c->key_count; i++)
		keys[s.key_count++] = c->keys[i];
	keys[s.key_count++] = own;
	s.host_key_private = private.data;
	s.host_key_public = private.data ? d->issued.host_key : NULL;
	s.instance_id = id = instance_id(d, &s);
	return write_image(guest_dir, &s, err);
}
