/*
 * save, managedsave, managedsave-remove, restore.
 *
 * The file is ours: QEMU writes into a pipe, we write what comes out of it (save_file.h), and its name
 * is given when all of it is on the disk. Neither QEMU nor the keeper ever holds it, so what it says
 * later is what was true. Whatever fails on our side closes the pipe, and the keeper lets the guest go on.
 */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "orchestrator/backup_folder.h"
#include "orchestrator/connect.h"
#include "orchestrator/media.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/save_file.h"
#include "orchestrator/saved.h"

enum { BLOCK = 256 * 1024, FACTS_ROOM = 192 * 1024, TELL_MS = 1000 };

struct saving {
	const struct cli *cli;
	struct found f;
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
	struct signalfd_siginfo info;
	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
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
		if (str_eq(json_get_str(event, "event", ""), "ROOST_PROGRESS") && !s->cli->json &&
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

static int keep(struct saving *s, struct err *err)
{
	_cleanup_json_ json_t *facts = json_text_parse(s->line.data, s->line.len, err);
	const json_t *plugged = json_object_get(facts, "plugged");
	if (!facts || check_plugged(s, plugged, err) < 0)
		return -1;
	media_apply(s->def, plugged);
	json_t *disks = saved_disks(s->def, plugged, err);
	if (!disks)
		return -1;
	json_object_update_new(
		facts, json_pack("{s:s, s:s, s:o, s:o, s:I}", "name", s->def->name, "uuid",
			       s->def->uuid, "definition", definition_to_json(s->def), "disks",
			       disks, "saved", (json_int_t)time(NULL)));
	return save_commit(&s->w, facts, err);
}

/* ---- the two of us ----------------------------------------------------------------------------------- */

/* ^C and the like come as something to read; a second one ends us, and the keeper sees that. */
static int catch_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGXFSZ, SIG_IGN); /* a limit that is reached is an error like a full disk */
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int begin(struct saving *s, const char *path, bool managed, struct err *err)
{
	int ends[2], pair[2];
	_cleanup_close_ int run = s->f.id[0] ? run_dir_open(s->f.id, err) : -1;
	s->q = guest_connect(&s->f, err);
	s->def = s->q && run >= 0 ? record_read_running(run, err) : NULL;
	if (!s->def)
		return -1;
	_cleanup_json_ json_t *definition = definition_to_json(s->def);
	_cleanup_free_ char *text = json_line(definition);
	s->signals = catch_signals();
	if (s->signals < 0)
		return err_errno(err, "cannot catch signals");
	if (save_begin(&s->w, path, strlen(text) + FACTS_ROOM, err) < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	s->pipe = ends[0];
	_cleanup_close_ int theirs = ends[1];
	if (fd_set_nonblocking(s->pipe, 1) < 0 || sock_pair(pair, err) < 0)
		return -1;
	s->control = pair[0];
	_cleanup_close_ int other = pair[1];
	s->call = qmp_send(s->q, "roost-save", json_pack("{s:b}", "managed", managed),
		(int[]){theirs, other}, 2, err);
	s->tell_at = deadline_in(TELL_MS);
	return s->call ? 0 : -1;
}

/*
 * No good answer after we had agreed: the keeper has died. Its successor either ends the guest, or lets it
 * go on, and then the file is not true of it any more. Where that cannot be learnt, the file stays.
 */
static int learn_what_became(const struct saving *s, const char *path, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status status = {0};
	orphans_adopt(&ignored);
	if (guest_look(&s->f, &status, &ignored) < 0)
		return err_hint(err, "'%s' may be whole; the guest may have gone on", path);
	if (!status.number && str_eq(status.reason, "saved"))
		return 0;
	if (status.number)
		unlink(path);
	return -1;
}

static int finish(struct saving *s, const char *path, json_t **reply, struct err *err)
{
	s->line.len = 0; /* it is answered; what comes now is the reply */
	if (write_all(s->control, "c", 1) < 0)
		err_errno(err, "cannot tell the keeper that guest '%s' is saved", s->f.name);
	else if (receive(s, reply, err) == 0)
		return 0;
	return learn_what_became(s, path, err);
}

static int save(struct saving *s, const char *path, bool managed, json_t **reply, struct err *err)
{
	if (begin(s, path, managed, err) < 0)
		return -1;
	int got = receive(s, reply, err);
	if (got == 1 && keep(s, &s->failed) == 0)
		return finish(s, path, reply, err);
	if (got == 1) {
		give_up(s);
		receive(s, reply, err);
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

static int run(const struct cli *cli, const char *path, const struct found *f, struct err *err)
{
	struct saving s = {.cli = cli,
		.f = *f,
		.pipe = -1,
		.control = -1,
		.signals = -1,
		.w = SAVE_WRITER_NONE};
	json_t *reply = NULL;
	bool managed = cli->count == 1;
	int result = save(&s, path, managed, &reply, err);
	if (s.tell_at && !cli->json && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (result == 0 && cli->json)
		cli_print_json(json_pack(
			"{s:s, s:I}", "file", path, "size", (json_int_t)(s.w.offset + s.w.length)));
	else if (result == 0)
		printf("Guest '%s' saved%s%s\n", f->name, managed ? " by roost" : " to ",
			managed ? "; its next start goes on from there" : path);
	json_decref(reply);
	end(&s);
	return result;
}

static int run_save(const struct cli *cli, struct err *err)
{
	struct found f;
	return guest_find(cli->operands[0], &f, err) < 0 ? -1 : run(cli, cli->operands[1], &f, err);
}

/* It lies in the guest's own folder: a member of the group may read there, and not write. */
static char *managed_path(const struct cli *cli, struct found *f, struct err *err)
{
	if (guest_find(cli->operands[0], f, err) < 0)
		return NULL;
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	if (dir < 0)
		return NULL;
	if (faccessat(dir, ".", W_OK, AT_EACCESS) == 0)
		return saved_managed_path(f->name, err);
	err_set(err, ERR_REFUSED,
		"guest '%s': its managed save is only root's to make and to remove", f->name);
	err_hint(err, "`roost save %s FILE` saves it into a file of yours", f->name);
	return NULL;
}

static int run_managedsave(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_free_ char *path = managed_path(cli, &f, err);
	return path ? run(cli, path, &f, err) : -1;
}

static int run_managedsave_remove(const struct cli *cli, struct err *err)
{
	struct found f;
	_cleanup_free_ char *path = managed_path(cli, &f, err);
	if (!path)
		return -1;
	bool was = saved_exists(f.name);
	if (was && unlink(path) < 0)
		return err_errno(err, "cannot remove the managed save of guest '%s'", f.name);
	if (cli->json)
		cli_print_json(json_pack("{s:b}", "removed", was));
	else if (was)
		printf("Removed the managed save of guest '%s'\n", f.name);
	else
		printf("Guest '%s' has no managed save\n", f.name);
	return 0;
}

/* ---- restore ----------------------------------------------------------------------------------------- */

static int check_guest(const struct saved *s, struct found *f, struct err *err)
{
	const char *name = json_get_str(s->facts, "name", "");
	if (guest_find(name, f, err) < 0)
		return err->kind == ERR_NOT_FOUND
			       ? err_hint(err,
					 "define the guest '%s' first: the file holds its RAM, not its disks",
					 name)
			       : -1;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d)
		return -1;
	if (str_eq(d->uuid, json_get_str(s->facts, "uuid", "")))
		return 0;
	return err_set(err, ERR_REFUSED,
		"the guest '%s' that is defined now is another one than was saved", name);
}

static int run_restore(const struct cli *cli, struct err *err)
{
	_cleanup_saved_ struct saved s = {0};
	struct found f;
	json_t *reply = NULL;
	const char *path = cli->operands[0];
	if (cli_flag(cli, "running") && cli_flag(cli, "paused"))
		return err_set(err, ERR_USAGE, "restore: --running or --paused, not both");
	if (backup_is(path))
		return restore_backup(cli, err);
	if (cli_flag(cli, "name"))
		return err_set(
			err, ERR_USAGE, "restore: --name is for a backup, and '%s' is none", path);
	if (saved_open(path, false, &s, err) < 0 || check_guest(&s, &f, err) < 0)
		return -1;
	bool paused = cli_flag(cli, "paused") ||
		      (json_get_bool(s.facts, "paused", false) && !cli_flag(cli, "running"));
	if (supervisor_start_from(f.name, paused ? START_PAUSED : 0, &s, &reply, err) < 0)
		return -1;
	int64_t saved = json_get_int(s.facts, "saved", 0);
	if (!cli->json) {
		json_decref(reply);
		return tell_restored(f.name, path, saved);
	}
	json_object_set_new(reply, "saved", json_integer(saved));
	cli_print_json(reply);
	return 0;
}

const struct verb verb_save = {"save", "NAME FILE",
	"Writes a guest's RAM and devices into a file, and ends it.", 2, 2, false, {{0}}, run_save,
	"roost save web1 web1.save", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_restore = {"restore", "FILE",
	"Lets a saved guest go on where it stood, or defines a guest from a backup.", 1, 1, false,
	{{"name", "NAME", 0,
		 "of a backup: the new guest's name; it is another one, with a new UUID"},
		{"running", NULL, 0, "let its CPUs go even if they stood still when it was saved"},
		{"paused", NULL, 0, "leave its CPUs stopped; `roost resume` lets them go"}},
	run_restore, "roost restore web1.save", GROUP_LIFE, GUESTS_STOPPED};
const struct verb verb_managedsave = {"managedsave", "NAME",
	"Saves a guest and ends it; its next start goes on from there.", 1, 1, false, {{0}},
	run_managedsave, "roost managedsave web1", GROUP_LIFE, GUESTS_RUNNING};
const struct verb verb_managedsave_remove = {"managedsave-remove", "NAME",
	"Discards what managedsave has saved of a guest.", 1, 1, false, {{0}},
	run_managedsave_remove, "roost managedsave-remove web1", GROUP_LIFE, GUESTS_STOPPED};
