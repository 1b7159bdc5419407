/*
 * Before the first start or snapshot of a clone: its system gets an identity of its own (images/sysprep_identity.h), a new
 * machine-id and new SSH host keys. Guests with a seed of roost's have theirs by that. Runs in a worker of roostd.
 *
 * Until then the clone is its original's copy, byte for byte, and its record tells which disks are to be seen to:
 * issued.renew. That is dropped last: whoever is killed on the way leaves it to the next start. What cannot be
 * changed offline keeps the identity that it has, and it is said; only a disk that fails fails the start.
 */
#include "orchestrator/roostd.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/df.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/record.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/sysprep_off.h"

enum { KEY_MS = 60000 };

struct renewal {
	struct sysprep s;
	bool done;  /* something was changed */
	char *said; /* why nothing was; NULL: nobody need know */
};

/* ---- what there is ------------------------------------------------------------------------------------- */

static bool is_one_of(const char *word, const char *const list[])
{
	for (; *list; list++)
		if (str_eq(word, *list))
			return true;
	return false;
}

/* By a quick look, without QEMU: an ext file system? *why: else what only Linux has is not changed; or NULL. */
static bool has_ext(const struct definition *d, char **why)
{
	static const char *const exts[] = {"ext2", "ext3", "ext4", NULL},
				 *const linux_only[] = {"xfs", "btrfs", "f2fs", "LVM2_member",
					 "crypto_LUKS", "linux_raid_member", NULL};
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *list = df_disks(d, false, &ignored);
	bool ext = !list; /* what cannot be read so is left to who opens it */
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		const char *type = json_get_str(one, "type", "");
		ext = ext || is_one_of(type, exts);
		if (!*why && is_one_of(type, linux_only))
			*why = str_fmt("%s on %s is not changed offline", type,
				json_get_str(one, "device", ""));
	}
	return ext;
}

static void leave(struct renewal *r, const char *why)
{
	r->said = str_fmt(
		"guest '%s' has the host keys and the machine-id of what it was cloned of: %s; `roost sysprep %s` takes them away",
		r->s.off.d->name, why, r->s.off.d->name);
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static int make_key(json_t *keys, const char *type, struct err *err)
{
	json_t *pair = ssh_ask("keygen", json_pack("{s:s}", "type", type), KEY_MS, err);
	return pair ? json_object_set_new(keys, type, pair) : -1;
}

static int make_keys(void *about, const json_t *wants, int to, struct err *err)
{
	_cleanup_json_ json_t *keys = json_object();
	_cleanup_secret_ struct buf line = {0};
	size_t i;
	json_t *type;
	(void)about;
	json_array_foreach (wants, i, type)
		if (make_key(keys, json_string_value(type) ?: "", err) < 0)
			return -1;
	line.data = json_line(keys);
	line.len = strlen(line.data);
	return write_all(to, line.data, line.len) < 0 ? err_errno(err, "roost-sysprep") : 0;
}

/* 1: it is done; 0: it cannot be, and s.said tells why; -1: a disk fails */
static int change(struct renewal *r, const char *why, struct err *err)
{
	struct sysprep *s = &r->s;
	if (off_tidy(&s->off, NULL, err) < 0 ||
		sysprep_put_tops(s, s->off.d->issued.renew, err) < 0 || sysprep_serve(s, err) < 0)
		return -1;
	if (sysprep_run(s, json_object(), "identity", -1, make_keys, NULL, err) < 0) {
		if (s->answered && err->kind == ERR_SYSTEM)
			return -1;
		leave(r, err->message);
		*err = (struct err)ERR_INIT;
		return 0;
	}
	if (!json_get_bool(s->answer, "system", false)) {
		if (why)
			leave(r, why);
		return 0;
	}
	r->done = json_array_size(json_object_get(s->answer, "changed"));
	return sysprep_take(s, err) < 0 ? -1 : 1;
}

/* The key that it has now is the one that it must show. */
static int settle(struct renewal *r, struct err *err)
{
	struct definition *d = r->s.off.d;
	const char *key = r->done ? json_get_str(r->s.answer, "host_key", NULL) : NULL;
	d->issued.renew[0] = '\0';
	if (key) {
		free(d->issued.host_key);
		d->issued.host_key = xstrdup(key);
	}
	failpoint("renew-changed");
	return record_write(r->s.off.dir, d, err);
}

static int renew(struct renewal *r, struct err *err)
{
	_cleanup_free_ char *why = NULL;
	const struct definition *d = r->s.off.d;
	failpoint("renew-begin");
	if (d->cloud_init.enabled) /* since it was cloned */
		return settle(r, err);
	if (has_ext(d, &why)) {
		if (change(r, why, err) < 0)
			return -1;
	} else if (why) {
		leave(r, why);
	}
	return settle(r, err);
}

static void tell(const struct renewal *r)
{
	const struct off *o = &r->s.off;
	if (!r->done && !r->said)
		return;
	_cleanup_json_ json_t *event =
		event_new("ROOST_RENEWED", json_pack("{s:s, s:b, s:s*}", "guest", o->d->name,
						   "renewed", r->done, "reason", r->said));
	event_log_append_as(o->dir, o->d->issued.keeper_uid, event);
}

int op_renew(const json_t *args, json_t **ret, struct err *err)
{
	struct renewal r = {.s = SYSPREP_NONE};
	const char *name = json_get_str(args, "name", "");
	int result = off_begin(&r.s.off, name, err);
	if (result == 0)
		result = renew(&r, err);
	if (result == 0) {
		tell(&r);
		*ret = json_pack("{s:s}", "identity-said", r.said ? r.said : "");
	} else {
		err_prefix(err, "guest '%s' gets no identity of its own", name);
	}
	free(r.said);
	sysprep_end(&r.s);
	off_end(&r.s.off, r.done ? result : -1);
	return result;
}
