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

/* "vda[2]" is the file that vda's top stands on by two steps, as virsh has it; 0: it is no such name. */
static size_t layer_of(const char *word, const char *target)
{
	size_t len = strlen(target);
	char *end;
	if (strncmp(word, target, len) != 0 || word[len] != '[')
		return 0;
	unsigned long n = strtoul(word + len + 1, &end, 10);
	return str_eq(end, "]") && n < CHAIN_MAX ? n : 0;
}

static int choose_base(
	const struct own_commit *o, const struct chain *c, size_t *base, struct err *err)
{
	struct stat st = {0};
	size_t at = o->base ? layer_of(o->base, o->target) : 1;
	if (!at && stat(o->base, &st) == 0)
		for (size_t i = c->count; i-- > 1;)
			if (c->links[i].inode == st.st_ino && c->links[i].device == st.st_dev)
				at = i;
	if (!at || at >= c->count)
		return err_set(err, ERR_REFUSED, "disk '%s' does not stand on '%s'", o->target,
			o->base ? o->base : "anything");
	*base = at;
	return 0;
}

/* Those above the one that is written to mean nothing afterwards. */
static int check_others(
	const struct own_commit *o, const struct chain *c, size_t base, struct err *err)
{
	const struct image_own own = {o->guest, o->target};
	for (size_t i = 0; i <= base; i++)
		if (image_check_changeable(
			    &c->links[i], true, i ? &c->links[i - 1] : NULL, &own, err) < 0)
			return -1;
	return 0;
}

static int open_base(const struct chain_link *link, struct err *err)
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

static int commit_running(const struct own_commit *o, const char *base, int fd, struct err *err)
{
	_cleanup_json_ json_t *marked = NULL, *reply = NULL;
	struct err late = ERR_INIT;
	if (supervisor_call("roost-commit-record",
		    json_pack(
			    "{s:s, s:s, s:s}", "name", o->guest, "target", o->target, "base", base),
		    &marked, err) < 0)
		return -1;
	int result = long_call(o->running, "roost-blockcommit-into",
		json_pack("{s:s, s:s, s:s, s:I}", "target", o->target, "base", base, "mark",
			json_get_str(marked, "mark", ""), "bytes-per-second", (json_int_t)o->speed),
		&fd, 1, o->json, &reply, err);
	int settled = supervisor_call("roost-commit-record", json_pack("{s:s}", "name", o->guest),
		NULL, result < 0 ? &late : err);
	return result < 0 || settled < 0 ? -1 : 0;
}

static int commit_stopped(const struct own_commit *o, const char *base, int fd, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	return long_call_supervisor((struct long_about){"guest", o->guest}, "roost-blockcommit",
		json_pack("{s:s, s:s, s:s}", "name", o->guest, "target", o->target, "base", base),
		&fd, 1, o->json, &reply, err);
}

static int commit(const struct own_commit *o, const struct chain *c, size_t base, struct err *err)
{
	const struct chain_link *link = &c->links[base];
	_cleanup_close_ int fd = open_base(link, err);
	if (fd < 0)
		return -1;
	return o->running ? commit_running(o, link->path, fd, err)
			  : commit_stopped(o, link->path, fd, err);
}

static int remove_upper(const struct chain *c, size_t base, struct err *err)
{
	for (size_t i = 0; i < base; i++)
		if (unlink(c->links[i].path) < 0)
			return err_errno(err, "cannot remove '%s'", c->links[i].path);
	return 0;
}

static void tell(const struct own_commit *o, const struct chain *c, size_t base)
{
	_cleanup_json_ json_t *needless = json_array();
	for (size_t i = 0; i < base; i++)
		json_array_append_new(needless, json_string(c->links[i].path));
	if (o->json) {
		cli_print_json(json_pack("{s:s, s:s, s:O, s:b}", "target", o->target, "base",
			c->links[base].path, "needless", needless, "deleted", o->delete));
		return;
	}
	printf("Disk '%s' of guest '%s' is committed into '%s'\n", o->target, o->guest,
		c->links[base].path);
	for (size_t i = 0; i < base && !o->delete; i++)
		fprintf(stderr, "nothing needs '%s' any more, and nothing may stand on it again\n",
			c->links[i].path);
}

int own_commit(const struct own_commit *o, struct err *err)
{
	_cleanup_(chain_free) struct chain c = {0};
	size_t base = 0;
	if (chain_resolve(o->top, true, &c, err) < 0 || image_check_chain(&c, err) < 0 ||
		choose_base(o, &c, &base, err) < 0 || check_others(o, &c, base, err) < 0 ||
		commit(o, &c, base, err) < 0)
		return err_prefix(err, "'%s' is not committed", o->top);
	if (o->delete &&remove_upper(&c, base, err) < 0)
		return -1;
	tell(o, &c, base);
	return 0;
}
