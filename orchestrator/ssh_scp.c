/*
 * The scp protocol, spoken to the guest's own `scp -t` or `scp -f`, for servers without SFTP.
 *
 * A sender announces each thing by a line (ssh_words.h) and waits for an answer: a zero byte, or
 * 1 or 2 and a line that says what is wrong. A file's bytes follow its line, then a zero byte.
 *
 * libssh's ssh_scp_*() are not used: they read a status byte that was never received when the
 * guest has no scp, lag one answer behind after each file, so that errors name the wrong one, and
 * cannot carry times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/ssh_copy.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { CHUNK = 32768, LINE_MAX_LEN = 4096 };

struct scp_far {
	struct far far;
	struct talk *talk; /* NULL between pulls */
	bool spoke;        /* its scp has sent something */
};

static struct scp_far *mine(struct far *f)
{
	return (struct scp_far *)f;
}

/* A message of the guest's scp: "scp: /x: No such file or directory". */
static int told(const char *message, struct err *err)
{
	enum err_kind kind = strstr(message, "No such file")       ? ERR_NOT_FOUND
			     : strstr(message, "ermission denied") ? ERR_REFUSED
								   : ERR_QEMU;
	_cleanup_free_ char *shown = text_shown(message, strlen(message));
	return err_set(
		err, kind, "the guest's %s%s", str_starts(shown, "scp: ") ? "" : "scp: ", shown);
}

/* The guest's scp is over too early. If it never said a word there most likely is none. */
static int ended(struct scp_far *f, struct err *err)
{
	char text[256];
	if (watch_expired() || watch_signal())
		return -1;
	talk_errors(f->talk, text, sizeof(text));
	_cleanup_free_ char *shown = text_shown(text, strcspn(text, "\n"));
	const char *colon = *shown ? ": " : "";
	if (f->spoke)
		return err_set(
			err, ERR_GONE, "the guest's scp ended in the middle%s%s", colon, shown);
	err_set(err, ERR_QEMU, "the guest has no SFTP, and its scp does not run%s%s", colon, shown);
	return err_hint(err, "install openssh-sftp-server or openssh-client in the guest");
}

/* At least a byte; the end of the stream is an error. */
static ssize_t receive(struct scp_far *f, void *data, size_t len, struct err *err)
{
	ssize_t n = talk_read_some(f->talk, data, len, err);
	f->spoke = f->spoke || n > 0;
	return n == 0 ? ended(f, err) : n;
}

/* A line without its end. 0 at the end of the stream, 1 otherwise. */
static int read_line(struct scp_far *f, char line[LINE_MAX_LEN], struct err *err)
{
	for (size_t len = 0; len < LINE_MAX_LEN; len++) {
		ssize_t n = len ? receive(f, line + len, 1, err)
				: talk_read_some(f->talk, line, 1, err);
		if (n <= 0)
			return (int)n;
		f->spoke = true;
		if (line[len] == '\n') {
			line[len] = '\0';
			return 1;
		}
	}
	return err_set(err, ERR_QEMU, "the guest's scp sent a line without an end");
}

/* The answer to what we sent. */
static int read_answer(struct scp_far *f, struct err *err)
{
	char code, line[LINE_MAX_LEN];
	if (receive(f, &code, 1, err) < 0)
		return -1;
	copy_alive(f->far.copy);
	if (code == 0)
		return 0;
	if (code != 1 && code != 2)
		return err_set(err, ERR_QEMU, "the guest's scp answered with the byte %d", code);
	int more = read_line(f, line, err);
	return more > 0 ? told(line, err) : more == 0 ? ended(f, err) : -1;
}

/* When the guest's scp has ended, it may have said before why. */
static int send_all(struct scp_far *f, const void *data, size_t len, struct err *err)
{
	if (talk_write(f->talk, data, len, err) == 0)
		return 0;
	if (watch_expired() || watch_signal() || read_answer(f, err) < 0)
		return -1;
	return ended(f, err);
}

static int start(struct scp_far *f, const char *flag, const char *path, struct err *err)
{
	const struct copy_params *p = f->far.copy->params;
	_cleanup_buf_ struct buf command = {0};
	_cleanup_free_ char *word = shell_word(path);
	buf_fmt(&command, "scp %s %s%s-- %s", flag, p->recursive ? "-r " : "",
		p->preserve ? "-p " : "", word);
	f->talk = talk_open(f->far.copy->session, command.data, err);
	return f->talk ? 0 : -1;
}

/* ---- to the guest ------------------------------------------------------------------------------ */

static int send_times(struct scp_far *f, const struct stat *st, struct err *err)
{
	if (!f->far.copy->params->preserve)
		return 0;
	_cleanup_free_ char *line =
		str_fmt("T%lld 0 %lld 0\n", (long long)st->st_mtime, (long long)st->st_atime);
	return send_all(f, line, strlen(line), err) < 0 ? -1 : read_answer(f, err);
}

static int announce(
	struct scp_far *f, char letter, const char *name, const struct stat *st, struct err *err)
{
	long long size = letter == 'C' ? (long long)st->st_size : 0;
	if (strchr(name, '\n')) {
		_cleanup_free_ char *shown = text_shown(name, strlen(name));
		return err_set(
			err, ERR_REFUSED, "'%s': scp carries no name with a new line", shown);
	}
	_cleanup_free_ char *line =
		str_fmt("%c%04o %lld %s\n", letter, st->st_mode & 0777, size, name);
	return send_times(f, st, err) < 0 || send_all(f, line, strlen(line), err) < 0
		       ? -1
		       : read_answer(f, err);
}

/* Exactly as many bytes as were announced. */
static int push_file(
	struct far *far, const char *name, int fd, const struct stat *st, struct err *err)
{
	char data[CHUNK];
	struct scp_far *f = mine(far);
	progress_begin(&far->copy->progress, name, (uint64_t)st->st_size);
	if (announce(f, 'C', name, st, err) < 0)
		return -1;
	for (off_t left = st->st_size; left > 0;) {
		ssize_t n = read(fd, data, left < CHUNK ? (size_t)left : CHUNK);
		if (n < 0)
			return err_errno(err, "cannot read '%s'", name);
		if (n == 0)
			return err_set(
				err, ERR_SYSTEM, "'%s' became shorter while it was copied", name);
		if (send_all(f, data, (size_t)n, err) < 0)
			return -1;
		copy_alive(far->copy);
		progress_add(&far->copy->progress, (uint64_t)n);
		left -= n;
	}
	if (send_all(f, "", 1, err) < 0 || read_answer(f, err) < 0)
		return -1;
	progress_end(&far->copy->progress);
	return 0;
}

static int push_enter(struct far *far, const char *name, const struct stat *st, struct err *err)
{
	if (announce(mine(far), 'D', name, st, err) < 0)
		return -1;
	far->depth++;
	return 0;
}

static int push_leave(struct far *far, const struct stat *st, struct err *err)
{
	struct scp_far *f = mine(far);
	(void)st;
	far->depth--;
	return send_all(f, "E\n", 2, err) < 0 ? -1 : read_answer(f, err);
}

/* ---- from the guest ---------------------------------------------------------------------------- */

static int accept_it(struct scp_far *f, struct err *err)
{
	if (talk_write(f->talk, "", 1, err) == 0)
		return 0;
	if (watch_expired() || watch_signal())
		return -1;
	/* it has ended and takes no byte any more: what it said before tells more than that */
	*err = (struct err)ERR_INIT;
	return 0;
}

static int pull_file(struct scp_far *f, const struct scp_record *r, const struct file_facts *facts,
	int dir, const char *name, struct err *err)
{
	char data[CHUNK];
	_cleanup_(incoming_drop) struct incoming in = INCOMING_NONE;
	if (incoming_open(&in, dir, name, err) < 0 || accept_it(f, err) < 0)
		return -1;
	progress_begin(&f->far.copy->progress, r->text, r->size);
	for (uint64_t left = r->size; left;) {
		ssize_t n = talk_read_some(f->talk, data, left < CHUNK ? (size_t)left : CHUNK, err);
		if (n == 0)
			err_set(err, ERR_GONE, "the guest's scp ended in the middle of '%s'",
				r->text);
		if (n <= 0 || incoming_write(&in, data, (size_t)n, err) < 0)
			return -1;
		copy_alive(f->far.copy);
		progress_add(&f->far.copy->progress, (uint64_t)n);
		left -= (uint64_t)n;
	}
	if (read_answer(f, err) < 0 || incoming_finish(&in, facts, err) < 0)
		return -1;
	progress_end(&f->far.copy->progress);
	return accept_it(f, err);
}

static int pull_records(struct scp_far *f, int dir, const char *name, int depth, struct err *err);

static int pull_folder(struct scp_far *f, const struct file_facts *facts, int dir, const char *name,
	int depth, struct err *err)
{
	bool made;
	if (!f->far.copy->params->recursive || depth >= COPY_DEPTH_MAX)
		return err_set(err, ERR_REFUSED, "the guest's scp sent a folder %s",
			depth ? "too deep in others" : "that was not asked for");
	_cleanup_close_ int to = folder_enter(dir, name, &made, err);
	if (to < 0 || accept_it(f, err) < 0 || pull_records(f, to, NULL, depth + 1, err) < 0)
		return -1;
	folder_finish(to, made, facts);
	return accept_it(f, err);
}

/*
 * What comes until the end of this folder; at depth 0, one thing, whose name is ours to choose.
 */
static int pull_records(struct scp_far *f, int dir, const char *name, int depth, struct err *err)
{
	char line[LINE_MAX_LEN];
	struct file_facts facts = {0};
	int things = 0;
	for (;;) {
		struct scp_record r;
		int more = read_line(f, line, err);
		copy_alive(f->far.copy);
		if (more == 0 && depth == 0)
			return things ? 0 : ended(f, err);
		if (more == 0)
			return ended(f, err);
		if (more < 0 || scp_record_parse(line, &r, err) < 0)
			return -1;
		if (r.kind == SCP_WARNING || r.kind == SCP_FATAL)
			return told(r.text, err);
		if (r.kind == SCP_LEAVE && depth > 0)
			return 0;
		if (r.kind == SCP_LEAVE || (depth == 0 && things))
			return err_set(
				err, ERR_REFUSED, "the guest's scp sent more than was asked for");
		if (r.kind == SCP_TIMES) {
			facts = (struct file_facts){.keep = f->far.copy->params->preserve,
				.modified = r.modified,
				.accessed = r.accessed};
			if (accept_it(f, err) < 0)
				return -1;
			continue;
		}
		facts.mode = r.mode;
		const char *as = name ? name : r.text;
		int rc = r.kind == SCP_FILE ? pull_file(f, &r, &facts, dir, as, err)
					    : pull_folder(f, &facts, dir, as, depth, err);
		if (rc < 0)
			return -1;
		facts = (struct file_facts){0};
		things++;
	}
}

static int pull(struct far *far, const char *path, int dir, const char *name, struct err *err)
{
	struct scp_far *f = mine(far);
	int rc = -1;
	if (start(f, "-f", path, err) == 0 && accept_it(f, err) == 0)
		rc = pull_records(f, dir, name, 0, err);
	talk_close(TAKE(f->talk));
	return rc;
}

/* ---- beginning and end ------------------------------------------------------------------------- */

static void end(struct far *far)
{
	struct scp_far *f = mine(far);
	talk_close(f->talk);
	free(f);
}

static const struct far_ops scp_ops = {"scp", push_file, push_enter, push_leave, pull, end};

struct far *far_scp(struct copy *c, struct err *err)
{
	struct scp_far *f = xcalloc(1, sizeof(*f));
	f->far = (struct far){&scp_ops, c, 0};
	bool several = json_array_size(c->params->local) > 1;
	if (c->params->direction == COPY_TO &&
		(start(f, several ? "-d -t" : "-t", c->target, err) < 0 ||
			read_answer(f, err) < 0)) {
		end(&f->far);
		return NULL;
	}
	return &f->far;
}
