/*
 * Undefining a guest: its record goes, and the disks that roost made for it stay unless their
 * removal is asked for. They are moved to $STATE/kept/NAME-ID, for a folder without a record
 * would be a broken guest. Runs in a worker of roostd.
 *
 * One that runs may be undefined, too: it is marked, goes on as it is (libvirt's word for it is
 * transient), and roostd undefines it when it has ended.
 */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/bases.h"
#include "orchestrator/claim.h"
#include "orchestrator/nic_issue.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

/* What of a guest's folder is kept: all of it, but what was said to go. */
struct keeping {
	bool disks, nvram, tpm;
};

static struct keeping keeping_of(const json_t *args)
{
	bool disks = !json_get_bool(args, "remove-storage", false);
	return (struct keeping){.disks = disks,
		.nvram = !json_get_bool(args, "remove-nvram", !disks),
		.tpm = !json_get_bool(args, "remove-tpm", !disks)};
}

/*
 * Disks, and what they may be sealed to: the variables of UEFI, the TPM's state. Not a link that
 * the folder's owner, the keeper, has given such a name.
 */
static bool is_storage(int dir, const char *file, const struct keeping *keep)
{
	struct stat st;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (str_eq(file, "tpm"))
		return keep->tpm && S_ISDIR(st.st_mode);
	bool disk = str_starts(file, "disk") && str_ends(file, ".qcow2");
	bool vars = str_starts(file, "vars") && (str_ends(file, ".qcow2") || str_ends(file, ".fd"));
	return ((disk && keep->disks) || (vars && keep->nvram)) && S_ISREG(st.st_mode);
}

/* Not a file that the keeper has linked to from its folder, which has another owner and stays his. */
static void own_file(int dir, const char *file)
{
	struct stat st;
	_cleanup_close_ int fd = openat(dir, file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) || st.st_nlink == 1))
		(void)!fchownat(fd, "", geteuid(), getegid(), AT_EMPTY_PATH);
}

/* The guest's uids are never used again: from here on it is root's, the TPM's folder too. */
static void own(int kept, const char *file)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **inside = NULL;
	own_file(kept, file);
	_cleanup_close_ int dir =
		openat(kept, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || dir_names(dir, &inside, NULL, &ignored) < 0)
		return;
	for (char **f = inside; *f; f++)
		own_file(dir, *f);
}

/* Moves what is storage; the list of new paths. */
static json_t *keep_storage(
	int dir, const char *name, const char *id, const json_t *args, struct err *err)
{
	const struct keeping keep = keeping_of(args);
	_cleanup_names_ char **files = NULL;
	_cleanup_free_ char *folder = str_fmt("%s/kept/%s-%s", paths_state(err), name, id);
	_cleanup_close_ int kept = -1;
	json_t *list = json_array();
	if (dir_names(dir, &files, NULL, err) < 0)
		goto fail;
	for (char **f = files; *f; f++) {
		if (!is_storage(dir, *f, &keep))
			continue;
		if (kept < 0 && (kept = dir_make(folder, 0700, err)) < 0)
			goto fail;
		if (renameat2(dir, *f, kept, *f, RENAME_NOREPLACE) < 0) {
			err_errno(err, "cannot keep '%s'", *f);
			goto fail;
		}
		own(kept, *f);
		_cleanup_free_ char *path = str_fmt("%s/%s", folder, *f);
		json_array_append_new(list, json_string(path));
	}
	return list;
fail:
	json_decref(list);
	return NULL;
}

static int check_snapshots(int dir, const char *name, const json_t *args, struct err *err)
{
	struct err ignored =
		ERR_INIT; /* a record that cannot be read keeps nobody from undefining */
	_cleanup_json_ json_t *record = snapshots_read(dir, &ignored);
	size_t count = json_array_size(json_object_get(record, "snapshots"));
	if (!count || json_get_bool(args, "snapshots-metadata", false))
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' has %zu snapshots", name, count);
	return err_hint(err, "`roost undefine --snapshots-metadata %s` forgets them, too", name);
}

static int check(int dir, const char *name, const json_t *args, struct err *err)
{
	if (faccessat(dir, SAVE_MANAGED, F_OK, 0) == 0 &&
		!json_get_bool(args, "managed-save", false)) {
		err_set(err, ERR_REFUSED, "guest '%s' has been saved by managedsave", name);
		return err_hint(err,
			"`roost undefine --managed-save %s` gives up what was saved, too", name);
	}
	return check_snapshots(dir, name, args, err);
}

/*
 * What is to be kept is out of its folder, and that has the name `trash`: a half-removed guest is never listed. All of
 * it by renames: it takes no time. The list of what is kept.
 */
static json_t *put_away(int guests, int dir, const struct definition *d, const json_t *args,
	char trash[96], struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	char id[13];
	id_new(id); /* nothing may be kept over what was kept of another */
	if (d)
		memcpy(id, d->issued.id, sizeof(id));
	json_t *kept = keep_storage(dir, name, id, args, err);
	if (!kept)
		return NULL;
	snprintf(trash, 96, ".old-%s-%s", name, id);
	if (renameat(guests, name, guests, trash) == 0)
		return kept;
	json_decref(kept);
	err_errno(err, "cannot remove guest '%s'", name);
	return NULL;
}

int op_undefine(const json_t *args, json_t **ret, struct err *err)
{
	struct err none = ERR_INIT;
	char trash[96];
	const char *name = json_get_str(args, "name", "");
	_cleanup_close_ int guests = guests_open(err);
	_cleanup_close_ int dir = guests < 0 ? -1 : guest_dir_open(name, err);
	if (dir < 0 || check(dir, name, args, err) < 0)
		return -1;
	/* a broken guest can be undefined, too */
	_cleanup_definition_ struct definition *d = record_read(name, &none);
	json_t *kept = put_away(guests, dir, d, args, trash, err);
	if (!kept)
		return -1;
	if (dir_remove(guests, trash, err) < 0) {
		json_decref(kept);
		return err_prefix(err, "guest '%s' is undefined, but", name);
	}
	if (d)
		nics_release(d, NULL);
	worker_tell_definition("ROOST_UNDEFINED", name, "removed");
	bases_sweep(SWEEP, NULL, NULL, &none); /* it was a clone, perhaps the last one */
	*ret = json_pack("{s:o}", "kept", kept);
	return 0;
}

/* ---- one that runs --------------------------------------------------------------------------------------------- */

int undefine_mark(const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_get_str(args, "name", "");
	_cleanup_close_ int dir = guest_dir_open(name, err);
	if (dir < 0 || check(dir, name, args, err) < 0)
		return -1;
	if (record_is_transient(dir, "."))
		return err_set(err, ERR_REFUSED,
			"guest '%s' is undefined already: it is gone when it ends", name);
	if (json_file_write(dir, RECORD_UNDEFINED, args, true, err) < 0)
		return err_prefix(err, "guest '%s'", name);
	*ret = json_pack("{s:[], s:b}", "kept", "transient", 1);
	return 0;
}

void undefine_marked(const char *name)
{
	struct err ignored = ERR_INIT;
	char trash[96];
	_cleanup_close_ int guests = guests_open(&ignored);
	if (guests < 0 || !record_is_transient(guests, name))
		return;
	_cleanup_close_ int dir = guest_dir_open(name, &ignored);
	_cleanup_json_ json_t *args = json_file_read(dir, RECORD_UNDEFINED, &ignored);
	if (!args || claim_check(dir, name, &ignored) < 0)
		return;
	json_object_set_new(args, "name", json_string(name)); /* whatever is in the file */
	_cleanup_definition_ struct definition *d = record_read(name, &ignored);
	_cleanup_json_ json_t *kept = put_away(guests, dir, d, args, trash, &ignored);
	if (kept && d)
		nics_release(d, NULL);
	if (kept)
		leftovers_clean(true);
}

void undefine_all_marked(struct supervisor *s)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		if (!keeper_find(s, *name))
			undefine_marked(*name);
}
