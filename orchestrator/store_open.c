#include "orchestrator/store_open.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/paths.h"

static const char *store_folder(struct err *err)
{
	static char *path;
	const char *state = paths_state(err);
	if (!path && state)
		path = str_fmt("%s/images", state);
	return path;
}

static struct store store_of(int dir, const char *path)
{
	static char *digester, *reader; /* libexec_path() keeps one path at a time */
	if (!digester) {
		digester = xstrdup(libexec_path("roost-digest"));
		reader = xstrdup(libexec_path("roost-disk"));
	}
	return (struct store){.dir = dir, .path = path, .digester = digester, .reader = reader};
}

int store_open(struct store *out, struct err *err)
{
	const char *path = store_folder(err);
	int dir = path ? dir_open(AT_FDCWD, path, err) : -1;
	if (dir < 0)
		return -1;
	*out = store_of(dir, path);
	return 0;
}

bool store_is_ours(void)
{
	struct err ignored = ERR_INIT;
	return !paths_are_system() || geteuid() == 0 ||
	       (store_folder(&ignored) && access(store_folder(&ignored), W_OK) == 0);
}

int store_open_to_change(struct store *out, struct err *err)
{
	if (!store_is_ours())
		return err_set(err, ERR_REFUSED, "the store of the system instance is root's");
	return access_make_folders(err) < 0 ? -1 : store_open(out, err);
}

int store_open_own(struct store *out, struct err *err)
{
	static char *path;
	if (!path)
		path = paths_cache("images", err);
	int dir = path ? dir_make(path, 0700, err) : -1;
	if (dir < 0)
		return -1;
	*out = store_of(dir, path);
	return 0;
}

char *store_path_of(const char *word)
{
	struct err none = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	if (access(word, F_OK) < 0 && !strchr(word, '/') && store_open(&s, &none) == 0 &&
		store_find(&s, word, &i, &none) == 0)
		return store_image_path(&s, &i);
	return xstrdup(word);
}

int store_image_look(const char *path, struct image_look *out, struct err *err)
{
	struct err none = ERR_INIT;
	char name[64];
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	if (store_open(&s, &none) < 0 || !store_name_of_path(&s, path, name))
		return image_look(path, out, err);
	if (store_look(&s, name, &i, err) < 0 || store_check(&s, &i, err) < 0)
		return -1;
	*out = (struct image_look){.qcow2 = i.qcow2,
		.virtual_size = i.virtual_size,
		.file_size = i.size,
		.inode = i.inode,
		.mtime_ns = i.mtime_ns};
	return 0;
}

int image_hold(struct image_holds *h, const char *path, struct err *err)
{
	struct err none = ERR_INIT;
	char name[64];
	_cleanup_store_ struct store s = STORE_NONE;
	if (store_open(&s, &none) < 0 || !store_name_of_path(&s, path, name))
		return 0;
	int held = store_hold(&s, name, err);
	if (held < 0)
		return -1;
	h->fds = xrealloc(h->fds, (h->count + 1) * sizeof(*h->fds));
	h->fds[h->count++] = held;
	return 0;
}

void image_holds_end(struct image_holds *h)
{
	for (size_t i = 0; i < h->count; i++)
		close(h->fds[i]);
	free(h->fds);
	*h = (struct image_holds){0};
}

void store_close(struct store *s)
{
	cleanup_close(&s->dir);
}
