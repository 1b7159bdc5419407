/* image create, image resize: natively, qemu-img where it is needed. */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "images/chain.h"
#include "images/image.h"
#include "images/image_info.h"
#include "images/qcow2_grow.h"
#include "images/tool.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/store_open.h"

static int tell(const struct cli *cli, const char *path, enum image_format format, const char *what,
	struct err *err)
{
	_cleanup_json_ json_t *o = image_info(path, format, err);
	if (!o)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(o));
	else
		printf("Image '%s' %s: %s\n", path, what,
			str_size((uint64_t)json_get_int(o, "virtual-size", 0)));
	return 0;
}

/* ---- create --------------------------------------------------------------------------------------- */

static int make_raw(const char *path, uint64_t size, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "cannot make '%s'", path);
	if (ftruncate(fd, (off_t)size) == 0)
		return 0;
	err_errno(err, "cannot make '%s' so large", path);
	unlink(path);
	return -1;
}

/* The base's size, of a chain that we would follow. The name is taken from the new image's folder. */
static int base_size(
	const char *path, const char *base, bool qcow2, uint64_t *size, struct err *err)
{
	_cleanup_(chain_free) struct chain c = {0};
	const char *slash = strrchr(path, '/');
	if (base[strcspn(base, ":/")] == ':')
		return err_set(err, ERR_REFUSED, "'%s' is not a local file's name", base),
		       err_hint(err, "of a file in this folder it is './%s'", base);
	int folder = slash && base[0] != '/' ? (int)(slash - path) + 1 : 0;
	_cleanup_free_ char *full = str_fmt("%.*s%s", folder, path, base);
	if (chain_resolve(full, qcow2, &c, err) < 0)
		return -1;
	if (c.count >= CHAIN_MAX)
		return err_set(err, ERR_REFUSED,
			"'%s' stands on %zu files: with one more the chain would have more than %d",
			base, c.count - 1, CHAIN_MAX);
	*size = c.links[0].virtual_size;
	return 0;
}

static int wish(
	const struct cli *cli, enum image_format *format, struct qcow2_new *new, struct err *err)
{
	enum image_format base_format;
	uint64_t cluster = 0;
	const char *text = cli_value(cli, "cluster-size", NULL);
	new->backing = cli_value(cli, "backing", NULL);
	new->backing_format = cli_value(cli, "backing-format", NULL);
	if (image_format_parse(cli_value(cli, "format", "qcow2"), format, err) < 0 ||
		image_format_parse(new->backing_format, &base_format, err) < 0)
		return -1;
	if (!new->backing != !new->backing_format)
		return err_set(err, ERR_USAGE,
			       "roost image create: --backing and --backing-format "
			       "go together"),
		       err_hint(err, "formats are never guessed: -F qcow2 or -F raw");
	if (*format == IMAGE_RAW && (new->backing || text))
		return err_set(err, ERR_USAGE, "a raw image has neither a base nor clusters");
	if (text && str_parse_size(text, 1, "the cluster size", &cluster, err) < 0)
		return -1;
	if (text && (cluster < 512 || cluster > 2 << 20 || (cluster & (cluster - 1))))
		return err_set(err, ERR_USAGE,
			"a cluster of %" PRIu64 " bytes: it must be a power of 2, 512 to 2M",
			cluster);
	for (; cluster > 1; cluster /= 2)
		new->cluster_bits++;
	return 0;
}

static int run_create(const struct cli *cli, struct err *err)
{
	enum image_format format;
	struct qcow2_new new = {.durable = true};
	const char *path = cli->operands[0];
	if (wish(cli, &format, &new, err) < 0)
		return -1;
	if (cli->count < 2 && !new.backing)
		return err_set(err, ERR_USAGE, "roost image create: a size is missing");
	if (new.backing && base_size(path, new.backing, str_eq(new.backing_format, "qcow2"),
				   &new.size, err) < 0)
		return -1;
	if (cli->count > 1 && str_parse_size(cli->operands[1], 1, "the size", &new.size, err) < 0)
		return -1;
	if (new.size > INT64_MAX - 512)
		return err_set(
			err, ERR_USAGE, "an image of %" PRIu64 " bytes is too large", new.size);
	if (format == IMAGE_RAW ? make_raw(path, new.size, err) < 0
				: qcow2_create(AT_FDCWD, path, &new, err) < 0)
		return -1;
	return tell(cli, path, format, "made", err);
}

/* ---- resize --------------------------------------------------------------------------------------- */

struct resizing {
	const char *path;
	int fd;
	bool qcow2, shrink;
	struct qcow2_info q;
	uint64_t now, size;
	struct chain chain; /* of an image that grows and stands on another; else empty */
};

static int open_image(const struct cli *cli, struct resizing *r, struct err *err)
{
	struct stat st;
	enum image_format format;
	if (image_format_parse(cli_value(cli, "format", "qcow2"), &format, err) < 0)
		return -1;
	_cleanup_close_ int looked = image_open(r->path, &st, err);
	if (looked < 0)
		return -1;
	r->qcow2 = format == IMAGE_QCOW2;
	if (r->qcow2 && (qcow2_read(looked, &r->q, err) < 0)) {
		err_prefix(err, "'%s'", r->path);
		return err_hint(err, "a raw image is one only by --format raw");
	}
	if (r->qcow2 && qcow2_may_stand(&r->q, r->path, err) < 0)
		return -1;
	r->now = r->qcow2 ? r->q.virtual_size : raw_virtual_size(&st);
	_cleanup_free_ char *real = realpath(r->path, NULL);
	const struct chain_link link = {
		.path = real, .qcow2 = r->qcow2, .inode = st.st_ino, .device = st.st_dev};
	if (!real)
		return err_errno(err, "cannot open the image '%s'", r->path);
	if (image_check_writable(&link, err) < 0)
		return -1;
	char again[32];
	snprintf(again, sizeof(again), "/proc/self/fd/%d", looked);
	r->fd = open(again, O_RDWR | O_CLOEXEC);
	if (r->fd < 0)
		return err_errno(err, "cannot open '%s' for writing", r->path);
	return disk_check_unused(r->fd, r->path, true, err);
}

static int wanted_size(struct resizing *r, const char *text, struct err *err)
{
	bool more = text[0] == '+';
	if (str_parse_size(text + more, 1, "the size", &r->size, err) < 0)
		return -1;
	if (more && r->size > INT64_MAX - 512 - r->now)
		return err_set(err, ERR_USAGE, "'%s' is too much", text);
	r->size = ((more ? r->now : 0) + r->size + 511) & ~511ULL;
	if (r->size > INT64_MAX - 512)
		return err_set(err, ERR_USAGE, "'%s' is too much", text);
	if (r->size >= r->now || r->shrink)
		return 0;
	err_set(err, ERR_REFUSED, "'%s' has %s: what lies beyond %s would be lost", r->path,
		str_size(r->now), str_size(r->size));
	return err_hint(err, "make the file systems in it smaller first; then --shrink");
}

static int by_tool(const struct resizing *r, struct err *err)
{
	_cleanup_free_ char *node =
		r->chain.count ? tool_chain_node(&r->chain, 0, err) : tool_node(r->path, true, err);
	_cleanup_free_ char *size = str_fmt("%" PRIu64, r->size);
	const char *argv[] = {"resize", "-q", r->shrink ? "--shrink" : "-q", node, size, NULL};
	return node ? tool_run(&(struct tool_run){.argv = argv}, NULL, err) : -1;
}

/*
 * By the header alone, unless what its base has beyond the old end would be seen in what is new: qemu-img puts zeroes
 * there.
 */
static int grow(struct resizing *r, struct err *err)
{
	if (r->q.has_backing && (chain_resolve(r->path, true, &r->chain, err) < 0 ||
					image_check_chain(&r->chain, err) < 0))
		return -1;
	if (r->q.has_backing && r->chain.links[1].virtual_size > r->now)
		return 0;
	return qcow2_grow(r->fd, &r->q, r->size, err);
}

static int run_resize(const struct cli *cli, struct err *err)
{
	_cleanup_free_ char *path = store_path_of(cli->operands[0]);
	struct resizing r = {.path = path, .fd = -1, .shrink = cli_flag(cli, "shrink")};
	int done = open_image(cli, &r, err);
	_cleanup_close_ int fd = r.fd;
	if (done < 0 || wanted_size(&r, cli->operands[1], err) < 0)
		return -1;
	if (!r.qcow2)
		done = ftruncate(fd, (off_t)r.size) < 0
			       ? err_errno(err, "cannot resize '%s'", r.path)
			       : 1;
	else
		done = r.size >= r.now ? grow(&r, err) : 0;
	if (done == 0)
		done = by_tool(&r, err);
	chain_free(&r.chain);
	if (done < 0)
		return err_prefix(err, "'%s'", r.path);
	return tell(cli, r.path, r.qcow2 ? IMAGE_QCOW2 : IMAGE_RAW, "resized", err);
}

const struct verb verb_image_create = {"image create", "FILE [SIZE]",
	"Makes an empty image, or one that stands on a base and has its size unless told.", 1, 2,
	false,
	{{"backing", "BASE", 'b', "the base; a relative name is taken from FILE's folder"},
		{"backing-format", "qcow2|raw", 'F', "what the base is; needed with --backing"},
		{"format", "qcow2|raw", 'f', "what to make; qcow2 unless told"},
		{"cluster-size", "SIZE", 0, "512 to 2M; 64K unless told"}},
	run_create, "roost image create fresh.qcow2 10G", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_resize = {"image resize", "FILE SIZE",
	"Gives an image another size, or with +SIZE more of it.", 2, 2, false,
	{{"shrink", NULL, 0, "let it become smaller; what lies beyond is lost"},
		{"format", "qcow2|raw", 'f', "what it is; qcow2 unless told"}},
	run_resize, "roost image resize data.qcow2 +64M", GROUP_IMAGES, GUESTS_ALL};
