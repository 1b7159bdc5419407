/* doctor: guests' folders in $STATE and $RUN, and the store. */
#include "orchestrator/doctor.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"
#include "orchestrator/store_open.h"

enum { YOUNG_S = 10 }; /* a folder so young is perhaps just being filled */

static bool is_young(int dir)
{
	struct stat st;
	return fstat(dir, &st) == 0 && time(NULL) - st.st_mtime < YOUNG_S;
}

/* ---- $RUN/g ------------------------------------------------------------------------------------------ */

static void look_at_running(struct doctor *d, const struct status *s, bool keeper, int run)
{
	struct err err = ERR_INIT;
	_cleanup_definition_ struct definition *def = record_read(s->name, &err);
	if (!def && err.kind == ERR_NOT_FOUND) {
		_cleanup_free_ char *why = str_fmt(
			"it runs (QEMU is process %d), but its record is gone", (int)s->qemu_pid);
		_cleanup_free_ char *remedy =
			str_fmt("shut it down from inside, or `kill %d`", (int)s->qemu_pid);
		doctor_tell(d, "guest", s->name, why, remedy);
	}
	if (!keeper)
		doctor_tell(d, "keeper", s->name, "it runs, and no keeper serves it",
			"roostd puts one there by itself; if this stays, `roost logs` tells why");
	else if (faccessat(run, "guest.sock", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		doctor_tell(d, "socket", s->name, "its keeper's socket guest.sock is gone",
			"its keeper makes it anew within a second");
}

static void look_at_run(struct doctor *d, int runs, const char *id)
{
	struct err err = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	_cleanup_free_ char *path = run_path(id, "", &err);
	_cleanup_close_ int run = dir_open(runs, id, &err);
	if (run < 0)
		return;
	d->looked++;
	bool keeper = file_locked(run, "lock");
	if (status_read(run, "status", &s, &err) < 0) {
		if (!keeper && !is_young(run) &&
			doctor_unowned(d, "run-folder", path, "no guest runs in it"))
			doctor_removed(d, dir_remove(runs, id, &err), &err);
		return;
	}
	if (status_of_this_boot(&s) && (keeper || proc_lives(s.qemu_pid, s.qemu_start)))
		look_at_running(d, &s, keeper, run);
	else if (!keeper && !is_young(run) &&
		 doctor_unowned(d, "run-folder", path, "the guest that it tells of has ended"))
		doctor_removed(d, dir_remove(runs, id, &err), &err);
}

/* ---- $STATE/guests ----------------------------------------------------------------------------------- */

/* Who makes or removes a guest holds its folder's lock: op_define.c. */
static void look_at_half_made(struct doctor *d, int guests, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_close_ int dir = dir_open(guests, name, &err);
	_cleanup_free_ char *path = str_fmt("%s/guests/%s", paths_state(&err), name);
	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return;
	if (doctor_unowned(d, "half-made", path,
		    str_starts(name, ".new-") ? "whoever was making this guest was killed"
					      : "whoever was removing this guest was killed"))
		doctor_removed(d, dir_remove(guests, name, &err), &err);
}

static void look_at_half_mades(struct doctor *d, int guests)
{
	int copy = openat(guests, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	if (!list)
		return;
	for (struct dirent *e; (e = readdir(list));)
		if (str_starts(e->d_name, ".new-") || str_starts(e->d_name, ".old-"))
			look_at_half_made(d, guests, e->d_name);
	closedir(list);
}

static void look_at_record(struct doctor *d, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_definition_ struct definition *def = record_read(name, &err);
	_cleanup_close_ int dir = guest_dir_open(name, &err);
	d->looked++;
	if (!def && err.kind != ERR_NOT_FOUND)
		doctor_tell(d, "record", name, err.message,
			"restore its guest.json from a backup, define it anew, or undefine it");
	if (def)
		for (size_t i = 0; i < def->disk_count; i++)
			if (def->disks[i].file && dir >= 0 &&
				faccessat(dir, def->disks[i].file, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
				_cleanup_free_ char *why = str_fmt("its disk %s is gone: %s",
					def->disks[i].target, def->disks[i].file);
				doctor_tell(d, "disk", name, why,
					"restore that file, or take the disk out with `roost edit`");
			}
}

void doctor_guests(struct doctor *d)
{
	struct err err = ERR_INIT, none = ERR_INIT;
	_cleanup_names_ char **ids = NULL, **names = NULL;
	_cleanup_close_ int runs = runs_open(&none), guests = guests_open(&none);
	if (runs >= 0 && dir_names(runs, &ids, NULL, &err) == 0)
		for (char **id = ids; *id; id++)
			look_at_run(d, runs, *id);
	if (guests < 0 || dir_names(guests, &names, NULL, &err) < 0)
		return;
	look_at_half_mades(d, guests);
	for (char **name = names; *name; name++)
		look_at_record(d, *name);
}

/* ---- the store and the bases -------------------------------------------------------------------------- */

static void note_base(void *about, const char *path)
{
	struct doctor *d = about;
	struct err ignored = ERR_INIT;
	if (doctor_unowned(
		    d, "base", path, "it was shared with a clone, and no guest stands on it"))
		doctor_removed(d, 0, &ignored);
}

static void note_image(void *about, const char *name)
{
	struct doctor *d = about;
	struct err ignored = ERR_INIT;
	if (doctor_unowned(d, "image", name, "whoever was importing or removing it was killed"))
		doctor_removed(d, 0, &ignored);
}

void doctor_store(struct doctor *d)
{
	struct err err = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	if (bases_sweep(d->remove ? SWEEP : SWEEP_LOOK, note_base, d, &err) < 0)
		doctor_tell(d, "check", "bases", err.message, err.hint);
	if (store_open_to_change(&s, &err) == 0 &&
		store_clean(&s, !d->remove, note_image, d, &err) < 0)
		doctor_tell(d, "check", "store", err.message, err.hint);
}
