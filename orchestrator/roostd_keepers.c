/*
 * Spawning keepers and learning of their ends.
 *
 * A keeper's life, seen from here: spawned with a socket pair, told to start or to adopt, served
 * when it has answered, gone when its link closes. When it is gone and its guest is not (the status
 * file is still there), the next one is spawned to adopt it; after failures with growing pauses.
 */
#include "orchestrator/roostd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/access.h"
#include "orchestrator/event_log.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

enum { KEEPER_BACKLOG = 64, RETRY_FIRST_MS = 100, RETRY_MAX_MS = 10000 };

struct keeper *keeper_find(struct supervisor *s, const char *name)
{
	for (struct keeper *k = s->keepers; k; k = k->next)
		if (str_eq(k->name, name))
			return k;
	return NULL;
}

static struct keeper *keeper_new(struct supervisor *s, const char *name, const char *id)
{
	struct keeper *k = xcalloc(1, sizeof(*k));
	snprintf(k->name, sizeof(k->name), "%s", name);
	snprintf(k->id, sizeof(k->id), "%s", id);
	k->proc = PROC_NONE;
	k->next = s->keepers;
	s->keepers = k;
	return k;
}

static void wait_in(struct waiting **list, struct request *request)
{
	struct waiting *w = xcalloc(1, sizeof(*w));
	*w = (struct waiting){.next = *list, .request = request};
	*list = w;
}

/* Answers all in the list: with {} if `err` has no kind, else with the error. */
static void answer_all(struct supervisor *s, struct waiting **list, const struct err *err)
{
	for (struct waiting *w; (w = *list); free(w)) {
		*list = w->next;
		if (err->kind)
			server_error(s->server, w->request, err);
		else
			server_return(s->server, w->request, NULL);
	}
}

/* ---- spawning ------------------------------------------------------------------------------------ */

/*
 * In the new process, which shares our memory until it is another program: the three fds into
 * place, nothing else, then the keeper. Why that failed is left in *failed.
 */
static _Noreturn void exec_keeper(
	const char *path, const char *name, const int fds[3], volatile int *failed)
{
	enum { FIRST = 3, COUNT = 3 };
	int high[COUNT], bad = 0;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < COUNT; i++)
		bad |= (high[i] = fcntl(fds[i], F_DUPFD, FIRST + COUNT)) < 0;
	for (int i = 0; i < COUNT && !bad; i++)
		bad |= dup2(high[i], FIRST + i) < 0;
	if (!bad && syscall(SYS_close_range, (unsigned)(FIRST + COUNT), ~0U, 0U) == 0)
		execl(path, "roost-keeper", name, (char *)NULL);
	*failed = errno;
	_exit(127);
}

static int run_keeper(const char *name, const int fds[3], struct proc *out, struct err *err)
{
	const char *path = libexec_path("roost-keeper");
	volatile int failed = 0;
	/* what fork() copies is not needed: exec_keeper() neither allocates nor returns */
	pid_t pid = vfork();
	if (pid == 0)
		exec_keeper(path, name, fds, &failed);
	if (pid < 0)
		return err_errno(err, "cannot fork a keeper");
	if (!failed)
		return proc_open_child(pid, out, err);
	waitpid(pid, NULL, 0);
	errno = failed;
	return err_errno(err, "cannot run '%s'", path);
}

/* A new link, to a keeper just spawned or found; takes the client. */
static void keeper_link(struct keeper *k, struct qmp *client)
{
	struct err ignored = ERR_INIT;
	k->link = client;
	k->hello = qmp_send(k->link, "roost-supervise", NULL, NULL, 0, &ignored);
	k->stirred = true;
}

/* The guest's folder in $RUN with lock and socket, and a keeper that holds them. */
static int spawn(struct keeper *k, uid_t uid, struct err *err)
{
	int pair[2];
	_cleanup_free_ char *folder = run_path(k->id, "", err);
	_cleanup_close_ int run = folder ? access_guest_folder(folder, uid, err) : -1;
	if (run < 0)
		return -1;
	_cleanup_close_ int lock = file_lock(run, "lock", err);
	_cleanup_free_ char *path = run_path(k->id, "guest.sock", err);
	_cleanup_close_ int listener =
		lock < 0 ? -1 : sock_listen_shared(path, KEEPER_BACKLOG, err);
	if (listener < 0 || sock_pair(pair, err) < 0)
		return -1;
	_cleanup_close_ int ours = pair[0], theirs = pair[1];
	struct proc keeper = PROC_NONE;
	if (access_give(lock, uid, err) < 0 || access_give_at(run, "guest.sock", uid, err) < 0 ||
		run_keeper(k->name, (int[]){theirs, lock, listener}, &keeper, err) < 0)
		return -1;
	proc_close(&k->proc);
	k->proc = keeper;
	qmp_close(k->link);
	keeper_link(k, qmp_start_eager(TAKE_FD(ours)));
	k->found = k->served = false;
	k->retry_at = 0;
	return 0;
}

/* The small Id: +1 per start, for as long as $RUN lives. */
static int64_t next_number(void)
{
	struct err ignored = ERR_INIT;
	const char *run = paths_run(&ignored);
	_cleanup_free_ char *path = str_fmt("%s/last-id", run);
	_cleanup_json_ json_t *o = json_file_read(AT_FDCWD, path, &ignored);
	int64_t number = json_get_int(o, "id", 0) + 1;
	_cleanup_json_ json_t *now = json_pack("{s:I}", "id", (json_int_t)number);
	json_file_write(AT_FDCWD, path, now, false, &ignored);
	return number;
}

static void keeper_free(struct supervisor *s, struct keeper *k)
{
	for (struct keeper **at = &s->keepers; *at; at = &(*at)->next) {
		if (*at != k)
			continue;
		*at = k->next;
		break;
	}
	qmp_close(k->link);
	proc_close(&k->proc);
	free(k);
}

/* What a guest left in $RUN, unless a keeper is still there. */
static void remove_run(const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int runs = runs_open(&ignored);
	_cleanup_close_ int run = runs < 0 ? -1 : dir_open(runs, id, &ignored);
	if (run >= 0 && !file_locked(run, "lock"))
		dir_remove(runs, id, &ignored);
}

bool keeper_follow(struct keeper *k, struct request *request)
{
	struct err ignored = ERR_INIT;
	struct status status;
	_cleanup_close_ int run = run_dir_open(k->id, &ignored);
	if (k->starter || run < 0) /* its status file is still to come, or to come back */
		return false;
	if (status_read(run, "status", &status, &ignored) == 0) {
		status_free(&status);
		return false;
	}
	wait_in(&k->followers, request);
	return true;
}

/* `request` is NULL where nobody waits for the answer. */
static int start_keeper(struct supervisor *s, const struct definition *d, json_t *given,
	struct request *request, struct err *err)
{
	struct keeper *k = keeper_new(s, d->name, d->issued.id);
	if (spawn(k, d->issued.keeper_uid, err) < 0) {
		json_decref(given);
		remove_run(k->id);
		keeper_free(s, k);
		return err_prefix(err, "guest '%s'", d->name);
	}
	k->starter = request;
	json_object_set_new(given, "number", json_integer(next_number()));
	k->call = qmp_send(k->link, "roost-start", given, request ? request->fds : NULL,
		request ? request->fd_count : 0, err);
	return 0;
}

int keeper_start(struct supervisor *s, const struct definition *d, const json_t *args,
	struct request *request, struct err *err)
{
	struct keeper *k = keeper_find(s, d->name);
	if (k && keeper_follow(k, request))
		return 0;
	if (k)
		return err_set(err, ERR_REFUSED, "guest '%s' is %s already", d->name,
			k->starter ? "starting" : "running");
	json_t *given = json_deep_copy(args);
	json_object_del(given, "name");
	json_object_set_new(given, "by", event_who(&request->peer));
	return start_keeper(s, d, given, request, err);
}

/*
 * One whose installation has ended with its QEMU is started anew: install.h. What its keeper has written there is no
 * reason to start another guest.
 */
static int start_again(struct supervisor *s, int runs, const char *id)
{
	struct err err = ERR_INIT;
	const struct sock_peer self = {.uid = geteuid(), .pid = getpid()};
	_cleanup_close_ int run = dir_open(runs, id, &err);
	_cleanup_json_ json_t *how = run < 0 ? NULL : json_file_read(run, RECORD_AGAIN, &err);
	const char *name = json_get_str(how, "name", "");
	_cleanup_definition_ struct definition *d =
		how && name_check(name, "guest", &err) == 0 ? record_read(name, &err) : NULL;
	if (!d || !str_eq(d->issued.id, id) || d->issued.template || keeper_find(s, name))
		return -1;
	json_t *given = json_pack("{s:b, s:o}", "fallback-tcg",
		json_get_bool(how, "fallback-tcg", false), "by", event_who(&self));
	return start_keeper(s, d, given, NULL, &err);
}

/* The end of a guest's run: its folder in $RUN goes, or is the next run's. */
static void end_run(struct supervisor *s, int runs, const char *id)
{
	struct err ignored = ERR_INIT;
	if (start_again(s, runs, id) < 0)
		dir_remove(runs, id, &ignored);
}

static int spawn_adopter(struct keeper *k, struct err *err)
{
	struct definition *d = record_read(k->name, err);
	if (!d)
		return -1;
	int result = spawn(k, d->issued.keeper_uid, err);
	definition_free(d);
	if (result == 0)
		k->call = qmp_send(k->link, "roost-adopt", NULL, NULL, 0, err);
	return result;
}

/* ---- finding what a former roostd left ------------------------------------------------------------ */

/*
 * A status file is its keeper's: is that folder really the named guest's? A guest whose record cannot
 * be read is looked after all the same.
 */
static bool names_its_guest(const struct status *status, const char *id)
{
	struct err err = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(status->name, &err);
	return d ? str_eq(d->issued.id, id) : err.kind != ERR_NOT_FOUND;
}

/* Not even one to adopt: its processes went with the host, and others may have their numbers now. */
static bool is_of_another_boot(int run, const struct status *status)
{
	return !status_of_this_boot(status) && !file_locked(run, "lock");
}

/* One that is just dying takes connections, too: only its answer tells that it serves. */
static int connect_keeper(struct keeper *k, struct err *err)
{
	_cleanup_free_ char *path = run_path(k->id, "guest.sock", err);
	int fd = path ? sock_connect(path, deadline_in(0), err) : -1;
	if (fd < 0)
		return -1;
	keeper_link(k, qmp_start(fd));
	k->found = true;
	k->served = false;
	k->retry_at = 0;
	return 0;
}

/* A living keeper is connected to, an orphaned guest gets one, an empty folder is removed. */
static void find_one(struct supervisor *s, int runs, const char *id)
{
	struct err err = ERR_INIT;
	struct status status;
	_cleanup_close_ int run = dir_open(runs, id, &err);
	if (run < 0)
		return;
	if (status_read(run, "status", &status, &err) < 0) {
		if (!file_locked(run, "lock"))
			end_run(s, runs, id);
		return;
	}
	if (is_of_another_boot(run, &status)) {
		dir_remove(runs, id, &err);
	} else if (!keeper_find(s, status.name) && names_its_guest(&status, id)) {
		struct keeper *k = keeper_new(s, status.name, id);
		if (!file_locked(run, "lock")) {
			if (spawn_adopter(k, &err) < 0)
				k->retry_at = deadline_in(RETRY_FIRST_MS);
		} else if (connect_keeper(k, &err) < 0) {
			k->retry_at = deadline_in(RETRY_FIRST_MS);
		}
	}
	status_free(&status);
}

/* One that runs, and whose folder in $RUN is gone: soon it has one again. */
static void find_lost(struct supervisor *s, const char *name, const char *id)
{
	keeper_new(s, name, id)->retry_at = clock_ms();
}

void keepers_find_all(struct supervisor *s)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&err);
	if (runs < 0 || dir_names(runs, &ids, NULL, &err) < 0)
		return;
	for (char **id = ids; *id; id++)
		find_one(s, runs, *id);
	home_find_lost(s, find_lost);
}

struct keeper *keeper_adopt(struct supervisor *s, const char *name, const char *id, struct err *err)
{
	struct keeper *k = keeper_find(s, name);
	if (k)
		return k;
	_cleanup_close_ int runs = runs_open(err);
	if (runs >= 0)
		find_one(s, runs, id);
	k = keeper_find(s, name);
	if (!k)
		err_set(err, ERR_REFUSED, "guest '%s' is not running", name);
	return k;
}

/* ---- a keeper asks --------------------------------------------------------------------------------- */

static void hear(struct supervisor *s, struct keeper *k)
{
	struct err ignored = ERR_INIT;
	json_t *event;
	while ((event = qmp_next_event(k->link))) {
		const char *name = json_get_str(event, "event", "");
		if (str_eq(name, "ROOST_WANTS_KILL"))
			keeper_kill_qemu(k, json_object_get(event, "data"));
		if (str_eq(name, "ROOST_WANTS_FOLDER"))
			cleanup_close(&(int){home_make(k->name, k->id, &ignored)});
		if (str_starts(name, "ROOST_") && !str_starts(name, "ROOST_WANTS_") &&
			!str_eq(name, "ROOST_PROGRESS"))
			server_event(s->server, event);
		else
			json_decref(event);
	}
}

/* ---- looking -------------------------------------------------------------------------------------- */

/* Not by qmp_forget(): what is still held when it is forgotten would never be sent. */
static void take_hello(struct supervisor *s, struct keeper *k)
{
	struct err none = ERR_INIT, ignored = ERR_INIT;
	json_t *reply = NULL;
	if (!k->hello || qmp_take_reply(k->link, k->hello, &reply, &ignored) == 0)
		return;
	json_decref(reply);
	k->hello = 0;
	if (k->found && !qmp_gone(k->link)) {
		k->served = true;
		k->failures = 0;
		answer_all(s, &k->attenders, &none);
	}
}

static void take_answer(struct supervisor *s, struct keeper *k)
{
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	int got = k->call ? qmp_take_raw_reply(k->link, k->call, &reply, &err) : 0;
	if (got == 0)
		return;
	k->call = 0;
	if (got < 0)
		return;      /* the link is gone, which keeper_gone() tells */
	s->networks_due = 0; /* it may have started one */
	json_t *error = json_object_get(reply, "error");
	k->served = !error;
	if (error)
		json_to_err(error, &err);
	else
		k->failures = 0;
	if (k->starter)
		server_raw(s->server, TAKE(k->starter), reply);
	else
		json_decref(reply);
	answer_all(s, &k->attenders, &err);
}

static void plan_retry(struct keeper *k)
{
	int64_t pause = RETRY_FIRST_MS << (k->failures < 7 ? k->failures : 7);
	k->failures++;
	k->retry_at = deadline_in(pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
}

/* To the keeper that holds the guest's lock, to one that is spawned, or to none yet. */
static int take_up(struct keeper *k, struct err *err)
{
	_cleanup_close_ int run = run_dir_open(k->id, err);
	if (run >= 0 && file_locked(run, "lock"))
		return connect_keeper(k, err);
	bool known = run >= 0 && faccessat(run, "status", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (!known && home_restore(k->name, k->id) == HOME_TO_COME)
		return err_set(
			err, ERR_BUSY, "guest '%s': its keeper is not to be reached yet", k->name);
	return spawn_adopter(k, err);
}

/* Who waits for a keeper hears why there is none. */
static void try_adopter(struct supervisor *s, struct keeper *k)
{
	struct err err = ERR_INIT;
	if (take_up(k, &err) < 0)
		plan_retry(k);
	/* busy: it is to be reached soon */
	if (err.kind && err.kind != ERR_BUSY)
		answer_all(s, &k->attenders, &err);
}

/* The guest ended with its keeper: nothing of it stays in $RUN. */
static void forget(struct supervisor *s, struct keeper *k)
{
	struct err err = ERR_INIT;
	struct waiting *followers = TAKE(k->followers);
	char id[sizeof(k->id)];
	_cleanup_close_ int runs = runs_open(&err);
	json_t *plugged = networks_plugged(k->name, runs, k->id);
	memcpy(id, k->id, sizeof(id));
	err_set(&err, ERR_GONE, "guest '%s' has ended", k->name);
	answer_all(s, &k->attenders, &err);
	undefine_marked(k->name);
	keeper_free(s, k);
	if (runs >= 0)
		end_run(s, runs, id);
	networks_release(s, plugged);
	for (struct waiting *w; (w = followers); free(w)) {
		followers = w->next;
		supervisor_run(s, w->request);
	}
}

static void keeper_gone(struct supervisor *s, struct keeper *k)
{
	struct err err = ERR_INIT;
	struct status status = {0};
	qmp_close(TAKE(k->link));
	k->call = k->hello = 0;
	if (k->starter) {
		err_set(&err, ERR_GONE, "guest '%s': its keeper died while it started", k->name);
		err_hint(&err, "`roost domstate %s` tells what became of it", k->name);
		server_error(s->server, TAKE(k->starter), &err);
	}
	_cleanup_close_ int run = run_dir_open(k->id, &err);
	bool known = run >= 0 && status_read(run, "status", &status, &err) == 0;
	status_free(&status);
	if (!known && home_restore(k->name, k->id) == HOME_NONE) {
		forget(s, k);
		return;
	}
	/* a first death is answered at once; one that dies over its adoption gets a pause */
	bool served = k->served;
	k->served = false;
	if (served)
		try_adopter(s, k);
	else
		plan_retry(k);
}

/* Its link closes before its socket does, perhaps since we have last looked. */
bool keeper_serves(const struct keeper *k)
{
	struct pollfd p = {.events = POLLRDHUP};
	if (!k->served || !k->link)
		return false;
	p.fd = qmp_fd(k->link);
	return poll(&p, 1, 0) == 0 || !(p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Who asks for it need not wait until the next try is due. */
int keeper_want(struct keeper *k, struct err *err)
{
	if (k->link || take_up(k, err) == 0)
		return 0;
	plan_retry(k);
	return err->kind == ERR_BUSY ? 0 : -1;
}

void keepers_look(struct supervisor *s)
{
	struct err err = ERR_INIT;
	for (struct keeper *k = s->keepers, *next; k; k = next) {
		next = k->next;
		if (k->link && k->stirred) {
			k->stirred = false;
			qmp_pump(k->link, &err);
			take_hello(s, k);
			take_answer(s, k);
			hear(s, k);
			if (qmp_gone(k->link))
				keeper_gone(s, k);
		} else if (!k->link && k->retry_at && !deadline_left(k->retry_at)) {
			try_adopter(s, k);
		}
	}
}

size_t keepers_poll_fds(struct supervisor *s, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	for (struct keeper *k = s->keepers; k && n < max; k = k->next)
		if (k->link)
			fds[n++] = (struct pollfd){
				.fd = qmp_fd(k->link), .events = qmp_events(k->link)};
	return n;
}

void keepers_polled(struct supervisor *s, const struct pollfd *fds, size_t count)
{
	size_t n = 0;
	for (struct keeper *k = s->keepers; k && n < count; k = k->next)
		if (k->link)
			k->stirred |= fds[n++].revents != 0;
}

int64_t keepers_deadline(const struct supervisor *s)
{
	int64_t first = DEADLINE_NONE;
	for (const struct keeper *k = s->keepers; k; k = k->next)
		if (k->retry_at && k->retry_at < first)
			first = k->retry_at;
	return first;
}
