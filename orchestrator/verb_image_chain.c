/*
 * image commit, rebase, flatten: what an overlay stands on is changed, while it shows what it shows.
 *
 * The file that changes is made anew beside itself (image_remake.h) by qemu-img, in a confined child, which is handed
 * all files of the chain open, as a graph of nodes; the others are only read. A file that others stand on is not
 * changed (image_stands.h).
 */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/signals.h"
#include "images/image_info.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/image_remake.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/look.h"
#include "orchestrator/own_commit.h"
#include "orchestrator/tool_told.h"

enum { PART_MAX = 8 }; /* files in a node that a header can hold */

/* What qemu-img is handed: files as /proc/self/fd/10 and so on. */
struct files {
	int fds[TOOL_FDS_MAX];
	struct tool_file of[TOOL_FDS_MAX];
	char paths[TOOL_FDS_MAX][24];
	size_t count;
};

static void files_close(struct files *f)
{
	for (size_t i = 0; i < f->count; i++)
		cleanup_close(&f->fds[i]);
}
#define _cleanup_files_ _cleanup_(files_close)

/* ---- chains ------------------------------------------------------------------------------------------- */

/* `fd` is the caller's; a descriptor of the same open file, and so of the same locks, is kept. */
static void add_file(struct files *f, int fd, bool qcow2, bool locked)
{
	char *path = f->paths[f->count];
	snprintf(path, sizeof(f->paths[0]), "/proc/self/fd/%zu", TOOL_FD_FIRST + f->count);
	f->of[f->count] = (struct tool_file){.path = path, .qcow2 = qcow2, .locked = locked};
	f->fds[f->count++] = dup(fd);
}

/* The links of a chain from `first` on: only read, and by others, too. */
static int add_links(struct files *f, const struct chain *c, size_t first, struct err *err)
{
	for (size_t i = first; i < c->count; i++) {
		const struct chain_link *link = &c->links[i];
		struct stat st;
		_cleanup_close_ int fd = image_open(link->path, &st, err);
		if (fd < 0 || disk_lock(fd, link->path, false, err) < 0)
			return -1;
		if (st.st_ino != link->inode || st.st_dev != link->device)
			return err_set(
				err, ERR_BUSY, "'%s' was replaced at this moment", link->path);
		add_file(f, fd, link->qcow2, false);
	}
	return 0;
}

static int run_tool(
	const struct cli *cli, const struct files *f, const char *const argv[], struct err *err)
{
	struct tool_run run = tool_told(cli, argv);
	run.fds = f->fds;
	run.fd_count = f->count;
	int result = tool_run(&run, NULL, err);
	tool_told_end(&run);
	return result;
}

/* Copies the file that is to change: as far as the host can, without copying its bytes. */
static int copy(const struct cli *cli, struct remake *r, struct err *err)
{
	struct tool_run run = tool_told(cli, NULL);
	int result = remake_copy(r, run.told, NULL, err);
	tool_told_end(&run);
	return result;
}

/* What internal snapshots show comes from the backing file, too: it would be another one. */
static int check_overlay(const char *path, struct qcow2_info *q, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0)
		return -1;
	if (qcow2_read(fd, q, err) < 0)
		return err_prefix(err, "'%s'", path);
	if (qcow2_may_stand(q, path, err) < 0)
		return -1;
	if (!q->snapshots)
		return 0;
	err_set(err, ERR_REFUSED,
		"'%s' has snapshots inside, which need what it stands on as it is", path);
	return err_hint(err, "`qemu-img snapshot -d` removes those");
}

static int check_stands(const char *path, const struct qcow2_info *q, struct err *err)
{
	return q->has_backing ? 0
			      : err_set(err, ERR_REFUSED,
					"'%s' stands alone: it has no backing file", path);
}

/* A guest's record tells what its disk was found on. `guest`: image_disk_of(), before it was changed. */
static void say_record(const struct cli *cli, const char *guest)
{
	if (guest && !cli->json)
		fprintf(stderr,
			"it is a disk of guest '%s', whose record is to be told: `roost dumpyaml %s | roost define --rebased -`\n",
			guest, guest);
}

static int tell(const struct cli *cli, const char *what, const char *on, struct err *err)
{
	const char *path = cli->operands[0];
	_cleanup_json_ json_t *o = image_info(path, IMAGE_QCOW2, err);
	if (!o)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(o));
	else if (on)
		printf("'%s' %s '%s'\n", path, what, on);
	else
		printf("'%s' %s\n", path, what);
	return 0;
}

/* ---- commit ------------------------------------------------------------------------------------------- */

static int commit_into(
	const struct cli *cli, const struct chain *c, struct remake *base, struct err *err)
{
	_cleanup_files_ struct files f = {0};
	struct stat st;
	_cleanup_close_ int top = image_open(c->links[0].path, &st, err);
	if (top < 0 || disk_lock(top, c->links[0].path, false, err) < 0 || copy(cli, base, err) < 0)
		return -1;
	add_file(&f, top, true, true);
	add_file(&f, base->fresh, c->links[1].qcow2, true);
	if (add_links(&f, c, 2, err) < 0)
		return -1;
	_cleanup_free_ char *node = tool_files_node(f.of, f.count, err);
	const char *argv[] = {"commit", "-p", "-d", node, NULL};
	return node ? run_tool(cli, &f, argv, err) : -1;
}

/* Its guest changes over to the base: at once, if it does not run. */
static int commit_disk(
	const struct cli *cli, const char *guest, const char *target, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	const struct own_commit own = {.guest = guest,
		.target = target,
		.top = cli->operands[0],
		.delete = cli_flag(cli, "delete"),
		.json = cli->json};
	if (look_at(&l, guest, err) < 0)
		return -1;
	if (!look_runs(&l))
		return own_commit(&own, err);
	err_set(err, ERR_REFUSED, "'%s' is a disk of guest '%s', which runs", own.top, guest);
	return err_hint(
		err, "`roost blockcommit %s %s` lets it go on from the file below", guest, target);
}

static int commit_file(const struct cli *cli, const struct chain *chain, struct err *err)
{
	const char *path = cli->operands[0];
	bool remove_it = cli_flag(cli, "delete");
	const struct chain_link *top = &chain->links[0], *below = &chain->links[1];
	_cleanup_remake_ struct remake base = REMAKE_NONE;
	if ((remove_it && image_check_changeable(top, true, NULL, NULL, err) < 0) ||
		image_check_changeable(below, true, top, NULL, err) < 0 ||
		remake_begin(&base, below->path, err) < 0 ||
		commit_into(cli, chain, &base, err) < 0 || remake_settle(&base, err) < 0)
		return err_prefix(err, "'%s' is not committed", path);
	if (remove_it && unlink(top->path) < 0)
		return err_errno(err, "cannot remove '%s'", path);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:b}", "filename", path, "base", below->path,
			"deleted", remove_it));
	else
		printf("'%s' is committed into '%s'%s\n", path, below->path,
			remove_it ? ", and removed" : "");
	return 0;
}

static int run_commit(const struct cli *cli, struct err *err)
{
	const char *path = cli->operands[0];
	struct qcow2_info q = {0};
	_cleanup_(chain_free) struct chain c = {0};
	_cleanup_free_ char *target = NULL;
	signals_hold();
	if (check_overlay(path, &q, err) < 0 || check_stands(path, &q, err) < 0 ||
		chain_resolve(path, true, &c, err) < 0 || image_check_chain(&c, err) < 0)
		return -1;
	_cleanup_free_ char *guest = image_disk_of(&c.links[0], &target);
	return guest ? commit_disk(cli, guest, target, err) : commit_file(cli, &c, err);
}

/* ---- flatten ------------------------------------------------------------------------------------------ */

/* The overlay, made anew, over the links of `c` below it. */
static int open_over(const struct cli *cli, struct files *f, struct remake *r,
	const struct chain *c, struct err *err)
{
	if (remake_begin(r, cli->operands[0], err) < 0 || copy(cli, r, err) < 0)
		return -1;
	add_file(f, r->fresh, true, true);
	return add_links(f, c, 1, err);
}

static int run_flatten(const struct cli *cli, struct err *err)
{
	const char *path = cli->operands[0];
	struct qcow2_info q = {0};
	_cleanup_(chain_free) struct chain c = {0};
	_cleanup_files_ struct files f = {0};
	_cleanup_remake_ struct remake r = REMAKE_NONE;
	signals_hold();
	if (check_overlay(path, &q, err) < 0 || check_stands(path, &q, err) < 0 ||
		chain_resolve(path, true, &c, err) < 0 || image_check_chain(&c, err) < 0 ||
		image_check_changeable(&c.links[0], false, NULL, NULL, err) < 0 ||
		open_over(cli, &f, &r, &c, err) < 0)
		return -1;
	_cleanup_free_ char *node = tool_files_node(f.of, f.count, err);
	_cleanup_free_ char *guest = image_disk_of(&c.links[0], NULL);
	const char *argv[] = {"rebase", "-p", "-b", "", node, NULL};
	if (!node || run_tool(cli, &f, argv, err) < 0 || remake_settle(&r, err) < 0)
		return err_prefix(err, "'%s'", path);
	if (tell(cli, "stands alone now", NULL, err) < 0)
		return -1;
	say_record(cli, guest);
	return 0;
}

/* ---- rebase ------------------------------------------------------------------------------------------- */

/* Where a new base that is called so in the overlay's header would be. */
static char *base_of(const char *path, const char *name, struct err *err)
{
	if (!name[0] || name[strcspn(name, ":/")] == ':') {
		err_set(err, name[0] ? ERR_REFUSED : ERR_USAGE, "'%s' is not a local file's name",
			name);
		if (name[0])
			err_hint(err, "of a file in its folder it is './%s'", name);
		else
			err_hint(err, "`roost image flatten` makes an image stand alone");
		return NULL;
	}
	char *base = chain_backing_path(path, name);
	if (!base)
		err_errno(err, "cannot open the base '%s'", name);
	return base;
}

/* The overlay must not stand on itself, nor on too many. */
static int check_new_chain(const struct chain_link *top, const struct chain *c, struct err *err)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->links[i].inode == top->inode && c->links[i].device == top->device)
			return err_set(err, ERR_REFUSED, "'%s' would stand on itself: '%s' %s",
				top->path, c->links[0].path,
				i ? "stands on it" : "is the same file");
	if (c->count >= CHAIN_MAX)
		return err_set(err, ERR_REFUSED,
			"'%s' stands on %zu files: with one more the chain would have more than %d",
			c->links[0].path, c->count - 1, CHAIN_MAX);
	return 0;
}

static int look_at_top(const char *path, struct chain_link *top, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0)
		return -1;
	*top = (struct chain_link){.path = realpath(path, NULL),
		.qcow2 = true,
		.inode = st.st_ino,
		.device = st.st_dev};
	return top->path ? 0 : err_errno(err, "cannot open the image '%s'", path);
}

/* An empty overlay over that node, which goes with us: a short name for it. Where it is among the files. */
static int add_stub(struct files *f, uint64_t size, const char *node, struct err *err)
{
	const struct qcow2_new new = {
		.size = size, .backing = node, .backing_format = "qcow2", .backing_is_node = true};
	_cleanup_close_ int fd = memfd_create("stub", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot make a file in memory");
	if (qcow2_create_in(fd, "a file in memory", &new, err) < 0)
		return -1;
	add_file(f, fd, true, false);
	f->of[f->count - 1].follows = true;
	return 0;
}

/*
 * The node of the chain `c`, which are the files from `first` on. qemu-img writes it into a header for a moment, which
 * has room for 1023 bytes: of a longer chain the lower part is named by a stub.
 */
static char *base_node(struct files *f, size_t first, const struct chain *c, struct err *err)
{
	struct tool_file part[PART_MAX + 1];
	size_t end = c->count, stubs = 0;
	for (;;) {
		size_t from = end > PART_MAX ? end - PART_MAX : 0, count = end - from;
		memcpy(part, &f->of[first + from], count * sizeof(*part));
		if (stubs)
			part[count++] = f->of[f->count - 1];
		_cleanup_free_ char *node = tool_files_node(part, count, err);
		if (!from || !node)
			return TAKE(node);
		if (add_stub(f, c->links[from].virtual_size, node, err) < 0)
			return NULL;
		stubs++;
		end = from;
	}
}

/* What differs between the two chains below it is written into it; then it stands on the other one. */
static int copy_differences(const struct cli *cli, struct files *f, const struct chain *new,
	const char *format, struct err *err)
{
	size_t old = f->count;
	if (add_links(f, new, 0, err) < 0)
		return -1;
	_cleanup_free_ char *node = tool_files_node(f->of, old, err);
	_cleanup_free_ char *base = node ? base_node(f, old, new, err) : NULL;
	const char *argv[] = {"rebase", "-p", "-F", format, "-b", base, node, NULL};
	return base ? run_tool(cli, f, argv, err) : -1;
}

/* The name for people and their tools: alone, for it is opened by nobody here. */
static int write_name(const struct cli *cli, const struct files *f, const char *name,
	const char *format, struct err *err)
{
	_cleanup_free_ char *node = tool_files_node(f->of, 1, err);
	const char *argv[] = {"rebase", "-u", "-F", format, "-b", name, node, NULL};
	return node ? run_tool(cli, f, argv, err) : -1;
}

static int rebase(const struct cli *cli, const struct chain *new, const char *name,
	const char *format, struct err *err)
{
	bool unsafe = cli_flag(cli, "unsafe");
	_cleanup_(chain_free) struct chain old = {0};
	_cleanup_files_ struct files f = {0};
	_cleanup_remake_ struct remake r = REMAKE_NONE;
	if ((!unsafe && (chain_resolve(cli->operands[0], true, &old, err) < 0 ||
				image_check_chain(&old, err) < 0)) ||
		open_over(cli, &f, &r, &old, err) < 0 ||
		(!unsafe && copy_differences(cli, &f, new, format, err) < 0) ||
		write_name(cli, &f, name, format, err) < 0)
		return -1;
	return remake_settle(&r, err);
}

static int wish(const struct cli *cli, const char **name, const char **format, struct err *err)
{
	enum image_format parsed;
	*name = cli_value(cli, "backing", NULL);
	*format = cli_value(cli, "backing-format", NULL);
	if (!*name || !*format) {
		err_set(err, ERR_USAGE,
			"roost image rebase: --backing and --backing-format are both wanted");
		return err_hint(err, "formats are never guessed: -F qcow2 or -F raw");
	}
	return image_format_parse(*format, &parsed, err);
}

static int run_rebase(const struct cli *cli, struct err *err)
{
	const char *path = cli->operands[0], *name, *format;
	struct qcow2_info q = {0};
	struct chain_link top = {0};
	_cleanup_(chain_free) struct chain new = {0};
	signals_hold();
	if (wish(cli, &name, &format, err) < 0 || check_overlay(path, &q, err) < 0 ||
		look_at_top(path, &top, err) < 0)
		return -1;
	_cleanup_free_ char *own = top.path, *base = base_of(path, name, err);
	if (!base || chain_resolve(base, str_eq(format, "qcow2"), &new, err) < 0 ||
		check_new_chain(&top, &new, err) < 0 ||
		image_check_changeable(&top, cli_flag(cli, "unsafe"), NULL, NULL, err) < 0)
		return -1;
	_cleanup_free_ char *guest = image_disk_of(&top, NULL);
	if (rebase(cli, &new, name, format, err) < 0)
		return err_prefix(err, "'%s' is not rebased", path);
	if (tell(cli, "stands on", name, err) < 0)
		return -1;
	say_record(cli, guest);
	return 0;
}

const struct verb verb_image_commit = {"image commit", "FILE",
	"Writes what an overlay holds into the file that it stands on; ends wholly or not at all.",
	1, 1, false, {{"delete", NULL, 0, "then remove the overlay"}}, run_commit,
	"roost image commit overlay.qcow2", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_rebase = {"image rebase", "FILE",
	"Lets an overlay stand on another base, and show what it shows.", 1, 1, false,
	{{"backing", "BASE", 'b', "the new base; a relative name is taken from FILE's folder"},
		{"backing-format", "qcow2|raw", 'F', "what the base is"},
		{"unsafe", NULL, 'u', "only the name: BASE is the old one, moved"}},
	run_rebase, "roost image rebase overlay.qcow2 -b data.qcow2 -F qcow2", GROUP_IMAGES,
	GUESTS_ALL};
const struct verb verb_image_flatten = {"image flatten", "FILE",
	"Makes an overlay stand alone: what it stands on is copied into it.", 1, 1, false, {{0}},
	run_flatten, "roost image flatten overlay.qcow2", GROUP_IMAGES, GUESTS_ALL};
