/*
 * console and logs: what the guest writes on its serial line, and what is typed to it.
 *
 * Output is read from the file that QEMU appends to, input is written into the FIFO that QEMU reads:
 * any number of readers, none of which can hold up the guest. Old parts of the file are holes
 * (guest_bound_logs); SEEK_DATA steps over them.
 */
#include "orchestrator/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"
#include "orchestrator/guest_text.h"

enum { REPLAY = 4096, JSON_LINE_MOST = 65536 };

/* ---- following a log ------------------------------------------------------------------------------ */

static off_t skip_hole(int fd, off_t from)
{
	off_t data = lseek(fd, from, SEEK_DATA);
	return data < 0 ? from : data;
}

/* Where a log goes: as it is, or a JSON value for each line, {"line":"..."}. */
struct sink {
	bool json;
	struct buf begun; /* a line without its end yet */
};

static void end_line(struct sink *s)
{
	size_t len = s->begun.len;
	len -= len && s->begun.data[len - 1] == '\n';
	len -= len && s->begun.data[len - 1] == '\r';
	_cleanup_free_ char *text = text_utf8(s->begun.data, len);
	_cleanup_json_ json_t *line = json_pack("{s:s}", "line", text);
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	s->begun.len = 0;
}

static int sink_write(struct sink *s, const char *data, size_t len)
{
	if (!s->json)
		return write_all(STDOUT_FILENO, data, len);
	for (size_t i = 0; i < len; i++) {
		buf_add(&s->begun, data + i, 1);
		if (data[i] == '\n' || s->begun.len >= JSON_LINE_MOST)
			end_line(s);
	}
	return fflush(stdout) == 0 ? 0 : -1;
}

/*
 * Copies what is there from *at on; -1 when standard output is gone. While a slow reader took the
 * last chunk, or between a look and a read, a hole may have come: then the zeros that were read are
 * not the guest's words.
 */
static int copy_new(int fd, off_t *at, struct sink *out)
{
	char chunk[16384];
	ssize_t n;
	for (;;) {
		*at = skip_hole(fd, *at);
		n = pread(fd, chunk, sizeof(chunk), *at);
		if (n <= 0)
			return 0;
		if (skip_hole(fd, *at) != *at)
			continue;
		if (sink_write(out, chunk, (size_t)n) < 0)
			return -1;
		*at += n;
	}
}

static int open_log(const struct found *f, const char *name, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	if (dir < 0)
		return -1;
	struct stat folder;
	if (fstat(dir, &folder) < 0)
		return err_errno(err, "guest '%s': its folder", f->name);
	int fd = file_open_owned(dir, name, O_RDONLY, folder.st_uid, err);
	if (fd < 0 && err->kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no %s yet", f->name, name);
	return fd < 0 ? err_prefix(err, "guest '%s'", f->name) : fd;
}

/* The folder is the keeper's: what is typed goes into a FIFO, not into what a link there names. */
static int open_input(const struct found *f, const char *name, struct err *err)
{
	struct stat st;
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	if (dir < 0)
		return -1;
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "guest '%s' has no console to type to", f->name);
	if (!S_ISFIFO(st.st_mode))
		return err_set(err, ERR_REFUSED, "guest '%s': its '%s' is no FIFO", f->name, name);
	return TAKE_FD(fd);
}

/* An inotify fd that is readable when the log grows. */
static int watch_log(const struct found *f, const char *name, struct err *err)
{
	_cleanup_close_ int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	_cleanup_free_ char *path = str_fmt("%s/guests/%s/%s", paths_state(err), f->name, name);
	if (in < 0 || inotify_add_watch(in, path, IN_MODIFY) < 0)
		return err_errno(err, "cannot watch '%s'", path);
	return TAKE_FD(in);
}

/*
 * The file "console.SUFFIX", or "hvc0.SUFFIX" and the like of --devname. A name that no console can
 * have, such as one with a path in it, names no file.
 */
static int console_file_of(
	const struct cli *cli, const char *guest, const char *suffix, char out[24], struct err *err)
{
	static const char *const known[] = {
		"serial0", "serial1", "serial2", "serial3", "hvc0", "hvc1", "hvc2", NULL};
	const char *name = cli_value(cli, "devname", known[0]);
	for (size_t i = 0; known[i]; i++) {
		if (str_eq(name, known[i])) {
			snprintf(out, 24, "%s.%s", i ? name : "console", suffix);
			return 0;
		}
	}
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no console '%.40s'", guest, name);
	return err_hint(err,
		"they are called serial0, serial1, hvc0 and so on, as its definition has them");
}

static void drain(int fd)
{
	char ignored[4096];
	while (read(fd, ignored, sizeof(ignored)) > 0)
		;
}

static bool still_runs(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = run_dir_open(f->id, &ignored);
	if (run >= 0 && faccessat(run, "status", F_OK, 0) == 0)
		return true;
	/* that folder may have vanished for a moment: guest_home.c */
	_cleanup_close_ int dir = guest_dir_open(f->name, &ignored);
	return dir >= 0 && faccessat(dir, "running", F_OK, 0) == 0;
}

/* Where the last `lines` lines begin. */
static off_t tail_start(int fd, long lines)
{
	char chunk[4096];
	off_t at = lseek(fd, 0, SEEK_END), end = at;
	while (at > 0) {
		off_t from = at > (off_t)sizeof(chunk) ? at - (off_t)sizeof(chunk) : 0;
		ssize_t n = pread(fd, chunk, (size_t)(at - from), from);
		for (ssize_t i = n; i-- > 0;)
			if (chunk[i] == '\n' && from + i + 1 < end && lines-- <= 1)
				return from + i + 1;
		at = from;
	}
	return 0;
}

/* ---- logs ----------------------------------------------------------------------------------------- */

static int run_logs(const struct cli *cli, struct err *err)
{
	struct found f;
	uint64_t lines = 0;
	const char *tail = cli_value(cli, "tail", NULL);
	char console[24];
	const char *name = cli_flag(cli, "events") ? "events.jsonl" : console;
	if (guest_find(cli->operands[0], &f, err) < 0 ||
		console_file_of(cli, f.name, "log", console, err) < 0 ||
		(tail && str_parse_u64(tail, 0, 1000000, "--tail", &lines, err) < 0))
		return -1;
	_cleanup_close_ int fd = open_log(&f, name, err);
	if (fd < 0)
		return -1;
	off_t at = tail ? tail_start(fd, (long)lines) : 0;
	_cleanup_close_ int watch = cli_flag(cli, "follow") ? watch_log(&f, name, err) : -1;
	if (cli_flag(cli, "follow") && watch < 0)
		return -1;
	/* events are JSON anyway, one a line */
	struct sink out = {.json = cli->json && !cli_flag(cli, "events")};
	for (bool runs = true; runs;) {
		runs = watch >= 0 && still_runs(&f); /* asked first, for its last words */
		if (copy_new(fd, &at, &out) < 0)
			break;
		if (runs)
			fd_wait(watch, POLLIN, deadline_in(1000));
		drain(watch);
	}
	if (out.begun.len)
		end_line(&out);
	buf_free(&out.begun);
	return 0;
}

/* ---- console -------------------------------------------------------------------------------------- */

static struct termios saved_terminal;
static bool terminal_is_raw;

static void restore_terminal(void)
{
	if (terminal_is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
	terminal_is_raw = false;
}

static void on_signal(int number)
{
	restore_terminal();
	_exit(128 + number);
}

static void make_terminal_raw(void)
{
	struct termios raw;
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_terminal) < 0)
		return;
	raw = saved_terminal;
	cfmakeraw(&raw);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	terminal_is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* What was typed goes into the FIFO; true when the user leaves. */
static bool type(int fifo, bool *input, char leaves)
{
	char typed[1024];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	if (n <= 0) {
		*input = false; /* the end of a script's input: keep showing */
		return !isatty(STDOUT_FILENO) && n < 0;
	}
	char *escape = memchr(typed, leaves, (size_t)n);
	size_t len = escape ? (size_t)(escape - typed) : (size_t)n;
	/* full: the guest does not read its line; like a real one, it drops */
	(void)!write(fifo, typed, len);
	return escape != NULL;
}

static void attend_console(
	const struct found *f, int fd, int fifo, int watch, off_t at, char leaves)
{
	bool input = true;
	struct sink out = {0}; /* a terminal's, whatever is asked for */
	for (bool runs = true; runs;) {
		runs = still_runs(f); /* asked first, for its last words */
		if (copy_new(fd, &at, &out) < 0 || !runs)
			return;
		struct pollfd fds[] = {{.fd = watch, .events = POLLIN},
			{.fd = input && fifo >= 0 ? STDIN_FILENO : -1, .events = POLLIN},
			{.fd = fifo}};
		poll(fds, ARRAY_SIZE(fds), 1000);
		drain(watch);
		if (fds[1].revents && type(fifo, &input, leaves))
			return;
		/* that QEMU has ended, even if the guest has another one already */
		if (fds[2].revents & POLLERR) {
			copy_new(fd, &at, &out);
			return;
		}
	}
}

/* The character that "^A" or "x" means. */
static int escape_of(const char *text, char *out, struct err *err)
{
	size_t len = strlen(text);
	if (len != 1 && !(len == 2 && text[0] == '^'))
		return err_set(
			err, ERR_USAGE, "--escape %s: it is a character, or ^ and one", text);
	*out = (char)(len == 1 ? text[0] : toupper((unsigned char)text[1]) ^ 0x40);
	return 0;
}

static int run_console(const struct cli *cli, struct err *err)
{
	struct found f;
	char leaves = 0;
	const char *escape = cli_value(cli, "escape", "^]");
	_cleanup_status_ struct status s = {0};
	char log[24], in[24];
	if (escape_of(escape, &leaves, err) < 0 || guest_find(cli->operands[0], &f, err) < 0 ||
		guest_look(&f, &s, err) < 0 || console_file_of(cli, f.name, "log", log, err) < 0 ||
		console_file_of(cli, f.name, "in", in, err) < 0)
		return -1;
	if (!s.number)
		return err_set(err, ERR_REFUSED, "guest '%s' is not running", f.name),
		       err_hint(err, "`roost logs %s` shows what it wrote", f.name);
	_cleanup_close_ int fd = open_log(&f, log, err);
	_cleanup_close_ int watch = fd < 0 ? -1 : watch_log(&f, log, err);
	if (watch < 0)
		return -1;
	bool look_only = cli_flag(cli, "read-only");
	_cleanup_close_ int fifo = look_only ? -1 : open_input(&f, in, err);
	if (fifo < 0 && !look_only)
		return -1;
	/* where this boot began is known of the first one alone */
	off_t from = str_eq(log, "console.log") ? s.console_from : 0;
	off_t end = lseek(fd, 0, SEEK_END), at = cli_flag(cli, "replay") ? from : end;
	if (!cli_flag(cli, "replay") && end - from > 0)
		at = end - from > REPLAY ? end - REPLAY : from;
	if (isatty(STDIN_FILENO) && !cli_flag(cli, "quiet"))
		fprintf(stderr, "Connected to guest '%s'\nEscape character is %s\n", f.name,
			escape);
	make_terminal_raw();
	attend_console(&f, fd, fifo, watch, at, leaves);
	restore_terminal();
	if (isatty(STDIN_FILENO))
		fputc('\n', stderr);
	return 0;
}

const struct verb verb_console = {"console", "NAME",
	"Connects to a guest's serial console; ^] leaves.", 1, 1, false,
	{{"devname", "CONSOLE", 0, "another one than serial0: serial1, hvc0, ..."},
		{"replay", NULL, 0,
			"all since this boot, not only the last lines; of others than serial0 all that is kept"},
		{"escape", "CHAR", 'e',
			"what leaves it: a character, or ^ and one; ^] unless said"},
		{"quiet", NULL, 'q', "do not say where one is, and how one leaves"},
		{"read-only", NULL, 'r', "look, type nothing"}},
	run_console, "roost console web1", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_logs = {"logs", "NAME", "Shows what a guest wrote on its console.", 1, 1,
	false,
	{{"follow", NULL, 'f', "go on as it grows, until the guest ends"},
		{"tail", "LINES", 'n', "only the last lines"},
		{"devname", "CONSOLE", 0, "of another console than serial0: serial1, hvc0, ..."},
		{"events", NULL, 0, "its events instead"}},
	run_logs, "roost logs web1", GROUP_LOOK, GUESTS_ALL};
