/*
 * The floor of a start: QEMU alone, with the command line that roost gives a guest, from fork until
 * it has answered query-status. What roost takes more than this is roost's.
 *
 *	bench_bare_qemu [-n STARTS] [-p AT_ONCE] [-j] [-f OPAQUE=FILE]... ARGV
 *
 * ARGV is a file with what `roost dominfo --argv --json NAME` prints, "-" for standard input. The fds
 * that it names are made anew for each start, before the clock runs: a listener for each socket; for
 * each -add-fd the FILE given for its `opaque` (a copy of it, for QEMU locks its disks), a pipe for
 * "console-in", else an empty file. With one at once each QEMU ends before the next starts; else
 * all stay until the last has started, as guests do. -j: the figures as JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"

enum {
	STARTS_MAX = 200,
	NEEDS_MAX = 64,
	FILES_MAX = 16,
	ARGS_MAX = 512,
	FD_ABOVE = 4096, /* where a child puts its fds aside, above all that we have */
	START_MS = 30000,
};

/* An fd that the command line names. */
struct need {
	int number;
	bool listener;
	bool qmp;
	char opaque[64];
};

struct plan {
	char *argv[ARGS_MAX + 1];
	size_t argc;
	struct need needs[NEEDS_MAX];
	size_t need_count;
	const char *files[FILES_MAX]; /* OPAQUE=FILE */
	size_t file_count;
};

static char folder[] = "/tmp/bare-XXXXXX";

enum stage { GREETING, CAPABILITIES, STATUS, DONE };

struct start {
	int fds[NEEDS_MAX];
	char *qmp_path;
	pid_t pid;
	int sock;
	enum stage stage;
	struct buf line;
	int64_t begun, took; /* microseconds */
};

static void __attribute__((noreturn)) die(const struct err *err)
{
	fprintf(stderr, "bench_bare_qemu: %s\n", err->message);
	exit(err_exit_code(err->kind));
}

static void remove_folder(void)
{
	struct err ignored = ERR_INIT;
	dir_remove(AT_FDCWD, folder, &ignored);
}

/* ---- the command line ---------------------------------------------------------------------- */

/* The value of KEY in "a,key=value,b", as QEMU writes options. */
static bool option(const char *text, const char *key, char out[64])
{
	_cleanup_free_ char *want = str_fmt("%s=", key);
	for (const char *p = text; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		if (!str_starts(p, want))
			continue;
		p += strlen(want);
		snprintf(out, 64, "%.*s", (int)strcspn(p, ","), p);
		return true;
	}
	return false;
}

static void find_needs(struct plan *p)
{
	char number[64], monitor[64] = "";
	for (size_t i = 1; i + 1 < p->argc; i++)
		if (str_eq(p->argv[i], "-mon"))
			option(p->argv[i + 1], "chardev", monitor);
	for (size_t i = 1; i + 1 < p->argc && p->need_count < NEEDS_MAX; i++) {
		bool socket = str_eq(p->argv[i], "-chardev"), file = str_eq(p->argv[i], "-add-fd");
		if ((!socket && !file) || !option(p->argv[i + 1], "fd", number))
			continue;
		struct need *n = &p->needs[p->need_count++];
		n->number = atoi(number);
		n->listener = socket;
		option(p->argv[i + 1], socket ? "id" : "opaque", n->opaque);
		n->qmp = socket && str_eq(n->opaque, monitor);
	}
}

static void read_plan(const char *file, struct plan *p)
{
	enum { TEXT_MAX = 1 << 20 };
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = xstrdup(str_eq(file, "-") ? "/dev/stdin" : file);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	while (fd >= 0 && n > 0 && text.len < TEXT_MAX) {
		buf_reserve(&text, 65536);
		n = read(fd, text.data + text.len, 65536);
		text.len += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0) {
		err_errno(&err, "cannot read '%s'", path);
		die(&err);
	}
	json_t *list = json_text_parse(text.data, text.len, &err), *word;
	if (!list)
		die(&err);
	size_t i;
	json_array_foreach (list, i, word) {
		if (i < ARGS_MAX && json_is_string(word))
			p->argv[p->argc++] = xstrdup(json_string_value(word));
	}
	json_decref(list);
	find_needs(p);
	if (!p->argc || !p->need_count) {
		err_set(&err, ERR_USAGE, "'%s' is no command line of a guest", file);
		die(&err);
	}
}

/* ---- one start ----------------------------------------------------------------------------- */

/* An fd on a new file in our folder: a copy of `from`, or to append to if that is NULL. */
static int new_file(const char *from, struct err *err)
{
	static int count;
	struct stat st = {0};
	_cleanup_free_ char *path = str_fmt("%s/file%d", folder, count++);
	_cleanup_close_ int to = open(
		path, (from ? O_RDWR : O_WRONLY | O_APPEND) | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_close_ int in = from ? open(from, O_RDONLY | O_CLOEXEC) : -1;
	if (to < 0 || (from && in < 0) || (from && fstat(in, &st) < 0))
		return err_errno(err, "cannot copy '%s' to '%s'", from ? from : "nothing", path);
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = copy_file_range(in, NULL, to, NULL, (size_t)left, 0);
		if (n <= 0)
			return err_errno(err, "cannot copy '%s'", from);
		left -= n;
	}
	return TAKE_FD(to);
}

static int new_fd(const struct plan *p, const struct need *n, struct start *s, struct err *err)
{
	static int count;
	if (n->listener) {
		_cleanup_free_ char *path = str_fmt("%s/sock%d", folder, count++);
		int fd = sock_listen(path, 8, err);
		if (n->qmp)
			s->qmp_path = TAKE(path);
		/* QEMU expects a listener that blocks */
		return fd < 0 || fd_set_nonblocking(fd, 0) < 0 ? -1 : fd;
	}
	if (str_eq(n->opaque, "console-in")) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0)
			return err_errno(err, "cannot make a pipe");
		close(ends[1]);
		return ends[0];
	}
	for (size_t i = 0; i < p->file_count; i++) {
		size_t len = strcspn(p->files[i], "=");
		if (strlen(n->opaque) == len && strncmp(p->files[i], n->opaque, len) == 0)
			return new_file(p->files[i] + len + 1, err);
	}
	return new_file(NULL, err);
}

static void prepare(const struct plan *p, struct start *s)
{
	struct err err = ERR_INIT;
	*s = (struct start){.sock = -1};
	for (size_t i = 0; i < p->need_count; i++) {
		s->fds[i] = new_fd(p, &p->needs[i], s, &err);
		if (s->fds[i] < 0)
			die(&err);
	}
}

static void exec_qemu(const struct plan *p, struct start *s)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int most = 2, null = open("/dev/null", O_RDWR);
	for (size_t i = 0; i < p->need_count; i++)
		s->fds[i] = fcntl(s->fds[i], F_DUPFD, FD_ABOVE);
	dup2(null, STDIN_FILENO);
	for (size_t i = 0; i < p->need_count; i++) {
		dup2(s->fds[i], p->needs[i].number);
		most = p->needs[i].number > most ? p->needs[i].number : most;
	}
	syscall(SYS_close_range, (unsigned)most + 1, ~0U, 0U);
	execv(p->argv[0], p->argv);
	_exit(127);
}

static void begin(const struct plan *p, struct start *s)
{
	struct err err = ERR_INIT;
	s->begun = clock_us();
	s->pid = fork();
	if (s->pid == 0)
		exec_qemu(p, s);
	for (size_t i = 0; i < p->need_count; i++)
		cleanup_close(&s->fds[i]);
	s->sock = sock_connect(s->qmp_path, deadline_in(START_MS), &err);
	if (s->sock < 0)
		die(&err);
}

/* Reads what is there; each whole line that is no event is the answer to the stage. */
static void advance(struct start *s)
{
	static const char *const next[] = {
		[GREETING] = "{\"execute\":\"qmp_capabilities\"}\n",
		[CAPABILITIES] = "{\"execute\":\"query-status\"}\n",
		[STATUS] = "",
	};
	struct err err = ERR_INIT;
	buf_reserve(&s->line, 4096);
	ssize_t n = read(s->sock, s->line.data + s->line.len, 4096);
	if (n <= 0) {
		err_set(&err, ERR_GONE, "QEMU ended instead of answering");
		die(&err);
	}
	s->line.len += (size_t)n;
	s->line.data[s->line.len] = '\0';
	char *end;
	while (s->stage != DONE && (end = strchr(s->line.data, '\n'))) {
		*end = '\0';
		if (strstr(s->line.data, "\"QMP\"") || strstr(s->line.data, "\"return\"")) {
			if (write_all(s->sock, next[s->stage], strlen(next[s->stage])) < 0) {
				err_errno(&err, "cannot write to QEMU");
				die(&err);
			}
			s->stage++;
		}
		buf_drop(&s->line, (size_t)(end - s->line.data) + 1);
	}
	if (s->stage == DONE)
		s->took = clock_us() - s->begun;
}

static void finish(struct start *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	cleanup_close(&s->sock);
	buf_free(&s->line);
	free(s->qmp_path);
}

/* ---- all starts ---------------------------------------------------------------------------- */

/* Returns the microseconds from the first begin to the last answer. */
static int64_t run_all(const struct plan *p, struct start *starts, size_t count, size_t at_once)
{
	struct pollfd fds[STARTS_MAX];
	size_t begun = 0, done = 0;
	int64_t since = clock_us();
	while (done < count) {
		while (begun < count && begun - done < at_once)
			begin(p, &starts[begun++]);
		for (size_t i = 0; i < begun; i++)
			fds[i] =
				(struct pollfd){.fd = starts[i].stage == DONE ? -1 : starts[i].sock,
					.events = POLLIN};
		if (poll(fds, begun, START_MS) <= 0) {
			fprintf(stderr, "bench_bare_qemu: no answer within %d s\n",
				START_MS / 1000);
			exit(1);
		}
		for (size_t i = 0; i < begun; i++) {
			if (!fds[i].revents)
				continue;
			advance(&starts[i]);
			if (starts[i].stage != DONE)
				continue;
			done++;
			if (at_once == 1)
				finish(&starts[i]);
		}
	}
	return clock_us() - since;
}

static int by_time(const void *a, const void *b)
{
	const struct start *x = a, *y = b;
	return x->took < y->took ? -1 : x->took > y->took;
}

static void tell(struct start *starts, size_t count, size_t at_once, int64_t took, bool json)
{
	double rate = (double)count * 1e6 / (double)took;
	qsort(starts, count, sizeof(*starts), by_time);
	double median = (double)starts[count / 2].took / 1000;
	double fastest = (double)starts[0].took / 1000,
	       slowest = (double)starts[count - 1].took / 1000;
	if (json) {
		_cleanup_json_ json_t *j = json_pack("{s:f, s:f, s:f, s:f}", "median_ms", median,
			"fastest_ms", fastest, "slowest_ms", slowest, "starts_per_second", rate);
		_cleanup_free_ char *line = json_line(j);
		puts(line);
		return;
	}
	printf("bare QEMU until query-status: median %.1f ms, fastest %.1f, slowest %.1f "
	       "(%zu starts, %zu at once)\n",
		median, fastest, slowest, count, at_once);
	if (at_once > 1)
		printf("bare QEMU: %.1f starts/s\n", rate);
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: bench_bare_qemu [-n STARTS] [-p AT_ONCE] [-j] [-f OPAQUE=FILE]... ARGV\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static struct start starts[STARTS_MAX];
	struct plan plan = {0};
	struct err err = ERR_INIT;
	uint64_t count = 20, at_once = 1;
	bool json = false;
	int letter;
	while ((letter = getopt(argc, argv, "n:p:jf:")) != -1) {
		if (letter == 'n' &&
			str_parse_u64(optarg, 1, STARTS_MAX, "starts", &count, &err) < 0)
			die(&err);
		if (letter == 'p' &&
			str_parse_u64(optarg, 1, STARTS_MAX, "at once", &at_once, &err) < 0)
			die(&err);
		if (letter == 'f' && strchr(optarg, '=') && plan.file_count < FILES_MAX)
			plan.files[plan.file_count++] = optarg;
		json = json || letter == 'j';
		if (letter == '?')
			usage();
	}
	if (optind + 1 != argc)
		usage();
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
	read_plan(argv[optind], &plan);
	if (!mkdtemp(folder)) {
		err_errno(&err, "cannot make '%s'", folder);
		die(&err);
	}
	atexit(remove_folder);
	for (size_t i = 0; i < count; i++)
		prepare(&plan, &starts[i]);
	int64_t took = run_all(&plan, starts, count, at_once);
	for (size_t i = 0; i < count && at_once > 1; i++)
		finish(&starts[i]);
	tell(starts, count, at_once, took, json);
	for (size_t i = 0; i < plan.argc; i++)
		free(plan.argv[i]);
	return 0;
}
