/*
 * How much faster is our overlay than qemu-img's? Two figures, both measured here in one run, in
 * turns, on one folder:
 *
 *	calls		qcow2_create() in this process, against a process of qemu-img create
 *	processes	a process that does nothing but qcow2_create(), against the same
 *
 * The first is what roost saves, which makes overlays without starting anything; the second compares
 * like with like. Neither flushes, as qemu-img create does not; what fdatasync adds is told apart.
 * Most of a call is the file system's: making the file costs 50-200 us on ext4, 7 on tmpfs.
 *
 *	bench_overlay [ROUNDS]		default 40
 *	bench_overlay --one FILE	the process of the second figure
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "images/qcow2.h"

#define QEMU_IMG   "/usr/bin/qemu-img"
#define BASE       "base.qcow2"
#define SIZE       (10ULL << 30)
#define CALLS      100 /* of ours per round: one alone is too short for the clock */
#define ROUNDS_MAX 1000
#define TARGET     20

static const struct qcow2_new overlay = {.size = SIZE, .backing = BASE, .backing_format = "qcow2"};

static void __attribute__((noreturn)) die(const struct err *err)
{
	fprintf(stderr, "bench_overlay: %s\n", err->message);
	exit(err_exit_code(err->kind));
}

/* Microseconds per call. */
static double calls(bool durable)
{
	struct err err = ERR_INIT;
	struct qcow2_new what = overlay;
	char name[32];
	what.durable = durable;
	int64_t start = clock_us();
	for (int i = 0; i < CALLS; i++) {
		snprintf(name, sizeof(name), "call-%d", i);
		if (qcow2_create(AT_FDCWD, name, &what, &err) < 0)
			die(&err);
	}
	double each = (double)(clock_us() - start) / CALLS;
	for (int i = 0; i < CALLS; i++) {
		snprintf(name, sizeof(name), "call-%d", i);
		unlink(name);
	}
	return each;
}

/* Microseconds from fork to the end of the process, which makes `file`. */
static double process(const char *const argv[], const char *file)
{
	struct err err = ERR_INIT;
	struct child c = CHILD_NONE;
	int status;
	int64_t start = clock_us();
	if (child_start(argv, false, &c, &err) < 0 ||
		proc_reap(&c.proc, deadline_in(30000), &status, &err) < 0)
		die(&err);
	double took = (double)(clock_us() - start);
	child_end(&c);
	if (status != 0 || unlink(file) < 0) {
		err_set(&err, ERR_SYSTEM, "'%s' %s", argv[0], proc_status_text(status));
		die(&err);
	}
	return took;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

static void measure(size_t rounds)
{
	static double call[ROUNDS_MAX], flushed[ROUNDS_MAX], ours[ROUNDS_MAX], theirs[ROUNDS_MAX];
	const char *const qemu_img[] = {QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", BASE, "-F",
		"qcow2", "theirs", "10G", NULL};
	const char *const self[] = {"/proc/self/exe", "--one", "ours", NULL};
	for (size_t i = 0; i < rounds; i++) {
		theirs[i] = process(qemu_img, "theirs");
		ours[i] = process(self, "ours");
		call[i] = calls(false);
		if (i % 10 == 0)
			flushed[i / 10] = calls(true);
	}
	double t = median(theirs, rounds), c = median(call, rounds), p = median(ours, rounds);
	double f = median(flushed, (rounds + 9) / 10);
	printf("overlay of 10 GiB, median of %zu: qemu-img create %.2f ms; our call %.3f ms "
	       "(with fdatasync %.3f ms), our process %.2f ms\n",
		rounds, t / 1000, c / 1000, f / 1000, p / 1000);
	printf("(d) overlay: %.0f times faster than qemu-img create (target: at least %d)\n", t / c,
		TARGET);
	printf("    measured: one library call, as roost makes it, against one qemu-img process, neither "
	       "flushed; ours flushed: %.0f times; process against process: %.1f times\n",
		t / f, t / p);
	if (t / c < TARGET)
		exit(1);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (argc == 3 && strcmp(argv[1], "--one") == 0) {
		if (qcow2_create(AT_FDCWD, argv[2], &overlay, &err) < 0)
			die(&err);
		return 0;
	}
	uint64_t rounds = 40;
	if (argc > 1 && str_parse_u64(argv[1], 1, ROUNDS_MAX, "rounds", &rounds, &err) < 0)
		die(&err);
	char folder[] = "/tmp/roost-bench-XXXXXX";
	const struct qcow2_new base = {.size = SIZE};
	if (!mkdtemp(folder) || chdir(folder) < 0) {
		err_errno(&err, "cannot make '%s'", folder);
		die(&err);
	}
	if (qcow2_create(AT_FDCWD, BASE, &base, &err) < 0)
		die(&err);
	measure((size_t)rounds);
	if (chdir("/") < 0 || dir_remove(AT_FDCWD, folder, &err) < 0)
		die(&err);
	return 0;
}
