#include "qmp/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { ACCEPTS_PER_PUMP = 2 * SERVER_CLIENTS_MAX };

struct client {
	TAILQ_ENTRY(client) link;
	uint64_t serial;
	struct wire wire;
	struct sock_peer peer;
	bool negotiated;
	unsigned open; /* requests not yet answered */
};

struct server {
	int listener;
	int spare; /* given up for a moment when fds run out, to turn a client away */
	char *product;
	TAILQ_HEAD(, client) clients;
	size_t client_count;
	uint64_t last_serial;
	TAILQ_HEAD(, request) requests; /* not yet taken */
};

/* ---- requests ---- */

void request_free(struct request *r)
{
	if (!r)
		return;
	while (r->fd_count)
		cleanup_close(&r->fds[--r->fd_count]);
	json_decref(r->id);
	json_decref(r->args);
	free(r->command);
	free(r);
}

int request_take_fd(struct request *r)
{
	for (size_t i = 0; i < r->fd_count; i++)
		if (r->fds[i] >= 0)
			return TAKE_FD(r->fds[i]);
	return -1;
}

struct request *server_next(struct server *s)
{
	struct request *r = TAILQ_FIRST(&s->requests);
	if (r)
		TAILQ_REMOVE(&s->requests, r, link);
	return r;
}

/* ---- clients ---- */

static struct client *client_find(const struct server *s, uint64_t serial)
{
	struct client *c;
	TAILQ_FOREACH(c, &s->clients, link)
	if (c->serial == serial)
		return c;
	return NULL;
}

static void client_free(struct server *s, struct client *c)
{
	struct request *r, *next;
	for (r = TAILQ_FIRST(&s->requests); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->client != c->serial)
			continue;
		TAILQ_REMOVE(&s->requests, r, link);
		request_free(r);
	}
	TAILQ_REMOVE(&s->clients, c, link);
	s->client_count--;
	wire_close(&c->wire);
	free(c);
}

static bool reads(const struct client *c)
{
	return !c->wire.eof && c->open < SERVER_REQUESTS_MAX;
}

static bool dead(const struct client *c)
{
	bool writes = wire_events(&c->wire) & POLLOUT;
	return c->wire.broken[0] || (c->wire.eof && !c->open && !writes);
}

/* Wires break in many places; the clients are removed in this one. */
static void reap(struct server *s)
{
	struct client *c, *next;
	for (c = TAILQ_FIRST(&s->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (dead(c))
			client_free(s, c);
	}
}

/* ---- what goes out ---- */

/* Whether it arrives is not the caller's concern; a broken wire is seen by reap(). */
static void reply(struct client *c, const char *key, json_t *value, json_t *id, const int *fds,
	size_t fd_count)
{
	struct err unused;
	_cleanup_json_ json_t *msg = json_object();
	json_object_set_new(msg, key, value);
	if (id)
		json_object_set(msg, "id", id);
	wire_send(&c->wire, msg, fds, fd_count, &unused);
}

static void reply_error(struct client *c, const struct err *err, json_t *id)
{
	reply(c, "error", json_from_err(err), id, NULL, 0);
}

static void greet(const struct server *s, struct client *c)
{
	struct err unused;
	int major = 0, minor = 0, micro = 0;
	sscanf(s->product, "%d.%d.%d", &major, &minor, &micro);
	_cleanup_free_ char *package = str_fmt("roost %s", s->product);
	_cleanup_json_ json_t *msg = json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[]}}", "QMP",
		"version", "qemu", "major", major, "minor", minor, "micro", micro, "package",
		package, "capabilities");
	wire_send(&c->wire, msg, NULL, 0, &unused);
}

json_t *event_new(const char *name, json_t *data)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	json_t *event = json_pack("{s:s, s:{s:I, s:I}}", "event", name, "timestamp", "seconds",
		(json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_nsec / 1000);
	if (data)
		json_object_set_new(event, "data", data);
	return event;
}

void server_event(struct server *s, json_t *stolen)
{
	struct err unused;
	struct client *c;
	_cleanup_json_ json_t *event = stolen;
	_cleanup_free_ char *text = json_line(event);
	_cleanup_free_ char *line = str_fmt("%s\n", text);
	TAILQ_FOREACH(c, &s->clients, link)
	if (c->negotiated)
		wire_send_raw(&c->wire, line, strlen(line), &unused);
	reap(s);
}

/* ---- what comes in ---- */

/* The shape of a command; fills *r, which owns what is in it whatever the result. */
static int parse(const json_t *msg, struct request *r, struct err *err)
{
	const char *key, *command = NULL;
	json_t *value, *args = NULL;
	r->id = json_incref(json_object_get(msg, "id"));
	json_object_foreach ((json_t *)msg, key, value) {
		if (!str_eq(key, "execute") && !str_eq(key, "arguments") && !str_eq(key, "id")) {
			err_set(err, ERR_USAGE, "a command has no member '%.60s'", key);
			return err_hint(err, "it has 'execute', 'arguments' and 'id'");
		}
	}
	if (json_str(msg, "execute", &command, err) < 0)
		return -1;
	r->command = xstrdup(command);
	args = json_object_get(msg, "arguments");
	if (args && !json_is_object(args))
		return err_set(err, ERR_USAGE, "%.60s: 'arguments' is not an object", command);
	r->args = args ? json_incref(args) : json_object();
	return 0;
}

/* What has to be negotiated is nothing, but QMP wants it said once, before all else. */
static int negotiate(struct client *c, const struct request *r, struct err *err)
{
	json_t *enable = NULL;
	if (!str_eq(r->command, "qmp_capabilities"))
		return err_set(
			err, ERR_REFUSED, "%.60s: 'qmp_capabilities' must come first", r->command);
	if (c->negotiated)
		return err_set(err, ERR_REFUSED, "qmp_capabilities: this was negotiated already");
	if (json_arr_opt(r->args, "enable", &enable, err) < 0)
		return err_prefix(err, "qmp_capabilities");
	if (json_array_size(enable))
		return err_set(err, ERR_USAGE, "qmp_capabilities: there are none to enable");
	c->negotiated = true;
	reply(c, "return", json_object(), r->id, NULL, 0);
	return 0;
}

static void take_message(struct server *s, struct client *c, const json_t *msg)
{
	struct err err = ERR_INIT;
	struct request *r = xcalloc(1, sizeof(*r));
	int fd;
	while (r->fd_count < REQUEST_FDS_MAX && (fd = wire_take_fd(&c->wire)) >= 0)
		r->fds[r->fd_count++] = fd;
	bool understood = parse(msg, r, &err) == 0;
	if (understood && c->negotiated && !str_eq(r->command, "qmp_capabilities")) {
		r->client = c->serial;
		r->peer = c->peer;
		r->since = clock_ms();
		c->open++;
		TAILQ_INSERT_TAIL(&s->requests, r, link);
		return;
	}
	if (!understood || negotiate(c, r, &err) < 0)
		reply_error(c, &err, r->id);
	request_free(r);
}

/* Turns what is buffered into requests, as far as the client may have more of them. */
static void drain(struct server *s, struct client *c)
{
	while (c->open < SERVER_REQUESTS_MAX) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *msg = NULL;
		int found = wire_next(&c->wire, &msg, &err);
		if (found > 0)
			take_message(s, c, msg);
		else if (found < 0 && err.kind == ERR_USAGE)
			reply_error(c, &err, NULL);
		else
			break;
	}
}

static bool hung_up(const struct client *c)
{
	struct pollfd p = {.fd = c->wire.fd};
	return poll(&p, 1, 0) > 0;
}

static void pump_client(struct server *s, struct client *c)
{
	struct err unused;
	if (wire_flush(&c->wire, &unused) < 0)
		return;
	if (reads(c))
		wire_read(&c->wire, &unused);
	if ((c->wire.eof || !reads(c)) && hung_up(c))
		wire_break(&c->wire, "the client has gone", &unused);
	drain(s, c);
}

static void turn_away(const struct server *s, int fd)
{
	struct err err = ERR_INIT;
	err_set(&err, ERR_BUSY, "%zu clients are connected already", s->client_count);
	_cleanup_json_ json_t *msg = json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *line = json_line(msg);
	sock_send(fd, line, strlen(line), NULL, 0);
	close(fd);
}

static void accept_clients(struct server *s)
{
	for (int i = 0; s->listener >= 0 && i < ACCEPTS_PER_PUMP; i++) {
		int fd = sock_accept(s->listener);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* left in the queue it would wake us again and again */
			cleanup_close(&s->spare);
			cleanup_close(&(int){sock_accept(s->listener)});
			s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
		}
		if (fd < 0)
			return;
		if (s->client_count < SERVER_CLIENTS_MAX)
			server_add_client(s, fd);
		else
			turn_away(s, fd);
	}
}

void server_pump(struct server *s)
{
	struct client *c;
	accept_clients(s);
	TAILQ_FOREACH(c, &s->clients, link)
	pump_client(s, c);
	reap(s);
}

size_t server_poll_fds(struct server *s, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	struct client *c;
	if (s->listener >= 0 && n < max)
		fds[n++] = (struct pollfd){.fd = s->listener, .events = POLLIN};
	TAILQ_FOREACH(c, &s->clients, link)
	{
		int events = wire_events(&c->wire) & (reads(c) ? POLLIN | POLLOUT : POLLOUT);
		if (n < max)
			fds[n++] = (struct pollfd){.fd = c->wire.fd, .events = (short)events};
	}
	return n;
}

/* ---- answering ---- */

/* The request is done with. Its client may have had more to say than it was allowed to. */
static void finish(struct server *s, struct request *r)
{
	struct client *c = client_find(s, r->client);
	request_free(r);
	if (c) {
		c->open--;
		drain(s, c);
	}
	reap(s);
}

void server_return_fds(
	struct server *s, struct request *r, json_t *value, const int *fds, size_t fd_count)
{
	struct client *c = client_find(s, r->client);
	if (!value)
		value = json_object();
	if (c)
		reply(c, "return", value, r->id, fds, fd_count);
	else
		json_decref(value);
	finish(s, r);
}

void server_return(struct server *s, struct request *r, json_t *value)
{
	server_return_fds(s, r, value, NULL, 0);
}

void server_error(struct server *s, struct request *r, const struct err *err)
{
	struct client *c = client_find(s, r->client);
	if (c)
		reply_error(c, err, r->id);
	finish(s, r);
}

void server_raw(struct server *s, struct request *r, json_t *stolen)
{
	_cleanup_json_ json_t *msg = stolen;
	const char *key = json_object_get(msg, "error") ? "error" : "return";
	struct client *c = client_find(s, r->client);
	if (c)
		reply(c, key, json_incref(json_object_get(msg, key)), r->id, NULL, 0);
	finish(s, r);
}

/* ---- the server ---- */

struct server *server_new(int listener, const char *product)
{
	struct server *s = xcalloc(1, sizeof(*s));
	s->listener = listener;
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->product = xstrdup(product);
	TAILQ_INIT(&s->clients);
	TAILQ_INIT(&s->requests);
	return s;
}

void server_free(struct server *s)
{
	struct request *r;
	if (!s)
		return;
	while (!TAILQ_EMPTY(&s->clients))
		client_free(s, TAILQ_FIRST(&s->clients));
	while ((r = server_next(s)))
		request_free(r);
	cleanup_close(&s->listener);
	cleanup_close(&s->spare);
	free(s->product);
	free(s);
}

void server_set_listener(struct server *s, int listener)
{
	cleanup_close(&s->listener);
	s->listener = listener;
}

uint64_t server_add_client(struct server *s, int fd)
{
	struct err unused;
	struct client *c = xcalloc(1, sizeof(*c));
	c->serial = ++s->last_serial;
	if (sock_peer(fd, &c->peer, &unused) < 0)
		c->peer = (struct sock_peer){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
	wire_init(&c->wire, fd);
	TAILQ_INSERT_TAIL(&s->clients, c, link);
	s->client_count++;
	greet(s, c);
	return c->serial;
}

bool server_client_alive(const struct server *s, uint64_t client)
{
	return client_find(s, client);
}

size_t server_client_count(const struct server *s)
{
	return s->client_count;
}

bool server_peer_has_group(const struct server *s, const struct request *r, gid_t gid)
{
	const struct client *c = client_find(s, r->client);
	return c && sock_peer_has_group(c->wire.fd, gid);
}
