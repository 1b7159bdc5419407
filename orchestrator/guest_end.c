/*
 * How a guest ended, told apart.
 *
 * Three witnesses, in this order: what we did ourselves (destroy, shutdown), how the process ended
 * (its exit status: ours if we forked it, else roostd's, which is the sub-reaper and writes
 * $RUN/g/ID/exit), and what QEMU said last (its SHUTDOWN event, in our memory or in the log
 * that QEMU itself keeps of its QMP socket).
 */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/consoles.h"
#include "orchestrator/install.h"
#include "orchestrator/journal.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/tpm.h"

enum {
	/* how long roostd may take to reap and tell; in steps, of which a host that stands still for seconds takes one */
	EXIT_FILE_STEPS = 10,
	EXIT_FILE_STEP_MS = 50,
	LOG_TAIL = 64 * 1024,
	OOM_LOOK_MS = 10000,
};

/* ---- the OOM killer ------------------------------------------------------------------------------ */

/*
 * Only a counter tells its SIGKILL from anybody else's: that of QEMU's memory cgroup if it is in one
 * below the root, else the host's. It is looked at every now and then, so that a kill of long ago, or
 * of a group that QEMU has left, says nothing; and what counts is the look before the last one, for
 * who is killed may take its time to go.
 */
#define HOST_COUNTER "/proc/vmstat"

/* On the stack, for a keeper's heap is small; UINT64_MAX if there is no such line. */
static uint64_t oom_kills_in(const char *path)
{
	static const char key[] = "oom_kill ";
	char chunk[4096], line[64];
	size_t len = 0;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t n; fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0;) {
		for (ssize_t i = 0; i < n; i++) {
			line[len] = '\0';
			if (chunk[i] == '\n' && str_starts(line, key))
				return strtoull(line + strlen(key), NULL, 10);
			if (chunk[i] == '\n')
				len = 0;
			else if (len < sizeof(line) - 1)
				line[len++] = chunk[i];
		}
	}
	return UINT64_MAX;
}

/* The counter of one line of /proc/PID/cgroup: "0::/machine/a" or "7:memory:/machine/a". */
static bool counter_of_cgroup(const char *line, char *file, size_t size)
{
	const char *v1 = strstr(line, ":memory:/");
	int len = 0;
	if (str_starts(line, "0::/") && line[4])
		len = snprintf(file, size, "/sys/fs/cgroup%s/memory.events", line + 3);
	else if (v1 && v1[9])
		len = snprintf(file, size, "/sys/fs/cgroup/memory%s/memory.oom_control", v1 + 8);
	return len > 0 && (size_t)len < size && oom_kills_in(file) != UINT64_MAX;
}

static void find_counter(pid_t pid, char *file, size_t size)
{
	char path[64], text[2048], *save = NULL;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (counter_of_cgroup(line, file, size))
			return;
	snprintf(file, size, HOST_COUNTER);
}

void guest_look_for_oom(struct guest *g)
{
	char file[sizeof(g->oom.file)];
	find_counter(g->qemu.pid, file, sizeof(file));
	uint64_t now = oom_kills_in(file);
	g->oom.before = str_eq(file, g->oom.file) ? g->oom.latest : now;
	g->oom.latest = now;
	snprintf(g->oom.file, sizeof(g->oom.file), "%s", file);
	g->oom.due = deadline_in(OOM_LOOK_MS);
}

static bool killed_for_memory(const struct guest *g)
{
	uint64_t now = g->oom.file[0] ? oom_kills_in(g->oom.file) : UINT64_MAX;
	return now != UINT64_MAX && g->oom.before != UINT64_MAX && now > g->oom.before;
}

/* ---- the witnesses ------------------------------------------------------------------------------ */

/* Did roostd write down how our QEMU ended? */
static bool read_exit(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *o = json_file_read(g->run, "exit", &ignored);
	if (json_get_int(o, "pid", 0) != g->status.qemu_pid ||
		json_get_int(o, "start", 0) != (json_int_t)g->status.qemu_start)
		return false;
	g->qemu_status = (int)json_get_int(o, "status", 0);
	return g->qemu_status_known = true;
}

/* Readable when a file in $RUN/g/ID was replaced, or given to us after that; -1 if the kernel gives us no more of these. */
static int watch_run(const struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = run_path(g->def->issued.id, "", &ignored);
	_cleanup_close_ int news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (news < 0 || !path || inotify_add_watch(news, path, IN_MOVED_TO | IN_ATTRIB) < 0)
		return -1;
	return TAKE_FD(news);
}

static void forget_news(int news)
{
	char ignored[4096];
	while (read(news, ignored, sizeof(ignored)) > 0)
		;
}

void guest_learn_exit(struct guest *g)
{
	struct err ignored = ERR_INIT;
	if (g->qemu_status_known || !g->status.qemu_pid)
		return;
	if (g->qemu_is_child) {
		g->qemu_status_known =
			proc_reap(&g->qemu, deadline_in(1000), &g->qemu_status, &ignored) == 0;
		return;
	}
	/* QEMU is gone: there is nothing to serve meanwhile */
	_cleanup_close_ int news = watch_run(g);
	for (int step = 0; !read_exit(g) && step < EXIT_FILE_STEPS; step++) {
		if (!server_client_alive(g->server, g->supervisor))
			return;
		fd_wait(news, POLLIN, deadline_in(EXIT_FILE_STEP_MS));
		forget_news(news);
	}
}

/*
 * A chardev that could not be written to logs what it tried, and then again what it wrote: the line
 * may begin with a piece of itself, and is no JSON.
 */
static bool find_shutdown(const char *line, char event[64], char reason[64])
{
	static const char key[] = "\"reason\": \"";
	const char *name = strstr(line, "\"event\": \"SHUTDOWN\""), *why = strstr(line, key);
	if (!name || !why)
		return false;
	why += strlen(key);
	snprintf(event, 64, "SHUTDOWN");
	snprintf(reason, 64, "%.*s", (int)strcspn(why, "\""), why);
	return true;
}

/* The last SHUTDOWN event in the log that QEMU kept; also any last event's name, for the reason. */
static void read_log(struct guest *g, char last_event[64])
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int fd = openat(g->run, "qmp.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	_cleanup_buf_ struct buf text = {0};
	buf_reserve(&text, LOG_TAIL);
	ssize_t n = size <= 0
			    ? 0
			    : pread(fd, text.data, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
	text.data[n > 0 ? n : 0] = '\0';
	char *save = NULL;
	for (char *line = strtok_r(text.data, "\r\n", &save); line;
		line = strtok_r(NULL, "\r\n", &save)) {
		char event[64], reason[64];
		_cleanup_json_ json_t *o = json_text_parse(line, strlen(line), &ignored);
		snprintf(event, sizeof(event), "%s", json_get_str(o, "event", ""));
		snprintf(reason, sizeof(reason), "%s",
			json_get_str(json_object_get(o, "data"), "reason", "unknown"));
		if (!o && !find_shutdown(line, event, reason))
			continue;
		if (event[0])
			snprintf(last_event, 64, "%s", event);
		const char *action = json_get_str(json_object_get(o, "data"), "action", "");
		if (str_eq(event, "WATCHDOG") && str_eq(action, "poweroff"))
			snprintf(g->ending, sizeof(g->ending), "watchdog");
		if (str_eq(event, "SHUTDOWN") && !g->ending[0])
			snprintf(g->ending, sizeof(g->ending), "%s", reason);
	}
}

void guest_find_ending(struct guest *g)
{
	char last_event[64];
	if (!g->ending[0])
		read_log(g, last_event);
}

/* The last line QEMU wrote on its standard error. */
static void read_stderr(struct guest *g, char out[128])
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (file_read(g->run, "qemu.err", LOG_TAIL, &text, &ignored) < 0)
		return;
	while (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	const char *line = text.len ? strrchr(text.data, '\n') : NULL;
	snprintf(out, 128, "%s", !text.len ? "" : line ? line + 1 : text.data);
}

/* ---- the verdict -------------------------------------------------------------------------------- */

/* QEMU that aborts has said why; with any other signal its last line is of something else. */
static void by_signal(struct guest *g, int number)
{
	char words[128] = "";
	if (number == SIGABRT)
		read_stderr(g, words);
	if (number == SIGKILL && killed_for_memory(g))
		guest_tell(g, GUEST_CRASHED, "signal 9, %s oom_kill rose: out of memory",
			str_eq(g->oom.file, HOST_COUNTER) ? "the host's" : "its cgroup's");
	else
		guest_tell(g, GUEST_CRASHED, "signal %d%s%s", number, words[0] ? ": " : "", words);
}

static void by_ending(struct guest *g)
{
	static const struct {
		const char *ending, *reason;
		enum guest_state state;
	} known[] = {
		{"guest-shutdown", "guest poweroff", GUEST_SHUT_OFF},
		{"guest-reset", "guest reset, and on_reboot says destroy", GUEST_SHUT_OFF},
		{"guest-panic", "panic", GUEST_CRASHED},
		{"watchdog", "watchdog", GUEST_CRASHED},
		{"host-signal", "QEMU got SIGTERM", GUEST_SHUT_OFF},
		{"host-qmp-quit", "quit", GUEST_SHUT_OFF},
	};
	if (g->def->install.enabled && str_ends(g->ending, "-reset")) {
		guest_tell(g, GUEST_SHUT_OFF, "installed");
		return;
	}
	if (str_eq(g->ending, "guest-shutdown") && g->shutdown_by[0]) {
		guest_tell(g, GUEST_SHUT_OFF, "guest poweroff, asked by the %s", g->shutdown_by);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_eq(g->ending, known[i].ending)) {
			guest_tell(g, known[i].state, "%s", known[i].reason);
			return;
		}
	}
	guest_tell(g, GUEST_SHUT_OFF, "%s", g->ending[0] ? g->ending : "QEMU ended");
}

static void judge(struct guest *g)
{
	char last_event[64] = "none", words[128] = "";
	if (g->destroying) {
		guest_tell(g, GUEST_SHUT_OFF, "%s", g->destroyed_by);
		return;
	}
	if (!g->ending[0])
		read_log(g, last_event);
	if (g->qemu_status_known && WIFSIGNALED(g->qemu_status)) {
		by_signal(g, WTERMSIG(g->qemu_status));
	} else if (g->qemu_status_known && WEXITSTATUS(g->qemu_status)) {
		read_stderr(g, words);
		guest_tell(g, GUEST_CRASHED, "QEMU exited with status %d%s%s",
			WEXITSTATUS(g->qemu_status), words[0] ? ": " : "", words);
	} else if (g->qemu_status_known || g->ending[0]) {
		by_ending(g);
	} else {
		guest_tell(g, GUEST_CRASHED, "ended unsupervised; last event: %s", last_event);
	}
}

int guest_kill_process(struct guest *g, const struct proc *p, struct err *err)
{
	if (proc_signal(p, SIGKILL, err) == 0 || err->kind == ERR_GONE)
		return 0;
	if (!server_client_alive(g->server, g->supervisor))
		return err_set(err, ERR_TIMEOUT,
			"QEMU has not ended in time, and roostd is not there to kill it at its uid");
	/* two uids: only root may; roostd checks pid and start time itself */
	server_event(g->server,
		event_new("ROOST_WANTS_KILL", json_pack("{s:I, s:I}", "pid", (json_int_t)p->pid,
						      "start", (json_int_t)p->start)));
	return 0;
}

int guest_kill(struct guest *g, struct err *err)
{
	return guest_kill_process(g, &g->qemu, err);
}

/* Nobody is left to ask: what was planned holds, and files of what was not are nobody's. */
static void settle_snapshots(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *record =
		snapshots_commit(g->dir, &ignored) < 0 ? NULL : snapshots_read(g->dir, &ignored);
	if (record)
		snapshots_sweep(g->dir, record);
}

void guest_end(struct guest *g)
{
	struct err ignored = ERR_INIT;
	guest_learn_exit(g);
	judge(g);
	install_leave(g);
	tpm_end(g);
	static const char *const own[] = {"running", "qmp.sock", "ga.sock"};
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		unlinkat(g->dir, own[i], 0);
	status_write_last(g->dir, &g->status, &ignored);
	settle_snapshots(g);
	/* not `attached` and what it ran with: roostd gives back the addresses that they tell of, and removes the folder */
	renameat(g->run, "guest.json", g->run, RECORD_RAN);
	static const char *const files[] = {"status", "guest.sock", "qmp.log", "vnc.sock", "exit",
		"qemu.err", "tpm.err", "argv", "lock"};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(g->run, files[i], 0);
	failpoint("end-left");
	journal_end(g); /* last: without it a guest whose status is there goes on */
	consoles_end(g);
	guest_event(g, "ROOST_ENDED",
		json_pack("{s:s, s:s}", "state", guest_state_name(g->status.state), "reason",
			g->status.reason));
	const char *rung = str_eq(g->ending, "guest-shutdown") ? g->shutdown_by : "";
	for (size_t i = 0; i < g->ender_count; i++)
		server_return(g->server, g->enders[i],
			json_pack("{s:s, s:s, s:s, s:s}", "state",
				guest_state_name(g->status.state), "reason", g->status.reason,
				"rung", rung, "agent-said", g->destroying ? "" : g->agent_said));
	server_pump(g->server);
}
