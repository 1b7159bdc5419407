/* image map: where the data of an image is, read natively by the program roost-disk. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "images/chain.h"
#include "images/disk_ask.h"
#include "images/image.h"
#include "images/image_info.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/paths.h"
#include "orchestrator/store_open.h"

/* A map is told as a whole or not at all. */
enum { TEXT_MAX = 64 << 20 };

struct files {
	struct volume_layer layers[CHAIN_MAX];
	size_t count;
};

struct map {
	const struct chain *chain;
	bool json;
	struct buf text;
};

static void add_json(struct map *m, json_t *extent, const char *path)
{
	if (path)
		json_object_set_new(extent, "filename", json_string(path));
	_cleanup_free_ char *line = json_line(extent);
	buf_str(&m->text, m->text.len ? ",\n" : "[");
	buf_str(&m->text, line);
}

static void add_row(struct map *m, const json_t *extent, int64_t offset)
{
	if (!json_get_bool(extent, "data", false))
		return;
	_cleanup_free_ char *mapped =
		offset < 0 ? xstrdup("compressed") : str_fmt("0x%llx", (long long)offset);
	buf_fmt(&m->text, "0x%-16llx 0x%-16llx %-18s %lld\n",
		(long long)json_get_int(extent, "start", 0),
		(long long)json_get_int(extent, "length", 0), mapped,
		(long long)json_get_int(extent, "depth", 0));
}

static int add_extent(void *about, json_t *extent, struct err *err)
{
	struct map *m = about;
	int64_t depth = json_get_int(extent, "depth", 0);
	int64_t offset = json_get_int(extent, "offset", -1);
	if (depth < 0 || (size_t)depth >= m->chain->count)
		return err_set(err, ERR_QEMU, "roost-disk told of a layer that is none");
	if (m->json)
		add_json(m, extent, offset < 0 ? NULL : m->chain->links[depth].path);
	else
		add_row(m, extent, offset);
	if (m->text.len <= TEXT_MAX)
		return 0;
	err_set(err, ERR_REFUSED, "its map is longer than %s", str_size(TEXT_MAX));
	return err_hint(err, "ask qemu-img map");
}

static int resolve(const char *path, const char *format_word, struct chain *c, struct err *err)
{
	struct stat st;
	bool qcow2;
	enum image_format format;
	if (image_format_parse(format_word, &format, err) < 0)
		return -1;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, format, &qcow2, err) < 0)
		return -1;
	return chain_resolve(path, qcow2, c, err) < 0 ? -1 : image_check_chain(c, err);
}

static void files_close(struct files *f)
{
	while (f->count)
		cleanup_close(&f->layers[--f->count].fd);
}

/*
 * They must be those that chain_resolve() saw. Nothing is read ahead of what is asked for: where ext4 has a place
 * that was never written to, what is in memory of it counts as data.
 */
static int files_open(const struct chain *c, struct files *f, struct err *err)
{
	struct stat st;
	for (size_t i = 0; i < c->count; i++) {
		const struct chain_link *link = &c->links[i];
		int fd = image_open(link->path, &st, err);
		if (fd < 0)
			return -1;
		f->layers[f->count++] = (struct volume_layer){fd, link->qcow2};
		if (st.st_dev != link->device || st.st_ino != link->inode)
			return err_set(err, ERR_REFUSED, "'%s' was replaced while it was looked at",
				link->path);
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	}
	return 0;
}

static int run_map(const struct cli *cli, struct err *err)
{
	_cleanup_free_ char *path = store_path_of(cli->operands[0]);
	_cleanup_(chain_free) struct chain c = {0};
	_cleanup_(files_close) struct files f = {.count = 0};
	struct map m = {.chain = &c, .json = cli->json};
	if (resolve(path, cli_value(cli, "format", NULL), &c, err) < 0 ||
		files_open(&c, &f, err) < 0)
		return -1;
	if (disk_ask(libexec_path("roost-disk"), "map", f.layers, f.count, add_extent, &m, err) <
		0) {
		buf_free(&m.text);
		return err_prefix(err, "'%s'", path);
	}
	_cleanup_free_ char *text = buf_steal(&m.text);
	if (cli->json)
		printf("%s%s]\n", text[0] ? "" : "[", text);
	else
		printf("%-18s %-18s %-18s %s\n%s", "Offset", "Length", "Mapped to", "Depth", text);
	return 0;
}

const struct verb verb_image_map = {"image map", "FILE",
	"Tells where the data of an image is in its file and in those that it stands on.", 1, 1,
	false, {{"format", "qcow2|raw", 'f', "what it is; without: by its content"}}, run_map,
	"roost image map data.qcow2 --json", GROUP_IMAGES, GUESTS_ALL};
