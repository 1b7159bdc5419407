/*
 * roost-net: what keeps one network. Started by network_up() alone:
 *
 *	roost-net NAME [--again FD]	FD: a tap of it that outlived its former holder
 *	roost-net --commands		prints what net.sock understands, for roost-qmp(7)
 *	roost-net --traces		what networks have on the host (uplink_traces()), for roost doctor
 *	roost-net --sweep ID		removes what the host has of that network, if it was killed
 *	roost-net --filters INTERFACE	what the host's firewall would drop of it (uplink_filters()), for roost validate
 *
 * A network is two processes. The outer one, this file, stays in the host's network namespace with the rights of who
 * started it, and keeps the uplink. The inner one is the holder (holder.h), in the network's own. Each ends when the other
 * one does. Both have the lock of $RUN/n/ID/holder: it is free when all is over, the uplink is removed, too. A third one,
 * net_watch.h, is there for the case that they are killed.
 *
 * One line on the standard output tells when the network is up, {"return":{}}, or why it is not, {"error":{...}}.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"
#include "netsetup/uplink.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/holder.h"
#include "orchestrator/net_watch.h"
#include "orchestrator/paths.h"

enum {
	LINE_MAX_BYTES = 64 * 1024,
	SET_UP_MS = 25000, /* network_up() waits a little longer */
	END_MS = 5000,
};

struct outer {
	struct network network;
	int run, lock;
	int link; /* to the inner one */
	struct proc inner;
	struct net_watch watch;
	struct uplink *uplink;
};

/* ---- what the two say to each other ---------------------------------------------------------------- */

int outer_say(int outer, json_t *stolen)
{
	_cleanup_json_ json_t *said = stolen;
	_cleanup_free_ char *text = json_line(said);
	_cleanup_free_ char *line = str_fmt("%s\n", text);
	size_t len = strlen(line);
	return sock_send(outer, line, len, NULL, 0) == (ssize_t)len ? 0 : -1;
}

json_t *outer_hear(int outer, int64_t ms, struct err *err)
{
	int64_t deadline = deadline_in(ms);
	_cleanup_buf_ struct buf text = {0};
	for (;;) {
		char c;
		size_t none = 0;
		if (fd_wait(outer, POLLIN, deadline) == 0) {
			err_set(err, ERR_TIMEOUT, "the other process of roost-net does not answer");
			return NULL;
		}
		ssize_t n = sock_recv(outer, &c, 1, NULL, &none);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0 || text.len > LINE_MAX_BYTES) {
			err_set(err, ERR_GONE, "the other process of roost-net has ended");
			return NULL;
		}
		if (c == '\n')
			return json_text_parse(text.data, text.len, err);
		buf_add(&text, &c, 1);
	}
}

/* ---- the outer process ---------------------------------------------------------------------------- */

/* Nobody may come between: whoever finds the lock free finds nothing else of a former holder's, either. */
static int take_lock(struct outer *o, struct err *err)
{
	_cleanup_free_ char *folder = network_run_path(&o->network, NULL, err);
	o->run = folder ? dir_open(AT_FDCWD, folder, err) : -1;
	o->lock = o->run < 0 ? -1 : file_lock(o->run, "holder", err);
	failpoint("net-locked");
	return o->lock < 0 ? -1 : 0;
}

static void leave_output(void)
{
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, STDOUT_FILENO);
}

/* Only looks at the host; the inner process has to know what comes of it. */
static int plan_uplink(struct outer *o, bool again, struct err *err)
{
	static const enum uplink_mode modes[] = {
		[NETWORK_NAT] = UPLINK_NAT,
		[NETWORK_ROUTED] = UPLINK_ROUTED,
		[NETWORK_ISOLATED] = UPLINK_NONE,
		[NETWORK_BRIDGE] = UPLINK_BRIDGED,
	};
	const struct network *n = &o->network;
	struct prefix address, address6;
	if ((n->address[0] && prefix_parse(n->address, &address, err) < 0) ||
		(n->address6[0] && prefix_parse(n->address6, &address6, err) < 0))
		return -1;
	const struct uplink_plan plan = {.network = n->name,
		.id = n->id,
		.mode = modes[n->mode],
		.address = n->address[0] ? &address : NULL,
		.address6 = n->address6[0] ? &address6 : NULL,
		.bridge = n->bridge,
		.mtu = n->mtu,
		.again = again};
	o->uplink = uplink_open(&plan, err);
	return o->uplink ? 0 : -1;
}

/* The tap is taken: who has it open keeps it alive. */
static int fork_inner(struct outer *o, int tap, struct err *err)
{
	int pair[2];
	if (sock_pair(pair, err) < 0)
		return -1;
	pid_t self = getpid(), pid = fork();
	if (pid == 0) {
		close(pair[0]);
		leave_output(); /* outer answers */
		_exit(holder_run(
			&o->network, uplink_inside(o->uplink), o->run, pair[1], self, tap));
	}
	close(pair[1]);
	cleanup_close(&tap);
	o->link = pair[0];
	failpoint("net-forked");
	if (pid < 0)
		return err_errno(err, "cannot fork the holder");
	return proc_open_child(pid, &o->inner, err);
}

static int say_uplink(struct outer *o)
{
	return outer_say(o->link, json_pack("{s:o}", "uplink", uplink_status(o->uplink)));
}

/* What inner asks for, then its result. */
static int set_up(struct outer *o, struct err *err)
{
	failpoint("net-written");
	_cleanup_json_ json_t *ready = outer_hear(o->link, SET_UP_MS, err);
	if (!ready)
		return -1;
	if (json_object_get(ready, "namespace")) {
		if (uplink_up(o->uplink, o->inner.pid, err) < 0)
			return -1;
		failpoint("net-linked");
		if (say_uplink(o) < 0)
			return err_errno(err, "cannot speak with the holder");
		json_decref(ready);
		ready = outer_hear(o->link, SET_UP_MS, err);
		if (!ready)
			return -1;
	}
	json_t *error = json_object_get(ready, "error");
	if (!error)
		return 0;
	json_to_err(error, err);
	return -1;
}

/* Both the answer and the end of the pipe: nothing more will come. */
static void answer(json_t *stolen)
{
	_cleanup_json_ json_t *said = stolen;
	_cleanup_free_ char *text = json_line(said);
	_cleanup_free_ char *line = str_fmt("%s\n", text);
	write_all(STDOUT_FILENO, line, strlen(line));
	leave_output();
}

/* True: it has ended in order, and was not killed. */
static bool end_inner(struct outer *o)
{
	struct err ignored = ERR_INIT;
	int status = -1;
	if (o->inner.pidfd < 0)
		return false;
	proc_signal(&o->inner, SIGTERM, &ignored);
	if (proc_reap(&o->inner, deadline_in(END_MS), &status, &ignored) < 0) {
		proc_signal(&o->inner, SIGKILL, &ignored);
		proc_reap(&o->inner, deadline_in(END_MS), &status, &ignored);
	}
	return status == 0;
}

static void look_after(struct outer *o, int signals)
{
	for (bool over = false; !over;) {
		struct pollfd fds[5] = {{.fd = signals, .events = POLLIN},
			{.fd = o->inner.pidfd, .events = POLLIN}};
		int64_t until = uplink_deadline(o->uplink), watch = net_watch_deadline(&o->watch);
		size_t n = 2 + uplink_poll_fds(o->uplink, fds + 2);
		n += net_watch_poll_fds(&o->watch, fds + n);
		poll(fds, n, deadline_left(watch < until ? watch : until));
		net_watch_look(&o->watch);
		over = fds[1].revents || signals_take(signals) ||
		       (uplink_look(o->uplink) && say_uplink(o) < 0);
	}
}

/* It has ended, and nobody is to start it anew. */
static void leave(struct outer *o)
{
	unlinkat(o->run, "holder", 0);
	failpoint("net-left");
	net_watch_end(&o->watch);
}

static int keep(struct outer *o, const char *name, int tap)
{
	struct err err = ERR_INIT;
	int signals = signals_catch(NULL, &err);
	/* strings that the inner process must not work out anew, for it may have become root of its own namespace */
	if (signals < 0 || !paths_state(&err) || !paths_run(&err) ||
		network_load(name, &o->network, &err) < 0 || take_lock(o, &err) < 0 ||
		net_watch_start(&o->watch, &o->network, &err) < 0 ||
		plan_uplink(o, tap >= 0, &err) < 0 || fork_inner(o, tap, &err) < 0 ||
		holder_write(o->lock, &o->network, &o->inner, getpid(), false, &err) < 0 ||
		set_up(o, &err) < 0 ||
		holder_write(o->lock, &o->network, &o->inner, getpid(), true, &err) < 0) {
		/* one whose starter was killed as soon as it had spawned it was faster: the network is active */
		if (o->lock < 0 && err.kind == ERR_BUSY) {
			answer(json_pack("{s:{}}", "return"));
			return 0;
		}
		cleanup_close(&o->link); /* inner may wait for a word of ours */
		end_inner(o);
		uplink_down(o->uplink);
		/* else it would be taken for killed, and started anew */
		if (o->lock >= 0 && tap < 0)
			leave(o);
		answer(json_pack("{s:o}", "error", json_from_err(&err)));
		return err_exit_code(err.kind);
	}
	failpoint("net-set-up");
	answer(json_pack("{s:{}}", "return"));
	look_after(o, signals);
	failpoint("net-ending");
	bool in_order = end_inner(o);
	failpoint("net-alone");
	uplink_down(o->uplink);
	failpoint("net-unlinked");
	/* last: whoever waits for the end waits for the lock on it */
	if (in_order)
		leave(o);
	return 0;
}

static int tell(json_t *value, const struct err *err)
{
	answer(value ? json_pack("{s:o}", "return", value)
		     : json_pack("{s:o}", "error", json_from_err(err)));
	return value ? 0 : err_exit_code(err->kind);
}

/* What is asked of the host's firewall apart from a network. */
static int run_alone(const char *option, const char *word)
{
	struct err err = ERR_INIT;
	if (str_eq(option, "--filters"))
		return tell(uplink_filters(word, &err), &err);
	if (str_eq(option, "--traces"))
		return tell(uplink_traces(&err), &err);
	return tell(uplink_sweep(word, &err) == 0 ? json_object() : NULL, &err);
}

int main(int argc, char **argv)
{
	struct outer o = {.run = -1,
		.lock = -1,
		.link = -1,
		.inner = PROC_NONE,
		.watch = {.proc = PROC_NONE}};
	if (argc == 2 && str_eq(argv[1], "--commands"))
		return command_print(holder_commands);
	if ((argc == 3 && (str_eq(argv[1], "--filters") || str_eq(argv[1], "--sweep"))) ||
		(argc == 2 && str_eq(argv[1], "--traces")))
		return run_alone(argv[1], argv[2]);
	bool again = argc == 4 && str_eq(argv[2], "--again");
	if (argc != 2 && !again) {
		fprintf(stderr, "roost-net: started by roostd and keepers only\n");
		return err_exit_code(ERR_USAGE);
	}
	signal(SIGPIPE, SIG_IGN);
	(void)!chdir("/");
	int tap = again ? atoi(argv[3]) : -1;
	if (tap >= 0)
		fcntl(tap, F_SETFD, FD_CLOEXEC);
	return keep(&o, argv[1], tap);
}
