#include "orchestrator/record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/committed.h"
#include "orchestrator/paths.h"

static int broken(const char *name, struct err *err)
{
	struct err why = *err;
	err_set(err, ERR_REFUSED, "guest '%s' is broken: its record: %s", name, why.message);
	return err_hint(err, "mend or replace %s/guests/%s/guest.json, or `roost undefine %s`",
		paths_state(&why), name, name);
}

json_t *record_look(int dir, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = openat(
		dir, "guest.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_errno(err, "cannot read 'guest.json'");
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0)) {
		err_set(err, ERR_REFUSED, "'guest.json' belongs to uid %u", (unsigned)st.st_uid);
		return NULL;
	}
	return json_file_read_open(fd, "guest.json", err);
}

/* `name`: of the folder, which a record that announces it takes for its own; NULL: any. */
static struct definition *read_checked(int dir, const char *name, struct err *err)
{
	_cleanup_json_ json_t *o = record_look(dir, err);
	if (!o)
		return NULL;
	int64_t version = json_get_int(o, "roost", 0);
	if (version != RECORD_VERSION) {
		err_set(err, ERR_REFUSED, "its version is %lld, this roost knows %d",
			(long long)version, RECORD_VERSION);
		return NULL;
	}
	if (name && str_eq(json_get_str(o, "rename_to", NULL), name))
		json_object_set_new(o, "name", json_string(name));
	json_object_del(o, "rename_to");
	json_object_del(o, "roost");
	struct definition *d = definition_from_json(o, err);
	if (d)
		committed_apply(d);
	return d;
}

struct definition *record_read(const char *name, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(name, err);
	if (dir < 0)
		return NULL;
	struct definition *d = read_checked(dir, name, err);
	if (d && !str_eq(d->name, name)) {
		err_set(err, ERR_REFUSED, "it names another guest, '%s'", d->name);
		definition_free(TAKE(d));
	}
	if (!d)
		broken(name, err);
	return d;
}

static json_t *to_record(const struct definition *d)
{
	json_t *o = definition_to_json(d);
	json_object_set_new(o, "roost", json_integer(RECORD_VERSION));
	return o;
}

static int write_to(int dir, const struct definition *d, bool durable, struct err *err)
{
	_cleanup_json_ json_t *o = to_record(d);
	return json_file_write(dir, "guest.json", o, durable, err);
}

int record_write(int guest_dir, const struct definition *d, struct err *err)
{
	return write_to(guest_dir, d, true, err);
}

int record_write_new(int guest_dir, const struct definition *d, struct err *err)
{
	return write_to(guest_dir, d, false, err);
}

int record_write_renaming(
	int guest_dir, const struct definition *d, const char *to, struct err *err)
{
	_cleanup_json_ json_t *o = to_record(d);
	json_object_set_new(o, "rename_to", json_string(to));
	return json_file_write(guest_dir, "guest.json", o, true, err);
}

int record_keep_running(int run, const struct definition *d, struct err *err)
{
	return write_to(run, d, false, err);
}

struct definition *record_read_running(int run, struct err *err)
{
	return read_checked(run, NULL, err);
}

int record_add_seed(struct definition *d, struct err *err)
{
	struct disk_def seed = {
		.source = DISK_PATH, .format = FORMAT_RAW, .bus = BUS_VIRTIO, .readonly = true};
	if (!d->cloud_init.enabled)
		return 0;
	if (d->disk_count == DISKS_MAX)
		return err_set(err, ERR_REFUSED,
			"guest '%s' has %d disks: there is no place for its seed", d->name,
			DISKS_MAX);
	if (disk_free_target(d, BUS_VIRTIO, seed.target, err) < 0)
		return -1;
	seed.path = str_fmt("%s/guests/%s/seed.iso", paths_state(err), d->name);
	seed.serial = xstrdup("seed");
	d->disks[d->disk_count++] = seed;
	return 0;
}

bool record_looks_sound(int guests_dir, const char *name, bool *template)
{
	char path[96], text[4096 + 1];
	struct stat st;
	snprintf(path, sizeof(path), "%s/guest.json", name);
	_cleanup_close_ int fd =
		openat(guests_dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);
	if (n < 4 || text[0] != '{')
		return false;
	if (n ==
		(ssize_t)sizeof(text) - 1) { /* more than nearly all have: its end is what counts */
		if (fstat(fd, &st) < 0 || st.st_size < n)
			return false;
		n = pread(fd, text, sizeof(text) - 1, st.st_size - n);
	}
	text[n > 0 ? n : 0] = '\0';
	/* no text that people wrote holds a bare quote, and what was issued stands at the end */
	*template = strstr(text, "\"template\": true");
	return n > 2 && text[n - 2] == '}' && text[n - 1] == '\n';
}

bool record_is_transient(int guests_dir, const char *name)
{
	_cleanup_free_ char *mark = str_fmt("%s/" RECORD_UNDEFINED, name);
	return faccessat(guests_dir, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool record_autostarts(int guests_dir, const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *file = str_fmt("%s/guest.json", name);
	_cleanup_json_ json_t *o = json_file_read(guests_dir, file, &ignored);
	const json_t *autostart = json_object_get(o, "autostart");
	return json_is_true(autostart) || json_is_object(autostart);
}
