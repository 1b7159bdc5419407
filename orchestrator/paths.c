#include "orchestrator/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
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
#include "orchestrator/access.h"

#define SYSTEM_STATE  "/var/lib/roost"
#define SYSTEM_GUESTS SYSTEM_STATE "/guests"

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

/* ---- which instance ------------------------------------------------------------------------------- */

static enum { BY_UID, SYSTEM, SESSION } instance;

bool paths_are_system(void)
{
	return instance == SYSTEM || (instance == BY_UID && geteuid() == 0);
}

bool paths_by_member(void)
{
	return paths_are_system() && geteuid() != 0;
}

static bool overridden(const char *variable)
{
	const char *value = getenv(variable);
	return value && value[0];
}

/* Not so long ago the group may have got a member whose log-in is older. */
static int refuse(struct err *err)
{
	const struct passwd *user = getpwuid(geteuid());
	_cleanup_free_ char *name =
		user ? xstrdup(user->pw_name) : str_fmt("%u", (unsigned)geteuid());
	const struct group *group = getgrnam(ACCESS_GROUP);
	for (char **m = group ? group->gr_mem : NULL; m && *m; m++) {
		if (!str_eq(*m, name))
			continue;
		err_set(err, ERR_REFUSED,
			"user '%s' is in the group " ACCESS_GROUP
			", but this log-in is older than that",
			name);
		return err_hint(err, "log in anew, or `newgrp " ACCESS_GROUP "`");
	}
	err_set(err, ERR_REFUSED,
		"user '%s' may not use the system instance: it is root's and the group " ACCESS_GROUP
		"'s",
		name);
	return err_hint(err, "%s`sudo usermod -aG " ACCESS_GROUP " %s`, then log in anew",
		group ? "" : "`sudo groupadd --system " ACCESS_GROUP "`, ", name);
}

static int choose_system(struct err *err)
{
	instance = SYSTEM;
	if (geteuid() == 0 || (overridden("ROOST_STATE") && overridden("ROOST_RUN")) ||
		access(SYSTEM_GUESTS, R_OK) == 0)
		return 0;
	if (errno != ENOENT)
		return refuse(err);
	err_set(err, ERR_NOT_FOUND, "there is no system instance here yet");
	return err_hint(err, "root's first `roost` command makes it");
}

int paths_connect(const char *word, struct err *err)
{
	bool system = word && (str_eq(word, "system") || str_eq(word, "qemu:///system"));
	bool session = word && (str_eq(word, "session") || str_eq(word, "qemu:///session"));
	if (system)
		return choose_system(err);
	if (session && geteuid() == 0) {
		err_set(err, ERR_USAGE, "-c session: root's instance is the system one");
		return err_hint(err, "ROOST_STATE and ROOST_RUN make another");
	}
	if (word && !session) {
		err_set(err, ERR_USAGE, "-c '%.60s' is neither system nor session", word);
		return err_hint(err, "qemu:///system and qemu:///session are the same two");
	}
	bool member = !session && !overridden("ROOST_STATE") && !overridden("ROOST_RUN") &&
		      access(SYSTEM_GUESTS, R_OK) == 0;
	instance = geteuid() == 0 || member ? SYSTEM : SESSION;
	return 0;
}

static char *session_state(struct err *err)
{
	const char *value = from_environment("XDG_DATA_HOME", err);
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

char *paths_cache(const char *name, struct err *err)
{
	const char *value = from_environment("XDG_CACHE_HOME", err);
	if (value)
		return str_fmt("%s/roost/%s", value, name);
	if (!err->kind)
		value = from_environment("HOME", err);
	if (value)
		return str_fmt("%s/.cache/roost/%s", value, name);
	if (!err->kind) {
		err_set(err, ERR_SYSTEM, "there is no home folder to keep files in");
		err_hint(err, "set HOME, or XDG_CACHE_HOME to a folder of your own");
	}
	return NULL;
}

char *paths_of_other_guests(const char **word)
{
	struct err ignored = ERR_INIT;
	if (geteuid() == 0 || overridden("ROOST_STATE") || overridden("ROOST_RUN"))
		return NULL;
	*word = paths_are_system() ? "session" : "system";
	_cleanup_free_ char *state = paths_are_system() ? session_state(&ignored) : NULL;
	char *guests = state                ? str_fmt("%s/guests", state)
		       : paths_are_system() ? NULL
					    : xstrdup(SYSTEM_GUESTS);
	if (guests && access(guests, R_OK) == 0)
		return guests;
	free(guests);
	return NULL;
}

static char *work_out_state(struct err *err)
{
	const char *value = from_environment("ROOST_STATE", err);
	if (value || err->kind)
		return xstrdup(value);
	return paths_are_system() ? xstrdup(SYSTEM_STATE) : session_state(err);
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
	if (paths_are_system())
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

int guests_names(char ***names, size_t *count, struct err *err)
{
	_cleanup_close_ int guests = guests_open(err);
	if (guests >= 0)
		return dir_names(guests, names, count, err);
	if (err->kind != ERR_NOT_FOUND)
		return -1;
	*err = (struct err)ERR_INIT;
	*names = xcalloc(1, sizeof(**names));
	if (count)
		*count = 0;
	return 0;
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

char *guest_dir_name(int dir)
{
	struct err not_one = ERR_INIT;
	char self[32], path[PATH_MAX];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir);
	ssize_t len = readlink(self, path, sizeof(path) - 1);
	if (len <= 0)
		return NULL;
	path[len] = '\0';
	const char *name = strrchr(path, '/');
	return name && name_check(name + 1, "guest", &not_one) == 0 ? xstrdup(name + 1) : NULL;
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

const char *swtpm_path(void)
{
	const char *chosen = getenv("ROOST_SWTPM");
	return chosen && chosen[0] ? chosen : "/usr/bin/swtpm";
}

const char *qemu_path(void)
{
	const char *chosen = getenv("ROOST_QEMU");
	return chosen && chosen[0] ? chosen : "/usr/bin/qemu-system-x86_64";
}
