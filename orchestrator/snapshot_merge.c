#include "orchestrator/snapshot_merge.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/disk_tool.h"

enum { CPU_SECONDS = 7200 };

/* A header may ask QEMU for more than its layer: another file with the data, above all. */
static int check_headers(const struct disk_files *f, struct err *err)
{
	for (size_t i = 0; i < f->count; i++) {
		struct qcow2_info info;
		if (f->layers[i].qcow2 && (qcow2_read(f->layers[i].fd, &info, err) < 0 ||
						  qcow2_may_stand(&info, "a layer", err) < 0))
			return -1;
	}
	return 0;
}

/* May the keeper's uid open all that is opened anew? Without root we are that uid, or it is not asked. */
static bool is_keepers(const struct disk_files *f, uid_t keeper)
{
	for (size_t i = 0; i < f->count; i++) {
		struct stat st;
		if (fstat(f->layers[i].fd, &st) < 0 || st.st_uid != keeper)
			return false;
	}
	return true;
}

static struct tool_run on_files(
	const struct disk_files *f, const int *fds, const char *const argv[], uid_t uid)
{
	return (struct tool_run){.argv = argv,
		.fds = fds,
		.fd_count = f->count,
		.uid = uid,
		.cpu_seconds = CPU_SECONDS};
}

/* Whoever is cut off while he writes to a qcow2 file may have taken clusters that nothing uses. */
static void mend(struct disk_files *f, uid_t uid)
{
	struct err ignored = ERR_INIT;
	int fds[CHAIN_MAX];
	struct disk_files into = {.count = 1, .layers = {f->layers[1]}};
	_cleanup_free_ char *image = disk_tool_node(&into, fds, &ignored);
	const char *argv[] = {"check", "-q", "-r", "leaks", image, NULL};
	struct tool_run run = on_files(&into, fds, argv, uid);
	if (image && into.layers[0].qcow2)
		tool_run(&run, NULL, &ignored);
}

int snapshot_merge(int dir, const struct disk_def *d, const json_t *record,
	const struct loose_layer *l, uid_t keeper, image_told_fn *told, void *about,
	struct err *err)
{
	const char *names[CHAIN_MAX];
	int fds[CHAIN_MAX];
	size_t count;
	_cleanup_disk_files_ struct disk_files f = {0};
	if (snapshot_chain(record, d, l->name, names, &count, err) < 0 ||
		disk_open_layers(d, dir, names, count, &f, err) < 0 || check_headers(&f, err) < 0)
		return -1;
	_cleanup_free_ char *image = disk_tool_node(&f, fds, err);
	const char *argv[] = {"commit", "-p", "-d", image, NULL};
	struct tool_run run = on_files(&f, fds, argv, is_keepers(&f, keeper) ? keeper : 0);
	run.told = told;
	run.about = about;
	int result = image ? tool_run(&run, NULL, err) : -1;
	if (result < 0 && err->kind == ERR_GONE)
		mend(&f, run.uid);
	return result;
}

int snapshot_rename_backing(int dir, const struct disk_def *d, const char *layer, const char *over,
	uid_t keeper, struct err *err)
{
	int fds[CHAIN_MAX];
	struct disk_files f = {.count = 1, .layers = {{.qcow2 = true}}};
	f.layers[0].fd = file_open_owned(dir, layer, O_RDWR, keeper, err);
	_cleanup_close_ int fd = f.layers[0].fd;
	if (fd < 0 || check_headers(&f, err) < 0)
		return -1;
	_cleanup_free_ char *image = disk_tool_node(&f, fds, err);
	const char *argv[] = {"rebase", "-u", "-F", snapshot_backing_format(d, over), "-b",
		over[0] ? over : snapshot_bottom(d), image, NULL};
	const struct tool_run run = on_files(&f, fds, argv, keeper);
	return image ? tool_run(&run, NULL, err) : -1;
}
