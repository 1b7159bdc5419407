#include "orchestrator/firmware_vars.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/qcow2.h"
#include "orchestrator/access.h"
#include "orchestrator/firmware.h"

static bool there(int dir, const char *file)
{
	return faccessat(dir, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Variables as roost 0.1 made them; it knew no secure boot. */
static bool has_raw_only(int dir, const struct definition *d)
{
	return !d->secure_boot && !there(dir, firmware_vars_name(false)) &&
	       there(dir, FIRMWARE_VARS_RAW);
}

int firmware_make_vars(int dir, const struct definition *d, struct err *err)
{
	struct firmware_files files;
	const struct firmware_want want = {.secure_boot = d->secure_boot, .machine = d->machine};
	const char *name = firmware_vars_name(d->secure_boot);
	if (d->firmware != FIRMWARE_UEFI || there(dir, name) || has_raw_only(dir, d))
		return 0;
	if (firmware_find(&want, &files, err) < 0)
		return err_prefix(err, "firmware");
	_cleanup_close_ int from = open(files.vars, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return err_errno(err, "cannot open '%s'", files.vars);
	/* under its name only when it is whole: variables that are there are never touched again */
	_cleanup_free_ char *temporary = str_fmt("%s.new", name);
	unlinkat(dir, temporary, 0);
	if (qcow2_copy(dir, temporary, from, true, err) < 0)
		return err_prefix(err, "the UEFI variables");
	if (access_give_at(dir, temporary, d->issued.keeper_uid, err) < 0)
		return -1;
	if (renameat(dir, temporary, dir, name) < 0)
		return err_errno(err, "cannot make '%s'", name);
	return 0;
}

/* How many bytes of variables the guest has: the code must be built for as many. */
static int vars_size(int fd, bool qcow2, const char *name, uint64_t *out, struct err *err)
{
	struct qcow2_info info;
	struct stat st;
	if (!qcow2) {
		if (fstat(fd, &st) < 0)
			return err_errno(err, "cannot look at '%s'", name);
		*out = (uint64_t)st.st_size;
		return 0;
	}
	if (qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", name);
	*out = info.virtual_size;
	return qcow2_may_enter(&info, name, err);
}

int firmware_open(int dir, const struct definition *d, struct firmware_open *out, struct err *err)
{
	struct firmware_files files;
	struct firmware_want want = {.secure_boot = d->secure_boot, .machine = d->machine};
	bool qcow2 = !has_raw_only(dir, d);
	const char *name = qcow2 ? firmware_vars_name(d->secure_boot) : FIRMWARE_VARS_RAW;
	if (d->firmware != FIRMWARE_UEFI)
		return 0;
	_cleanup_close_ int vars = file_open_owned(dir, name, O_RDWR, d->issued.keeper_uid, err);
	if (vars < 0 && err->kind == ERR_NOT_FOUND)
		err_hint(err, "define the guest again: new ones are made");
	if (vars < 0 || vars_size(vars, qcow2, name, &want.vars_size, err) < 0)
		return err_prefix(err, "the UEFI variables");
	if (firmware_find(&want, &files, err) < 0)
		return -1;
	_cleanup_close_ int code = open(files.code, O_RDONLY | O_CLOEXEC);
	if (code < 0)
		return err_errno(err, "cannot open the UEFI firmware '%s'", files.code);
	*out = (struct firmware_open){
		.code = TAKE_FD(code), .vars = TAKE_FD(vars), .vars_qcow2 = qcow2};
	return 0;
}
