#include "orchestrator/ssh_session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libssh/callbacks.h>

#include "base/clock.h"
#include "base/json.h"
#include "orchestrator/ssh_dial.h"
#include "orchestrator/ssh_libssh.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { TAIL_MAX = 2048 };

int session_fail(
	struct session *s, enum reason reason, enum reason *why, struct err *err, const char *what)
{
	if (watch_signal())
		return FAIL(why, REASON_LOST, err, "%s: interrupted", what);
	if (watch_expired())
		return FAIL(why, REASON_SLOW, err, "%s: not done in time", what);
	const char *text = ssh_get_error(s->ssh); /* may hold words of the peer */
	_cleanup_free_ char *shown = text_shown(text, strnlen(text, 300));
	return FAIL(why, reason, err, "%s: %s", what, *shown ? shown : "failed");
}

bool session_wait(struct session *s)
{
	int fd = ssh_get_fd(s->ssh);
	bool writing = ssh_get_poll_flags(s->ssh) & SSH_WRITE_PENDING;
	struct pollfd p = {.fd = fd, .events = (short)(writing ? POLLIN | POLLOUT : POLLIN)};
	/* the watch shuts the socket down when the time is over */
	return fd >= 0 && ssh_is_connected(s->ssh) && (poll(&p, 1, -1) > 0 || errno == EINTR);
}

/* ---- key exchange ------------------------------------------------------------------------------ */

/*
 * Nothing of the caller's: no configuration, no known_hosts, no ~/.ssh, no identity by default.
 * The issued key's type comes first, so that a server with several keys shows that one.
 */
static int set_options(ssh_session ssh, int fd, const struct remote *r)
{
	static const char *const all = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,"
				       "ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256";
	char type[64] = "";
	bool no = false;
	if (r->host_key)
		key_text_type(r->host_key, type, sizeof(type));
	const char *first = strcmp(type, "ssh-rsa") == 0 ? "rsa-sha2-512,rsa-sha2-256" : type;
	bool known = *first && strstr(all, first);
	_cleanup_free_ char *keys = str_fmt("%s%s%s", known ? first : "", known ? "," : "", all);
	if (ssh_options_set(ssh, SSH_OPTIONS_PROCESS_CONFIG, &no) < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_SSH_DIR, "/nonexistent") < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_HOST, r->address) < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_USER, r->user) < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_HOSTKEYS, keys) < 0 ||
		ssh_options_set(ssh, SSH_OPTIONS_FD, &fd) < 0)
		return -1;
	return 0;
}

struct session *session_start(
	int fd, int64_t deadline, const struct remote *r, enum reason *why, struct err *err)
{
	_cleanup_session_ struct session *s = xcalloc(1, sizeof(*s));
	s->remote = r;
	s->ssh = ssh_new();
	if (!s->ssh || set_options(s->ssh, fd, r) < 0) {
		FAIL(why, REASON_KEY_EXCHANGE, err, "libssh refuses its options: %s",
			s->ssh ? ssh_get_error(s->ssh) : "no memory");
		close(fd);
		return NULL;
	}
	watch_start(fd, deadline);
	ssh_set_blocking(s->ssh, 0);
	if (UNTIL_DONE(s, ssh_connect(s->ssh), SSH_AGAIN) != SSH_OK) {
		session_fail(s, REASON_KEY_EXCHANGE, why, err, "key exchange");
		return NULL;
	}
	return TAKE(s);
}

void session_end(struct session *s)
{
	if (!s)
		return;
	watch_stop();
	if (s->ssh) {
		/* libssh leaves a socket open that it was given, unless it saw its end */
		int left = ssh_get_fd(s->ssh);
		ssh_disconnect(s->ssh);
		ssh_free(s->ssh);
		if (left >= 0)
			close(left);
	}
	free(s);
}

/* ---- whom we talk to --------------------------------------------------------------------------- */

int session_check_host(
	struct session *s, const struct remote *r, char **text, enum reason *why, struct err *err)
{
	_cleanup_key_ ssh_key got = NULL;
	if (ssh_get_server_publickey(s->ssh, &got) != SSH_OK)
		return session_fail(s, REASON_KEY_EXCHANGE, why, err, "host key");
	_cleanup_free_ char *shown = key_fingerprint(got);
	*text = key_text(got);
	if (r->host_key ? key_text_same(r->host_key, *text) : r->trust_first)
		return 0;
	if (!r->host_key) {
		FAIL(why, REASON_KEY_UNKNOWN, err, "unknown host key: %s %s",
			ssh_key_type_to_char(ssh_key_type(got)), shown);
		return err_hint(err,
			"roost has issued none to it; `roost ssh %s` asks you about it", r->guest);
	}
	_cleanup_key_ ssh_key issued = key_of_text(r->host_key);
	_cleanup_free_ char *expected = issued ? key_fingerprint(issued) : xstrdup("unreadable");
	FAIL(why, REASON_KEY_MISMATCH, err, "host key mismatch: expected %s %s, got %s %s",
		issued ? ssh_key_type_to_char(ssh_key_type(issued)) : "a key that is", expected,
		ssh_key_type_to_char(ssh_key_type(got)), shown);
	return err_hint(err,
		"THE HOST KEY HAS CHANGED: another machine may be answering; if you know why, `roost ssh --forget-key %s` "
		"takes the new one",
		r->guest);
}

/* ---- both, and the login ------------------------------------------------------------------------ */

int session_scan(
	const struct remote *r, char **text, char **fingerprint, enum reason *why, struct err *err)
{
	struct remote anyone = *r;
	int64_t deadline = deadline_in(r->connect_ms);
	anyone.host_key = NULL;
	anyone.trust_first = true;
	int fd = dial(r, deadline, why, err);
	if (fd < 0)
		return -1;
	_cleanup_session_ struct session *s = session_start(fd, deadline, &anyone, why, err);
	if (!s || session_check_host(s, &anyone, text, why, err) < 0)
		return -1;
	_cleanup_key_ ssh_key key = key_of_text(*text);
	*fingerprint = key_fingerprint(key);
	return 0;
}

struct session *session_open(const struct remote *r, enum reason *why, struct err *err)
{
	int64_t deadline = deadline_in(r->connect_ms);
	int fd = dial(r, deadline, why, err);
	if (fd < 0)
		return NULL;
	_cleanup_session_ struct session *s = session_start(fd, deadline, r, why, err);
	_cleanup_free_ char *key = NULL, *method = NULL;
	if (!s || session_check_host(s, r, &key, why, err) < 0 ||
		session_login(s, r, &method, why, err) < 0)
		return NULL;
	watch_move(DEADLINE_NONE);
	return TAKE(s);
}

/* ---- a command run to its end ------------------------------------------------------------------ */

struct run {
	struct buf *tail;
	int status; /* -1: not told */
	bool closed;
};

static int on_data(
	ssh_session ssh, ssh_channel channel, void *data, uint32_t len, int is_stderr, void *user)
{
	struct run *run = user;
	(void)ssh, (void)channel, (void)is_stderr;
	buf_add(run->tail, data, len);
	if (run->tail->len > TAIL_MAX)
		buf_drop(run->tail, run->tail->len - TAIL_MAX);
	return (int)len;
}

static void on_status(ssh_session ssh, ssh_channel channel, int status, void *user)
{
	(void)ssh, (void)channel;
	((struct run *)user)->status = status & 255;
}

static void on_signal(ssh_session ssh, ssh_channel channel, const char *name, int core,
	const char *message, const char *language, void *user)
{
	(void)ssh, (void)channel, (void)core, (void)message, (void)language;
	((struct run *)user)->status = 128 + signal_number(name);
}

static void on_close(ssh_session ssh, ssh_channel channel, void *user)
{
	(void)ssh, (void)channel;
	((struct run *)user)->closed = true;
}

static void cleanup_channel(ssh_channel *channel)
{
	if (*channel)
		ssh_channel_free(*channel);
}

static void cleanup_event(ssh_event *event)
{
	if (*event)
		ssh_event_free(*event);
}

/* NULL if the server opens none. */
static ssh_channel open_channel(struct session *s)
{
	ssh_channel channel = ssh_channel_new(s->ssh);
	if (channel && UNTIL_DONE(s, ssh_channel_open_session(channel), SSH_AGAIN) == SSH_OK)
		return channel;
	if (channel)
		ssh_channel_free(channel);
	return NULL;
}

int session_run(struct session *s, const char *command, struct buf *tail, int *status,
	enum reason *why, struct err *err)
{
	struct run run = {.tail = tail, .status = -1};
	struct ssh_channel_callbacks_struct calls = {.userdata = &run,
		.channel_data_function = on_data,
		.channel_exit_status_function = on_status,
		.channel_exit_signal_function = on_signal,
		.channel_close_function = on_close};
	ssh_callbacks_init(&calls);
	_cleanup_(cleanup_event) ssh_event event = ssh_event_new();
	_cleanup_(cleanup_channel) ssh_channel channel = open_channel(s);
	if (!channel || !event)
		return session_fail(s, REASON_NO_COMMAND, why, err, "no channel");
	ssh_set_channel_callbacks(channel, &calls);
	if (UNTIL_DONE(s, ssh_channel_request_exec(channel, command), SSH_AGAIN) != SSH_OK)
		return session_fail(s, REASON_NO_COMMAND, why, err, "command not run");
	ssh_channel_send_eof(channel);
	ssh_event_add_session(event, s->ssh);
	while (!run.closed && session_wait(s))
		ssh_event_dopoll(event, 0);
	ssh_event_remove_session(event, s->ssh);
	if (run.status < 0)
		return session_fail(s, REASON_LOST, why, err, "the command did not end");
	*status = run.status;
	return 0;
}

/* ---- a command to talk with -------------------------------------------------------------------- */

struct talk {
	struct session *session;
	ssh_channel channel;
};

static int talk_fail(struct talk *t, struct err *err)
{
	enum reason why;
	return session_fail(t->session, REASON_LOST, &why, err, "connection lost");
}

struct talk *talk_open(struct session *s, const char *command, struct err *err)
{
	enum reason why;
	ssh_channel channel = open_channel(s);
	if (!channel ||
		UNTIL_DONE(s, ssh_channel_request_exec(channel, command), SSH_AGAIN) != SSH_OK) {
		session_fail(s, REASON_NO_COMMAND, &why, err, "command not run");
		if (channel)
			ssh_channel_free(channel);
		return NULL;
	}
	struct talk *t = xcalloc(1, sizeof(*t));
	*t = (struct talk){.session = s, .channel = channel};
	return t;
}

ssize_t talk_read_some(struct talk *t, void *data, size_t len, struct err *err)
{
	do {
		int n = ssh_channel_read_nonblocking(t->channel, data, (uint32_t)len, 0);
		if (n > 0)
			return n;
		if (n == SSH_EOF)
			return 0;
		if (n < 0)
			break;
	} while (session_wait(t->session));
	return talk_fail(t, err);
}

int talk_read(struct talk *t, void *data, size_t len, struct err *err)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = talk_read_some(t, (char *)data + have, len - have, err);
		if (n < 0)
			return -1;
		if (n == 0)
			return err_set(err, ERR_GONE, "the command in the guest ended");
		have += (size_t)n;
	}
	return 0;
}

int talk_write(struct talk *t, const void *data, size_t len, struct err *err)
{
	const char *next = data;
	while (len) {
		/* 0: the window of the other side is full */
		int n = ssh_channel_write(t->channel, next, (uint32_t)len);
		if (n < 0 || (n == 0 && !session_wait(t->session)))
			return talk_fail(t, err);
		next += n;
		len -= (size_t)n;
	}
	return 0;
}

void talk_errors(struct talk *t, char *text, size_t len)
{
	int n = ssh_channel_read_nonblocking(t->channel, text, (uint32_t)len - 1, 1);
	text[n > 0 ? n : 0] = '\0';
}

void talk_close(struct talk *t)
{
	if (t)
		ssh_channel_free(t->channel);
	free(t);
}
