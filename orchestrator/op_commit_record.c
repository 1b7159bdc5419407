/* The records before and after a commit of a running guest's own chain: committed.h. In a worker of roostd. */
#include "orchestrator/committed.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"

enum { DECIDED_MS = 20000, LOOK_AGAIN_MS = 20 };

struct records {
	int dir, run; /* run: -1, it does not run */
	struct definition *next, *running;
};

static void records_end(struct records *r)
{
	cleanup_close(&r->dir);
	cleanup_close(&r->run);
	definition_free(r->next);
	definition_free(r->running);
}

static int records_open(struct records *r, const char *name, struct err *err)
{
	struct err none = ERR_INIT;
	r->dir = guest_dir_open(name, err);
	r->next = r->dir < 0 ? NULL : record_read(name, err);
	if (!r->next)
		return -1;
	r->run = run_dir_open(r->next->issued.id, &none);
	r->running = r->run < 0 ? NULL : record_read_running(r->run, &none);
	return 0;
}

/* That by which it runs goes last: it is what a keeper goes by. */
static int records_write(const struct records *r, struct err *err)
{
	if (record_write(r->dir, r->next, err) < 0)
		return -1;
	failpoint("commit-record-written");
	return r->running ? record_keep_running(r->run, r->running, err) : 0;
}

/* `above`: so many files, from the top down, stay above those that are merged. */
static int mark(struct records *r, const char *target, const char *base, int64_t above,
	json_t **ret, struct err *err)
{
	char id[13];
	const struct disk_def *d = r->running ? definition_disk(r->running, target) : NULL;
	if (!d || d->source != DISK_PATH)
		return err_set(err, ERR_REFUSED, "guest '%s' has no disk '%s' of a file now",
			r->next->name, target);
	_cleanup_free_ char *top = xstrdup(d->path);
	id_new(id);
	_cleanup_free_ char *mark =
		above ? str_fmt("%s above %lld", id, (long long)above) : xstrdup(id);
	if (!committed_mark(r->running, top, base, mark))
		return err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' does not stand on '%s'",
			target, r->next->name, base);
	committed_mark(r->next, top, base, mark); /* its next start may be without that disk */
	*ret = json_pack("{s:s}", "mark", mark);
	return records_write(r, err);
}

/* A keeper is at it; of one that has died the successor has yet to finish or undo that. */
static bool is_at_work(int dir)
{
	return faccessat(dir, "journal", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_decided(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(name, &ignored);
	for (int64_t deadline = deadline_in(DECIDED_MS); dir >= 0 && is_at_work(dir);) {
		if (!deadline_left(deadline))
			return false;
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	return true;
}

int op_commit_record(const json_t *args, json_t **ret, struct err *err)
{
	_cleanup_(records_end) struct records r = {.dir = -1, .run = -1};
	const char *base = json_get_str(args, "base", NULL), *name = json_get_str(args, "name", "");
	if (!base && !is_decided(name))
		return 0; /* its next start puts it right */
	if (records_open(&r, name, err) < 0)
		return -1;
	if (base && r.running && is_at_work(r.dir))
		return err_set(err, ERR_BUSY, "guest '%s' is busy", name);
	committed_unmark(r.next);
	if (r.running)
		committed_unmark(r.running);
	return base ? mark(&r, json_get_str(args, "target", ""), base,
			      json_get_int(args, "above", 0), ret, err)
		    : records_write(&r, err);
}
