#include "orchestrator/pull.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/signals.h"
#include "images/checksums.h"
#include "orchestrator/connect.h"
#include "orchestrator/image_change.h"
#include "orchestrator/image_name.h"
#include "orchestrator/paths.h"
#include "orchestrator/progress_bar.h"
#include "orchestrator/store_open.h"

enum {
	LINE_MAX_BYTES = 8 << 20,
	SLACK_MS = 60000,
	HOPS = 12 /* that may stall one after another */
};

struct puller {
	const struct pull *p;
	struct store store;
	struct store_entry entry;
	struct progress bar;
	bool ours;                      /* the store that it is for; else it is handed to roostd */
	char digest[STORE_DIGEST_SIZE]; /* "": not verified */
	char *source;                   /* the address that served it, without secrets */
};

static bool is_judged(const struct puller *s)
{
	return s->p->digest || s->p->checksum_url;
}

static void note(struct puller *s, const char *text)
{
	progress_end(&s->bar);
	if (!s->p->quiet)
		fprintf(stderr, "roost: %s\n", text);
}

/* ---- roost-fetch ------------------------------------------------------------------------------------ */

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

static json_t *job_of(const struct puller *s, json_t *urls, size_t first)
{
	json_t *o = json_pack("{s:i, s:o, s:I, s:I, s:b}", "parent", (int)getpid(), "urls", urls,
		"first", (json_int_t)first, "stall", (json_int_t)((s->p->stall_ms + 999) / 1000),
		"judged", is_judged(s));
	_cleanup_free_ char *folder = str_fmt("/proc/%d/fd/%d/.", (int)getpid(), s->entry.folder);
	set_text(o, "folder", folder);
	set_text(o, "cacert", s->p->cacert);
	set_text(o, "proxy", s->p->proxy);
	return o;
}

static int start(const char *command, json_t *job, struct child *c, struct err *err)
{
	const char *program = libexec_path("roost-fetch");
	const char *argv[] = {program, command, NULL};
	_cleanup_json_ json_t *owned = job;
	_cleanup_free_ char *text = json_line(job);
	if (access(program, X_OK) < 0) {
		err_set(err, ERR_SYSTEM, "images are not fetched here: there is no roost-fetch");
		return err_hint(err, "install libcurl4-openssl-dev and build again, or fetch it "
				     "yourself and `roost image import` it");
	}
	if (child_start(argv, true, c, err) < 0)
		return -1;
	if (write_all(c->in, text, strlen(text)) < 0)
		return err_errno(err, "roost-fetch does not listen");
	cleanup_close(&c->in);
	return 0;
}

/* One of its lines; 1: the last one, which is in *ret; -1: the last one, an error. */
static int take_line(struct puller *s, const char *line, size_t len, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *o = json_text_parse(line, len, err);
	if (!o)
		return err_prefix(err, "roost-fetch");
	if (json_object_get(o, "error")) {
		json_to_err(json_object_get(o, "error"), err);
		return -1;
	}
	if (json_object_get(o, "note"))
		note(s, json_get_str(o, "note", ""));
	else if (json_object_get(o, "done"))
		progress_show(&s->bar, json_get_int(o, "done", 0), json_get_int(o, "total", 0));
	*ret = json_incref(json_object_get(o, "return"));
	return *ret ? 1 : 0;
}

static int take_lines(struct puller *s, struct buf *text, json_t **ret, struct err *err)
{
	const char *end;
	while (text->len && (end = memchr(text->data, '\n', text->len))) {
		int result = take_line(s, text->data, (size_t)(end - text->data), ret, err);
		if (result)
			return result;
		buf_drop(text, (size_t)(end - text->data) + 1);
	}
	return text->len > LINE_MAX_BYTES ? err_set(err, ERR_SYSTEM, "roost-fetch: too long a line")
					  : 0;
}

/* 1: something came; -1: nothing will. */
static int read_more(struct puller *s, int fd, struct buf *text, struct err *err)
{
	int64_t silence = s->p->stall_ms * HOPS + SLACK_MS;
	int ready = signals_or_readable(fd, deadline_in(silence), err);
	if (ready < 0)
		return err_set(err, ERR_REFUSED, "image '%s': interrupted", s->p->name);
	if (ready == 0)
		return err_set(err, ERR_TIMEOUT, "roost-fetch has said nothing for %lld s",
			(long long)silence / 1000);
	buf_reserve(text, 64 * 1024);
	ssize_t n = read(fd, text->data + text->len, 64 * 1024);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n <= 0)
		return err_set(err, ERR_SYSTEM, "roost-fetch died");
	text->len += (size_t)n;
	return 1;
}

static int run_fetch(
	struct puller *s, const char *command, json_t *job, json_t **ret, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_buf_ struct buf text = {0};
	int result = 0;
	if (start(command, job, &c, err) < 0)
		return -1;
	while (result == 0)
		result = read_more(s, c.out, &text, err) < 0 ? -1 : take_lines(s, &text, ret, err);
	progress_end(&s->bar);
	return result < 0 ? -1 : 0;
}

/* ---- the digest -------------------------------------------------------------------------------------- */

/* "…/a.img.sha256" is about "…/a.img" alone. */
static bool is_own(const char *checksum_url, const char *file)
{
	_cleanup_free_ char *name = image_file_name(checksum_url);
	return str_starts(name, file) && name[strlen(file)] == '.';
}

static int learn_digest(struct puller *s, struct err *err)
{
	const char *from = s->p->checksum_url;
	_cleanup_json_ json_t *ret = NULL;
	if (s->p->digest)
		return snprintf(s->digest, sizeof(s->digest), "%s", s->p->digest), 0;
	if (!from)
		return 0;
	if (run_fetch(s, "text", job_of(s, json_pack("[s]", from), 0), &ret, err) < 0)
		return err_prefix(err, "the list of digests");
	const char *text = json_get_str(ret, "text", "");
	_cleanup_free_ char *file =
		image_file_name(json_string_value(json_array_get(s->p->urls, 0)));
	if (checksums_find(text, strlen(text), file, is_own(from, file), s->digest, err) < 0)
		return err_prefix(err, "the list of digests of image '%s'", s->p->name);
	if (strncasecmp(from, "http:", 5) == 0)
		note(s, "the list of digests came by http, which others on the way can change");
	return 0;
}

/* ---- the bytes --------------------------------------------------------------------------------------- */

static int64_t bytes_there(const struct puller *s)
{
	struct stat st;
	return s->entry.fd >= 0 && fstat(s->entry.fd, &st) == 0 ? st.st_size : 0;
}

/* The number of the address that served all of it. */
static int fetch_from(struct puller *s, size_t first, size_t *which, struct err *err)
{
	_cleanup_json_ json_t *ret = NULL;
	json_t *job = job_of(s, json_deep_copy(s->p->urls), first);
	if (run_fetch(s, "file", job, &ret, err) < 0)
		return -1;
	*which = (size_t)json_get_int(ret, "url", 0);
	free(s->source);
	s->source = xstrdup(json_get_str(ret, "shown", ""));
	return 0;
}

/*
 * The store judges by the digest, and what is wrong is gone then. So if there is another chance (the
 * rest was put to a part of something else, or there is one more address), we look before it.
 */
static int fetch_right(struct puller *s, struct err *err)
{
	char ignored[STORE_DIGEST_SIZE];
	size_t which = 0;
	for (size_t first = 0;;) {
		bool part = bytes_there(s) > 0;
		if (fetch_from(s, first, &which, err) < 0)
			return -1;
		bool last = !part && which + 1 >= json_array_size(s->p->urls);
		if (!s->digest[0] || last ||
			store_digest(&s->store, s->entry.fd, s->digest, ignored, err) == 0)
			return 0;
		progress_end(&s->bar);
		if (err->kind != ERR_REFUSED)
			return -1;
		_cleanup_free_ char *text = str_fmt("%s: %s; %s", s->source, err->message,
			part ? "fetching all of it anew" : "trying the next address");
		note(s, text);
		if (ftruncate(s->entry.fd, 0) < 0)
			return err_errno(err, "cannot begin image '%s' anew", s->p->name);
		first = part ? which : which + 1;
		*err = (struct err)ERR_INIT;
	}
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static void told(void *about, const char *step, int64_t done, int64_t total)
{
	struct puller *s = about;
	if (str_eq(step, "digest"))
		progress_show(&s->bar, done, total);
}

/* From here on they end us as they do others: what was fetched stays, too. */
static void release_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What has come is worth keeping if a later pull can go on from it. */
static int give_up(struct puller *s, struct err *err)
{
	int64_t there = bytes_there(s);
	progress_end(&s->bar);
	if (!s->entry.name[0])
		return -1; /* the store had it, and dropped it */
	if (!is_judged(s) || there == 0) {
		store_drop(&s->store, &s->entry);
		return -1;
	}
	if (err->hint[0])
		return -1;
	return err_hint(err,
		"%s of it are kept: the same command goes on from there, `roost image gc` "
		"removes them",
		str_size((uint64_t)there));
}

static int enter(struct puller *s, json_t **image, struct err *err)
{
	struct store_facts facts = s->p->facts;
	_cleanup_store_image_ struct store_image i = {0};
	facts.source = s->source;
	struct store_wish wish = {.digest = s->digest[0] ? s->digest : NULL, .facts = &facts};
	release_signals();
	progress_begin(&s->bar, "checking", s->p->quiet);
	int result = store_enter(&s->store, &s->entry, &wish, &i, err);
	progress_end(&s->bar);
	if (result < 0)
		return err_prefix(err, "image '%s'", s->p->name);
	*image = store_image_to_json(&i);
	json_object_set_new(*image, "name", json_string(i.name));
	return 0;
}

/* To roostd, which does with it what it does with any import. What it will not have is of no use. */
static int hand_over(struct puller *s, json_t **image, struct err *err)
{
	const struct store_facts *f = &s->p->facts;
	json_t *facts = json_pack("{s:s*, s:s*, s:s*, s:s*, s:I}", "source", s->source, "os", f->os,
		"user", f->user, "firmware", f->firmware, "min_memory", (json_int_t)f->min_memory);
	json_t *args = json_pack("{s:s, s:s*, s:o}", "image", s->p->name, "digest",
		s->digest[0] ? s->digest : NULL, "facts", facts);
	if (image_ask("roost-image-import", args, s->entry.fd, s->p->quiet, image, err) == 0) {
		store_drop(&s->store, &s->entry);
		return 0;
	}
	if (err->kind == ERR_REFUSED || err->kind == ERR_USAGE)
		store_drop(&s->store, &s->entry);
	return give_up(s, err);
}

/* Before anything is fetched for it: is the name free there, does it answer? */
static int check_theirs(const struct puller *s, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_store_ struct store theirs = STORE_NONE;
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q)
		return -1;
	return store_open(&theirs, &none) == 0 ? store_check_free(&theirs, s->p->name, err) : 0;
}

static int work(struct puller *s, json_t **image, struct err *err)
{
	s->ours = store_is_ours();
	if ((s->ours ? store_open_to_change(&s->store, err) < 0
		     : check_theirs(s, err) < 0 || store_open_own(&s->store, err) < 0) ||
		store_begin(&s->store, s->p->name, is_judged(s), &s->entry, err) < 0)
		return -1;
	s->store.told = told;
	s->store.about = s;
	progress_begin(&s->bar, s->p->name, s->p->quiet);
	if (learn_digest(s, err) < 0 || fetch_right(s, err) < 0)
		return give_up(s, err);
	return s->ours ? enter(s, image, err) : hand_over(s, image, err);
}

int pull_image(const struct pull *p, json_t **image, struct err *err)
{
	struct puller s = {.p = p, .store = STORE_NONE, .entry = STORE_ENTRY_NONE};
	signals_hold();
	int result = work(&s, image, err);
	store_entry_end(&s.entry);
	store_close(&s.store);
	free(s.source);
	return result;
}
