/*
 * images/nbd.c against a server that says what it likes: all of it is there before anything is asked. That every
 * call ends, with what was asked for or with an error that says something, is the test.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sock.h"
#include "images/nbd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void ask(struct nbd *n)
{
	static char block[4096];
	struct err err = ERR_INIT;
	uint32_t len = n->size < sizeof(block) ? (uint32_t)n->size : (uint32_t)sizeof(block);
	if (nbd_read(n, block, 0, len, &err) < 0 ||
		nbd_write(n, block, n->size - len, len, &err) < 0 ||
		(nbd_zero(n, 0, len, &err) < 0 && err.kind != ERR_REFUSED) ||
		nbd_flush(n, &err) < 0 || nbd_read(n, block, n->size - len, len, &err) < 0)
		must(err.message[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { SAID_MAX = 32768 }; /* what a socket holds */
	int pair[2];
	struct nbd n;
	struct err err = ERR_INIT;
	if (size > SAID_MAX)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	must(!size || send(pair[1], data, size, MSG_DONTWAIT) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	if (nbd_open(&n, pair[0], "disk", &err) < 0) {
		must(err.message[0]);
	} else {
		must(n.size > 0);
		ask(&n);
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}
