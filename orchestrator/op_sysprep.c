/*
 * Sysprep of a guest that does not run: what makes it one and no other is removed from its disks, so that it
 * can be copied: offline (sysprep_off.h), or by its own shell (sysprep_boot.h). Runs in a worker of roostd.
 */
#include "orchestrator/roostd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "base/str.h"
#include "images/sysprep_ops.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/record.h"
#include "orchestrator/sysprep_boot.h"
#include "orchestrator/sysprep_off.h"

/* ---- both ways ----------------------------------------------------------------------------------------- */

/* 1; 0: there is no system on its disks that could be cleaned so; -1 */
static int offline(struct sysprep *s, const json_t *args, struct err *err)
{
	int stream = sysprep_files_stream(args);
	json_t *plan = json_pack("{s:O, s:O*}", "operations", json_object_get(args, "operations"),
		"delete", json_object_get(args, "delete"));
	if (sysprep_serve(s, err) < 0) {
		json_decref(plan);
		return -1;
	}
	if (sysprep_run(s, plan, "files", stream < 0 ? -1 : dup(stream), NULL, NULL, err) < 0)
		return -1;
	bool system = json_get_bool(s->answer, "system", false);
	json_object_del(s->answer, "system");
	return system;
}

static int booted(struct sysprep *s, const json_t *args, struct err *err)
{
	const json_t *operations = json_object_get(args, "operations");
	uint64_t copied = 0;
	if (!sysprep_can_boot(s->off.d)) {
		err_set(err, ERR_REFUSED, "nobody can log in to it");
		return err_hint(err, "give it `cloud_init`, or `ready: {user, identity}`");
	}
	if (sysprep_boot(&s->off, args, &s->server, &copied, err) < 0)
		return -1;
	json_t *changed = json_array(), *done = json_array(), *name;
	size_t i;
	for (i = 0; i < s->count; i++)
		json_array_append_new(changed, json_string(s->disks[i].target));
	json_array_foreach (operations, i, name)
		json_array_append_new(done, json_pack("{s:O}", "name", name));
	s->answer = json_pack(
		"{s:o, s:o, s:[]}", "changed", changed, "operations", done, "filesystems");
	if (sysprep_files_stream(args) >= 0)
		json_object_set_new(s->answer, "copied", json_integer((json_int_t)copied));
	return 0;
}

/* Offline if it can be; what there is nothing to be read of is booted, if somebody can log in. */
static int choose_way(struct sysprep *s, const json_t *args, const char **way, struct err *err)
{
	bool boot = json_get_bool(args, "boot", false) ||
		    json_array_size(json_object_get(args, "scripts"));
	*way = "offline";
	int done = boot ? 0 : offline(s, args, err);
	if (done)
		return done < 0 ? -1 : 0;
	if (!boot && !sysprep_can_boot(s->off.d))
		return err_set(err, ERR_NOT_FOUND,
			"there is no ext2, ext3 or ext4 with a system on its disks");
	sysprep_end(s);
	*way = "booted";
	return booted(s, args, err);
}

/* ---- the change ---------------------------------------------------------------------------------------- */

/*
 * Its identity has been seen to: its first start need not (op_renew.c). A key that this had put there is the guest's no
 * more.
 */
static int settle_record(struct sysprep *s, const json_t *args, struct err *err)
{
	struct definition *d = s->off.d;
	const json_t *operations = json_object_get(args, "operations");
	bool keys = json_has_text(operations, "ssh-hostkeys"),
	     id = json_has_text(operations, "machine-id");
	bool forget = keys && !d->cloud_init.enabled && d->issued.host_key;
	bool seen_to = (keys || id) && d->issued.renew[0];
	if (!forget && !seen_to)
		return 0;
	if (forget)
		free(TAKE(d->issued.host_key));
	if (seen_to)
		d->issued.renew[0] = '\0';
	return record_write(s->off.dir, d, err);
}

static int sysprep(struct sysprep *s, const json_t *args, struct err *err)
{
	const char *way;
	if (s->off.d->issued.template)
		return err_set(
			err, ERR_REFUSED, "it is a template, which others are cloned of as it is");
	if (off_tidy(&s->off, NULL, err) < 0 || sysprep_put_tops(s, NULL, err) < 0 ||
		choose_way(s, args, &way, err) < 0)
		return -1;
	json_object_set_new(s->answer, "way", json_string(way));
	failpoint("sysprep-cleaned");
	/* it is cancelled no later than here */
	if (signals_check(err) < 0)
		return -1;
	if (json_get_bool(args, "dry-run", false)) /* the new tops go, as when it fails */
		return 0;
	return sysprep_take(s, err) < 0 ? -1 : settle_record(s, args, err);
}

static void tell(const struct off *o, const json_t *args)
{
	_cleanup_json_ json_t *event =
		event_new("ROOST_COMMAND", event_command(o->d->name, "roost-sysprep",
						   json_incref(json_object_get(args, "by"))));
	event_log_append_as(o->dir, o->d->issued.keeper_uid, event);
}

static int check_delete(const json_t *args, struct err *err)
{
	size_t i;
	json_t *pattern;
	json_array_foreach (json_object_get(args, "delete"), i, pattern)
		if (sysprep_check_pattern(json_string_value(pattern) ?: "", err) < 0)
			return -1;
	return 0;
}

int op_sysprep(const json_t *args, json_t **ret, struct err *err)
{
	struct sysprep s = SYSPREP_NONE;
	int64_t began = clock_ms();
	bool dry = json_get_bool(args, "dry-run", false);
	int result = check_delete(args, err) < 0
			     ? -1
			     : off_begin(&s.off, json_get_str(args, "name", ""), err);
	if (result == 0)
		result = sysprep(&s, args, err);
	disk_server_end(&s.server);
	if (result < 0 && s.off.d)
		err_prefix(err, "guest '%s'", s.off.d->name);
	if (result == 0) {
		if (!dry)
			tell(&s.off, args);
		json_object_set_new(s.answer, "ms", json_integer(clock_ms() - began));
		*ret = json_incref(s.answer);
	}
	sysprep_end(&s);
	off_end(&s.off, dry ? -1 : result);
	return result;
}
