/*
 * images/tar.c on any bytes: what it tells lies in the file and is told once, it comes to an end, and an error says
 * something.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "images/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	struct tar_reader r = {.fd = fd};
	struct tar_member m;
	struct err err = ERR_INIT;
	uint64_t before = 0;
	int got;
	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	tar_probe(fd);
	while ((got = tar_next(&r, &m, &err)) > 0) {
		must(m.at > before && m.at <= size && m.size <= size - m.at);
		must(strlen(m.name) <= TAR_NAME_MAX && !(m.file && m.folder));
		before = m.at;
	}
	must(got == 0 || err.message[0]);
	close(fd);
	return 0;
}
