#include "orchestrator/access.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/paths.h"

gid_t access_group(void)
{
	static gid_t gid = ACCESS_NONE;
	static bool known;
	if (!known && geteuid() == 0) {
		const struct group *g = getgrnam(ACCESS_GROUP);
		gid = g ? g->gr_gid : ACCESS_NONE;
	}
	known = true;
	return gid;
}

/* ---- ranks --------------------------------------------------------------------------------------- */

/* 1 when it had another rank, 0 when not. */
static int rank(int fd, gid_t gid, mode_t mode)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_gid == gid && (st.st_mode & 07777) == mode)
		return 0;
	/* a changed group takes setgid away from files, so the mode comes last */
	return fchown(fd, (uid_t)-1, gid) < 0 || fchmod(fd, mode) < 0 ? -1 : 1;
}

static int rank_folder(int fd, gid_t group)
{
	struct stat st;
	if (group != ACCESS_NONE)
		return rank(fd, group, 02751);
	/* without a group an existing folder keeps its mode, but not one that a group gave it */
	if (fstat(fd, &st) < 0 || !(st.st_mode & S_ISGID))
		return 0;
	return rank(fd, 0, 0711);
}

/* Only what is the folder's owner's, or root's under one name: not what a link of his leads to. */
static void rank_file(int dir, const char *name, uid_t owner, gid_t group)
{
	struct stat st;
	_cleanup_close_ int fd =
		openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (st.st_uid == owner || (st.st_uid == 0 && st.st_nlink == 1))
		rank(fd, group == ACCESS_NONE ? 0 : group, group == ACCESS_NONE ? 0600 : 0640);
}

/* A folder that was made before the group was, or while there was one. */
static void rank_old_folder(int parent, const char *name, gid_t group)
{
	static const char *const shared[] = {"guest.json", "console.log", "events.jsonl",
		"events.jsonl.1", "last", "crashed", "lock", "snapshots.json", "id_ed25519",
		"id_ed25519.pub", "serial1.log", "serial2.log", "serial3.log", "hvc0.log",
		"hvc1.log", "hvc2.log"};
	struct err ignored = ERR_INIT;
	struct stat st;
	_cleanup_close_ int dir = dir_open(parent, name, &ignored);
	if (dir < 0 || fstat(dir, &st) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		rank_file(dir, shared[i], st.st_uid, group);
	rank(dir, group == ACCESS_NONE ? 0 : group, group == ACCESS_NONE ? 0700 : 02750);
}

static void rank_old_guests(int guests, gid_t group)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (dir_names(guests, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		rank_old_folder(guests, *name, group);
}

static int make_folder(const char *path, gid_t group, struct err *err)
{
	/* 0711: the uids of keepers and QEMUs pass through to their own folders and list nothing */
	_cleanup_close_ int fd = dir_make(path, 0711, err);
	int changed = fd < 0 ? -1 : geteuid() ? 0 : rank_folder(fd, group);
	if (fd >= 0 && changed < 0)
		err_errno(err, "cannot give '%s' to the group " ACCESS_GROUP, path);
	return changed;
}

/* A user's: what was made as a parent, while all of it was being removed, has the umask's mode. */
static int settle_run(const char *const folders[], size_t count, struct err *err)
{
	for (size_t i = 0; i < count && geteuid(); i++) {
		_cleanup_close_ int fd = dir_open(AT_FDCWD, folders[i], err);
		if (fd < 0)
			return -1;
		if (fchmod(fd, 0711) < 0)
			return err_errno(err, "cannot set the mode of '%s'", folders[i]);
	}
	return 0;
}

int access_make_folders(struct err *err)
{
	static const char *const below[] = {"images", "networks", "templates"};
	const char *state = paths_state(err), *run = paths_run(err);
	if (!state || !run)
		return -1;
	gid_t group = access_group();
	umask(group == ACCESS_NONE ? 077 : 007);
	_cleanup_free_ char *guests = str_fmt("%s/guests", state);
	_cleanup_free_ char *runs = str_fmt("%s/g", run);
	_cleanup_free_ char *networks = str_fmt("%s/n", run);
	const char *const in_run[] = {run, runs, networks};
	if (make_folder(state, group, err) < 0 || make_folder(run, group, err) < 0 ||
		make_folder(runs, group, err) < 0 || make_folder(networks, group, err) < 0 ||
		settle_run(in_run, ARRAY_SIZE(in_run), err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		_cleanup_free_ char *path = str_fmt("%s/%s", state, below[i]);
		if (make_folder(path, group, err) < 0)
			return -1;
	}
	int changed = make_folder(guests, group, err);
	if (changed < 0)
		return -1;
	const char *const spread[] = {guests, runs};
	for (size_t i = 0; i < ARRAY_SIZE(spread); i++) {
		_cleanup_close_ int fd = dir_open(AT_FDCWD, spread[i], err);
		if (fd < 0)
			return -1;
		dir_spread(fd);
	}
	if (changed > 0) {
		_cleanup_close_ int top = dir_open(AT_FDCWD, state, err);
		_cleanup_close_ int all = dir_open(AT_FDCWD, guests, err);
		rank_old_folder(top, "ssh", group);
		rank_old_folder(top, "bases", group);
		rank_old_guests(all, group);
	}
	return 0;
}

/* ---- keepers' own --------------------------------------------------------------------------------- */

int access_give(int fd, uid_t keeper, struct err *err)
{
	if (geteuid() != 0 || !keeper || fchown(fd, keeper, (gid_t)-1) == 0)
		return 0;
	return err_errno(err, "cannot give a file to the keeper's uid %u", (unsigned)keeper);
}

int access_give_at(int dir, const char *name, uid_t keeper, struct err *err)
{
	struct stat st;
	if (geteuid() != 0 || !keeper)
		return 0;
	_cleanup_close_ int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", name);
	if (st.st_uid != keeper && (st.st_uid != 0 || (st.st_nlink != 1 && !S_ISDIR(st.st_mode))))
		return err_set(err, ERR_REFUSED, "'%s' is not what was made there", name);
	if (fchownat(fd, "", keeper, (gid_t)-1, AT_EMPTY_PATH) == 0)
		return 0;
	return err_errno(err, "cannot give '%s' to the keeper's uid %u", name, (unsigned)keeper);
}

int access_open(int dir, const char *name, int flags, mode_t mode, uid_t keeper, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST)
		return file_open_owned(dir, name, flags, keeper, err);
	if (fd < 0)
		return err_errno(err, "cannot make '%s'", name);
	return access_give(fd, keeper, err) < 0 ? -1 : TAKE_FD(fd);
}

int access_guest_folder(const char *path, uid_t keeper, struct err *err)
{
	_cleanup_close_ int fd = dir_make_shared(path, err);
	return fd < 0 || access_give(fd, keeper, err) < 0 ? -1 : TAKE_FD(fd);
}
