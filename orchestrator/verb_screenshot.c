/*
 * screenshot: QEMU draws into a file in memory that is ours, and only a whole picture goes into
 * FILE: one that was there stays as it is when there is none. A pipe or a file of the caller's never
 * comes into QEMU's hands, which could wait on it, or keep it.
 */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/connect.h"

static const char png_magic[] = "\x89PNG\r\n\x1a\n";

/* QEMU writes through an fd that can only be written: another one it would refuse. */
static int draw(const struct found *f, int memory, struct err *err)
{
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", memory);
	_cleanup_close_ int writable = open(self, O_WRONLY | O_CLOEXEC);
	if (writable < 0)
		return err_errno(err, "cannot open the picture in memory");
	_cleanup_qmp_ struct qmp *q = guest_connect(f, err);
	if (!q)
		return -1;
	return qmp_call_fds(
		q, "roost-screenshot", NULL, &writable, 1, deadline_in(OPERATION_MS), NULL, err);
}

static int picture(const struct found *f, const void **data, size_t *len, struct err *err)
{
	_cleanup_close_ int memory = memfd_create("screenshot", MFD_CLOEXEC);
	if (memory < 0)
		return err_errno(err, "cannot make a picture in memory");
	if (draw(f, memory, err) < 0)
		return -1;
	off_t size = lseek(memory, 0, SEEK_END);
	void *at =
		size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, memory, 0) : MAP_FAILED;
	if (at == MAP_FAILED || (size_t)size < sizeof(png_magic) ||
		memcmp(at, png_magic, sizeof(png_magic) - 1) != 0)
		return err_set(err, ERR_QEMU, "guest '%s': QEMU has drawn no picture", f->name);
	*data = at;
	*len = (size_t)size;
	return 0;
}

static int write_file(const char *file, const void *data, size_t len, struct err *err)
{
	_cleanup_close_ int fd =
		open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0 || write_all(fd, data, len) < 0)
		return err_errno(err, "cannot write the picture '%s'", file);
	return 0;
}

/* As virsh names it when no name is given. */
static char *default_file(const struct found *f)
{
	char stamp[32];
	time_t now = time(NULL);
	struct tm local;
	strftime(stamp, sizeof(stamp), "%Y-%m-%d-%H:%M:%S", localtime_r(&now, &local));
	return str_fmt("%s-%s.png", f->name, stamp);
}

static int run_screenshot(const struct cli *cli, struct err *err)
{
	struct found f;
	const void *data = NULL;
	size_t len = 0;
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	_cleanup_free_ char *file = cli->count > 1 ? xstrdup(cli->operands[1]) : default_file(&f);
	bool out = str_eq(file, "-");
	if (out && isatty(STDOUT_FILENO))
		return err_set(err, ERR_USAGE, "screenshot: a terminal does not show a PNG"),
		       err_hint(err, "name a file, or use a pipe");
	if (picture(&f, &data, &len, err) < 0)
		return -1;
	if (out)
		return write_all(STDOUT_FILENO, data, len) < 0
			       ? err_errno(err, "cannot write the picture")
			       : 0;
	if (write_file(file, data, len, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:I}", "file", file, "type", "image/png",
			"size", (json_int_t)len));
	else
		printf("Screenshot saved to %s, with type of image/png\n", file);
	return 0;
}

const struct verb verb_screenshot = {"screenshot", "NAME [FILE]",
	"Takes a picture of a guest's display, as PNG; FILE may be `-`.", 1, 2, false, {{0}},
	run_screenshot, "roost screenshot web1 web1.png", GROUP_ACCESS, GUESTS_RUNNING};
