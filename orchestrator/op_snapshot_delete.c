/*
 * Giving up snapshots of a guest that runs. First they leave the record; then what nothing needs any more is merged
 * into what it stands on, by QEMU's own block jobs, and removed. Who is killed, or cancels, in between has given
 * them up all the same, and leaves layers that add nothing: the next of these merges them.
 *
 * A layer is at one of three places:
 *
 *	below the top		block-commit: the chain reads the same before, meanwhile and after
 *	the top itself		the same, and then the layer below becomes the top: with the CPUs stopped from before
 *				that until the record says so, for what is written to the new top must never be
 *				hidden by the old one
 *	in another branch	QEMU has no nodes of it: it gets some, and they go again
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/bases.h"
#include "orchestrator/block_job.h"
#include "orchestrator/block_node.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/journal.h"
#include "orchestrator/running_disks.h"
#include "orchestrator/snapshot_merge.h"
#include "orchestrator/snapshots.h"

#define PREFIX "snapdel-"

/* One layer and the one that it is merged into, as QEMU has them. */
struct merge {
	const struct loose_layer *l;
	const struct disk_def *d;
	json_t *nodes; /* the disk's chain, from the top down */
	size_t at;     /* which of `nodes` it is */
	bool branch;   /* it is none of them: "vda-b0.top" is, made for this */
	const char *top, *base;
};

static void merge_end(struct guest *g, struct merge *m)
{
	if (m->branch) {
		_cleanup_free_ char *made = str_fmt("%s-b", m->d->target);
		block_remove_nodes(g, made);
	}
	json_decref(m->nodes);
}

static const char *node_at(const json_t *nodes, size_t i)
{
	return json_string_value(json_array_get(nodes, i));
}

static size_t find(const char *const names[], size_t count, const char *name)
{
	size_t i = 0;
	while (i < count && !str_eq(names[i], name))
		i++;
	return i;
}

/* Nodes for the layers of the branch, from the lowest on; what they stand on has one. */
static int open_branch(struct guest *g, struct merge *m, const json_t *record,
	const char *const chain[], size_t depth, struct err *err)
{
	const char *names[CHAIN_MAX];
	size_t count, own = 0;
	if (snapshot_chain(record, m->d, m->l->name, names, &count, err) < 0)
		return -1;
	while (own < count && find(chain, depth, names[own]) == depth)
		own++;
	_cleanup_free_ char *below =
		xstrdup(node_at(m->nodes, own < count ? find(chain, depth, names[own]) : depth));
	for (size_t i = own; i-- > 0;) {
		_cleanup_free_ char *prefix = str_fmt("%s-b%zu.", m->d->target, i);
		int flags = base_is_frozen(g->dir, names[i]) ? O_RDONLY : O_RDWR;
		_cleanup_close_ int fd =
			base_open_own(g->dir, names[i], flags, g->def->issued.keeper_uid, err);
		if (fd < 0 || block_add_layer(g, m->d, fd, prefix, below, err) < 0)
			return -1;
		free(below);
		below = str_fmt("%stop", prefix);
		json_array_insert_new(m->nodes, 0, json_string(below));
	}
	m->top = node_at(m->nodes, 0);
	m->base = node_at(m->nodes, 1);
	return 0;
}

static int merge_begin(struct guest *g, struct merge *m, const json_t *record, struct err *err)
{
	const char *chain[CHAIN_MAX];
	size_t depth;
	m->nodes = block_chain(g, m->d->target, err);
	if (!m->nodes || snapshot_chain(record, m->d, NULL, chain, &depth, err) < 0)
		return -1;
	m->at = find(chain, depth, m->l->name);
	/* of one that was made to stand alone since its start there is no bottom */
	if (json_array_size(m->nodes) <= (m->at < depth ? m->at + 1 : 0))
		return err_set(err, ERR_QEMU, "disk '%s' has fewer files than its snapshots",
			m->d->target);
	m->branch = m->at == depth;
	if (m->branch)
		return open_branch(g, m, record, chain, depth, err);
	m->top = node_at(m->nodes, m->at);
	m->base = node_at(m->nodes, m->at + 1);
	return 0;
}

static int start(struct guest *g, const struct merge *m, int64_t speed, struct err *err)
{
	const struct loose_layer *l = m->l;
	_cleanup_free_ char *id = str_fmt(PREFIX "%s", m->d->target);
	bool below_top = !m->branch && m->at > 0;
	json_t *args =
		json_pack("{s:s, s:s, s:I}", "device", below_top ? node_at(m->nodes, 0) : m->top,
			"base-node", m->base, "speed", (json_int_t)speed);
	if (below_top) {
		json_object_set_new(args, "top-node", json_string(m->top));
		json_object_set_new(args, "backing-file",
			json_string(l->into[0] ? l->into : snapshot_bottom(m->d)));
	}
	return block_job_start(g, "block-commit", id, args, err);
}

static int forget(struct guest *g, json_t *record, const struct loose_layer *l, struct err *err)
{
	snapshots_forget_layer(record, l);
	if (snapshots_write(g->dir, g->def->issued.keeper_uid, record, err) < 0)
		return -1;
	snapshots_sweep(g->dir, record);
	return 0;
}

/* The layer below the top takes its place, and the record says so, before the guest goes on. */
static int change_top(struct guest *g, json_t *record, const struct merge *m, struct err *err)
{
	struct err ignored = ERR_INIT;
	bool running = g->status.state == GUEST_RUNNING;
	if (journal_note(g, "running", json_boolean(running), err) < 0)
		return -1;
	g->saving = g->undoing = true;
	int result = running ? guest_qmp(g, "stop", NULL, QMP_HEAVY_MS, NULL, err) : 0;
	failpoint("snapdel-stopped");
	if (result == 0)
		result = block_jobs_await(g, "merging", PREFIX, err);
	failpoint("snapdel-changed");
	if (result == 0)
		result = forget(g, record, m->l, err);
	failpoint("snapdel-change-recorded");
	if (result == 0)
		guest_find_place(g, record, m->d);
	if (running && !g->qemu_ended)
		guest_qmp(g, "cont", NULL, QMP_HEAVY_MS, NULL, &ignored);
	g->saving = g->undoing = false;
	return result;
}

/* The headers of other branches' layers name what they stand on, for people; QEMU tells its own. */
static int rename_backings(
	struct guest *g, const json_t *record, const struct merge *m, struct err *err)
{
	const char *name, *chain[CHAIN_MAX];
	size_t depth;
	json_t *other;
	if (snapshot_chain(record, m->d, NULL, chain, &depth, err) < 0)
		return -1;
	json_object_foreach (json_object_get(record, "layers"), name, other)
		if (str_eq(json_get_str(other, "over", NULL), m->l->name) &&
			find(chain, depth, name) == depth &&
			snapshot_rename_backing(
				g->dir, m->d, name, m->l->into, g->def->issued.keeper_uid, err) < 0)
			return -1;
	return 0;
}

static int merge(struct guest *g, json_t *record, struct merge *m, int64_t speed, struct err *err)
{
	bool top = !m->branch && m->at == 0;
	if (journal_note(g, "merging",
		    json_pack("{s:s, s:s, s:s, s:s}", "disk", m->l->disk, "name", m->l->name,
			    "into", m->l->into, "node", m->top),
		    err) < 0)
		return -1;
	failpoint("snapdel-before-merge");
	if (start(g, m, speed, err) < 0)
		return -1;
	failpoint("snapdel-merging");
	if (block_jobs_await_ready(g, "merging", PREFIX, err) < 0)
		return -1;
	failpoint("snapdel-ready");
	if ((top ? change_top(g, record, m, err) : block_jobs_await(g, "merging", PREFIX, err)) < 0)
		return -1;
	failpoint("snapdel-merged");
	block_remove_node(g, m->top);
	if (top)
		return 0;
	return rename_backings(g, record, m, err) < 0 ? -1 : forget(g, record, m->l, err);
}

static int merge_or_remove(struct guest *g, json_t *record, const struct loose_layer *l,
	int64_t speed, struct err *err)
{
	_cleanup_running_disks_ struct running_disks r = {.count = 0};
	if (!l->into)
		return forget(g, record, l, err);
	if (running_disks(g, &r, err) < 0)
		return -1;
	struct merge m = {.l = l, .d = snapshot_disk(g->def, r.disks, r.count, l->disk, err)};
	if (!m.d)
		return -1;
	/* the record lets go of these when it forgets the layer */
	_cleanup_free_ char *name = xstrdup(l->name), *into = xstrdup(l->into);
	const struct loose_layer own = {.name = name, .disk = m.d->target, .into = into};
	m.l = &own;
	int result = merge_begin(g, &m, record, err);
	if (result == 0)
		result = merge(g, record, &m, speed, err);
	merge_end(g, &m);
	return result < 0 ? err_prefix(err, "merging '%s'", name) : 0;
}

static int check_state(const struct guest *g, const char *what, struct err *err)
{
	if (g->status.state == GUEST_RUNNING || g->status.state == GUEST_PAUSED)
		return 0;
	return err_set(err, ERR_REFUSED, "guest '%s' cannot %s now: it is %s", g->def->name, what,
		guest_state_name(g->status.state));
}

int op_snapshot_delete_live(struct guest *g, const json_t *args, struct err *err)
{
	const char *name = json_get_str(args, "snapshot", "");
	int64_t speed = json_get_int(args, "bytes-per-second", 0);
	struct loose_layer l;
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record || !snapshots_get(record, g->def->name, name, err) ||
		check_state(g, "give up a snapshot", err) < 0)
		return -1;
	snapshot_take_out_with(record, name, json_get_str(args, "children", ""));
	if (journal_begin(g, "snapshot-delete", NULL, err) < 0)
		return -1;
	failpoint("snapdel-begin");
	int result = snapshots_write(g->dir, g->def->issued.keeper_uid, record, err);
	failpoint("snapdel-written");
	while (result == 0 && snapshots_loose(g->dir, record, NULL, &l))
		result = merge_or_remove(g, record, &l, speed, err);
	if (result == 0)
		snapshots_sweep(g->dir, record); /* what has been kept of its RAM, above all */
	failpoint("snapdel-before-end");
	journal_end(g);
	if (result < 0)
		err_prefix(err, "snapshot '%s' is given up, but not all is tidied up", name);
	return result;
}

/* ---- without a snapshot -------------------------------------------------------------------------------- */

static int no_layer(const struct guest *g, const struct disk_def *d, const json_t *record,
	const char *target, struct err *err)
{
	err_set(err, ERR_REFUSED,
		"disk '%s' of guest '%s' has no layer that could be merged into what it stands on",
		target, g->def->name);
	if (json_array_size(json_object_get(record, "snapshots")))
		return err_hint(err, "`roost snapshot-delete` merges those that a snapshot holds");
	if (d && d->source != DISK_PATH && d->lineage_count)
		return err_hint(err,
			"what it stands on is not its alone; `roost blockpull %s %s` makes it stand alone",
			g->def->name, target);
	return -1;
}

/* What clones, or snapshots that were given up, have left behind: layers that nothing needs by themselves. */
int op_blockcommit(struct guest *g, const char *target, int64_t speed, struct err *err)
{
	struct loose_layer l;
	int result = 0;
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record || check_state(g, "merge layers", err) < 0)
		return -1;
	if (!snapshots_loose(g->dir, record, target, &l))
		return no_layer(g, definition_disk(g->def, target), record, target, err);
	if (journal_begin(g, "snapshot-delete", NULL, err) < 0)
		return -1;
	while (result == 0 && snapshots_loose(g->dir, record, target, &l))
		result = merge_or_remove(g, record, &l, speed, err);
	journal_end(g);
	return result;
}

/* ---- recovery ---------------------------------------------------------------------------------------- */

/* Has QEMU let go of that node? Then all of its layer is in the one below. */
static bool has_gone(struct guest *g, const char *target, const char *node)
{
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *name;
	_cleanup_json_ json_t *nodes = block_chain(g, target, &ignored);
	json_array_foreach (nodes, i, name)
		if (str_eq(json_string_value(name), node))
			return false;
	return nodes;
}

int recover_snapshot_delete(struct guest *g, const json_t *journal, struct err *err)
{
	struct err ignored = ERR_INIT;
	const json_t *merging = json_object_get(journal, "merging");
	const char *disk = json_get_str(merging, "disk", ""),
		   *node = json_get_str(merging, "node", "");
	const struct loose_layer l = {.name = json_get_str(merging, "name", ""),
		.disk = disk,
		.into = json_get_str(merging, "into", "")};
	_cleanup_free_ char *made = str_fmt("%s-b", disk);
	bool done =
		block_jobs_undo(g, PREFIX) ||
		(merging && !str_starts(node, made) && !g->qemu_ended && has_gone(g, disk, node));
	_cleanup_json_ json_t *record = snapshots_read(g->dir, err);
	if (!record)
		return -1;
	if (done && json_object_get(json_object_get(record, "layers"), l.name) &&
		forget(g, record, &l, err) < 0)
		return -1;
	if (json_get_bool(journal, "running", false))
		guest_qmp(g, "cont", NULL, QMP_HEAVY_MS, NULL, &ignored);
	/* now, for QEMU closes no file while the CPUs stand still */
	if (merging)
		block_remove_nodes(g, made);
	if (done)
		block_remove_node(g, node);
	snapshots_sweep(g->dir, record);
	return 0;
}
