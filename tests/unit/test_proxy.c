/* netsetup/proxy: real sockets on loopback, the child as it is; the "guest" is another socket of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "netsetup/proxy.h"

enum { WAIT_MS = 10000, MUCH = 3 * 1024 * 1024 };

struct set {
	int outside; /* the socket of the host */
	int guest;   /* what the guest listens on */
	struct sockaddr_in to;
	int alive; /* our end of the pipe that tells that we live */
	pid_t pid;
};

static struct sockaddr_in loopback(const char *address)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
	return a;
}

static int bound(int type, const char *address, struct sockaddr_in *out)
{
	socklen_t len = sizeof(*out);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = type == SOCK_STREAM;
	*out = loopback(address);
	/* as publish_bind() makes it */
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)out, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)out, &len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static struct set begun(int type, const char *address)
{
	struct err err = ERR_INIT;
	struct proxy p = {.udp = type == SOCK_DGRAM, .link = (int)if_nametoindex("lo")};
	int alive[2];
	struct set s;
	s.guest = bound(type, "127.0.0.1", &p.guest);
	s.outside = p.socket = bound(type, address, &s.to);
	assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
	p.alive = alive[0];
	s.alive = alive[1];
	s.pid = proxy_start(&p, &err);
	close(alive[0]);
	assert_true(s.pid > 0);
	return s;
}

static void end(struct set *s)
{
	int status;
	kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(s->outside);
	close(s->alive);
	close(s->guest);
}

static int connected(const struct set *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&s->to, sizeof(s->to)), 0);
	fd_set_nonblocking(fd, 1);
	return fd;
}

static int accepted(int listener)
{
	assert_int_equal(fd_wait(listener, POLLIN, deadline_in(WAIT_MS)), 1);
	int fd = sock_accept(listener);
	assert_true(fd >= 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char got[64] = "";
	size_t len = 0;
	while (len < strlen(text)) {
		assert_int_equal(fd_wait(fd, POLLIN, deadline_in(WAIT_MS)), 1);
		ssize_t n = recv(fd, got + len, strlen(text) - len, 0);
		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(got, text);
}

static void expect_end(int fd, ssize_t how)
{
	char byte;
	assert_int_equal(fd_wait(fd, POLLIN, deadline_in(WAIT_MS)), 1);
	ssize_t n = recv(fd, &byte, 1, 0);
	assert_int_equal(n, how);
	if (how < 0)
		assert_int_equal(errno, ECONNRESET);
}

/* ---- TCP ------------------------------------------------------------------------------------------ */

static void half_close(void **state)
{
	(void)state;
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	int client = connected(&s), guest = accepted(s.guest);
	assert_int_equal(send(client, "question", 8, 0), 8);
	expect(guest, "question");
	shutdown(client, SHUT_WR);
	expect_end(guest, 0);
	assert_int_equal(send(guest, "answer", 6, 0), 6);
	expect(client, "answer");
	close(guest);
	expect_end(client, 0);
	close(client);
	end(&s);
}

static void reset(void **state)
{
	(void)state;
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	struct linger at_once = {.l_onoff = 1};
	int client = connected(&s), guest = accepted(s.guest);
	assert_int_equal(send(client, "x", 1, 0), 1);
	expect(guest, "x");
	setsockopt(guest, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(guest);
	expect_end(client, -1);
	close(client);
	/* nobody listens there any more */
	close(s.guest);
	client = connected(&s);
	expect_end(client, -1);
	close(client);
	s.guest = -1;
	end(&s);
}

/* Both ways at once, with a reader who is slow to begin: nothing is lost, mixed up or held back for ever. */
static void much(void **state)
{
	(void)state;
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	int ends[2] = {connected(&s), -1};
	ends[1] = accepted(s.guest);
	_cleanup_free_ uint32_t *data = xcalloc(MUCH / 4, 4);
	_cleanup_free_ char *by_client = xcalloc(1, MUCH), *by_guest = xcalloc(1, MUCH);
	char *got[2] = {by_client, by_guest};
	for (uint32_t i = 0; i < MUCH / 4; i++)
		data[i] = i * 2654435761U;
	size_t sent[2] = {0}, read[2] = {0};
	while (read[0] < MUCH || read[1] < MUCH) {
		struct pollfd fds[2];
		for (int i = 0; i < 2; i++)
			fds[i] = (struct pollfd){.fd = ends[i],
				.events = (short)((sent[i] < MUCH ? POLLOUT : 0) |
						  (i == 0 || sent[1] > MUCH / 2 ? POLLIN : 0))};
		assert_true(poll(fds, 2, WAIT_MS) > 0);
		for (int i = 0; i < 2; i++) {
			ssize_t n = fds[i].revents & POLLOUT ? send(ends[i], (char *)data + sent[i],
								       MUCH - sent[i], MSG_NOSIGNAL)
							     : 0;
			sent[i] += n > 0 ? (size_t)n : 0;
			n = fds[i].revents & POLLIN
				    ? recv(ends[i], got[i] + read[i], MUCH - read[i], 0)
				    : 0;
			read[i] += n > 0 ? (size_t)n : 0;
		}
	}
	assert_memory_equal(got[0], data, MUCH);
	assert_memory_equal(got[1], data, MUCH);
	close(ends[0]);
	close(ends[1]);
	end(&s);
}

/* No more than the bound are let in; one more comes in when one has gone. */
static void many(void **state)
{
	(void)state;
	enum { MORE = PROXY_CLIENTS_MAX + 3 };
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	int clients[MORE], guests[MORE];
	for (int i = 0; i < MORE; i++) {
		clients[i] = connected(&s);
		guests[i] = -1;
		if (i < PROXY_CLIENTS_MAX)
			guests[i] = accepted(s.guest);
	}
	assert_int_equal(fd_wait(s.guest, POLLIN, deadline_in(100)), 0);
	close(guests[7]);
	close(clients[7]);
	guests[7] = accepted(s.guest);
	assert_int_equal(send(clients[PROXY_CLIENTS_MAX], "late", 4, 0), 4);
	expect(guests[7], "late");
	clients[7] = -1;
	for (int i = 0; i < MORE; i++) {
		cleanup_close(&clients[i]);
		cleanup_close(&guests[i]);
	}
	end(&s);
}

/* ---- UDP ------------------------------------------------------------------------------------------ */

static void datagrams(void **state)
{
	(void)state;
	struct set s = begun(SOCK_DGRAM, "0.0.0.0");
	int clients[2];
	for (int i = 0; i < 2; i++) {
		/* a connected socket hears nothing but what comes from the address that it wrote to */
		struct sockaddr_in to = loopback(i ? "127.0.0.3" : "127.0.0.2");
		to.sin_port = s.to.sin_port;
		clients[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(clients[i], (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(clients[i], i ? "second" : "first", i ? 6 : 5, 0), i ? 6 : 5);
	}
	for (int i = 0; i < 2; i++) {
		char text[16] = "";
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		assert_int_equal(fd_wait(s.guest, POLLIN, deadline_in(WAIT_MS)), 1);
		ssize_t n =
			recvfrom(s.guest, text, sizeof(text), 0, (struct sockaddr *)&from, &len);
		assert_true(n > 0);
		text[0] = (char)(text[0] - 'a' + 'A');
		sendto(s.guest, text, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	expect(clients[0], "First");
	expect(clients[1], "Second");
	close(clients[0]);
	close(clients[1]);
	end(&s);
}

/* Clients by IPv6, the guest by IPv4 as ever. Linux without IPv6 has nothing to show. */
static void datagrams_by_ipv6(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in from;
	socklen_t len = sizeof(to), from_len = sizeof(from);
	int alive[2];
	struct proxy p = {.udp = true, .link = (int)if_nametoindex("lo")};
	struct set s = {.outside = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	if (s.outside < 0 || bind(s.outside, (struct sockaddr *)&to, len) < 0)
		skip();
	assert_int_equal(getsockname(s.outside, (struct sockaddr *)&to, &len), 0);
	assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
	s.guest = bound(SOCK_DGRAM, "127.0.0.1", &p.guest);
	p.socket = s.outside;
	p.alive = alive[0];
	s.alive = alive[1];
	s.pid = proxy_start(&p, &err);
	close(alive[0]);
	int client = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&to, len), 0);
	assert_int_equal(send(client, "question", 8, 0), 8);
	char text[16] = "";
	assert_int_equal(fd_wait(s.guest, POLLIN, deadline_in(WAIT_MS)), 1);
	assert_int_equal(
		recvfrom(s.guest, text, sizeof(text), 0, (struct sockaddr *)&from, &from_len), 8);
	assert_int_equal(sendto(s.guest, "answer", 6, 0, (struct sockaddr *)&from, from_len), 6);
	expect(client, "answer");
	close(client);
	end(&s);
}

/* Nothing of the guest listens: that is the guest's affair, and the port goes on. */
static void guest_is_deaf(void **state)
{
	(void)state;
	struct set s = begun(SOCK_DGRAM, "127.0.0.1");
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	assert_int_equal(getsockname(s.guest, (struct sockaddr *)&at, &len), 0);
	/* has its own port before the guest's is free */
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&s.to, sizeof(s.to)), 0);
	close(s.guest);
	assert_int_equal(send(client, "lost", 4, 0), 4);
	assert_int_equal(fd_wait(client, POLLIN, deadline_in(100)), 0);
	s.guest = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s.guest, (struct sockaddr *)&at, len), 0);
	assert_int_equal(send(client, "heard", 5, 0), 5);
	assert_int_equal(fd_wait(s.guest, POLLIN, deadline_in(WAIT_MS)), 1);
	expect(s.guest, "heard");
	close(client);
	end(&s);
}

/* ---- its life ------------------------------------------------------------------------------------- */

static void expect_exit(struct set *s)
{
	int status;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFEXITED(status));
	close(s->guest);
}

/* Whoever started it is killed: his successor can listen, and what is connected goes on until it has said all. */
static void goes_on_alone(void **state)
{
	(void)state;
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	int client = connected(&s), guest = accepted(s.guest), one = 1, bound = -1;
	int64_t deadline = deadline_in(WAIT_MS);
	close(s.outside);
	close(s.alive);
	int next = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(next, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	while (bound < 0 && deadline_left(deadline)) {
		bound = bind(next, (struct sockaddr *)&s.to, sizeof(s.to));
		poll(NULL, 0, 1);
	}
	assert_int_equal(bound, 0);
	assert_int_equal(listen(next, 1), 0);
	assert_int_equal(send(client, "question", 8, 0), 8);
	expect(guest, "question");
	assert_int_equal(send(guest, "answer", 6, 0), 6);
	expect(client, "answer");
	close(guest);
	expect_end(client, 0);
	close(client);
	expect_exit(&s);
	close(next);
}

static void ends_alone(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct set s = begun(types[i], "127.0.0.1");
		close(s.alive);
		expect_exit(&s);
		close(s.outside);
	}
}

static void has_no_rights(void **state)
{
	(void)state;
	struct set s = begun(SOCK_STREAM, "127.0.0.1");
	char path[64], line[128];
	int found = 0, client = connected(&s);
	close(accepted(s.guest)); /* so it serves by now */
	snprintf(path, sizeof(path), "/proc/%d/status", s.pid);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		unsigned uid;
		if (sscanf(line, "Uid: %u", &uid) == 1)
			found += uid != 0;
		found += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		found += strcmp(line, "CapPrm:\t0000000000000000\n") == 0;
		found += strcmp(line, "Name:\troost-proxy\n") == 0;
	}
	fclose(in);
	assert_int_equal(found, 4);
	close(client);
	end(&s);
}

static int setup(void **state)
{
	(void)state;
	proc_allow_many_files();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_close),
		cmocka_unit_test(reset),
		cmocka_unit_test(much),
		cmocka_unit_test(many),
		cmocka_unit_test(datagrams),
		cmocka_unit_test(datagrams_by_ipv6),
		cmocka_unit_test(guest_is_deaf),
		cmocka_unit_test(goes_on_alone),
		cmocka_unit_test(ends_alone),
		cmocka_unit_test(has_no_rights),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
