#include "orchestrator/installer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "images/image.h"
#include "images/installer.h"
#include "images/tool.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"

enum { EXTRACT_MS = 120000, INJECT_MAX = 32 };
#define FILE_MOST ((uint64_t)2 << 30)

void installer_close(struct installer *i)
{
	for (size_t n = 0; n < i->fd_count; n++)
		cleanup_close(&i->fds[n]);
	i->fd_count = 0;
	json_decref(TAKE(i->facts));
}

static void add_fd(struct installer *i, int fd)
{
	i->fds[i->fd_count++] = fd;
}

/* ---- the medium ----------------------------------------------------------------------------------- */

/* ECMA-119, 8.1: a descriptor of the volume at sector 16; UDF's (ECMA-167, 2/9) begins there, too. */
static int check_medium(int fd, const char *path, struct err *err)
{
	char start[6] = "";
	if (pread(fd, start, sizeof(start), 16 * 2048) == (ssize_t)sizeof(start) &&
		(memcmp(start + 1, "CD001", 5) == 0 || memcmp(start + 1, "BEA01", 5) == 0))
		return 0;
	return err_set(err, ERR_REFUSED, "'%s' is no ISO image: there is no volume on it", path);
}

static int add_medium(const char *path, struct installer *i, struct err *err)
{
	struct stat st;
	char real[PATH_MAX];
	if (!realpath(path, real))
		return err_errno(err, "cannot find the medium '%s'", path);
	_cleanup_close_ int fd = image_open(real, &st, err);
	if (fd < 0 || check_medium(fd, path, err) < 0)
		return -1;
	json_t *text = json_string(real);
	if (!text)
		return err_set(err, ERR_USAGE, "the medium's name is not UTF-8");
	i->facts = json_pack("{s:o}", "medium", text);
	add_fd(i, TAKE_FD(fd));
	return 0;
}

int installer_from_medium(const char *path, struct installer *out, struct err *err)
{
	return add_medium(path, out, err);
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

/* What --location says. */
struct location {
	char *path, *kernel, *initrd;
};

static void location_free(struct location *l)
{
	free(l->path);
	free(l->kernel);
	free(l->initrd);
}

static int parse(const char *where, struct location *l, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(where);
	char *rest = copy, *word = strsep(&rest, ",");
	l->path = xstrdup(word);
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');
		char **to = str_starts(word, "kernel=")   ? &l->kernel
			    : str_starts(word, "initrd=") ? &l->initrd
							  : NULL;
		if (!to || !value[1])
			return err_set(err, ERR_USAGE, "--location: '%s' is unknown", word),
			       err_hint(err, "it is PATH, or PATH,kernel=FILE,initrd=FILE");
		free(*to);
		*to = xstrdup(value + 1);
	}
	if (!l->kernel == !l->initrd)
		return 0;
	return err_set(err, ERR_USAGE, "--location: a kernel and an initrd go together");
}

/* {"kernel", "initrd"} or the error that it tells. */
static json_t *ask_image(const char *const argv[], const int *fds, size_t count, struct err *err)
{
	_cleanup_buf_ struct buf out = {0};
	const struct tool_run run = {.argv = argv,
		.answers = ~0U,
		.file_size = FILE_MOST,
		.time_ms = EXTRACT_MS,
		.fds = fds,
		.fd_count = count,
		.out = &out,
		.program = libexec_path("roost-image"),
		.called = "roost-image"};
	if (access(run.program, X_OK) < 0) {
		err_set(err, ERR_SYSTEM,
			"the program 'roost-image' is not installed, which reads ISO images");
		err_hint(err, "build roost with libarchive: `roost validate` names the package");
		return NULL;
	}
	if (tool_run(&run, NULL, err) < 0)
		return NULL;
	if (!out.len)
		return json_object();
	_cleanup_json_ json_t *answer = json_text_parse(out.data, out.len, err);
	const json_t *error = json_object_get(answer, "error");
	if (error)
		json_to_err(error, err);
	return !answer || error ? NULL : TAKE(answer);
}

static int keep(const char *what, int *out, struct err *err)
{
	*out = memfd_create(what, MFD_CLOEXEC);
	return *out < 0 ? err_errno(err, "cannot keep the %s in memory", what) : 0;
}

static int from_image(const struct location *l, struct installer *i, struct err *err)
{
	const char *argv[] = {"installer", l->kernel, l->initrd, NULL};
	_cleanup_close_ int kernel = -1, initrd = -1;
	if (add_medium(l->path, i, err) < 0 || keep("kernel", &kernel, err) < 0 ||
		keep("initrd", &initrd, err) < 0)
		return -1;
	_cleanup_json_ json_t *found = ask_image(argv, (int[]){i->fds[0], kernel, initrd}, 3, err);
	if (!found)
		return err_prefix(err, "'%s'", l->path);
	add_fd(i, TAKE_FD(kernel));
	add_fd(i, TAKE_FD(initrd));
	return 0;
}

static int open_file(int tree, const char *name, int *out)
{
	struct stat st;
	int fd = openat(tree, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*out = fd;
		return 0;
	}
	cleanup_close(&fd);
	return -1;
}

static bool open_pair(int tree, const struct installer_pair *p, int *kernel, int *initrd)
{
	if (open_file(tree, p->kernel, kernel) < 0)
		return false;
	if (open_file(tree, p->initrd, initrd) == 0)
		return true;
	cleanup_close(kernel);
	return false;
}

static int from_tree(const struct location *l, int tree, struct installer *i, struct err *err)
{
	const struct installer_pair own = {l->kernel, l->initrd};
	int kernel = -1, initrd = -1;
	bool found = l->kernel && open_pair(tree, &own, &kernel, &initrd);
	for (size_t n = 0; !l->kernel && !found && n < installer_pair_count; n++)
		found = open_pair(tree, &installer_pairs[n], &kernel, &initrd);
	if (!found && l->kernel)
		return err_set(err, ERR_NOT_FOUND, "there are no files '%s' and '%s' in '%s'",
			l->kernel, l->initrd, l->path);
	if (!found)
		return err_set(err, ERR_NOT_FOUND, "no installer's kernel is known in '%s'",
			       l->path),
		       err_hint(err, "name them: --location FOLDER,kernel=FILE,initrd=FILE");
	i->facts = json_object();
	add_fd(i, kernel);
	add_fd(i, initrd);
	return 0;
}

/* ---- what is injected ------------------------------------------------------------------------------- */

/* Into a copy: what came out of an image is one already. */
static int own_copy(int *initrd, struct err *err)
{
	_cleanup_close_ int copy = -1;
	if (keep("initrd", &copy, err) < 0 || image_copy(*initrd, copy, NULL, NULL, err) < 0)
		return -1;
	cleanup_close(initrd);
	*initrd = TAKE_FD(copy);
	return 0;
}

static int inject_open(const char *const files[], size_t count, int fds[], struct err *err)
{
	const char *argv[INJECT_MAX + 2] = {"inject"};
	for (size_t n = 0; n < count; n++) {
		const char *slash = strrchr(files[n], '/');
		argv[n + 1] = slash ? slash + 1 : files[n];
		if (open_file(AT_FDCWD, files[n], &fds[n + 1]) < 0)
			return err_errno(
				err, "--initrd-inject: cannot read the file '%s'", files[n]);
	}
	_cleanup_json_ json_t *done = ask_image(argv, fds, count + 1, err);
	return done ? 0 : err_prefix(err, "--initrd-inject");
}

static int inject(int *initrd, const char *const files[], size_t count, struct err *err)
{
	int fds[INJECT_MAX + 1];
	memset(fds, 0xff, sizeof(fds));
	if (count > INJECT_MAX)
		return err_set(err, ERR_USAGE, "--initrd-inject: more than %d files", INJECT_MAX);
	if (own_copy(initrd, err) < 0)
		return -1;
	fds[0] = *initrd;
	int result = inject_open(files, count, fds, err);
	for (size_t n = 1; n <= count; n++)
		cleanup_close(&fds[n]);
	return result;
}

static int take_kernel(const struct location *l, struct installer *i, struct err *err)
{
	struct stat st;
	if (strstr(l->path, "://"))
		return err_set(err, ERR_REFUSED, "--location: '%s' is an address", l->path),
		       err_hint(
			       err, "fetch the ISO image or the tree first: a local one is wanted");
	if (stat(l->path, &st) < 0)
		return err_errno(err, "--location: cannot find '%s'", l->path);
	if (!S_ISDIR(st.st_mode))
		return from_image(l, i, err);
	_cleanup_close_ int tree = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return tree < 0 ? err_errno(err, "--location: cannot read '%s'", l->path)
			: from_tree(l, tree, i, err);
}

int installer_from_location(const char *where, const char *cmdline,
	const char *const inject_files[], size_t inject_count, struct installer *out,
	struct err *err)
{
	_cleanup_(location_free) struct location l = {0};
	if (parse(where, &l, err) < 0 || take_kernel(&l, out, err) < 0)
		return -1;
	json_object_set_new(out->facts, "kernel", json_true());
	json_object_set_new(out->facts, "initrd", json_true());
	if (cmdline && json_object_set_new(out->facts, "cmdline", json_string(cmdline)) < 0)
		return err_set(err, ERR_USAGE, "--extra-args is not valid UTF-8");
	return inject_count ? inject(&out->fds[out->fd_count - 1], inject_files, inject_count, err)
			    : 0;
}

int installer_start(const char *name, const struct installer *i, json_t **reply, struct err *err)
{
	return supervisor_start_install(name, i->facts, i->fds, i->fd_count, reply, err);
}
