/*
 * The pump between our standard streams and a channel.
 *
 * One loop polls five fds: the session's socket, a signalfd, standard input, output and error.
 * Each stream has one buffer; while it holds something, its source is not read. So memory stays
 * bounded and a slow reader slows the guest down: libssh buffers at most a window (1.3 MB) for us.
 *
 * Our standard streams may be shared with other programs and are therefore never made
 * non-blocking. A write of PIPE_BUF bytes after POLLOUT does not block on a pipe.
 *
 * Half-close: the end of our input becomes an EOF to the command, whose output goes on. The loop
 * ends when the server closes the channel, which it does after the exit status, and all was
 * written.
 */
#include "orchestrator/ssh_exec.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <libssh/callbacks.h>

#include "base/clock.h"
#include "base/json.h"
#include "orchestrator/ssh_libssh.h"
#include "orchestrator/ssh_terminal.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { FLOW_MAX = 65536, INPUT_MAX = 16384 };
/* libssh takes 4 KiB from its socket at a time; so many times before we look at anything else. */
enum { SERVES_MAX = 16 };

/* Bytes on their way. */
struct flow {
	char data[FLOW_MAX];
	size_t start, end;
};

struct pump {
	struct session *session;
	ssh_channel channel;
	ssh_event event; /* holds the session alone: lets libssh serve its socket */
	bool heard;      /* a callback came since the top of the loop */
	bool terminal;   /* standard input is one, in raw mode */
	enum escape escape;
	bool input_ended; /* nothing more to read */
	bool eof_sent;
	struct flow in;
	struct flow out[2]; /* what goes to standard output, to standard error */
	bool closed;        /* the server closed the channel */
	bool dialled;       /* a connection: it is over when the other side says no more */
	int status;         /* -1: not told yet */
	int ended_by;       /* the signal that ends us, or 0 */
	bool disconnect;    /* "~." */
};

static void complain(const char *text)
{
	fprintf(stderr, "roost: %s\n", text);
}

static size_t pending(const struct flow *f)
{
	return f->end - f->start;
}

/* ---- what the channel tells ---------------------------------------------------------------------- */

static int on_data(
	ssh_session ssh, ssh_channel channel, void *data, uint32_t len, int is_stderr, void *user)
{
	(void)ssh, (void)channel, (void)data, (void)len, (void)is_stderr;
	((struct pump *)user)->heard = true;
	return 0; /* stays in libssh's buffer */
}

static void on_status(ssh_session ssh, ssh_channel channel, int status, void *user)
{
	(void)ssh, (void)channel;
	((struct pump *)user)->status = status & 255;
}

static void on_signal(ssh_session ssh, ssh_channel channel, const char *name, int core,
	const char *message, const char *language, void *user)
{
	(void)ssh, (void)channel, (void)core, (void)message, (void)language;
	((struct pump *)user)->status = 128 + signal_number(name);
}

static void on_eof(ssh_session ssh, ssh_channel channel, void *user)
{
	(void)ssh, (void)channel;
	((struct pump *)user)->heard = true;
}

static void on_close(ssh_session ssh, ssh_channel channel, void *user)
{
	struct pump *p = user;
	(void)ssh, (void)channel;
	p->closed = p->heard = true;
}

/* ---- moving bytes ------------------------------------------------------------------------------ */

/* From the channel to buffers that are empty. */
static void fill_outputs(struct pump *p)
{
	for (int i = 0; i < 2; i++) {
		struct flow *f = &p->out[i];
		if (pending(f))
			continue;
		int n = ssh_channel_read_nonblocking(p->channel, f->data, FLOW_MAX, i);
		f->start = 0;
		f->end = n > 0 ? (size_t)n : 0;
	}
}

/* As much as there is room for. Returns -1 if nobody reads it any more. */
static int write_output(struct flow *f, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	do {
		size_t len = pending(f) < PIPE_BUF ? pending(f) : PIPE_BUF;
		ssize_t n = write(fd, f->data + f->start, len);
		if (n < 0)
			return errno == EINTR || errno == EAGAIN ? 0 : -1;
		f->start += (size_t)n;
	} while (pending(f) && poll(&p, 1, 0) > 0);
	return 0;
}

static void read_input(struct pump *p)
{
	char typed[INPUT_MAX];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		p->input_ended = true;
		return;
	}
	p->in.start = 0;
	p->in.end = (size_t)n;
	if (!p->terminal)
		memcpy(p->in.data, typed, (size_t)n);
	else
		p->disconnect = escape_filter(&p->escape, typed, (size_t)n, p->in.data, &p->in.end);
}

/* As much as the window of the other side has room for. */
static void send_input(struct pump *p)
{
	uint32_t room = ssh_channel_window_size(p->channel);
	size_t len = pending(&p->in) < room ? pending(&p->in) : room;
	if (len) {
		int n = ssh_channel_write(p->channel, p->in.data + p->in.start, (uint32_t)len);
		if (n > 0)
			p->in.start += (size_t)n;
	}
	if (p->input_ended && !pending(&p->in) && !p->eof_sent) {
		ssh_channel_send_eof(p->channel);
		p->eof_sent = true;
	}
}

static void take_signal(struct pump *p, int fd)
{
	struct signalfd_siginfo got;
	if (read(fd, &got, sizeof(got)) != sizeof(got))
		return;
	if (got.ssi_signo == SIGWINCH) {
		int columns, rows;
		terminal_size(&columns, &rows);
		ssh_channel_change_pty_size(p->channel, columns, rows);
	} else {
		p->ended_by = (int)got.ssi_signo;
	}
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static short session_events(const struct pump *p)
{
	bool writing = ssh_get_poll_flags(p->session->ssh) & SSH_WRITE_PENDING;
	return (short)(writing ? POLLIN | POLLOUT : POLLIN);
}

static bool finished(const struct pump *p)
{
	bool over = p->closed || (p->dialled && ssh_channel_is_eof(p->channel));
	return over && !pending(&p->out[0]) && !pending(&p->out[1]) &&
	       ssh_channel_poll(p->channel, 0) <= 0 && ssh_channel_poll(p->channel, 1) <= 0;
}

/*
 * libssh takes packets off its socket inside of most calls, so that what we wait for may have come
 * already when we are about to poll: then there is no waiting.
 */
static bool must_go_on(const struct pump *p)
{
	return p->heard ||
	       (pending(&p->in) && !p->closed && ssh_channel_window_size(p->channel) > 0);
}

/* Waits for something to do, and does what is not libssh's. -1: the connection is lost. */
static int wait_and_serve(struct pump *p, int signals)
{
	enum { SESSION, SIGNALS, INPUT, OUTPUT, ERRORS, COUNT };
	bool reading = !p->input_ended && !pending(&p->in) && !p->closed;
	if (!p->closed && !ssh_is_connected(p->session->ssh))
		return -1;
	struct pollfd fds[COUNT] = {
		[SESSION] = {p->closed ? -1 : ssh_get_fd(p->session->ssh), session_events(p), 0},
		[SIGNALS] = {signals, POLLIN, 0},
		[INPUT] = {reading ? STDIN_FILENO : -1, POLLIN, 0},
		[OUTPUT] = {pending(&p->out[0]) ? STDOUT_FILENO : -1, POLLOUT, 0},
		[ERRORS] = {pending(&p->out[1]) ? STDERR_FILENO : -1, POLLOUT, 0},
	};
	if (poll(fds, COUNT, must_go_on(p) ? 0 : -1) < 0)
		return errno == EINTR ? 0 : -1;
	if (fds[SIGNALS].revents)
		take_signal(p, signals);
	if (fds[INPUT].revents)
		read_input(p);
	for (int i = 0; i < 2; i++) {
		if (fds[OUTPUT + i].revents && write_output(&p->out[i], STDOUT_FILENO + i) < 0)
			p->ended_by = SIGPIPE;
	}
	return 0;
}

static void serve_session(struct pump *p)
{
	for (int i = 0; i < SERVES_MAX && !p->closed; i++) {
		p->heard = false;
		ssh_event_dopoll(p->event, 0);
		if (!p->heard)
			break;
	}
	p->heard = false;
}

/* Until the command is over, or we are. */
static int run_pump(struct pump *p, int signals)
{
	for (;;) {
		serve_session(p);
		fill_outputs(p);
		if (!p->closed)
			send_input(p);
		if (finished(p) || p->ended_by || p->disconnect)
			return 0;
		if (wait_and_serve(p, signals) < 0)
			return -1;
	}
}

/* ---- beginning and end ------------------------------------------------------------------------- */

static bool wants_terminal(const struct exec_params *e)
{
	return e->pty == PTY_YES || (e->pty == PTY_AUTO && !e->command && isatty(STDIN_FILENO));
}

static int start_command(
	struct pump *p, const struct exec_params *e, enum reason *why, struct err *err)
{
	const char *name;
	json_t *value;
	struct session *s = p->session;
	if (UNTIL_DONE(s, ssh_channel_open_session(p->channel), SSH_AGAIN) != SSH_OK)
		return session_fail(s, REASON_NO_COMMAND, why, err, "no channel");
	json_object_foreach (e->env, name, value) {
		/* most servers accept only a few; ssh says nothing about it either */
		const char *text = json_string_value(value);
		(void)UNTIL_DONE(s, ssh_channel_request_env(p->channel, name, text), SSH_AGAIN);
	}
	if (wants_terminal(e)) {
		int columns, rows;
		terminal_size(&columns, &rows);
		if (UNTIL_DONE(s, ssh_channel_request_pty_size(p->channel, e->term, columns, rows),
			    SSH_AGAIN) == SSH_OK)
			p->terminal = isatty(STDIN_FILENO);
		else
			complain("the guest gives no terminal");
	}
	int rc = e->command ? UNTIL_DONE(s, ssh_channel_request_exec(p->channel, e->command),
				      SSH_AGAIN)
			    : UNTIL_DONE(s, ssh_channel_request_shell(p->channel), SSH_AGAIN);
	return rc == SSH_OK ? 0 : session_fail(s, REASON_NO_COMMAND, why, err, "command not run");
}

static int block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	for (int i = 0; i < 5; i++)
		sigaddset(&set, (int[]){SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT}[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Ends as the signal would have ended us; the command in the guest is told it, too. */
static int end_by_signal(struct pump *p)
{
	const char *name = signal_name(p->ended_by);
	if (!p->terminal && name && !p->closed) {
		ssh_channel_request_send_signal(p->channel, name);
		ssh_blocking_flush(p->session->ssh, 200);
	}
	return 128 + p->ended_by;
}

static int outcome(struct pump *p, int rc)
{
	terminal_restore();
	if (p->ended_by)
		return end_by_signal(p);
	if (p->disconnect)
		complain("disconnected");
	else if (rc < 0 || p->status < 0)
		complain("the connection was lost before the command ended");
	else
		return p->status;
	return EXEC_FAILED;
}

static int fail(const struct err *err)
{
	complain(err->message);
	if (err->hint[0])
		complain(err->hint);
	return EXEC_FAILED;
}

/* A connection made in the guest stands for the command; what comes over it has no exit status. */
static int dial(struct pump *p, const struct exec_params *e, enum reason *why, struct err *err)
{
	struct session *s = p->session;
	if (UNTIL_DONE(s,
		    ssh_channel_open_forward(
			    p->channel, e->dial_address, e->dial_port, "127.0.0.1", 0),
		    SSH_AGAIN) != SSH_OK)
		return session_fail(s, REASON_REFUSED, why, err, "no connection in the guest");
	p->status = 0;
	p->dialled = true;
	return 0;
}

static int run_command(struct pump *p, const struct remote *r, const struct exec_params *e)
{
	struct err err = ERR_INIT;
	enum reason why;
	watch_move(deadline_in(r->connect_ms));
	int rc = e->dial_port ? dial(p, e, &why, &err) : start_command(p, e, &why, &err);
	watch_stop();
	if (rc < 0 && why == REASON_REFUSED)
		return fail(&err), EXEC_NOT_DIALLED;
	if (rc < 0)
		return fail(&err);
	if (e->probe)
		return 0;
	_cleanup_close_ int signals = block_signals();
	if (p->terminal)
		terminal_raw();
	ssh_event_add_session(p->event, p->session->ssh);
	rc = run_pump(p, signals);
	ssh_event_remove_session(p->event, p->session->ssh);
	return outcome(p, rc);
}

int exec(const struct remote *r, const struct exec_params *e)
{
	struct err err = ERR_INIT;
	enum reason why;
	_cleanup_free_ struct pump *p = xcalloc(1, sizeof(*p));
	struct ssh_channel_callbacks_struct calls = {.userdata = p,
		.channel_data_function = on_data,
		.channel_exit_status_function = on_status,
		.channel_exit_signal_function = on_signal,
		.channel_eof_function = on_eof,
		.channel_close_function = on_close};
	ssh_callbacks_init(&calls);
	_cleanup_session_ struct session *s = session_open(r, &why, &err);
	if (!s)
		return fail(&err);
	p->session = s;
	p->status = -1;
	p->channel = ssh_channel_new(s->ssh); /* freed with the session */
	p->event = ssh_event_new();
	if (!p->channel || !p->event)
		return EXEC_FAILED;
	ssh_set_channel_callbacks(p->channel, &calls);
	int status = run_command(p, r, e);
	ssh_event_free(p->event);
	return status;
}
