#include "orchestrator/look.h"

#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/media.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

int look_at(struct look *l, const char *word, struct err *err)
{
	if (orphans_exist())
		orphans_adopt(err); /* what it cannot do shows as `unresponsive` */
	return guest_find(word, &l->f, err) < 0 ? -1 : guest_look(&l->f, &l->s, err);
}

bool look_runs(const struct look *l)
{
	return l->s.number != 0;
}

int look_refuse_stopped(const struct look *l, struct err *err)
{
	if (look_runs(l))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' is not running", l->f.name);
	return err_hint(err, "`roost start %s` starts it", l->f.name);
}

int look_running(struct look *l, const char *word, struct err *err)
{
	return look_at(l, word, err) < 0 ? -1 : look_refuse_stopped(l, err);
}

void look_end(struct look *l)
{
	qmp_close(l->keeper);
	l->keeper = NULL;
	status_free(&l->s);
}

static int unresponsive(const struct look *l, const char *who, struct err *err)
{
	err_set(err, ERR_TIMEOUT, "guest '%s' is unresponsive: %s does not answer", l->f.name, who);
	return err_hint(err, "`roost destroy %s` still works", l->f.name);
}

static int connect_keeper(struct look *l, struct err *err)
{
	_cleanup_free_ char *path = run_path(l->f.id, "guest.sock", err);
	if (!path)
		return -1;
	l->keeper = qmp_connect(path, deadline_in(QMP_LOOK_MS), err);
	if (!l->keeper && err->kind == ERR_TIMEOUT)
		return unresponsive(l, "its keeper", err);
	if (!l->keeper) /* it has died, or its guest has ended meanwhile */
		l->keeper = guest_connect(&l->f, err);
	return l->keeper ? 0 : -1;
}

static int call(struct look *l, const char *command, json_t *args, int64_t timeout_ms,
	json_t **reply, struct err *err)
{
	if (l->s.state == GUEST_UNRESPONSIVE) {
		json_decref(args);
		return unresponsive(l, "its QEMU or its keeper", err);
	}
	if (!l->keeper && connect_keeper(l, err) < 0) {
		json_decref(args);
		return -1;
	}
	return qmp_call(l->keeper, command, args, deadline_in(timeout_ms), reply, err);
}

int look_ask(struct look *l, const char *command, json_t *args, json_t **reply, struct err *err)
{
	if (call(l, command, args, QMP_LOOK_MS, reply, err) == 0)
		return 0;
	if (err->kind == ERR_TIMEOUT) {
		l->s.state = GUEST_UNRESPONSIVE; /* what is asked next need not wait again */
		unresponsive(l, "its QEMU or its keeper", err);
	}
	return -1;
}

int look_ask_guest(
	struct look *l, const char *command, int64_t timeout_ms, json_t **reply, struct err *err)
{
	/* the keeper itself tells when the guest is late: it has a moment more */
	return call(l, command, json_pack("{s:I}", "timeout-ms", (json_int_t)timeout_ms),
		timeout_ms + QMP_LOOK_MS, reply, err);
}

struct definition *look_definition(const struct found *f, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = f->id[0] ? run_dir_open(f->id, &ignored) : -1;
	struct definition *d = run < 0 ? NULL : record_read_running(run, &ignored);
	if (d) {
		_cleanup_json_ json_t *plugged = look_plugged(f);
		media_apply(d, plugged);
		return d;
	}
	d = record_read(f->name, err);
	if (d && record_add_seed(d, err) < 0)
		definition_free(TAKE(d));
	return d;
}

json_t *look_plugged(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = f->id[0] ? run_dir_open(f->id, &ignored) : -1;
	_cleanup_json_ json_t *o = run < 0 ? NULL : json_file_read(run, "attached", &ignored);
	json_t *list = json_object_get(o, "attached");
	return list ? json_incref(list) : json_array();
}
