/*
 * Bytes of a hostile peer, through a socket, into the codec, the client and the server.
 *
 * The first byte chooses who listens, the second in what pieces the rest comes. The codec must find
 * the same messages however they were cut, and what it accepts must survive being sent again. In
 * the client's stream '@' stands for the prefix of its ids, which no fuzzer could guess.
 */
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "qmp/client.h"
#include "qmp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool what)
{
	if (!what)
		abort();
}

static int pair_with(int *peer)
{
	int pair[2];
	struct err err = ERR_INIT;
	must(sock_pair(pair, &err) == 0);
	*peer = pair[1];
	return pair[0];
}

/* ---- the codec ---- */

static void again(const json_t *msg)
{
	struct err err = ERR_INIT;
	struct wire from, to;
	int peer;
	json_t *copy = NULL;
	wire_init(&from, pair_with(&peer));
	wire_init(&to, peer);
	must(wire_send(&from, msg, NULL, 0, &err) == 0);
	while (wire_next(&to, &copy, &err) == 0) {
		must(wire_flush(&from, &err) == 0);
		wire_read(&to, &err);
	}
	must(copy && json_equal(copy, msg));
	json_decref(copy);
	wire_close(&from);
	wire_close(&to);
}

static bool take_all(struct wire *w, struct buf *said)
{
	for (;;) {
		struct err err = ERR_INIT;
		json_t *msg = NULL;
		int found = wire_next(w, &msg, &err);
		if (found == 0)
			return true;
		if (found < 0 && err.kind != ERR_USAGE) {
			buf_fmt(said, "end: %s\n", err.message);
			return false;
		}
		char *line = found > 0 ? json_line(msg) : NULL;
		buf_fmt(said, "%s\n", line ? line : "no JSON");
		free(line);
		if (found > 0)
			again(msg);
		json_decref(msg);
	}
}

static void run_wire(const uint8_t *data, size_t size, size_t chunk, struct buf *said)
{
	struct err err = ERR_INIT;
	struct wire w;
	int peer;
	wire_init(&w, pair_with(&peer));
	w.limit = 4096;
	bool on = true;
	for (size_t at = 0; on && at < size; at += chunk) {
		size_t len = size - at < chunk ? size - at : chunk;
		must(sock_send(peer, data + at, len, NULL, 0) == (ssize_t)len);
		while (on && wire_read(&w, &err) > 0)
			on = take_all(&w, said);
		must(w.in.len <= w.limit + 128 * 1024);
	}
	close(peer);
	while (on && wire_read(&w, &err) > 0)
		;
	if (on)
		take_all(&w, said);
	wire_close(&w);
}

/* ---- the client ---- */

static void learn_prefix(int peer, char *prefix, size_t size)
{
	char text[512];
	size_t none = 0;
	ssize_t n = sock_recv(peer, text, sizeof(text) - 1, NULL, &none);
	must(n > 0);
	text[n] = '\0';
	const char *id = strstr(text, "\"id\":\"");
	must(id);
	snprintf(prefix, size, "%.16s", id + strlen("\"id\":\""));
}

static void drain_client(struct qmp *q)
{
	struct err err = ERR_INIT;
	qmp_pump(q, &err);
	for (json_t *e; (e = qmp_next_event(q)); json_decref(e))
		must(json_is_string(json_object_get(e, "event")));
	for (int fd; (fd = qmp_take_fd(q)) >= 0;)
		close(fd);
}

static void run_client(const uint8_t *data, size_t size, size_t chunk)
{
	static const char greeting[] = "{\"QMP\":{}}";
	struct err err = ERR_INIT;
	uint64_t calls[4];
	char prefix[17];
	int peer;
	struct qmp *q = qmp_start(pair_with(&peer));
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		calls[i] = qmp_send(q, "query-status", NULL, NULL, 0, &err);
	must(sock_send(peer, greeting, strlen(greeting), NULL, 0) > 0);
	drain_client(q);
	learn_prefix(peer, prefix, sizeof(prefix));
	struct buf text = {0};
	for (size_t i = 0; i < size; i++)
		buf_add(&text, data[i] == '@' ? prefix : (const char *)&data[i],
			data[i] == '@' ? 16 : 1);
	qmp_forget(q, calls[3]);
	for (size_t at = 0; at < text.len; at += chunk) {
		size_t len = text.len - at < chunk ? text.len - at : chunk;
		if (sock_send(peer, text.data + at, len, NULL, 0) < 0)
			break;
		drain_client(q);
	}
	close(peer);
	while (!qmp_gone(q))
		drain_client(q);
	for (size_t i = 0; i < 3; i++) {
		json_t *reply = NULL;
		int found = i == 2 ? qmp_take_raw_reply(q, calls[i], &reply, &err)
				   : qmp_take_reply(q, calls[i], &reply, &err);
		must(found > 0 ? reply != NULL : found < 0 && err.kind != ERR_NONE);
		json_decref(reply);
	}
	qmp_close(q);
	buf_free(&text);
}

/* ---- the server ---- */

static void serve(struct server *s)
{
	struct err err = ERR_INIT;
	struct request *r;
	server_pump(s);
	while ((r = server_next(s))) {
		must(r->command && json_is_object(r->args));
		err_set(&err, ERR_BUSY, "%s", r->command);
		switch (json_object_size(r->args) % 3) {
		case 0:
			server_return(s, r, json_incref(r->args));
			break;
		case 1:
			server_error(s, r, &err);
			break;
		default:
			server_raw(s, r, json_pack("{s:O}", "return", r->args));
		}
	}
}

static void run_server(const uint8_t *data, size_t size, size_t chunk)
{
	static const char first[] = "{\"execute\":\"qmp_capabilities\"}";
	char unread[4096];
	size_t none = 0;
	int peer;
	struct server *s = server_new(-1, "0.1");
	server_add_client(s, pair_with(&peer));
	must(sock_send(peer, first, strlen(first), NULL, 0) > 0);
	for (size_t at = 0; at < size; at += chunk) {
		size_t len = size - at < chunk ? size - at : chunk;
		if (sock_send(peer, data + at, len, NULL, 0) < 0)
			break;
		serve(s);
		while (sock_recv(peer, unread, sizeof(unread), NULL, &none) > 0)
			;
	}
	close(peer);
	serve(s);
	serve(s);
	must(server_client_count(s) == 0);
	server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 65536)
		return 0;
	/* a socket holds few pieces: nothing is read while one is sent */
	size_t chunk = data[1] ? data[1] : size;
	struct buf one = {0}, other = {0};
	switch (data[0] % 3) {
	case 0:
		run_wire(data + 2, size - 2, chunk, &one);
		run_wire(data + 2, size - 2, size, &other);
		must(one.len == other.len && (!one.len || !memcmp(one.data, other.data, one.len)));
		break;
	case 1:
		run_client(data + 2, size - 2, chunk);
		break;
	default:
		run_server(data + 2, size - 2, chunk);
	}
	buf_free(&one);
	buf_free(&other);
	return 0;
}
