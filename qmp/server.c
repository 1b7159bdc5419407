/*
 * Clients are looked at one after the other, each for a bounded amount, so that none can keep the
 * others from being served. A request belongs to the queue of its client until server_next() hands
 * it out; a client whose queue is full is not read from until it has shrunk.
 */
#include "qmp/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { QUEUE_MAX = 64 };

struct queued {
	struct queued *next;
	struct request *request;
};

struct client {
	struct client *next;
	uint64_t serial;
	struct wire wire;
	struct sock_peer peer;
	bool negotiated;
	size_t queued;
};

struct server {
	int listener;
	char *product;
	struct client *clients;
	size_t client_count;
	uint64_t last_serial;
	struct queued *first, **last;
};

struct server *server_new(int listener, const char *product)
{
	struct server *s = xcalloc(1, sizeof(*s));
	s->listener = listener;
	s->product = xstrdup(product);
	s->last = &s->first;
	return s;
}

static struct client *find(const struct server *s, uint64_t serial)
{
	for (struct client *c = s->clients; c; c = c->next)
		if (c->serial == serial)
			return c;
	return NULL;
}

static void client_drop(struct server *s, struct client *c)
{
	for (struct client **at = &s->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	s->client_count--;
	wire_close(&c->wire);
	free(c);
}

void server_free(struct server *s)
{
	struct request *r;
	if (!s)
		return;
	while ((r = server_next(s)))
		request_free(r);
	while (s->clients)
		client_drop(s, s->clients);
	cleanup_close(&s->listener);
	free(s->product);
	free(s);
}

/* ---- out ------------------------------------------------------------------------------------------ */

/* A client that cannot be written to is closed when it is looked at the next time. */
static void send_to(struct client *c, json_t *message, const int *fds, size_t fd_count)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *owned = message;
	wire_send(&c->wire, owned, fds, fd_count, &ignored);
}

static void answer(struct server *s, struct request *r, json_t *message, const int *fds,
	size_t fd_count)
{
	struct client *c = find(s, r->client);
	if (r->id)
		json_object_set(message, "id", r->id);
	if (c)
		send_to(c, message, fds, fd_count);
	else
		json_decref(message);
	request_free(r);
}

void server_return_fds(struct server *s, struct request *r, json_t *value, const int *fds,
	size_t fd_count)
{
	answer(s, r, json_pack("{s:o}", "return", value ? value : json_object()), fds, fd_count);
}

void server_return(struct server *s, struct request *r, json_t *value)
{
	server_return_fds(s, r, value, NULL, 0);
}

void server_error(struct server *s, struct request *r, const struct err *err)
{
	answer(s, r, json_pack("{s:o}", "error", json_from_err(err)), NULL, 0);
}

void server_raw(struct server *s, struct request *r, json_t *reply)
{
	answer(s, r, reply, NULL, 0);
}

void server_event(struct server *s, json_t *event)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *owned = event;
	_cleanup_free_ char *line = json_line(owned);
	_cleanup_free_ char *text = str_fmt("%s\r\n", line);
	for (struct client *c = s->clients; c; c = c->next)
		if (c->negotiated)
			wire_send_raw(&c->wire, text, strlen(text), &ignored);
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

/* ---- in ------------------------------------------------------------------------------------------- */

uint64_t server_add_client(struct server *s, int fd)
{
	struct err ignored = ERR_INIT;
	struct client *c = xcalloc(1, sizeof(*c));
	wire_init(&c->wire, fd);
	c->serial = ++s->last_serial;
	c->peer = (struct sock_peer){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
	sock_peer(fd, &c->peer, &ignored);
	c->next = s->clients;
	s->clients = c;
	s->client_count++;
	send_to(c, json_pack("{s:{s:{s:s}, s:[]}}", "QMP", "version", "roost", s->product,
		"capabilities"), NULL, 0);
	return c->serial;
}

void request_free(struct request *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->fd_count; i++)
		cleanup_close(&r->fds[i]);
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

/* The message as a request, with the fds that came; NULL when it is none (QAPI's own wording). */
static struct request *to_request(struct client *c, const json_t *message, struct err *err)
{
	const char *command = NULL, *key;
	json_t *args = NULL, *value;
	json_object_foreach ((json_t *)message, key, value) {
		if (!str_eq(key, "execute") && !str_eq(key, "arguments") && !str_eq(key, "id")) {
			err_set(err, ERR_USAGE, "QMP input member '%.64s' is unexpected", key);
			return NULL;
		}
	}
	if (json_str(message, "execute", &command, err) < 0)
		return NULL;
	if (json_object_get(message, "arguments") && json_obj(message, "arguments", &args, err) < 0)
		return NULL;
	struct request *r = xcalloc(1, sizeof(*r));
	r->client = c->serial;
	r->peer = c->peer;
	r->id = json_incref(json_object_get(message, "id"));
	r->command = xstrdup(command);
	r->args = args ? json_incref(args) : json_object();
	r->since = clock_ms();
	for (int fd; r->fd_count < REQUEST_FDS_MAX && (fd = wire_take_fd(&c->wire)) >= 0;)
		r->fds[r->fd_count++] = fd;
	return r;
}

static void refuse(struct client *c, const json_t *id, const struct err *err)
{
	json_t *message = json_pack("{s:o}", "error", json_from_err(err));
	if (id)
		json_object_set(message, "id", (json_t *)id);
	send_to(c, message, NULL, 0);
}

static void take_message(struct server *s, struct client *c, const json_t *message)
{
	struct err err = ERR_INIT;
	const json_t *id = json_object_get(message, "id");
	struct request *r = to_request(c, message, &err);
	if (!r) {
		refuse(c, id, &err);
		return;
	}
	if (str_eq(r->command, "qmp_capabilities")) {
		if (c->negotiated) {
			err_set(&err, ERR_NOT_FOUND, "capabilities negotiation is already complete");
			refuse(c, id, &err);
			request_free(r);
			return;
		}
		c->negotiated = true;
		server_return(s, r, NULL);
		return;
	}
	if (!c->negotiated) {
		err_set(&err, ERR_NOT_FOUND, "expecting capabilities negotiation with 'qmp_capabilities'");
		refuse(c, id, &err);
		request_free(r);
		return;
	}
	struct queued *q = xcalloc(1, sizeof(*q));
	q->request = r;
	*s->last = q;
	s->last = &q->next;
	c->queued++;
}

/* False when the client is gone. */
static bool look_at(struct server *s, struct client *c)
{
	struct err err = ERR_INIT;
	bool ended = c->queued < QUEUE_MAX && wire_read(&c->wire, &err) < 0;
	while (c->queued < QUEUE_MAX) {
		_cleanup_json_ json_t *message = NULL;
		int got = wire_next(&c->wire, &message, &err);
		if (got > 0)
			take_message(s, c, message);
		else if (got < 0 && err.kind == ERR_USAGE)
			refuse(c, NULL, &err);
		else
			break;
	}
	if (wire_flush(&c->wire, &err) < 0)
		ended = true;
	return !ended || (c->queued && !c->wire.broken[0]);
}

void server_pump(struct server *s)
{
	while (s->listener >= 0 && s->client_count < SERVER_CLIENTS_MAX) {
		int fd = sock_accept(s->listener);
		if (fd < 0)
			break;
		server_add_client(s, fd);
	}
	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (!look_at(s, c))
			client_drop(s, c);
	}
}

struct request *server_next(struct server *s)
{
	struct queued *q = s->first;
	if (!q)
		return NULL;
	struct request *r = q->request;
	struct client *c = find(s, r->client);
	s->first = q->next;
	if (!s->first)
		s->last = &s->first;
	if (c)
		c->queued--;
	free(q);
	return r;
}

size_t server_poll_fds(struct server *s, struct pollfd *fds, size_t max)
{
	size_t n = 0;
	if (s->listener >= 0 && s->client_count < SERVER_CLIENTS_MAX && n < max)
		fds[n++] = (struct pollfd){.fd = s->listener, .events = POLLIN};
	for (struct client *c = s->clients; c && n < max; c = c->next) {
		short events = wire_events(&c->wire);
		if (c->queued >= QUEUE_MAX)
			events = (short)(events & ~POLLIN);
		fds[n++] = (struct pollfd){.fd = c->wire.fd, .events = events};
	}
	return n;
}

bool server_client_alive(const struct server *s, uint64_t client)
{
	return find(s, client) != NULL;
}

size_t server_client_count(const struct server *s)
{
	return s->client_count;
}
