#include "orchestrator/saving.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/media.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/save_file.h"
#include "orchestrator/saved.h"
#include "orchestrator/snapshots.h"

enum { BLOCK = 256 * 1024, FACTS_ROOM = 192 * 1024, TELL_MS = 1000 };
enum { DECIDED_MS = 60000, LOOK_AGAIN_MS = 20 };

struct saving {
	bool quiet;
	struct found f;
	const char *path;
	const char *snapshot;   /* what it is of; NULL: it ends the guest */
	struct definition *def; /* by which it runs */
	struct qmp *q;
	uint64_t call;
	int pipe, control, signals;
	struct save_writer w;
	struct buf line;   /* what the keeper says on the control socket */
	struct err failed; /* what went wrong on our side */
	int64_t tell_at;
};

/* ---- what comes in ---------------------------------------------------------------------------------- */

/* No more of it: the keeper sees that, too, and lets the guest go on. */
static void give_up(struct saving *s)
{
	cleanup_close(&s->pipe);
	cleanup_close(&s->control);
}

static void take_stream(struct saving *s)
{
	static char block[BLOCK];
	ssize_t n = read(s->pipe, block, sizeof(block));
	if (n > 0 && save_add(&s->w, block, (size_t)n, &s->failed) < 0)
		give_up(s);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		cleanup_close(&s->pipe);
}

static void take_line(struct saving *s)
{
	buf_reserve(&s->line, 65536);
	ssize_t n = read(s->control, s->line.data + s->line.len, 65536);
	if (n > 0)
		s->line.len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		cleanup_close(&s->control);
}

static void take_signal(struct saving *s)
{
	if (!signals_take(s->signals))
		return;
	err_set(&s->failed, ERR_REFUSED, "guest '%s': its saving was interrupted", s->f.name);
	give_up(s);
}

static void take_events(struct saving *s)
{
	json_t *event;
	bool terminal = isatty(STDERR_FILENO);
	while ((event = qmp_next_event(s->q))) {
		const json_t *data = json_object_get(event, "data");
		int64_t done = json_get_int(data, "done", 0),
			total = json_get_int(data, "total", 0);
		if (str_eq(json_get_str(event, "event", ""), "ROOST_PROGRESS") && !s->quiet &&
			clock_ms() >= s->tell_at) {
			fprintf(stderr, "%s%s: %lld %%%s", terminal ? "\r" : "",
				json_get_str(data, "step", ""),
				(long long)(total ? done * 100 / total : 0),
				terminal ? "\033[K" : "\n");
			s->tell_at = deadline_in(TELL_MS);
		}
		json_decref(event);
	}
}

/* Until the keeper's line is there (1), or its reply (0, and -1 for an error). */
static int receive(struct saving *s, json_t **reply, struct err *err)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
			{.fd = qmp_fd(s->q), .events = qmp_events(s->q)},
			{.fd = s->pipe, .events = POLLIN}, {.fd = s->control, .events = POLLIN}};
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			take_signal(s);
		if (s->pipe >= 0 && fds[2].revents)
			take_stream(s);
		if (s->control >= 0 && fds[3].revents)
			take_line(s);
		if (s->pipe < 0 && s->control >= 0 && s->line.len &&
			s->line.data[s->line.len - 1] == '\n')
			return 1;
		qmp_pump(s->q, err);
		take_events(s);
		int got = qmp_take_reply(s->q, s->call, reply, err);
		if (got)
			return got > 0 ? 0 : -1;
	}
}

/* ---- what goes into the file ------------------------------------------------------------------------ */

/* Was the fd opened to write, too? */
static bool is_writable(int fdinfo, const char *fd)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	const char *flags = file_read(fdinfo, fd, 65536, &text, &ignored) < 0
				    ? NULL
				    : strstr(text.data, "flags:");
	return flags && (strtoul(flags + strlen("flags:"), NULL, 8) & O_ACCMODE) == O_RDWR;
}

/* Does that process hold the file of just that path, which no symbolic link is part of? */
static bool holds(pid_t pid, const char *path, bool to_write)
{
	struct err ignored = ERR_INIT;
	char link[PATH_MAX];
	_cleanup_names_ char **names = NULL;
	_cleanup_free_ char *folder = str_fmt("/proc/%d/fd", (int)pid);
	_cleanup_free_ char *infos = str_fmt("/proc/%d/fdinfo", (int)pid);
	_cleanup_close_ int fds = dir_open(AT_FDCWD, folder, &ignored);
	_cleanup_close_ int fdinfo = dir_open(AT_FDCWD, infos, &ignored);
	bool found = false;
	if (fds < 0 || fdinfo < 0 || dir_names(fds, &names, NULL, &ignored) < 0)
		return false;
	for (char **name = names; *name && !found; name++) {
		ssize_t len = readlinkat(fds, *name, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = '\0';
		found = str_eq(link, path) && (!to_write || is_writable(fdinfo, *name));
	}
	return found;
}

/* Is the file the guest's, or a folder on the way to it? Then its uids can put another one there. */
static bool is_theirs(const struct identity *who, const char *path)
{
	struct stat st;
	_cleanup_free_ char *part = xstrdup(path);
	for (char *slash; (slash = strrchr(part, '/')); *slash = '\0')
		if (part[0] && (lstat(part, &st) < 0 || st.st_uid == who->keeper_uid ||
				       st.st_uid == who->qemu_uid))
			return true;
	return false;
}

static int check_file(
	const struct saving *s, pid_t qemu, const char *path, bool to_write, struct err *err)
{
	if (!holds(qemu, path, false))
		return err_set(err, ERR_REFUSED, "guest '%s' does not hold '%s'", s->f.name, path);
	if (to_write && !holds(qemu, path, true))
		return err_set(
			err, ERR_REFUSED, "guest '%s' may not write to '%s'", s->f.name, path);
	if (is_theirs(&s->def->issued, path))
		return err_set(err, ERR_REFUSED,
			"'%s', plugged into guest '%s', can be exchanged by the guest's own uids",
			path, s->f.name);
	return 0;
}

/* All paths that an entry has, whatever its kind: another one would look at the other. */
static int check_entry(const struct saving *s, pid_t qemu, const json_t *entry, struct err *err)
{
	const char *disk = json_get_str(entry, "path", NULL),
		   *medium = json_get_str(entry, "medium", NULL);
	if (!disk && !medium)
		return 0;
	if (geteuid() != 0) {
		err_set(err, ERR_REFUSED, "guest '%s': only root can check that it holds '%s'",
			s->f.name, disk ? disk : medium);
		return err_hint(err, "save it as root, or take that out of it first");
	}
	if (medium && check_file(s, qemu, medium, false, err) < 0)
		return -1;
	bool to_write = !json_get_bool(entry, "readonly", false);
	return disk ? check_file(s, qemu, disk, to_write, err) : 0;
}

/*
 * Which files were plugged is the keeper's word, and a later start opens them with the caller's rights, or
 * root's. Where the keeper is another user it is believed only of files that the guest's QEMU, a process
 * of the uid that was issued for it, holds, and of none to write to that QEMU may only read.
 */
static int check_plugged(struct saving *s, const json_t *plugged, struct err *err)
{
	_cleanup_status_ struct status status = {0};
	struct stat proc;
	size_t i;
	json_t *entry;
	if (geteuid() == s->def->issued.keeper_uid)
		return 0;
	if (guest_look(&s->f, &status, err) < 0)
		return -1;
	_cleanup_free_ char *folder = str_fmt("/proc/%d", (int)status.qemu_pid);
	if (geteuid() == 0 && json_array_size(plugged) &&
		(stat(folder, &proc) < 0 || proc.st_uid != s->def->issued.qemu_uid))
		return err_set(err, ERR_REFUSED, "process %d is not the QEMU of guest '%s'",
			(int)status.qemu_pid, s->f.name);
	json_array_foreach (plugged, i, entry)
		if (check_entry(s, status.qemu_pid, entry, err) < 0)
			return -1;
	return 0;
}

/* A snapshot's file has a number, which its keeper knows; it is made under no other name. */
static int take_name(struct saving *s, const json_t *facts, struct err *err)
{
	const char *name = json_get_str(facts, "file", "");
	unsigned number;
	char end = 0;
	if (sscanf(name, "memory.%u.sav%c", &number, &end) != 2 || end != 'e' ||
		strchr(name, '/') || !str_ends(name, ".save"))
		return err_set(err, ERR_REFUSED, "'%.80s' cannot be a snapshot's file", name);
	free(s->w.file.name);
	s->w.file.name = xstrdup(name);
	return 0;
}

static int keep(struct saving *s, struct err *err)
{
	_cleanup_json_ json_t *facts = json_text_parse(s->line.data, s->line.len, err);
	const json_t *plugged = json_object_get(facts, "plugged");
	if (!facts || check_plugged(s, plugged, err) < 0)
		return -1;
	media_apply(s->def, plugged);
	if (s->snapshot && take_name(s, facts, err) < 0)
		return -1;
	/* those of a snapshot are in its record */
	json_t *disks = s->snapshot ? json_array() : saved_disks(s->def, plugged, err);
	if (!disks)
		return -1;
	json_object_update_new(
		facts, json_pack("{s:s, s:s, s:o, s:o, s:I}", "name", s->def->name, "uuid",
			       s->def->uuid, "definition", definition_to_json(s->def), "disks",
			       disks, "saved", (json_int_t)time(NULL)));
	return save_commit(&s->w, facts, err);
}

/* ---- the two of us ----------------------------------------------------------------------------------- */

static int begin(struct saving *s, const char *command, json_t *args, struct err *err)
{
	int ends[2], pair[2];
	_cleanup_json_ json_t *owned = args;
	_cleanup_close_ int run = s->f.id[0] ? run_dir_open(s->f.id, err) : -1;
	s->q = guest_connect(&s->f, err);
	s->def = s->q && run >= 0 ? record_read_running(run, err) : NULL;
	if (!s->def)
		return -1;
	_cleanup_json_ json_t *definition = definition_to_json(s->def);
	_cleanup_free_ char *text = json_line(definition);
	s->signals = signals_catch(NULL, err);
	if (s->signals < 0)
		return -1;
	signal(SIGXFSZ, SIG_IGN); /* a limit that is reached is an error like a full disk */
	if (save_begin(&s->w, s->path, strlen(text) + FACTS_ROOM, err) < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	s->pipe = ends[0];
	_cleanup_close_ int theirs = ends[1];
	if (fd_set_nonblocking(s->pipe, 1) < 0 || sock_pair(pair, err) < 0)
		return -1;
	s->control = pair[0];
	_cleanup_close_ int other = pair[1];
	s->call = qmp_send(s->q, command, json_incref(owned), (int[]){theirs, other}, 2, err);
	s->tell_at = deadline_in(TELL_MS);
	return s->call ? 0 : -1;
}

/* Has the successor of a keeper that died finished, or undone, what that one had begun? */
static bool is_decided(const struct saving *s, int dir, struct status *status)
{
	struct err ignored = ERR_INIT;
	/* in this order: the journal goes after the status */
	bool begun = faccessat(dir, "journal", F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
	status_free(status);
	*status = (struct status){0};
	return guest_look(&s->f, status, &ignored) == 0 && (!status->number || !begun);
}

/*
 * No good answer after we had agreed: the keeper has died. Its successor either ends the guest, or lets it
 * go on, and then the file is not true of it any more. Where that cannot be learnt, the file stays.
 */
static int learn_what_became(const struct saving *s, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status status = {0};
	_cleanup_close_ int dir = guest_dir_open(s->f.name, &ignored);
	int64_t deadline = deadline_in(DECIDED_MS);
	orphans_adopt(&ignored);
	while (dir < 0 || !is_decided(s, dir, &status)) {
		if (dir < 0 || !deadline_left(deadline))
			return err_hint(
				err, "'%s' may be whole; the guest may have gone on", s->path);
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	if (!status.number && str_eq(status.reason, "saved"))
		return 0;
	if (status.number)
		unlink(s->path);
	return -1;
}

/* The same of a snapshot: its successor has made it, or removed the file. */
static int learn_snapshot(const struct saving *s)
{
	struct err ignored = ERR_INIT;
	orphans_adopt(&ignored);
	_cleanup_close_ int dir = guest_dir_open(s->f.name, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, &ignored);
	return record && snapshots_find(record, s->snapshot) ? 0 : -1;
}

/* A snapshot's file that no keeper has heard of: none will name it. */
static void take_file_back(const struct saving *s)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(s->f.name, &ignored);
	if (dir >= 0)
		unlinkat(dir, s->w.file.name, 0);
}

static int finish(struct saving *s, struct err *err)
{
	json_t *reply = NULL;
	s->line.len = 0; /* it is answered; what comes now is the reply */
	bool heard = write_all(s->control, "c", 1) == 0;
	if (!heard)
		err_errno(err, "cannot tell the keeper that guest '%s' is saved", s->f.name);
	else if (receive(s, &reply, err) == 0)
		return json_decref(reply), 0;
	if (!s->snapshot)
		return learn_what_became(s, err);
	int result = learn_snapshot(s);
	if (result < 0 && !heard)
		take_file_back(s);
	return result;
}

static int save(struct saving *s, const char *command, json_t *args, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (begin(s, command, args, err) < 0)
		return -1;
	int got = receive(s, &reply, err);
	if (got == 1 && keep(s, &s->failed) == 0)
		return finish(s, err);
	if (got == 1) {
		give_up(s);
		receive(s, &reply, err);
	}
	if (s->failed.kind) {
		*err = s->failed; /* the keeper only knows that we went */
		err_hint(err, "the guest goes on as it was");
	}
	return -1;
}

static void end(struct saving *s)
{
	give_up(s);
	cleanup_close(&s->signals);
	save_end(&s->w);
	qmp_close(s->q);
	definition_free(s->def);
	buf_free(&s->line);
}

int saving_run(const struct found *f, const char *command, json_t *args, const char *path,
	bool quiet, uint64_t *size, struct err *err)
{
	_cleanup_json_ json_t *owned = args;
	struct saving s = {.quiet = quiet,
		.f = *f,
		.path = path,
		.snapshot = json_get_str(args, "snapshot", NULL),
		.pipe = -1,
		.control = -1,
		.signals = -1,
		.w = SAVE_WRITER_NONE};
	int result = save(&s, command, json_incref(owned), err);
	if (s.tell_at && !quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	*size = s.w.offset + s.w.length;
	end(&s);
	return result;
}
