#include "orchestrator/own_commit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/chain.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/long_call.h"
#include "orchestrator/verb.h"

struct files {
	struct chain c;
	size_t from, base; /* what is committed, from which one down, and into which */
};

/* "vda[2]" is the file that vda's top stands on by two steps, as virsh has it; `none`: it is no such name. */
static size_t layer_of(const char *word, const char *target, size_t none)
{
	size_t len = strlen(target);
	char *end;
	if (str_eq(word, target))
		return 0;
	if (strncmp(word, target, len) != 0 || word[len] != '[')
		return none;
	unsigned long n = strtoul(word + len + 1, &end, 10);
	return str_eq(end, "]") && n < none ? n : none;
}

/* Which of the files that is; `otherwise` without a word. */
static int choose(const struct own_commit *o, const struct chain *c, const char *word,
	size_t otherwise, size_t *out, struct err *err)
{
	struct stat st = {0};
	size_t at = !word ? otherwise : layer_of(word, o->target, c->count);
	if (word && at == c->count && stat(word, &st) == 0)
		for (at = 0; at < c->count; at++)
			if (c->links[at].inode == st.st_ino && c->links[at].device == st.st_dev)
				break;
	if (at >= c->count)
		return err_set(err, ERR_REFUSED, "disk '%s' does not stand on '%s'", o->target,
			word ? word : "anything");
	*out = at;
	return 0;
}

static int choose_files(const struct own_commit *o, struct files *f, struct err *err)
{
	if (choose(o, &f->c, o->from, 0, &f->from, err) < 0 ||
		choose(o, &f->c, o->base, f->from + 1, &f->base, err) < 0)
		return -1;
	if (f->base <= f->from)
		return err_set(err, ERR_USAGE, "'%s' does not stand on '%s'",
			f->c.links[f->from].path, f->c.links[f->base].path);
	if (f->from <= 1 || !o->running)
		return 0;
	err_set(err, ERR_REFUSED,
		"guest '%s' runs: of disk '%s' it merges only what is at the top or just below it",
		o->guest, o->target);
	return err_hint(err, "--top %s[1], or when the guest does not run", o->target);
}

/* Those that are committed mean nothing afterwards, and the one above them is written to. */
static int check_others(const struct own_commit *o, const struct files *f, struct err *err)
{
	const struct image_own own = {o->guest, o->target};
	const struct chain_link *links = f->c.links;
	for (size_t i = f->from ? f->from - 1 : 0; i <= f->base; i++)
		if (image_check_changeable(&links[i], true, i ? &links[i - 1] : NULL, &own, err) <
			0)
			return -1;
	return 0;
}

static int open_to_write(const struct chain_link *link, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd =
		open(link->path, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot write to '%s'", link->path);
	if (st.st_ino != link->inode || st.st_dev != link->device)
		return err_set(err, ERR_BUSY, "'%s' was replaced at this moment", link->path);
	return TAKE_FD(fd);
}

static int commit_running(
	const struct own_commit *o, const struct files *f, int fd, struct err *err)
{
	_cleanup_json_ json_t *marked = NULL, *reply = NULL;
	struct err late = ERR_INIT;
	const char *base = f->c.links[f->base].path;
	json_int_t above = (json_int_t)f->from;
	if (supervisor_call("roost-commit-record",
		    json_pack("{s:s, s:s, s:s, s:I}", "name", o->guest, "target", o->target, "base",
			    base, "above", above),
		    &marked, err) < 0)
		return -1;
	int result = long_call(o->running, "roost-blockcommit-into",
		json_pack("{s:s, s:s, s:I, s:s, s:I}", "target", o->target, "base", base, "above",
			above, "mark", json_get_str(marked, "mark", ""), "bytes-per-second",
			(json_int_t)o->speed),
		&fd, 1, o->json, &reply, err);
	int settled = supervisor_call("roost-commit-record", json_pack("{s:s}", "name", o->guest),
		NULL, result < 0 ? &late : err);
	return result < 0 || settled < 0 ? -1 : 0;
}

/* `fds`: the base, and if a file above it stays the lowest of those. */
static int commit_stopped(
	const struct own_commit *o, const struct files *f, const int *fds, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	return long_call_supervisor((struct long_about){"guest", o->guest}, "roost-blockcommit",
		json_pack("{s:s, s:s, s:s, s:s}", "name", o->guest, "target", o->target, "base",
			f->c.links[f->base].path, "from", f->c.links[f->from].path),
		fds, f->from ? 2 : 1, o->json, &reply, err);
}

static int commit(const struct own_commit *o, const struct files *f, struct err *err)
{
	const struct chain_link *base = &f->c.links[f->base];
	_cleanup_close_ int fd = open_to_write(base, err);
	_cleanup_close_ int above =
		fd < 0 || !f->from ? -1 : open_to_write(&f->c.links[f->from - 1], err);
	if (fd < 0 || (f->from && above < 0))
		return -1;
	return o->running ? commit_running(o, f, fd, err)
			  : commit_stopped(o, f, (const int[]){fd, above}, err);
}

static int remove_needless(const struct files *f, struct err *err)
{
	for (size_t i = f->from; i < f->base; i++)
		if (unlink(f->c.links[i].path) < 0)
			return err_errno(err, "cannot remove '%s'", f->c.links[i].path);
	return 0;
}

static void tell(const struct own_commit *o, const struct files *f)
{
	_cleanup_json_ json_t *needless = json_array();
	const char *base = f->c.links[f->base].path;
	for (size_t i = f->from; i < f->base; i++)
		json_array_append_new(needless, json_string(f->c.links[i].path));
	if (o->json) {
		cli_print_json(json_pack("{s:s, s:s, s:O, s:b}", "target", o->target, "base", base,
			"needless", needless, "deleted", o->delete));
		return;
	}
	if (f->from)
		printf("'%s' of guest '%s' is committed into '%s'\n", f->c.links[f->from].path,
			o->guest, base);
	else
		printf("Disk '%s' of guest '%s' is committed into '%s'\n", o->target, o->guest,
			base);
	for (size_t i = f->from; i < f->base && !o->delete; i++)
		fprintf(stderr, "nothing needs '%s' any more, and nothing may stand on it again\n",
			f->c.links[i].path);
}

static int work(const struct own_commit *o, struct files *f, struct err *err)
{
	if (chain_resolve(o->top, true, &f->c, err) < 0 || image_check_chain(&f->c, err) < 0 ||
		choose_files(o, f, err) < 0 || check_others(o, f, err) < 0 || commit(o, f, err) < 0)
		return err_prefix(err, "'%s' is not committed", o->top);
	return o->delete ? remove_needless(f, err) : 0;
}

int own_commit(const struct own_commit *o, struct err *err)
{
	struct files f = {.from = 0};
	int result = work(o, &f, err);
	if (result == 0)
		tell(o, &f);
	chain_free(&f.c);
	return result;
}
