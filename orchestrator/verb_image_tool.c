/* image check, convert, compare: qemu-img's work, in a confined child (images/tool.h). */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/signals.h"
#include "images/image.h"
#include "images/image_info.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/store_open.h"
#include "orchestrator/tool_told.h"

/* A raw disk may say so as well, if a guest wrote that: then a file of the host's would be copied for it. */
static int check_named(
	const char *path, enum image_format format, const struct chain *c, struct err *err)
{
	if (format != IMAGE_BY_CONTENT || c->count == 1)
		return 0;
	err_set(err, ERR_REFUSED, "'%s' says of itself that it stands on '%s'", path,
		c->links[1].path);
	return err_hint(err,
		"a guest can write that into a raw disk, too; if it is a qcow2 image of yours: --format qcow2");
}

/* The image and all that it stands on, resolved by us, as a node; NULL: an error. */
static char *whole_node(const char *path, const char *format_word, struct err *err)
{
	struct stat st;
	bool qcow2;
	enum image_format format;
	_cleanup_(chain_free) struct chain c = {0};
	if (image_format_parse(format_word, &format, err) < 0)
		return NULL;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, format, &qcow2, err) < 0 ||
		chain_resolve(path, qcow2, &c, err) < 0 || check_named(path, format, &c, err) < 0 ||
		image_check_chain(&c, err) < 0 || disk_check_unused(fd, path, false, err) < 0)
		return NULL;
	return tool_chain_node(&c, 0, err);
}

/* ---- check ---------------------------------------------------------------------------------------- */

/* A mark of corruption is what this is for; what would lead elsewhere is refused. */
static int may_check(const char *path, bool repair, struct err *err)
{
	struct stat st;
	struct qcow2_info q;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0)
		return -1;
	if (qcow2_read(fd, &q, err) < 0)
		return err_prefix(err, "'%s'", path);
	q.corrupt = false;
	_cleanup_free_ char *real = realpath(path, NULL);
	const struct chain_link link = {
		.path = real, .qcow2 = true, .inode = st.st_ino, .device = st.st_dev};
	if (!real)
		return err_errno(err, "cannot open the image '%s'", path);
	if (qcow2_may_stand(&q, path, err) < 0 || (repair && image_check_writable(&link, err) < 0))
		return -1;
	return disk_check_unused(fd, path, repair, err);
}

/* After a repair there may be two, before and after. Each begins with a line that is one brace. */
static json_t *last_answer(const struct buf *out, struct err *err)
{
	const char *from = out->data ? out->data : "";
	for (const char *next = from; (next = strstr(next, "\n{\n")); next++)
		from = next + 1;
	return json_text_parse(from, strlen(from), err);
}

static int run_check(const struct cli *cli, struct err *err)
{
	int status;
	_cleanup_buf_ struct buf out = {0};
	const char *repair = cli_value(cli, "repair", NULL);
	_cleanup_free_ char *path = store_path_of(cli->operands[0]);
	if (repair && !str_eq(repair, "leaks") && !str_eq(repair, "all"))
		return err_set(err, ERR_USAGE, "--repair is leaks or all, not '%s'", repair);
	_cleanup_free_ char *node =
		may_check(path, repair, err) < 0 ? NULL : tool_node(path, true, err);
	const char *argv[] = {"check", "--output=json", node, repair ? "-r" : NULL, repair, NULL};
	const struct tool_run run = {.argv = argv,
		.out = &out,
		.answers = 1U << 2 | 1U << 3,
		.time_ms = 3600000,
		.stall_ms = 3600000};
	if (!node || tool_run(&run, &status, err) < 0)
		return node ? err_prefix(err, "'%s'", path) : -1;
	_cleanup_json_ json_t *o = last_answer(&out, err);
	if (!o)
		return err_set(err, ERR_QEMU, "'%s': qemu-img check gave no answer", path);
	int64_t bad = json_get_int(o, "corruptions", 0), leaks = json_get_int(o, "leaks", 0);
	json_object_set_new(o, "filename", json_string(path));
	if (cli->json)
		cli_print_json(TAKE(o));
	else if (status == 0)
		printf("'%s' is sound\n", path);
	else
		printf("'%s': %lld corrupt, %lld leaked clusters\n", path, (long long)bad,
			(long long)leaks);
	return status;
}

/* ---- convert -------------------------------------------------------------------------------------- */

static int to_new_file(const struct cli *cli, const char *node, const char *fresh, struct err *err)
{
	const char *to = cli->operands[1], *format = cli_value(cli, "output-format", "qcow2");
	const char *argv[] = {"convert", "-p", "-O", format, node, fresh,
		cli_flag(cli, "compress") ? "-c" : NULL, NULL};
	struct tool_run run = tool_told(cli, argv);
	int result = tool_run(&run, NULL, err);
	tool_told_end(&run);
	if (result < 0)
		return err_prefix(err, "'%s'", cli->operands[0]);
	_cleanup_close_ int fd = open(fresh, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, "cannot flush '%s'", to);
	if (renameat2(AT_FDCWD, fresh, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
		return err_errno(err, "cannot make '%s'", to);
	return 0;
}

static int run_convert(const struct cli *cli, struct err *err)
{
	enum image_format format;
	_cleanup_free_ char *from = store_path_of(cli->operands[0]);
	const char *to = cli->operands[1];
	if (image_format_parse(cli_value(cli, "output-format", "qcow2"), &format, err) < 0)
		return -1;
	if (format == IMAGE_RAW && cli_flag(cli, "compress"))
		return err_set(err, ERR_USAGE, "a raw image cannot be compressed");
	if (access(to, F_OK) == 0)
		return err_set(err, ERR_REFUSED, "'%s' is there already", to);
	_cleanup_free_ char *node = whole_node(from, cli_value(cli, "format", NULL), err);
	if (!node)
		return -1;
	/* absolute or "./": QEMU would take what stands before a ':' for a protocol */
	const char *slash = strrchr(to, '/');
	_cleanup_free_ char *fresh = str_fmt("%s%.*s.roost-%d.new", to[0] == '/' ? "" : "./",
		slash ? (int)(slash - to) + 1 : 0, to, (int)getpid());
	signals_hold(); /* what is half made is removed */
	if (to_new_file(cli, node, fresh, err) < 0) {
		unlink(fresh);
		return -1;
	}
	_cleanup_json_ json_t *o = image_info(to, format, err);
	if (!o)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(o));
	else
		printf("'%s' converted to '%s'\n", from, to);
	return 0;
}

/* ---- compare -------------------------------------------------------------------------------------- */

static int run_compare(const struct cli *cli, struct err *err)
{
	int status;
	_cleanup_free_ char *path = store_path_of(cli->operands[0]),
			    *other_path = store_path_of(cli->operands[1]);
	_cleanup_free_ char *one = whole_node(path, cli_value(cli, "format", NULL), err);
	_cleanup_free_ char *other =
		one ? whole_node(other_path, cli_value(cli, "other-format", NULL), err) : NULL;
	const char *argv[] = {
		"compare", "-p", one, other, cli_flag(cli, "strict") ? "-s" : NULL, NULL};
	struct tool_run run = tool_told(cli, argv);
	run.answers = 1U << 1;
	if (!other)
		return -1;
	int result = tool_run(&run, &status, err);
	tool_told_end(&run);
	if (result < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:b}", "identical", status == 0));
	else
		printf("The images are %s\n", status == 0 ? "identical" : "different");
	return status;
}

#define FORMAT                                                                                     \
	{                                                                                          \
		"format", "qcow2|raw", 'f',                                                        \
			"what it is; without: by its content, if it stands alone"                  \
	}
const struct verb verb_image_check = {"image check", "FILE",
	"Checks a qcow2 image; ends with 2 if it is corrupt, 3 if it only leaks space.", 1, 1,
	false, {{"repair", "leaks|all", 'r', "mend what can be mended"}}, run_check,
	"roost image check data.qcow2", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_convert = {"image convert", "FILE FILE",
	"Writes an image, with all that it stands on, into a new one.", 2, 2, false,
	{FORMAT, {"output-format", "qcow2|raw", 'O', "what to make; qcow2 unless told"},
		{"compress", NULL, 'c', "compress its clusters"}},
	run_convert, "roost image convert data.qcow2 copy.raw -O raw", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_compare = {"image compare", "FILE FILE",
	"Tells whether guests would see the same in two images; ends with 1 if not.", 2, 2, false,
	{FORMAT, {"other-format", "qcow2|raw", 'F', "what the second one is"},
		{"strict", NULL, 's', "sizes and what is allocated must agree, too"}},
	run_compare, "roost image compare data.qcow2 data.qcow2", GROUP_IMAGES, GUESTS_ALL};
