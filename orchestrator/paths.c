#include "orchestrator/paths.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"

static const char *from_environment(const char *variable, struct err *err)
{
	const char *value = getenv(variable);
	if (!value || !value[0])
		return NULL;
	if (value[0] != '/') {
		err_set(err, ERR_USAGE, "%s='%s' is not an absolute path", variable, value);
		return NULL;
	}
	return value;
}

static char *work_out_state(struct err *err)
{
	const char *value = from_environment("ROOST_STATE", err);
	if (value || err->kind)
		return xstrdup(value);
	if (geteuid() == 0)
		return xstrdup("/var/lib/roost");
	value = from_environment("XDG_DATA_HOME", err);
	if (value)
		return str_fmt("%s/roost", value);
	if (!err->kind)
		value = from_environment("HOME", err);
	struct stat st;
	if (value && stat(value, &st) == 0)
		return str_fmt("%s/.local/share/roost", value);
	if (!err->kind) {
		err_set(err, ERR_SYSTEM, "there is no home folder to keep guests in");
		err_hint(err, "set HOME, or ROOST_STATE to a folder of your own");
	}
	return NULL;
}

const char *paths_state(struct err *err)
{
	static char *state;
	struct err failure = ERR_INIT;
	if (!state)
		state = work_out_state(&failure);
	if (!state)
		*err = failure;
	return state;
}

static char *work_out_run(struct err *err)
{
	const char *value = from_environment("ROOST_RUN", err), *state;
	if (value || err->kind)
		return xstrdup(value);
	if (geteuid() == 0)
		return xstrdup("/run/roost");
	state = paths_state(err);
	return state ? str_fmt("%s/run/%.8s", state, boot_id()) : NULL;
}

const char *paths_run(struct err *err)
{
	static char *run;
	/* below it are sockets, which are bound by another name first (base/sock.c) */
	enum {
		RUN_MAX = sizeof((struct sockaddr_un){0}.sun_path) -
			  sizeof("/g/0123456789ab/guest.sock~")
	};
	struct err failure = ERR_INIT;
	if (run)
		return run;
	_cleanup_free_ char *found = work_out_run(&failure);
	if (found && strlen(found) > RUN_MAX) {
		err_set(&failure, ERR_USAGE,
			"the folder '%s' has %zu bytes, sockets leave room for %d", found,
			strlen(found), RUN_MAX);
		err_hint(&failure, "set ROOST_RUN to a folder with a shorter path");
	}
	if (failure.kind)
		*err = failure;
	else
		run = TAKE(found);
	return run;
}

int paths_make(struct err *err)
{
	const char *state = paths_state(err), *run = paths_run(err);
	if (!state || !run)
		return -1;
	/* 0711: the uids of keepers and QEMUs pass through to their own folders and list nothing */
	const char *const roots[] = {state, run};
	const char *const below[] = {"guests", "images", "networks", "templates", NULL};
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		_cleanup_close_ int fd = dir_make(roots[i], 0711, err);
		if (fd < 0)
			return -1;
	}
	for (size_t i = 0; below[i]; i++) {
		_cleanup_free_ char *path = str_fmt("%s/%s", state, below[i]);
		_cleanup_close_ int fd = dir_make(path, 0711, err);
		if (fd < 0)
			return -1;
	}
	_cleanup_free_ char *path = str_fmt("%s/g", run);
	_cleanup_close_ int fd = dir_make(path, 0711, err);
	return fd < 0 ? -1 : 0;
}

static int open_below(const char *root, const char *folder, const char *name, struct err *err)
{
	if (!root)
		return -1;
	_cleanup_free_ char *path =
		name ? str_fmt("%s/%s/%s", root, folder, name) : str_fmt("%s/%s", root, folder);
	return dir_open(AT_FDCWD, path, err);
}

int guests_open(struct err *err)
{
	return open_below(paths_state(err), "guests", NULL, err);
}

int guest_dir_open(const char *name, struct err *err)
{
	if (name_check(name, "guest", err) < 0)
		return -1;
	int fd = open_below(paths_state(err), "guests", name, err);
	if (fd < 0 && err->kind == ERR_NOT_FOUND) {
		err_set(err, ERR_NOT_FOUND, "there is no guest '%s'", name);
		err_hint(err, "`roost list --all` shows the guests that are defined");
	}
	return fd;
}

int runs_open(struct err *err)
{
	return open_below(paths_run(err), "g", NULL, err);
}

int run_dir_open(const char *id, struct err *err)
{
	return open_below(paths_run(err), "g", id, err);
}

char *run_path(const char *id, const char *file, struct err *err)
{
	const char *run = paths_run(err);
	return run ? str_fmt("%s/g/%s/%s", run, id, file) : NULL;
}

char *supervisor_socket(struct err *err)
{
	const char *run = paths_run(err);
	return run ? str_fmt("%s/roostd.sock", run) : NULL;
}

const char *libexec_path(const char *program)
{
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	/* from PREFIX/bin/roost and from PREFIX/libexec/roost/roostd alike */
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	snprintf(path, sizeof(path), "%s/%s%s", self,
		str_ends(self, "/libexec/roost") ? "" : "../libexec/roost/", program);
	return path;
}

const char *qemu_path(void)
{
	const char *chosen = getenv("ROOST_QEMU");
	return chosen && chosen[0] ? chosen : "/usr/bin/qemu-system-x86_64";
}
