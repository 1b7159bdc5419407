/*
 * Committing a disk's own chain, files of the user's (`qemu-img create -b`), while its guest runs: what the files
 * from the top down to one hold is written into that one, and then the guest writes to it alone.
 *
 *	vda  vda-1  vda-2		vda-2 is read-only, and so is the file that QEMU has of it
 *	vda  vda-1  vda-2 on vda-2-rw	the file that came with the request, opened by who asked: may be written to
 *	            vda-2 on vda-2-rw	the CPUs stand still from before this until the record says so (committed.h)
 *
 * The top may stay, if only files below it are merged (--top): QEMU writes into its header that it stands on the lower
 * file when all is done, and the CPUs go on meanwhile.
 *
 * Until then the chain reads the same, whatever has been written into the lower file: who is killed, or cancels, goes
 * back to the first line, and the record still names the top. What the guest writes after it must never be hidden
 * by the old top.
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/block_job.h"
#include "orchestrator/block_node.h"
#include "orchestrator/committed.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/journal.h"
#include "orchestrator/snapshots.h"

#define PREFIX "commit-"
enum { AGAIN_MS = 1000 };

/* The disk and the file that it is committed into, as QEMU has them. */
struct into {
	struct disk_def *d;
	size_t link;       /* of its lineage */
	bool below_top;    /* the top stays */
	bool qcow2;        /* else raw */
	const char *node;  /* of that file */
	const char *below; /* the node that this stands on; NULL: none */
};

static struct disk_def *find_disk(struct guest *g, const char *target)
{
	for (size_t i = 0; i < g->def->disk_count; i++)
		if (str_eq(g->def->disks[i].target, target))
			return &g->def->disks[i];
	return NULL;
}

/* ---- may it be done? --------------------------------------------------------------------------------- */

static int check_state(const struct guest *g, struct err *err)
{
	if (g->status.state == GUEST_RUNNING || g->status.state == GUEST_PAUSED)
		return 0;
	return err_set(err, ERR_REFUSED, "guest '%s' cannot merge layers now: it is %s",
		g->def->name, guest_state_name(g->status.state));
}

static int check_layers(const struct guest *g, const struct disk_def *d, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record)
		return -1;
	if (!snapshot_top(record, d->target)[0])
		return 0;
	err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' has snapshots over '%s'", d->target,
		g->def->name, d->path);
	return err_hint(err, "`roost snapshot-delete` those first");
}

static int find_link(
	struct into *in, const struct guest *g, const char *base, int fd, struct err *err)
{
	struct stat st;
	const struct disk_def *d = in->d;
	while (in->link < d->lineage_count && !str_eq(d->lineage[in->link].path, base))
		in->link++;
	if (in->link == d->lineage_count)
		return err_set(err, ERR_REFUSED, "disk '%s' of guest '%s' does not stand on '%s'",
			d->target, g->def->name, base);
	if (fstat(fd, &st) < 0 || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR ||
		st.st_ino != d->lineage[in->link].inode)
		return err_set(err, ERR_USAGE,
			"the file that came with the request is not '%s', open to be written to",
			base);
	in->qcow2 = d->lineage[in->link].format == FORMAT_QCOW2;
	return 0;
}

/* ---- the file below, to be written to and back --------------------------------------------------------- */

static char *node_for_writing(const char *node)
{
	return str_fmt("%s-rw", node);
}

/* The format node of the file below gets that file node. A commit makes it writable by itself. */
static int put_on(
	struct guest *g, const struct into *in, const char *file, bool writable, struct err *err)
{
	const struct disk_files one = {
		.count = 1, .layers = {{.fd = -1, .qcow2 = in->qcow2, .writable = writable}}};
	json_t *options = disk_format_node(in->d, &one, 0);
	json_object_set_new(options, "node-name", json_string(in->node));
	json_object_set_new(options, "file", json_string(file));
	if (in->below)
		json_object_set_new(options, "backing", json_string(in->below));
	return guest_qmp(g, "blockdev-reopen", json_pack("{s:[o]}", "options", options),
		QMP_HEAVY_MS, NULL, err);
}

static int let_write(struct guest *g, const struct into *in, int fd, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_free_ char *file = node_for_writing(in->node);
	const struct disk_files one = {.count = 1, .layers = {{.fd = -1, .writable = true}}};
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", file), &fd, 1, QMP_BLOCK_MS,
		    &reply, err) < 0)
		return -1;
	failpoint("commit-after-fd");
	json_t *node = disk_file_node(in->d, &one, 0, (int)json_get_int(reply, "fdset-id", 0));
	json_object_set_new(node, "node-name", json_string(file));
	if (guest_qmp(g, "blockdev-add", node, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	failpoint("commit-after-node");
	return put_on(g, in, file, false, err);
}

/* QEMU leaves it writable when a commit ends badly: that first, for both files cannot be locked at once. */
static void forbid_writing(struct guest *g, const struct into *in)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *to_write = node_for_writing(in->node);
	_cleanup_free_ char *file = str_fmt("%s-file", in->node);
	put_on(g, in, to_write, false, &ignored);
	put_on(g, in, file, false, &ignored);
	block_remove_nodes(g, to_write);
}

/* ---- the change ------------------------------------------------------------------------------------------ */

/* It is done; the guest's own files are as they are from here on. */
static int record_done(struct guest *g, const char *target, const char *mark, struct err *err)
{
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record)
		return -1;
	/* others were put into the records of the guest before this one was marked */
	json_object_set_new(record, "committed", json_pack("{s:s}", mark, target));
	return snapshots_write(g->dir, g->def->issued.keeper_uid, record, err);
}

static void switch_disk(struct guest *g, const struct into *in)
{
	struct err ignored = ERR_INIT;
	if (in->below_top) {
		committed_forget(in->d, 1, in->link);
		return;
	}
	_cleanup_json_ json_t *record = snapshots_read(g->dir, &ignored);
	committed_switch(in->d, in->link);
	if (record)
		guest_find_place(g, record, in->d);
}

/* There is no way back: it stands still until that can be written. */
static int record_at_last(struct guest *g, const char *target, const char *mark, struct err *err)
{
	while (record_done(g, target, mark, err) < 0) {
		struct wait w = WAIT_FOR(.deadline = deadline_in(AGAIN_MS));
		if (guest_wait(g, &w) == WAKE_GONE)
			return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
		*err = (struct err)ERR_INIT;
	}
	return 0;
}

static int change_top(struct guest *g, const struct into *in, const char *mark, struct err *err)
{
	struct err ignored = ERR_INIT;
	bool running = g->status.state == GUEST_RUNNING;
	if (journal_note(g, "running", json_boolean(running), err) < 0)
		return -1;
	g->saving = g->undoing = true;
	int result = running ? guest_qmp(g, "stop", NULL, QMP_HEAVY_MS, NULL, err) : 0;
	failpoint("commit-stopped");
	if (result < 0)
		block_jobs_undo(g, PREFIX);
	else
		result = block_jobs_await(g, "committing", PREFIX, err);
	failpoint("commit-changed");
	if (result == 0)
		result = record_at_last(g, in->d->target, mark, err);
	failpoint("commit-recorded");
	if (result == 0)
		switch_disk(g, in);
	if (running && !g->qemu_ended)
		guest_qmp(g, "cont", NULL, QMP_HEAVY_MS, NULL, &ignored);
	g->saving = g->undoing = false;
	return result;
}

/* What QEMU has of the files that the guest does not stand on any more, and of the other file below. */
static void let_go(struct guest *g, const struct into *in, const json_t *upper)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *name;
	_cleanup_free_ char *written = node_for_writing(in->node);
	_cleanup_free_ char *file = str_fmt("%s-file", in->node);
	json_array_foreach (upper, i, name) {
		_cleanup_free_ char *its = node_for_writing(json_string_value(name));
		block_remove_node(g, json_string_value(name));
		block_remove_nodes(g, its);
	}
	if (in->below_top) {
		forbid_writing(g, in);
		return;
	}
	block_remove_nodes(g, file);
	put_on(g, in, written, true,
		&ignored); /* what the guest discards is discarded there, too */
}

/* ---- the operation -------------------------------------------------------------------------------------- */

static json_t *job_of(const struct into *in, const char *top, const char *from, int64_t speed)
{
	json_t *job = json_pack("{s:s, s:s, s:I}", "device", top, "base-node", in->node, "speed",
		(json_int_t)speed);
	if (in->below_top) {
		json_object_set_new(job, "top-node", json_string(from));
		json_object_set_new(
			job, "backing-file", json_string(in->d->lineage[in->link].path));
	}
	return job;
}

/* `from`: the node of the uppermost that is merged. */
static int commit(struct guest *g, const struct into *in, const char *from, const json_t *args,
	int fd, struct err *err)
{
	_cleanup_free_ char *id = str_fmt(PREFIX "%s", in->d->target);
	_cleanup_free_ char *top = block_top_node(g, in->d->target, err);
	failpoint("commit-begin");
	if (!top || let_write(g, in, fd, err) < 0)
		return -1;
	failpoint("commit-reopened");
	if (block_job_start(g, "block-commit", id,
		    job_of(in, top, from, json_get_int(args, "bytes-per-second", 0)), err) < 0)
		return -1;
	failpoint("commit-began");
	if (block_jobs_await_ready(g, "committing", PREFIX, err) < 0)
		return -1;
	failpoint("commit-ready");
	if (in->below_top) {
		if (block_jobs_await(g, "committing", PREFIX, err) < 0)
			return -1;
		failpoint("commit-named");
		switch_disk(g, in);
		return 0;
	}
	return change_top(g, in, json_get_str(args, "mark", ""), err);
}

/* The names of those of `nodes` that are merged. */
static json_t *merged_of(const struct into *in, const json_t *nodes)
{
	json_t *merged = json_array();
	for (size_t i = in->below_top; i <= in->link; i++)
		json_array_append(merged, json_array_get(nodes, i));
	return merged;
}

static int find_nodes(struct into *in, const struct guest *g, const json_t *nodes, struct err *err)
{
	if (json_array_size(nodes) != in->d->lineage_count + 1)
		return err_set(err, ERR_REFUSED,
			"disk '%s' of guest '%s' stands on other files than it was started with",
			in->d->target, g->def->name);
	in->node = json_string_value(json_array_get(nodes, in->link + 1));
	in->below = json_string_value(json_array_get(nodes, in->link + 2));
	return 0;
}

int op_blockcommit_into(struct guest *g, const json_t *args, struct request *files, struct err *err)
{
	const char *target = json_get_str(args, "target", ""),
		   *base = json_get_str(args, "base", "");
	struct into in = {.d = find_disk(g, target), .below_top = json_get_int(args, "above", 0)};
	_cleanup_close_ int fd = request_take_fd(files);
	if (!in.d || in.d->source != DISK_PATH)
		return err_set(err, ERR_REFUSED,
			"guest '%s' was not started with a file as disk '%s'", g->def->name,
			target);
	if (check_state(g, err) < 0 || find_link(&in, g, base, fd, err) < 0 ||
		check_layers(g, in.d, err) < 0)
		return -1;
	_cleanup_json_ json_t *nodes = block_chain(g, target, err);
	if (!nodes || find_nodes(&in, g, nodes, err) < 0)
		return -1;
	if (in.below_top && !in.link)
		return err_set(err, ERR_USAGE,
			"disk '%s' of guest '%s' has nothing between its top and '%s'", target,
			g->def->name, base);
	_cleanup_json_ json_t *upper = merged_of(&in, nodes);
	if (journal_begin(g, "blockcommit",
		    json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:s*, s:O}", "target", target, "base",
			    base, "mark", json_get_str(args, "mark", ""), "qcow2", in.qcow2,
			    "below-top", in.below_top, "node", in.node, "below", in.below, "upper",
			    upper),
		    err) < 0)
		return -1;
	const char *from = json_string_value(json_array_get(upper, 0));
	int result = commit(g, &in, from, args, fd, err);
	if (result < 0 && !g->qemu_ended)
		forbid_writing(g, &in);
	if (result == 0)
		let_go(g, &in, upper);
	failpoint("commit-before-end");
	journal_end(g);
	return result;
}

/* ---- recovery -------------------------------------------------------------------------------------------- */

static bool is_changed(struct guest *g, const struct into *in)
{
	struct err ignored = ERR_INIT;
	if (in->below_top) {
		_cleanup_json_ json_t *nodes = block_chain(g, in->d->target, &ignored);
		return str_eq(json_string_value(json_array_get(nodes, 1)), in->node);
	}
	_cleanup_free_ char *top = block_top_node(g, in->d->target, &ignored);
	return str_eq(top, in->node);
}

int recover_blockcommit(struct guest *g, const json_t *journal, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *base = json_get_str(journal, "base", "");
	struct into in = {.d = find_disk(g, json_get_str(journal, "target", "")),
		.qcow2 = json_get_bool(journal, "qcow2", false),
		.below_top = json_get_bool(journal, "below-top", false),
		.node = json_get_str(journal, "node", ""),
		.below = json_get_str(journal, "below", NULL)};
	if (!in.d)
		return 0;
	bool done = block_jobs_undo(g, PREFIX) || is_changed(g, &in);
	if (g->qemu_ended) /* nothing has run since both showed the same */
		return 0;
	while (in.link < in.d->lineage_count && !str_eq(in.d->lineage[in.link].path, base))
		in.link++;
	bool recorded = in.link == (in.below_top ? 0 : in.d->lineage_count);
	if (done && !recorded) {
		if (!in.below_top &&
			record_done(g, in.d->target, json_get_str(journal, "mark", ""), err) < 0)
			return -1;
		switch_disk(g, &in);
	}
	if (json_get_bool(journal, "running", false))
		guest_qmp(g, "cont", NULL, QMP_HEAVY_MS, NULL, &ignored);
	/* now, for QEMU closes no file while the CPUs stand still */
	if (!done)
		forbid_writing(g, &in);
	else
		let_go(g, &in, json_object_get(journal, "upper"));
	return 0;
}
