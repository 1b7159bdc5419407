/*
 * The guests of tests are removed: each when its test is over, and those whose runner was killed by
 * `roost smoke --clean`. A guest is ours if its record names a runner; nobody else's is touched.
 */
#include "orchestrator/smoke.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum { REMOVE_MS = 60000, AGAIN_MS = 100, HALF_MADE_MS = 30000 };

/* ---- runners ---------------------------------------------------------------------------------- */

void runner_self(char out[80])
{
	struct err ignored = ERR_INIT;
	struct proc self = PROC_NONE;
	proc_open(getpid(), &self, &ignored);
	snprintf(out, 80, "%d-%llu-%s", (int)getpid(), (unsigned long long)self.start, boot_id());
	proc_close(&self);
}

static bool runner_lives(const char *runner)
{
	struct err ignored = ERR_INIT;
	struct proc p = PROC_NONE;
	int pid;
	unsigned long long start;
	char boot[40];
	if (sscanf(runner, "%d-%llu-%39s", &pid, &start, boot) != 3)
		return true; /* whatever it is, it is not ours to judge */
	if (!str_eq(boot, boot_id()) || proc_open_known(pid, start, &p, &ignored) < 0)
		return false;
	proc_close(&p);
	return true;
}

/* ---- one guest -------------------------------------------------------------------------------- */

static void wait_a_moment(int64_t deadline)
{
	int64_t next = deadline_in(AGAIN_MS);
	poll(NULL, 0, deadline_left(next < deadline ? next : deadline));
}

/* Until it is gone: a start that is under way when its test is killed goes on for a moment. */
int smoke_remove(const char *guest, struct err *err)
{
	int64_t deadline = deadline_in(REMOVE_MS);
	for (;;) {
		struct err why = ERR_INIT, ignored = ERR_INIT;
		_cleanup_json_ json_t *how = NULL;
		struct found f;
		if (guest_find(guest, &f, &why) < 0)
			return why.kind == ERR_NOT_FOUND ? 0 : (*err = why, -1);
		guest_destroy(&f, false, &how, &ignored);
		if (supervisor_call("roost-undefine",
			    json_pack("{s:s, s:b}", "name", f.name, "remove-storage", 1), NULL,
			    &why) == 0)
			return 0;
		bool passing = why.kind == ERR_BUSY || why.kind == ERR_REFUSED ||
			       why.kind == ERR_GONE || why.kind == ERR_NOT_FOUND;
		if (!passing || !deadline_left(deadline)) {
			*err = why;
			return err_prefix(err, "guest '%s' is left", guest);
		}
		wait_a_moment(deadline);
	}
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* What a runner that was killed has asked for roostd is at, or comes to at latest when it has answered us. */
static bool any_asked_for(void)
{
	struct err ignored = ERR_INIT;
	bool any = false;
	for (int i = 0; i < 2 && !any && supervisor_listens(); i++) {
		_cleanup_json_ json_t *names = NULL;
		size_t at;
		json_t *name;
		supervisor_call("roost-changing", NULL, &names, &ignored);
		json_array_foreach (names, at, name)
			any = any || str_starts(json_string_value(name), "smoke-");
	}
	return any;
}

/* A test's guest that is just being made, for a runner that may have been killed meanwhile. */
static bool any_half_made(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&ignored);
	DIR *dir = guests < 0 ? NULL : fdopendir(guests);
	bool any = false;
	if (!dir)
		return false;
	guests = -1; /* closedir() closes it */
	for (struct dirent *e; !any && (e = readdir(dir));)
		any = str_starts(e->d_name, ".new-smoke-");
	closedir(dir);
	return any;
}

static int clean_one(const char *name, json_t *removed, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(name, &ignored);
	if (!d || !d->runner[0] || runner_lives(d->runner))
		return 0;
	if (smoke_remove(name, err) < 0)
		return -1;
	json_array_append_new(removed, json_string(name));
	return 0;
}

int smoke_clean(json_t **removed, struct err *err)
{
	int64_t deadline = deadline_in(HALF_MADE_MS);
	_cleanup_json_ json_t *list = json_array();
	int result = 0;
	while ((any_asked_for() || any_half_made()) && deadline_left(deadline))
		wait_a_moment(deadline);
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(err);
	if (guests < 0 && err->kind == ERR_NOT_FOUND)
		*removed = TAKE(list); /* nothing was ever defined here */
	if (guests < 0)
		return err->kind == ERR_NOT_FOUND ? 0 : -1;
	if (dir_names(guests, &names, NULL, err) < 0)
		return -1;
	/* one that resists must not keep the others */
	for (char **name = names; *name; name++)
		if (clean_one(*name, list, err) < 0)
			result = -1;
	if (result == 0)
		*removed = TAKE(list);
	return result;
}
