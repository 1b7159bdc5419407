#include "orchestrator/installing.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

enum { LOOK_MS = 1000 };

int installing_define(const struct definition *d, struct err *err)
{
	/* with no files of a backup's, but a new one all the same */
	return supervisor_call("roost-define",
		json_pack("{s:o, s:[]}", "definition", definition_to_json(d), "files"), NULL, err);
}

int installing_start(
	const char *name, const struct installer *i, bool fresh, json_t **reply, struct err *err)
{
	struct err ignored = ERR_INIT;
	if ((i->facts ? installer_start(name, i, reply, err)
		      : supervisor_start(name, false, reply, err)) == 0)
		return 0;
	if (fresh)
		supervisor_call("roost-undefine",
			json_pack("{s:s, s:b}", "name", name, "remove-storage", 1), NULL, &ignored);
	return -1;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

/* Is an installer at work in the run that there is now? By its record: whoever keeps it. */
static bool installs(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = run_dir_open(f->id, &ignored);
	_cleanup_definition_ struct definition *d =
		run < 0 ? NULL : record_read_running(run, &ignored);
	return d && d->install.enabled;
}

/* Until its keeper tells an event that means something to us, or has gone; at most a second. */
static void listen(struct qmp *q, int64_t deadline)
{
	struct err ignored = ERR_INIT;
	int64_t look = deadline_in(LOOK_MS);
	json_t *event =
		qmp_wait_event(q, "ROOST_INSTALLED", look < deadline ? look : deadline, &ignored);
	json_decref(event);
}

/* It has ended; one that was installed is started again by roostd in a moment. */
static int see_end(const struct found *f, enum installed *out, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	guest_settle(f);
	if (guest_look(f, &s, err) < 0)
		return -1;
	*out = s.number ? INSTALLED_RUNS : INSTALLED_OFF;
	return 0;
}

int installing_wait(const struct found *f, int64_t deadline, enum installed *out, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = NULL;
	while (deadline_left(deadline)) {
		_cleanup_status_ struct status s = {0};
		if (guest_look(f, &s, err) < 0)
			return -1;
		if (!s.number)
			return see_end(f, out, err);
		if (!installs(f)) {
			*out = INSTALLED_RUNS;
			return 0;
		}
		if (q && qmp_gone(q)) {
			qmp_close(q);
			q = NULL;
		}
		if (!q && !(q = guest_connect(f, err)) && guest_runs(f))
			return -1;
		*err = (struct err)ERR_INIT;
		if (q)
			listen(q, deadline);
	}
	return err_set(err, ERR_TIMEOUT, "the installation of guest '%s' is not over", f->name);
}
