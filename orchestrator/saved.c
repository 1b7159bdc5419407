#include "orchestrator/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/save_file.h"
#include "orchestrator/snapshots.h"

char *saved_managed_path(const char *name, struct err *err)
{
	const char *state = paths_state(err);
	return state ? str_fmt("%s/guests/%s/" SAVE_MANAGED, state, name) : NULL;
}

bool saved_exists(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(name, &ignored);
	return dir >= 0 && snapshots_saved(dir);
}

bool saved_is_for_root(void)
{
	return paths_are_system() && geteuid() != 0;
}

char *saved_memory_path(const char *name, const char *file, struct err *err)
{
	const char *state = paths_state(err);
	return state ? str_fmt("%s/guests/%s/%s", state, name, file) : NULL;
}

int saved_check_memory(const char *name, const char *file, struct err *err)
{
	_cleanup_json_ json_t *facts = NULL;
	if (name_check(name, "guest", err) < 0 || strchr(file, '/'))
		return err_set(err, ERR_USAGE, "no such file");
	_cleanup_free_ char *path = saved_memory_path(name, file, err);
	_cleanup_close_ int fd = path ? save_open(path, geteuid(), &facts, err) : -1;
	if (fd < 0)
		return err_prefix(err, "its RAM");
	_cleanup_definition_ struct definition *d = record_read(name, err);
	const char *was = json_get_str(facts, "uuid", "");
	if (!d || str_eq(was, d->uuid))
		return d ? 0 : -1;
	return err_set(err, ERR_REFUSED, "its RAM is that of a guest with the UUID %s", was);
}

char *saved_path(const char *name, struct err *err)
{
	char *managed = saved_managed_path(name, err);
	_cleanup_close_ int dir = managed ? guest_dir_open(name, err) : -1;
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	const char *memory = snapshots_resume(record);
	if (!record || !memory || strchr(memory, '/') || access(managed, F_OK) == 0)
		return managed;
	free(managed);
	return str_fmt("%s/guests/%s/%s", paths_state(err), name, memory);
}

int saved_remove(const char *name, bool *was, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(name, err);
	_cleanup_close_ int dir = d ? guest_dir_open(name, err) : -1;
	if (dir < 0)
		return -1;
	*was = snapshots_saved(dir);
	if (!*was)
		return 0;
	if (unlinkat(dir, SAVE_MANAGED, 0) < 0 && errno != ENOENT)
		return err_errno(err, "cannot remove the managed save of guest '%s'", name);
	/* what it went back to, by a snapshot with RAM: it is to be booted instead */
	snapshots_forget_saved(dir, d->issued.keeper_uid);
	return 0;
}

/* ---- disks, as they were when it was saved --------------------------------------------------------- */

static int add_disk(json_t *list, const char *path, struct err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return err_errno(err, "cannot look at the disk '%s'", path);
	json_int_t mtime = (json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "path", path, "size",
					    (json_int_t)st.st_size, "mtime_ns", mtime));
	return 0;
}

json_t *saved_disks(const struct definition *d, const json_t *plugged, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(d->name, err);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	if (!record)
		return NULL;
	json_t *list = json_array(), *entry;
	size_t i;
	int result = 0;
	for (i = 0; i < d->disk_count && result == 0; i++) {
		const struct disk_def *disk = &d->disks[i];
		if (disk->readonly)
			continue;
		const char *top = snapshot_top(record, disk->target);
		_cleanup_free_ char *own = disk->source == DISK_PATH && !top[0]
						   ? NULL
						   : str_fmt("%s/guests/%s/%s", paths_state(err),
							     d->name, top[0] ? top : disk->file);
		result = add_disk(list, own ? own : disk->path, err);
	}
	json_array_foreach (plugged, i, entry) {
		if (result < 0 || !str_eq(json_get_str(entry, "kind", ""), "disk") ||
			json_get_bool(entry, "readonly", false))
			continue;
		const char *top = snapshot_top(record, json_get_str(entry, "target", ""));
		_cleanup_free_ char *own =
			top[0] ? str_fmt("%s/guests/%s/%s", paths_state(err), d->name, top) : NULL;
		result = add_disk(list, own ? own : json_get_str(entry, "path", ""), err);
	}
	if (result == 0)
		return list;
	json_decref(list);
	return NULL;
}

static int check_disk(const json_t *was, struct err *err)
{
	const char *path = json_get_str(was, "path", "");
	_cleanup_json_ json_t *list = json_array();
	if (add_disk(list, path, err) < 0)
		return -1;
	if (json_equal(json_array_get(list, 0), was))
		return 0;
	err_set(err, ERR_REFUSED, "the disk '%s' has been changed since the guest was saved", path);
	return err_hint(err,
		"its RAM knows another content of that disk: going on would destroy what is on it");
}

/* A snapshot since then has put another file on top, or taken one away. */
static int check_tops(const json_t *facts, struct err *err)
{
	_cleanup_definition_ struct definition *d =
		definition_from_json(json_object_get(facts, "definition"), err);
	_cleanup_json_ json_t *now =
		d ? saved_disks(d, json_object_get(facts, "plugged"), err) : NULL;
	if (!now)
		return -1;
	if (json_equal(now, json_object_get(facts, "disks")))
		return 0;
	err_set(err, ERR_REFUSED,
		"the disks of guest '%s' stand on other snapshots than when it was saved", d->name);
	return err_hint(err, "its RAM knows another content of them: going on would destroy it");
}

/* A guest with snapshots may have another name by now: so have the files in its folder, its seed above all. */
static void take_new_name(json_t *facts, const char *guest)
{
	struct err ignored = ERR_INIT;
	json_t *definition = json_object_get(facts, "definition"), *disk;
	size_t i;
	_cleanup_free_ char *folder =
		str_fmt("%s/guests/%s/", paths_state(&ignored), json_get_str(facts, "name", ""));
	json_object_set_new(facts, "name", json_string(guest));
	json_object_set_new(definition, "name", json_string(guest));
	json_array_foreach (json_object_get(definition, "disks"), i, disk) {
		const char *path = json_get_str(disk, "path", "");
		if (str_starts(path, folder))
			json_object_set_new(disk, "path",
				json_sprintf("%s/guests/%s/%s", paths_state(&ignored), guest,
					path + strlen(folder)));
	}
}

/* Those of a snapshot are what its record says, if the guest has gone back to it and was not started since. */
static int check_snapshot(json_t *facts, const char *guest, struct err *err)
{
	const char *name = json_get_str(facts, "name", ""),
		   *snapshot = json_get_str(facts, "snapshot", "");
	if (!guest) {
		err_set(err, ERR_REFUSED, "it is the RAM of the snapshot '%s' of guest '%s'",
			snapshot, name);
		return err_hint(
			err, "`roost snapshot-revert %s %s` goes back to it", name, snapshot);
	}
	take_new_name(facts, guest);
	_cleanup_close_ int dir = guest_dir_open(guest, err);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	return record ? snapshots_check_resume(dir, record, err) : -1;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static int add_layers(struct saved *s, json_t *entry, struct err *err)
{
	struct disk_def d = {0};
	_cleanup_close_ int dir = guest_dir_open(json_get_str(s->facts, "name", ""), err);
	_cleanup_disk_files_ struct disk_files files = {0};
	_cleanup_json_ json_t *asked = disk_of_plugged(entry);
	json_t *layers = json_array();
	json_object_set_new(entry, "layers", layers);
	if (dir < 0 || disk_from_json(asked, &d, err) < 0)
		return err_prefix(err, "a disk that was plugged");
	int result = disk_open(&d, dir, &files, err);
	disk_free(&d);
	for (size_t i = 0; i < files.count && result == 0; i++) {
		struct disk_layer *l = &files.layers[i];
		if (s->fd_count == SOCK_FDS_MAX)
			return err_set(err, ERR_REFUSED,
				"the plugged disks have more than %d files: too many to go on with",
				SOCK_FDS_MAX - 1);
		json_array_append_new(layers, json_pack("{s:b, s:b, s:b}", "qcow2", l->qcow2,
						      "writable", l->writable, "ours", l->ours));
		s->fds[s->fd_count++] = TAKE_FD(l->fd);
	}
	return result;
}

int saved_open(const char *path, const char *guest, struct saved *out, struct err *err)
{
	struct saved s = {0};
	size_t i;
	json_t *disk, *entry;
	/* the guest's folder is its keeper's, who may have put there what he likes */
	s.fds[0] = save_open(path, guest ? geteuid() : (uid_t)-1, &s.facts, err);
	if (s.fds[0] < 0)
		return -1;
	s.fd_count = 1;
	bool snapshot = json_object_get(s.facts, "snapshot");
	int result = snapshot ? check_snapshot(s.facts, guest, err) : 0;
	json_array_foreach (json_object_get(s.facts, "disks"), i, disk)
		result = result < 0 ? result : check_disk(disk, err);
	if (result == 0 && !snapshot)
		result = check_tops(s.facts, err);
	json_array_foreach (json_object_get(s.facts, "plugged"), i, entry)
		if (result == 0 && str_eq(json_get_str(entry, "kind", ""), "disk"))
			result = add_layers(&s, entry, err);
	if (result < 0) {
		saved_close(&s);
		return -1;
	}
	json_object_set_new(s.facts, "managed", json_boolean(guest != NULL));
	*out = s;
	return 0;
}

void saved_close(struct saved *s)
{
	for (size_t i = 0; i < s->fd_count; i++)
		cleanup_close(&s->fds[i]);
	s->fd_count = 0;
	json_decref(s->facts);
	s->facts = NULL;
}

/* Its clock stood still; what corrects it (NTP, `guest-set-time` of its agent) is the guest's affair. */
int tell_restored(const char *name, const char *file, int64_t saved)
{
	char stamp[32];
	time_t then = (time_t)saved;
	struct tm local;
	long long behind = (long long)(time(NULL) - then);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", localtime_r(&then, &local));
	printf("Guest '%s' restored from %s, saved at %s; its clock is %lld s behind\n", name,
		file ? file : "its managed save", stamp, behind > 0 ? behind : 0);
	return 0;
}
