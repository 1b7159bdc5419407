#include "orchestrator/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/logout.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/saved.h"

enum { SUPERVISOR_UP_MS = 5000, SUPERVISOR_STARTS_MS = 15000 };

/* ---- roostd --------------------------------------------------------------------------------------- */

/* A session of its own, no terminal, its words on the pipe until it serves; if so among what outlives a log-out. */
static _Noreturn void exec_supervisor(int ready, bool lingering)
{
	int null = open("/dev/null", O_RDWR);
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(ready, STDERR_FILENO);
	dup2(ready, 3);
	syscall(SYS_close_range, 4U, ~0U, 0U);
	const char *path = libexec_path("roostd");
	if (lingering) {
		_cleanup_free_ char *runtime = str_fmt("/run/user/%u", (unsigned)geteuid());
		setenv("XDG_RUNTIME_DIR", runtime, 0);
		execlp("systemd-run", "systemd-run", "--user", "--scope", "--quiet", "--collect",
			"--", path, "--ready-fd", "3", (char *)NULL);
	}
	execl(path, "roostd", "--ready-fd", "3", (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run '%s': %s\n", path, strerror(errno));
	_exit(127);
}

/*
 * Starts one and waits until it serves, or until it has ended because another one does. Its
 * standard error becomes /dev/null with the pipe's end: roostd says nothing after its start.
 */
static int start_supervisor(bool lingering, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot fork");
	if (pid == 0) {
		/* twice, so that it is nobody's zombie */
		if (fork() == 0)
			exec_supervisor(out, lingering);
		_exit(0);
	}
	cleanup_close(&out);
	waitpid(pid, NULL, 0);
	char words[512] = "";
	size_t len = 0;
	for (int64_t deadline = deadline_in(SUPERVISOR_STARTS_MS); len + 1 < sizeof(words);) {
		if (fd_wait(in, POLLIN, deadline) <= 0)
			return err_set(err, ERR_TIMEOUT, "roostd does not come up");
		ssize_t n = read(in, words + len, sizeof(words) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	words[strcspn(words, "\n")] = '\0';
	if (words[0] && !strstr(words, "another roostd"))
		return err_set(err, ERR_SYSTEM, "cannot start roostd: %s", words);
	return 0;
}

struct qmp *supervisor_connect(struct err *err)
{
	_cleanup_free_ char *path = supervisor_socket(err);
	int64_t deadline = deadline_in(SUPERVISOR_UP_MS);
	if (!path)
		return NULL;
	for (;;) {
		struct qmp *q = qmp_connect(path, deadline_in(CONNECT_MS), err);
		if (q || (err->kind != ERR_GONE && err->kind != ERR_NOT_FOUND) ||
			!deadline_left(deadline))
			return q;
		if (paths_are_system() && geteuid() != 0) {
			err_set(err, ERR_GONE, "root's roostd does not run");
			err_hint(err,
				"root starts it: `sudo systemctl start roostd.socket`, or `sudo roost boot`");
			return NULL;
		}
		bool lingers = false, ends = logout_ends(getpid(), &lingers);
		if ((!ends || !lingers || start_supervisor(true, err) < 0) &&
			start_supervisor(false, err) < 0)
			return NULL;
	}
}

bool supervisor_listens(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = supervisor_socket(&ignored);
	_cleanup_close_ int fd = path ? sock_connect(path, deadline_in(0), &ignored) : -1;
	return fd >= 0;
}

bool supervisor_killed(struct proc *lives)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int run = dir_open(AT_FDCWD, paths_run(&ignored), &ignored);
	_cleanup_json_ json_t *who = run < 0 ? NULL : json_file_read(run, "roostd.lock", &ignored);
	return who && proc_open_known((pid_t)json_get_int(who, "pid", 0),
			      (uint64_t)json_get_int(who, "start", 0), lives, &ignored) < 0;
}

static int call_within(
	int64_t ms, const char *command, json_t *args, json_t **reply, struct err *err)
{
	int64_t deadline = deadline_in(ms);
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q) {
		json_decref(args);
		return -1;
	}
	return qmp_call(q, command, args, deadline, reply, err);
}

int supervisor_call(const char *command, json_t *args, json_t **reply, struct err *err)
{
	return call_within(OPERATION_MS, command, args, reply, err);
}

/* As the caller has it, not as roostd was born. */
static int falls_back(bool *out, struct err *err)
{
	const char *fallback = getenv("ROOST_ACCEL_FALLBACK");
	*out = fallback && fallback[0];
	if (!*out || str_eq(fallback, "tcg"))
		return 0;
	err_set(err, ERR_USAGE, "ROOST_ACCEL_FALLBACK='%s' is unknown", fallback);
	return err_hint(err, "the only word is tcg");
}

/* A managed save is root's to open: a member of the group has roostd do it. */
static int start_managed(int64_t ms, const char *name, bool paused, json_t **reply, struct err *err)
{
	bool fallback;
	if (falls_back(&fallback, err) < 0)
		return -1;
	return call_within(ms, "roost-managed-start",
		json_pack("{s:s, s:b, s:b}", "name", name, "paused", paused, "fallback-tcg",
			fallback),
		reply, err);
}

/* What comes along with it: `facts` under the name `what`, and open files. */
static int start_with(int64_t ms, const char *name, unsigned how, const char *what, json_t *facts,
	const int *fds, size_t count, json_t **reply, struct err *err)
{
	bool fallback;
	int64_t deadline = deadline_in(ms);
	if (falls_back(&fallback, err) < 0)
		return -1;
	json_t *args = json_pack("{s:s, s:b, s:b, s:b}", "name", name, "paused", how & START_PAUSED,
		"fallback-tcg", fallback, "force-boot", how & START_FORCE_BOOT);
	if (facts)
		json_object_set(args, what, facts);
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q) {
		json_decref(args);
		return -1;
	}
	return qmp_call_fds(q, "roost-start", args, fds, count, deadline, reply, err);
}

static int start_from(int64_t ms, const char *name, unsigned how, struct saved *from,
	json_t **reply, struct err *err)
{
	return start_with(ms, name, how, "restore", from ? from->facts : NULL,
		from ? from->fds : NULL, from ? from->fd_count : 0, reply, err);
}

int supervisor_start_install(const char *name, json_t *facts, const int *fds, size_t count,
	json_t **reply, struct err *err)
{
	return start_with(OPERATION_MS, name, 0, "install", facts, fds, count, reply, err);
}

int supervisor_start_from(
	const char *name, unsigned how, struct saved *from, json_t **reply, struct err *err)
{
	return start_from(OPERATION_MS, name, how, from, reply, err);
}

int supervisor_start(const char *name, bool paused, json_t **reply, struct err *err)
{
	return supervisor_start_within(OPERATION_MS, name, paused, reply, err);
}

int supervisor_start_within(
	int64_t ms, const char *name, bool paused, json_t **reply, struct err *err)
{
	_cleanup_saved_ struct saved s = {0};
	_cleanup_json_ json_t *answer = NULL;
	if (!saved_exists(name))
		return start_from(ms, name, paused ? START_PAUSED : 0, NULL, reply, err);
	if (saved_is_for_root())
		return start_managed(ms, name, paused, reply, err);
	_cleanup_free_ char *path = saved_path(name, err);
	if (!path || saved_open(path, name, &s, err) < 0) {
		err_prefix(err, "guest '%s' has been saved", name);
		return err_hint(err, "`roost start --force-boot %s` gives up what was saved", name);
	}
	paused = paused || json_get_bool(s.facts, "paused", false);
	if (start_from(ms, name, paused ? START_PAUSED : 0, &s, &answer, err) < 0)
		return -1;
	json_object_set(answer, "saved", json_object_get(s.facts, "saved"));
	if (reply)
		*reply = TAKE(answer);
	return 0;
}

/* ---- guests --------------------------------------------------------------------------------------- */

static bool all_digits(const char *word)
{
	return word[0] && !word[strspn(word, "0123456789")];
}

/* Among those that run: by its name, or by its number if `name` is NULL. */
static bool find_running(const char *name, int64_t number, struct found *out)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	bool same = false;
	if (runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !same; id++) {
		struct status s;
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		if (status_read(runs, file, &s, &ignored) < 0)
			continue;
		same = name ? str_eq(s.name, name) : s.number == number;
		if (same) {
			snprintf(out->name, sizeof(out->name), "%s", s.name);
			snprintf(out->id, sizeof(out->id), "%s", *id);
		}
		status_free(&s);
	}
	return same;
}

static int find_by_uuid(const char *word, struct found *out, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(err);
	if (guests < 0 || dir_names(guests, &names, NULL, err) < 0)
		return err_set(err, ERR_NOT_FOUND, "no guest has the UUID %s", word);
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *file = str_fmt("%s/guest.json", *name);
		_cleanup_json_ json_t *o = json_file_read(guests, file, err);
		if (o && strcasecmp(json_get_str(o, "uuid", ""), word) == 0) {
			snprintf(out->name, sizeof(out->name), "%s", *name);
			snprintf(out->id, sizeof(out->id), "%s",
				json_get_str(json_object_get(o, "issued"), "id", ""));
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "no guest has the UUID %s", word);
}

int guest_find(const char *word, struct found *out, struct err *err)
{
	static const char uuid_form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	if (all_digits(word))
		return find_running(NULL, atoll(word), out)
			       ? 0
			       : err_set(err, ERR_NOT_FOUND, "no guest runs with Id %s", word);
	_cleanup_close_ int dir = guest_dir_open(word, err);
	if (dir < 0 && err->kind == ERR_NOT_FOUND && strlen(word) == sizeof(uuid_form) - 1 &&
		word[8] == '-' && word[13] == '-') {
		struct err other = ERR_INIT;
		if (find_by_uuid(word, out, &other) == 0)
			return 0;
	}
	if (dir < 0)
		return -1;
	/* only the id is wanted of the record: a look, not a parse of every key */
	_cleanup_json_ json_t *o = record_look(dir, err);
	snprintf(out->name, sizeof(out->name), "%s", word);
	snprintf(out->id, sizeof(out->id), "%s",
		json_get_str(json_object_get(o, "issued"), "id", ""));
	/* a record that was spoilt under a running guest must not make it unreachable */
	if (!out->id[0])
		find_running(word, 0, out);
	return 0;
}

bool guest_runs(const struct found *f)
{
	struct err ignored = ERR_INIT;
	struct status s;
	if (!f->id[0])
		return false;
	_cleanup_close_ int run = run_dir_open(f->id, &ignored);
	if (run < 0 || status_read(run, "status", &s, &ignored) < 0)
		return false;
	status_free(&s);
	return true;
}

int guest_attend(const struct found *f, int64_t ms, struct err *err)
{
	return call_within(ms, "roost-attend",
		json_pack("{s:s, s:s}", "name", f->name, "id", f->id), NULL, err);
}

void guest_settle(const struct found *f)
{
	struct err ignored = ERR_INIT; /* it has ended all the same */
	_cleanup_qmp_ struct qmp *q = supervisor_connect(&ignored);
	if (q)
		qmp_call(q, "roost-settle", json_pack("{s:s}", "name", f->name),
			deadline_in(CONNECT_MS), NULL, &ignored);
}

struct qmp *guest_connect(const struct found *f, struct err *err)
{
	if (!guest_runs(f)) {
		err_set(err, ERR_REFUSED, "guest '%s' is not running", f->name);
		err_hint(err, "`roost start %s` starts it", f->name);
		return NULL;
	}
	_cleanup_free_ char *path = run_path(f->id, "guest.sock", err);
	struct qmp *q = path ? qmp_connect(path, deadline_in(CONNECT_MS), err) : NULL;
	if (q || !path)
		return q;
	if (err->kind == ERR_TIMEOUT) {
		err_prefix(err, "guest '%s': its keeper does not answer", f->name);
		err_hint(err, "`roost destroy %s` still works", f->name);
		return NULL;
	}
	/* the keeper has died: roostd puts another one in its place */
	if (guest_attend(f, OPERATION_MS, err) < 0)
		return NULL;
	return qmp_connect(path, deadline_in(CONNECT_MS), err);
}

int guest_call(const char *word, const char *command, json_t *args, json_t **reply, struct err *err)
{
	struct found f;
	_cleanup_qmp_ struct qmp *q = guest_find(word, &f, err) < 0 ? NULL : guest_connect(&f, err);
	if (!q) {
		json_decref(args);
		return -1;
	}
	return qmp_call(q, command, args, deadline_in(OPERATION_MS), reply, err);
}

static int ask_destroy(const struct found *f, bool graceful, json_t **reply, struct err *err)
{
	return guest_call(
		f->name, "roost-destroy", json_pack("{s:b}", "graceful", graceful), reply, err);
}

static json_t *how_it_ended(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	guest_look(f, &s, &ignored);
	return json_pack("{s:s, s:s}", "state", guest_state_name(s.state), "reason", s.reason);
}

/*
 * A keeper that does not answer must not keep anyone from destroying its guest, nor one that dies
 * over it: then its successor is asked, unless the guest has ended meanwhile.
 */
int guest_destroy(const struct found *f, bool graceful, json_t **reply, struct err *err)
{
	enum { SUCCESSORS = 3 };
	int result = ask_destroy(f, graceful, reply, err);
	if (result < 0 && err->kind == ERR_TIMEOUT && !graceful) {
		json_t *again =
			json_pack("{s:s, s:s, s:b}", "name", f->name, "id", f->id, "again", 1);
		result = supervisor_call("roost-attend", again, NULL, err);
		if (result == 0)
			result = ask_destroy(f, false, reply, err);
	}
	bool died = result < 0 && err->kind == ERR_GONE;
	for (int left = SUCCESSORS; died && result < 0 && left > 0; left--) {
		if (!guest_runs(f)) {
			*reply = how_it_ended(f);
			return 0;
		}
		result = ask_destroy(f, graceful, reply, err);
	}
	return result;
}

int guest_look(const struct found *f, struct status *out, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_close_ int run = f->id[0] ? run_dir_open(f->id, &none) : -1;
	if (run >= 0 && status_look(run, "status", out, &none) == 0)
		return 0;
	_cleanup_close_ int dir = guest_dir_open(f->name, err);
	if (dir < 0)
		return -1;
	struct definition *d = record_read(f->name, &none);
	struct status s = {0};
	if (!d) {
		s.state = GUEST_BROKEN;
		snprintf(s.reason, sizeof(s.reason), "%.*s", (int)sizeof(s.reason) - 1,
			none.message);
	} else if (status_read(dir, "running", &s, &none) == 0) {
		s.state = GUEST_SHUT_OFF; /* it was running, and nobody has seen its end */
		snprintf(s.reason, sizeof(s.reason), "%s",
			status_of_this_boot(&s) ? "" : "the host went down while it ran");
	} else if (status_read(dir, "last", &s, &none) < 0) {
		s = (struct status){.state = GUEST_SHUT_OFF};
	}
	definition_free(d);
	snprintf(s.name, sizeof(s.name), "%s", f->name);
	snprintf(s.id, sizeof(s.id), "%s", f->id);
	s.number = 0;
	*out = s;
	return 0;
}

/*
 * Guests that run and have no folder in $RUN, for it has vanished: their own folders tell. `runs`: $RUN/g,
 * or -1. While a roostd lives it sees to them.
 */
static bool lost_exist(int runs)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	bool found = false;
	if (runs >= 0 && faccessat(runs, "../roostd.sock", F_OK, 0) == 0)
		return false;
	_cleanup_close_ int all = guests_open(&ignored);
	if (all < 0 || dir_names(all, &names, NULL, &ignored) < 0)
		return false;
	for (char **name = names; *name && !found; name++) {
		_cleanup_status_ struct status s = {0};
		_cleanup_free_ char *file = str_fmt("%s/running", *name);
		if (status_read(all, file, &s, &ignored) < 0 || !status_of_this_boot(&s))
			continue;
		_cleanup_free_ char *status = str_fmt("%s/status", s.id);
		found = runs < 0 || faccessat(runs, status, F_OK, 0) < 0;
	}
	return found;
}

/* Networks whose holders were killed: roostd starts them anew. */
static bool networks_lost(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	bool found = false;
	const char *run = paths_run(&ignored);
	_cleanup_free_ char *path = run ? str_fmt("%s/n", run) : NULL;
	_cleanup_close_ int all = path ? dir_open(AT_FDCWD, path, &ignored) : -1;
	if (all < 0 || dir_names(all, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !found; id++) {
		_cleanup_free_ char *holder = str_fmt("%s/holder", *id);
		found = faccessat(all, holder, F_OK, 0) == 0 && !file_locked(all, holder);
	}
	return found;
}

bool orphans_exist(void)
{
	struct err ignored = ERR_INIT;
	if (networks_lost())
		return true;
	_cleanup_names_ char **ids = NULL;
	bool found = false;
	_cleanup_close_ int all = runs_open(&ignored);
	if (lost_exist(all))
		return true;
	if (all < 0 || dir_names(all, &ids, NULL, &ignored) < 0)
		return false;
	for (char **id = ids; *id && !found; id++) {
		_cleanup_free_ char *status = str_fmt("%s/status", *id),
				    *again = str_fmt("%s/" RECORD_AGAIN, *id),
				    *lock = str_fmt("%s/lock", *id);
		found = (faccessat(all, status, F_OK, 0) == 0 ||
				faccessat(all, again, F_OK, 0) == 0) &&
			!file_locked(all, lock);
	}
	return found;
}

/* Each that is told of by such a file in a folder of `folders`, which is closed. */
static int attend_all(struct qmp *q, int folders, const char *name, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int all = folders;
	if (all < 0 || dir_names(all, &names, NULL, err) < 0)
		return -1;
	for (char **folder = names; *folder; folder++) {
		struct err ignored = ERR_INIT;
		struct status s;
		_cleanup_free_ char *file = str_fmt("%s/%s", *folder, name);
		if (status_read(all, file, &s, &ignored) < 0)
			continue;
		json_t *args = json_pack("{s:s, s:s}", "name", s.name, "id", s.id);
		status_free(&s);
		/* one that has ended meanwhile, or that does not answer, is no reason to fail */
		qmp_call(q, "roost-attend", args, deadline_in(CONNECT_MS), NULL, &ignored);
	}
	return 0;
}

int orphans_adopt(struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_close_ int before = runs_open(&none);
	bool lost = lost_exist(before);
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q)
		return -1;
	if (lost && attend_all(q, guests_open(err), "running", err) < 0)
		return -1;
	return attend_all(q, runs_open(err), "status", err);
}
