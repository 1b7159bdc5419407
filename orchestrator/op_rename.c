/*
 * Renaming a guest that does not run. Runs in a worker of roostd.
 *
 * Its name is its folder's, and stands in its record as well. The two change by one rename of the
 * folder: before it the record says what the guest is to be called, and is believed in a folder of
 * either name (record.c); after it the record is written anew, without that word. Whoever is killed in
 * between leaves the old name or the new one, and a record that fits.
 *
 * The host name in the guest is not changed: it is in its file system, and in its definition.
 */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/event_log.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/nic_issue.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/snapshots.h"

/* Does some definition, the guest's own or another's, name a file in the guest's folder? */
static int check_nobody_refers(int guests, const char *name, struct err *err)
{
	enum { RECORD_MAX = 1024 * 1024 };
	_cleanup_names_ char **names = NULL;
	_cleanup_free_ char *within = str_fmt("\"%s/guests/%s/", paths_state(err), name);
	if (dir_names(guests, &names, NULL, err) < 0)
		return -1;
	for (char **n = names; *n; n++) {
		struct err ignored = ERR_INIT;
		_cleanup_buf_ struct buf text = {0};
		_cleanup_free_ char *file = str_fmt("%s/guest.json", *n);
		if (file_read(guests, file, RECORD_MAX, &text, &ignored) < 0 ||
			!strstr(text.data, within))
			continue;
		err_set(err, ERR_REFUSED,
			"the definition of guest '%s' names a file in the folder of '%s'", *n,
			name);
		return err_hint(err, "`roost edit %s` takes it out", *n);
	}
	return 0;
}

static int rename_folder(int guests, const char *name, const char *to, struct err *err)
{
	if (renameat2(guests, name, guests, to, RENAME_NOREPLACE) == 0) {
		fsync(guests);
		return 0;
	}
	if (errno == EEXIST)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", to);
	return err_errno(err, "cannot rename guest '%s'", name);
}

int op_rename(const json_t *args, json_t **ret, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *name = json_get_str(args, "name", ""), *to = json_get_str(args, "new-name", "");
	if (name_check(to, "guest", err) < 0)
		return -1;
	if (str_eq(name, to))
		return err_set(err, ERR_REFUSED, "guest '%s' is called so already", name);
	_cleanup_definition_ struct definition *d = record_read(name, err);
	_cleanup_close_ int guests = d ? guests_open(err) : -1;
	_cleanup_close_ int dir = guests < 0 ? -1 : guest_dir_open(name, err);
	if (dir >= 0 && faccessat(guests, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", to);
	if (dir >= 0 && snapshots_saved(dir))
		return err_set(err, ERR_REFUSED, "guest '%s' has been saved, under that name",
			       name),
		       err_hint(err, "start it first, or `roost managedsave-remove %s`", name);
	if (dir < 0 || name_check_free(to, name, err) < 0 ||
		check_nobody_refers(guests, name, err) < 0 || nics_rename(d, to, err) < 0)
		return -1;
	if (record_write_renaming(dir, d, to, err) < 0)
		return nics_rename(d, name, &ignored), -1;
	failpoint("rename-announced");
	if (rename_folder(guests, name, to, err) < 0)
		return nics_rename(d, name, &ignored), -1;
	failpoint("rename-done");
	free(d->name);
	d->name = xstrdup(to);
	/* it is renamed: a record that keeps the word of it is as good */
	record_write(dir, d, &ignored);
	_cleanup_json_ json_t *event = event_new("ROOST_RENAMED",
		event_command(to, "roost-rename", json_incref(json_object_get(args, "by"))));
	json_object_set_new(json_object_get(event, "data"), "old-name", json_string(name));
	event_log_append_as(dir, d->issued.keeper_uid, event);
	worker_tell_definition("ROOST_UNDEFINED", name, "renamed");
	worker_tell_definition("ROOST_DEFINED", to, "renamed");
	*ret = json_pack("{s:s, s:s, s:s?}", "name", to, "old-name", name, "hostname",
		d->cloud_init.hostname);
	return 0;
}
