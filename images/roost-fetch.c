/*
 * roost-fetch: what needs libcurl, as a program of its own so that nobody else links it.
 *
 *	roost-fetch text	a small text, which is printed: {"return":{"text":...}}
 *	roost-fetch file	an image, into "disk" in `folder`:
 *				{"return":{"url":INDEX,"shown":ADDRESS,"size":BYTES}}
 *
 * Both read a JSON object from standard input:
 *
 *	urls	the same at several addresses, tried in this order, from number `first` on
 *	parent	our parent's process: we end with it
 *	folder	where "disk" is, and fetch.json, by which a part of it is known
 *	judged	a digest will be compared: a part from before, or from elsewhere, may be gone on from
 *	stall	seconds without news after which a server is given up
 *	cacert, proxy	may be absent
 *
 * Addresses may hold passwords; so they come by a pipe, and none is printed with them. Meanwhile it
 * prints lines {"done":BYTES,"total":BYTES}, and {"note":TEXT} for what a person would want to know.
 * An error is a line {"error":{...}}, and the exit status is that of its kind.
 */
#include "images/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"

enum { INPUT_MAX = 1 << 20, STALL_S = 30, TRIES_IDLE = 3, TRIES_MAX = 1000 };

struct job {
	json_t *input, *urls;
	size_t first;
	struct fetch_options options;
};

static void print(json_t *value)
{
	_cleanup_json_ json_t *o = value;
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	fflush(stdout);
}

void fetch_tell(int64_t done, int64_t total)
{
	print(json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total));
}

void fetch_note(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_t *o = json_pack("{s:s}", "note", text);
	if (o) /* else a server's words are not UTF-8, and nobody misses them */
		print(o);
}

static json_t *read_input(struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (fd_read(STDIN_FILENO, "standard input", INPUT_MAX, &text, err) < 0)
		return NULL;
	return json_text_parse(text.data, text.len, err);
}

/* Nobody else may write into the file once our parent has gone, and with it its lock. */
static int end_with_parent(const json_t *input, struct err *err)
{
	int64_t parent = 0;
	if (json_int(input, "parent", &parent, err) < 0)
		return -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return getppid() == parent ? 0 : err_set(err, ERR_GONE, "who started us has ended");
}

static int read_job(struct job *job, struct err *err)
{
	int64_t stall = STALL_S, first = 0;
	job->input = read_input(err);
	if (!job->input || end_with_parent(job->input, err) < 0 ||
		json_arr_opt(job->input, "urls", &job->urls, err) < 0 ||
		json_int_opt(job->input, "first", &first, err) < 0 ||
		json_int_opt(job->input, "stall", &stall, err) < 0 ||
		json_str_opt(job->input, "cacert", &job->options.cacert, err) < 0 ||
		json_str_opt(job->input, "proxy", &job->options.proxy, err) < 0)
		return -1;
	job->first = (size_t)first;
	job->options.stall_s = stall < 1 ? 1 : (long)stall;
	if (job->first < json_array_size(job->urls))
		return 0;
	return err_set(err, ERR_USAGE, "there is no address to fetch from");
}

/* Again as long as more comes with each try; but who has fallen silent so often is given up. */
static enum fetch_end fetch_patiently(
	const char *url, const struct fetch_options *o, struct fetch_to *to, struct err *err)
{
	enum fetch_end end = FETCH_CUT;
	for (int tries = 0, idle = 0; tries < TRIES_MAX && idle < TRIES_IDLE; tries++) {
		int64_t before = to->done;
		end = fetch_one(url, o, to, err);
		if (end != FETCH_CUT)
			return end;
		bool silent = err->kind == ERR_TIMEOUT;
		idle = to->done > before && !silent ? 0 : idle + 1;
		if (err->kind != ERR_NONE && idle < TRIES_IDLE)
			fetch_note("%s; trying again", err->message);
	}
	return end;
}

/* A part that is all of it: its digest was not told yet, or not held against. */
static bool is_whole(const struct fetch_to *to)
{
	struct fetch_part part;
	fetch_part_read(to, &part);
	return part.total > 0 && part.total == to->done;
}

/* From the first address that serves it. Returns its number. */
static int fetch_any(struct job *job, struct fetch_to *to, struct err *err)
{
	size_t count = json_array_size(job->urls);
	if (is_whole(to))
		return (int)job->first;
	for (size_t i = job->first; i < count; i++) {
		const char *url = json_string_value(json_array_get(job->urls, i));
		enum fetch_end end = fetch_patiently(url ? url : "", &job->options, to, err);
		if (end == FETCH_DONE)
			return (int)i;
		if (end == FETCH_FAILED || i + 1 == count)
			return -1;
		fetch_note("%s; trying the next address", err->message);
	}
	return -1;
}

static int fetch_text(struct job *job, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	struct fetch_to to = {.fd = -1, .folder = -1, .text = &text, .total = -1};
	if (fetch_any(job, &to, err) < 0)
		return -1;
	json_t *o = json_pack("{s:{s:s%}}", "return", "text", text.data ? text.data : "", text.len);
	if (!o)
		return err_set(err, ERR_USAGE, "what was fetched is no text");
	print(o);
	return 0;
}

static int fetch_file(struct job *job, struct err *err)
{
	const char *folder = NULL;
	struct stat st;
	if (json_str(job->input, "folder", &folder, err) < 0)
		return -1;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, folder, err);
	_cleanup_close_ int fd =
		dir < 0 ? -1 : openat(dir, "disk", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open the file to fetch into");
	bool judged = json_get_bool(job->input, "judged", false);
	struct fetch_to to = {.fd = fd,
		.folder = dir,
		.judged = judged,
		.resume = judged,
		.done = judged ? st.st_size : 0,
		.total = -1};
	int which = fetch_any(job, &to, err);
	if (which < 0)
		return -1;
	fetch_tell(to.done, to.done);
	_cleanup_free_ char *shown =
		fetch_shown(json_string_value(json_array_get(job->urls, (size_t)which)), err);
	print(json_pack("{s:{s:i, s:s?, s:I}}", "return", "url", which, "shown", shown, "size",
		(json_int_t)to.done));
	return 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct job job = {0};
	bool text = argc == 2 && str_eq(argv[1], "text"),
	     file = argc == 2 && str_eq(argv[1], "file");
	if (!text && !file)
		return err_set(err, ERR_USAGE, "usage: roost-fetch text|file <JSON");
	signal(SIGXFSZ, SIG_IGN); /* then write() says it */
	int result = fetch_begin(err);
	if (result == 0)
		result = read_job(&job, err);
	if (result == 0)
		result = text ? fetch_text(&job, err) : fetch_file(&job, err);
	json_decref(job.input);
	return result;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (run(argc, argv, &err) == 0)
		return 0;
	json_t *o = json_pack("{s:o}", "error", json_from_err(&err));
	print(o ? o : json_pack("{s:{s:s,s:s}}", "error", "class", "system", "desc", "it failed"));
	return err_exit_code(err.kind);
}
