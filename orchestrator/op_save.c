/*
 * Saving a guest: its RAM and the state of its devices go into a file, and its QEMU ends.
 *
 * The client that asks for it owns the file. It sends two open ends: a pipe, into which QEMU writes its
 * migration stream, and a socket, on which the two of us agree at the end:
 *
 *	keeper -> client	one line of JSON: the stream is whole; what else a later start needs to know
 *	client -> keeper	'c': the file stands under its name, and will survive a loss of power
 *
 * Until that byte is here everything can be undone, and is when anything fails or the client goes: the
 * guest runs on. From then on (the journal says "committed") there is only one way, QEMU's end. A
 * keeper that finds the journal goes that way, or back.
 */
#include "orchestrator/guest.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/install.h"
#include "orchestrator/journal.h"
#include "orchestrator/save.h"

enum {
	LOOK_AGAIN_MS = 200,
	STALL_MS =
		60000, /* without one byte that moved: who takes the stream, or his disk, hangs */
	COMMIT_MS = 600000, /* the client flushes a file as large as RAM to its disk */
	BACK_MS = 30000,
};
#define BANDWIDTH ((json_int_t)1 << 40) /* no limit: the CPUs stand still meanwhile */

/* ---- the stream --------------------------------------------------------------------------------- */

/* Both for saving and for loading: QEMU tells each change of the migration's state. */
int migration_tell_events(struct guest *g, struct err *err)
{
	return guest_qmp(g, "migrate-set-capabilities",
		json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", "events", "state", 1),
		QMP_BLOCK_MS, NULL, err);
}

static const struct event_match migration_event = {.name = "MIGRATION"};

static bool is_over(const char *status)
{
	return str_eq(status, "completed") || str_eq(status, "failed") ||
	       str_eq(status, "cancelled") || str_eq(status, "none");
}

int migration_status(struct guest *g, json_t **info, struct err *err)
{
	return guest_qmp(g, "query-migrate", NULL, QMP_HEAVY_MS, info, err);
}

int migration_await(struct guest *g, const char *step, struct err *err)
{
	int64_t moved = -1, stalled = 0;
	for (;;) {
		_cleanup_json_ json_t *info = NULL;
		if (migration_status(g, &info, err) < 0)
			return -1;
		const char *status = json_get_str(info, "status", "none");
		const json_t *ram = json_object_get(info, "ram");
		int64_t total = json_get_int(ram, "total", 0);
		int64_t sent = json_get_int(ram, "transferred", 0);
		if (str_eq(status, "completed"))
			return 0;
		if (is_over(status))
			return err_set(err, ERR_QEMU, "guest '%s': %s: %s", g->def->name, step,
				json_get_str(info, "error-desc", status));
		if (sent != moved) {
			moved = sent;
			stalled = deadline_in(STALL_MS);
		}
		/* QEMU does not tell how far a file is read, and nobody can hold that up */
		if (total && deadline_left(stalled) == 0)
			return err_set(err, ERR_TIMEOUT, "guest '%s': %s has not moved for %d s",
				g->def->name, step, STALL_MS / 1000);
		guest_progress(g, step, total - json_get_int(ram, "remaining", total), total);
		struct wait w = WAIT_FOR(.deadline = deadline_in(LOOK_AGAIN_MS),
			.wants = event_matches, .about = &migration_event);
		enum wake wake = guest_wait(g, &w);
		json_decref(w.event);
		if (wake == WAKE_CANCEL)
			return guest_cancelled(g, err);
		if (wake == WAKE_GONE)
			return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
	}
}

static int send_ram(struct guest *g, int *stream, struct err *err)
{
	if (migration_tell_events(g, err) < 0 ||
		guest_qmp(g, "migrate-set-parameters",
			json_pack("{s:I}", "max-bandwidth", BANDWIDTH), QMP_BLOCK_MS, NULL,
			err) < 0 ||
		guest_qmp_fds(g, "getfd", json_pack("{s:s}", "fdname", "save"), stream, 1,
			QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	cleanup_close(stream); /* the client sees its end when QEMU closes the last one */
	failpoint("save-after-getfd");
	if (guest_qmp(g, "migrate", json_pack("{s:s}", "uri", "fd:save"), QMP_HEAVY_MS, NULL, err) <
		0)
		return -1;
	failpoint("save-streaming");
	return migration_await(g, "saving RAM", err);
}

/* ---- what the file must know besides ------------------------------------------------------------- */

/* vCPUs that were plugged: the next QEMU is born with them, by the same names. */
static json_t *plugged_cpus(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *slots = NULL;
	json_t *cpus = json_array(), *slot;
	size_t i;
	guest_qmp(g, "query-hotpluggable-cpus", NULL, QMP_BLOCK_MS, &slots, err);
	json_array_foreach (slots, i, slot) {
		const char *path = json_get_str(slot, "qom-path", "");
		if (!strstr(path, "/peripheral/"))
			continue;
		json_t *device = json_deep_copy(json_object_get(slot, "props"));
		json_object_set(device, "driver", json_object_get(slot, "type"));
		json_object_set_new(device, "id", json_string(strrchr(path, '/') + 1));
		json_array_append_new(cpus, device);
	}
	return cpus;
}

static json_t *facts(struct guest *g, bool running, json_t *cpus)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:O, s:O}", "name", g->def->name,
		"uuid", g->def->uuid, "accel", g->status.accel, "paused", !running, "memory",
		(json_int_t)g->status.memory, "current_vcpus", (json_int_t)g->status.vcpus,
		"console_from", (json_int_t)g->status.console_from, "cpus", cpus, "plugged",
		g->attached);
}

static bool said_yes(int control)
{
	char byte = 0;
	return recv(control, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'c';
}

int save_send(struct guest *g, bool running, int *stream, json_t **told, struct err *err)
{
	_cleanup_json_ json_t *cpus = plugged_cpus(g, err);
	_cleanup_json_ json_t *o = facts(g, running, cpus);
	if (err->kind || send_ram(g, stream, err) < 0)
		return -1;
	*told = TAKE(o);
	return 0;
}

/* The client has it all: now it makes the file last, and says so. */
int save_agree(struct guest *g, int control, const json_t *told, struct err *err)
{
	_cleanup_free_ char *line = json_line(told);
	_cleanup_free_ char *text = str_fmt("%s\n", line);
	struct wait w = WAIT_FOR(.deadline = deadline_in(COMMIT_MS), .fd_events = POLLIN);
	w.fd = control;
	guest_progress(g, "flushing the file", 0, 0);
	if (write_all(control, text, strlen(text)) < 0)
		return err_errno(
			err, "cannot tell the client that guest '%s' is saved", g->def->name);
	failpoint("save-told");
	enum wake wake = guest_wait(g, &w);
	if (wake == WAKE_GONE)
		return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
	if (said_yes(control)) /* even if the client has gone since */
		return 0;
	if (wake == WAKE_DEADLINE)
		return err_set(err, ERR_TIMEOUT, "guest '%s': its file was not finished in %d s",
			g->def->name, COMMIT_MS / 1000);
	return guest_cancelled(g, err);
}

/* ---- back ---------------------------------------------------------------------------------------- */

static void stop_migration(struct guest *g)
{
	struct err ignored = ERR_INIT;
	guest_qmp(g, "migrate_cancel", NULL, QMP_HEAVY_MS, NULL, &ignored);
	for (int64_t deadline = deadline_in(BACK_MS); deadline_left(deadline);) {
		_cleanup_json_ json_t *info = NULL;
		if (migration_status(g, &info, &ignored) < 0 ||
			is_over(json_get_str(info, "status", "none")))
			break;
		struct wait w = WAIT_FOR(.deadline = deadline_in(LOOK_AGAIN_MS),
			.wants = event_matches, .about = &migration_event);
		if (guest_wait(g, &w) == WAKE_GONE)
			break;
		json_decref(w.event);
	}
	guest_qmp(g, "closefd", json_pack("{s:s}", "fdname", "save"), QMP_BLOCK_MS, NULL, &ignored);
}

void save_go_on(struct guest *g, bool running, const char *why)
{
	struct err ignored = ERR_INIT;
	g->undoing = true;
	stop_migration(g);
	if (running)
		guest_qmp(g, "cont", NULL, QMP_HEAVY_MS, NULL, &ignored);
	g->saving = false;
	if (g->qemu_ended)
		return;
	g->paused_by_user = !running;
	if (running)
		guest_tell(g, GUEST_RUNNING, "%s", why);
	else
		guest_tell(g, GUEST_PAUSED, "user");
}

/* The guest goes on as it was; nothing is there that a later start would take for its RAM. */
static void go_back(struct guest *g, bool running, bool managed)
{
	g->undoing = true;
	stop_migration(g);
	failpoint("save-before-back");
	if (managed)
		unlinkat(g->dir, SAVE_MANAGED, 0);
	save_go_on(g, running, "was not saved");
}

/* ---- the operation ------------------------------------------------------------------------------- */

static int save(struct guest *g, int *stream, int control, bool running, struct err *err)
{
	guest_tell(g, GUEST_MIGRATING, "being saved");
	if (guest_qmp(g, "stop", NULL, QMP_HEAVY_MS, NULL, err) < 0)
		return -1;
	failpoint("save-stopped");
	_cleanup_json_ json_t *told = NULL;
	if (save_send(g, running, stream, &told, err) < 0 || save_agree(g, control, told, err) < 0)
		return -1;
	failpoint("save-agreed");
	return journal_note(g, "committed", json_true(), err);
}

int op_save(struct guest *g, bool managed, struct request *files, struct err *err)
{
	_cleanup_close_ int stream = request_take_fd(files), control = request_take_fd(files);
	bool running = g->status.state == GUEST_RUNNING;
	if (stream < 0 || control < 0)
		return err_set(err, ERR_USAGE, "no pipe and socket came with the request");
	if (!running && g->status.state != GUEST_PAUSED)
		return err_set(err, ERR_REFUSED, "guest '%s' cannot be saved: it is %s",
			g->def->name, guest_state_name(g->status.state));
	if (install_refuse(g, "saved", err) < 0)
		return -1;
	if (journal_begin(g, "save",
		    json_pack("{s:b, s:b}", "managed", managed, "running", running), err) < 0)
		return -1;
	failpoint("save-begin");
	g->saving = true;
	if (save(g, &stream, control, running, err) < 0) {
		cleanup_close(&stream); /* a client that waits for its end would wait for ever */
		go_back(g, running, managed);
		journal_end(g);
		return -1;
	}
	failpoint("save-committed");
	return op_destroy(g, "saved", false, err);
}

int recover_save(struct guest *g, const json_t *journal, struct err *err)
{
	if (json_get_bool(journal, "committed", false))
		return op_destroy(g, "saved", false, err);
	g->saving = true;
	go_back(g, json_get_bool(journal, "running", true),
		json_get_bool(journal, "managed", false));
	return 0;
}
