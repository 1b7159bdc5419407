#include "orchestrator/block_job.h"

#include "base/str.h"

enum {
	LOOK_AGAIN_MS = 500, /* for the progress; a change of state comes as an event */
	BACK_MS = 30000,
};

static const struct event_match status_change = {.name = "JOB_STATUS_CHANGE"};

struct jobs {
	json_t *list; /* query-jobs' rows of the prefix */
	size_t ended, ready, failed;
	const char *why; /* of one that failed by itself, if any did */
	int64_t done, total;
};

json_t *block_job_args(const char *id, json_t *args)
{
	json_object_set_new(args, "job-id", json_string(id));
	json_object_set_new(args, "auto-dismiss", json_false());
	return args;
}

int block_job_start(
	struct guest *g, const char *command, const char *id, json_t *args, struct err *err)
{
	return guest_qmp(g, command, block_job_args(id, args), QMP_HEAVY_MS, NULL, err);
}

static bool job_is(const json_t *job, const char *status)
{
	return str_eq(json_get_str(job, "status", ""), status);
}

static void count(struct jobs *j, const json_t *job)
{
	const char *error = json_get_str(job, "error", NULL);
	j->done += json_get_int(job, "current-progress", 0);
	j->total += json_get_int(job, "total-progress", 0);
	j->ready += job_is(job, "ready");
	if (!job_is(job, "concluded"))
		return;
	j->ended++;
	if (!error)
		return;
	j->failed++;
	/* the others of a transaction are cancelled when one fails: that one knows why */
	if (!j->why || str_eq(j->why, "Operation canceled"))
		j->why = error;
}

static int look(struct guest *g, const char *prefix, struct jobs *out, struct err *err)
{
	_cleanup_json_ json_t *all = NULL;
	struct jobs j = {.list = json_array()};
	size_t i;
	json_t *job;
	if (guest_qmp(g, "query-jobs", NULL, QMP_HEAVY_MS, &all, err) < 0) {
		json_decref(j.list);
		return -1;
	}
	json_array_foreach (all, i, job) {
		if (!str_starts(json_get_str(job, "id", ""), prefix))
			continue;
		json_array_append(j.list, job);
		count(&j, job);
	}
	*out = j;
	return 0;
}

static void tell_job(struct guest *g, const char *command, const json_t *job, json_t *args)
{
	struct err ignored = ERR_INIT; /* it may have gone on meanwhile: the next look tells */
	json_object_set(args, "id", json_object_get(job, "id"));
	guest_qmp(g, command, args, QMP_BLOCK_MS, NULL, &ignored);
}

static void complete_ready(struct guest *g, const struct jobs *j)
{
	size_t i;
	json_t *job;
	json_array_foreach (j->list, i, job)
		if (job_is(job, "ready"))
			tell_job(g, "job-complete", job, json_object());
}

static void dismiss_all(struct guest *g, const struct jobs *j)
{
	size_t i;
	json_t *job;
	json_array_foreach (j->list, i, job)
		tell_job(g, "job-dismiss", job, json_object());
}

/* One that is ready would complete if it were cancelled without force. */
static void cancel_running(struct guest *g, const struct jobs *j)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *job;
	json_array_foreach (j->list, i, job)
		if (!job_is(job, "concluded"))
			guest_qmp(g, "block-job-cancel",
				json_pack("{s:O, s:b}", "device", json_object_get(job, "id"),
					"force", 1),
				QMP_BLOCK_MS, NULL, &ignored);
}

static enum wake await_change(struct guest *g)
{
	struct wait w = WAIT_FOR(.deadline = deadline_in(LOOK_AGAIN_MS), .wants = event_matches,
		.about = &status_change);
	enum wake wake = guest_wait(g, &w);
	json_decref(w.event);
	return wake;
}

bool block_jobs_undo(struct guest *g, const char *prefix)
{
	struct err ignored = ERR_INIT;
	struct jobs j;
	g->undoing = true;
	for (int64_t deadline = deadline_in(BACK_MS); deadline_left(deadline);) {
		if (g->qemu_ended || look(g, prefix, &j, &ignored) < 0)
			return false;
		size_t all = json_array_size(j.list);
		bool over = j.ended == all, done = all && over && !j.failed;
		if (over)
			dismiss_all(g, &j);
		else
			cancel_running(g, &j);
		json_decref(j.list);
		if (over)
			return done;
		await_change(g);
	}
	return false;
}

static int fail(struct guest *g, const char *step, const struct jobs *j, struct err *err)
{
	return err_set(err, ERR_QEMU, "guest '%s': %s: %s", g->def->name, step, j->why);
}

/* 1: all are done, or if `only_ready`, would be; 0: not yet. */
static int go_on(
	struct guest *g, const char *step, const char *prefix, bool only_ready, struct err *err)
{
	struct jobs j;
	if (look(g, prefix, &j, err) < 0)
		return -1;
	int result = 0;
	if (j.failed) {
		result = fail(g, step, &j, err);
	} else if (only_ready && j.ended + j.ready == json_array_size(j.list)) {
		result = 1;
	} else if (j.ended == json_array_size(j.list)) {
		dismiss_all(g, &j);
		result = 1;
	} else {
		if (!only_ready)
			complete_ready(g, &j);
		guest_progress(g, step, j.done, j.total);
	}
	json_decref(j.list);
	return result;
}

static int await(
	struct guest *g, const char *step, const char *prefix, bool only_ready, struct err *err)
{
	int result;
	while ((result = go_on(g, step, prefix, only_ready, err)) == 0) {
		enum wake wake = await_change(g);
		if (wake == WAKE_GONE)
			return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
		if (wake != WAKE_CANCEL)
			continue;
		struct err cancelled = ERR_INIT;
		guest_cancelled(g, &cancelled);
		if (block_jobs_undo(g, prefix))
			return 0;
		*err = cancelled;
		return -1;
	}
	if (result < 0)
		block_jobs_undo(g, prefix);
	return result < 0 ? -1 : 0;
}

int block_jobs_await(struct guest *g, const char *step, const char *prefix, struct err *err)
{
	return await(g, step, prefix, false, err);
}

int block_jobs_await_ready(struct guest *g, const char *step, const char *prefix, struct err *err)
{
	return await(g, step, prefix, true, err);
}
