/*
 * The server's face: a keeper's and the supervisor's socket speak QMP themselves.
 *
 * Greeting, qmp_capabilities (nothing else before it), then `execute`/`arguments`/`id` in,
 * `return`/`error`/`event` out. Many clients; each has its own ids; events go to all that
 * negotiated. A client that does not read is cut off at WIRE_OUT_MAX and harms nobody else.
 *
 * Driven, like the client: the owner polls what server_poll_fds() lists and calls
 * server_pump(), then takes requests one by one and answers each, at once or later. It takes all
 * there are (server_next() says NULL) before it polls again: what is buffered wakes nobody.
 *
 * A client that has SERVER_REQUESTS_MAX unanswered is not read until some are answered. One that
 * only closed its writing side (`printf ... | socat - UNIX:guest.sock`) still gets its answers; of
 * one that closed all, what nobody has taken yet is dropped, as QEMU does.
 */
#ifndef QMP_SERVER_H
#define QMP_SERVER_H

#include <poll.h>
#include <sys/queue.h>

#include "base/sock.h"
#include "qmp/wire.h"

#define SERVER_CLIENTS_MAX  64
#define SERVER_REQUESTS_MAX 32
#define REQUEST_FDS_MAX     SOCK_FDS_MAX

struct server;

/* One command of one client. Lives until it is answered (or freed, when its client has gone). */
struct request {
	uint64_t client;       /* serial number of the connection, never reused */
	struct sock_peer peer; /* who it was when it connected */
	json_t *id;            /* the client's own, NULL if none */
	char *command;
	json_t *args;             /* an object, never NULL */
	int fds[REQUEST_FDS_MAX]; /* came with it; owned by the request; taken by setting -1 */
	size_t fd_count;
	int64_t since;             /* clock_ms at arrival */
	TAILQ_ENTRY(request) link; /* the server's */
};

/*
 * `product` ("0.1") goes into the greeting: {"QMP":{"version":{"qemu":{"major":0,"minor":1,"micro":0},
 * "package":"roost 0.1"},"capabilities":[]}}, whose shape qmp-shell and others rely on.
 */
struct server *server_new(int listener, const char *product); /* takes the listener, may be -1 */
void server_free(struct server *s);
/* Another one in its place, taken; clients stay. */
void server_set_listener(struct server *s, int listener);
/* Adds a connection that was made otherwise (the supervisor's link), takes it; its serial number. */
uint64_t server_add_client(struct server *s, int fd);

/* Fills up to `max` entries; returns how many. Call anew before each poll. */
size_t server_poll_fds(struct server *s, struct pollfd *fds, size_t max);
/* Accepts, reads and writes whatever is ready, by looking itself; never waits. */
void server_pump(struct server *s);
/* The oldest request not yet taken; NULL if none. Malformed ones were answered already. */
struct request *server_next(struct server *s);

/* Answer and free the request; `value` (NULL: {}) is stolen. The client may have gone meanwhile. */
void server_return(struct server *s, struct request *r, json_t *value);
void server_return_fds(
	struct server *s, struct request *r, json_t *value, const int *fds, size_t fd_count);
void server_error(struct server *s, struct request *r, const struct err *err);
/* Answers with a ready-made {"return":..} or {"error":..}; `reply` is stolen. For pass-through. */
void server_raw(struct server *s, struct request *r, json_t *reply);
void request_free(struct request *r);
/* Takes one fd that came with it; -1 when there is none left. */
int request_take_fd(struct request *r);

/* To every negotiated client. `event` is a whole event object; stolen. */
void server_event(struct server *s, json_t *event);
/* {"event":name,"data":data,"timestamp":{...}}; `data` is stolen, may be NULL. */
json_t *event_new(const char *name, json_t *data);
/* Is that connection still there? */
bool server_client_alive(const struct server *s, uint64_t client);
size_t server_client_count(const struct server *s);
/* Is who asked in that group? False once the connection has gone. */
bool server_peer_has_group(const struct server *s, const struct request *r, gid_t gid);

#endif
