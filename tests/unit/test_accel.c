/* accel: the proof of KVM ends in time and is consistent; its cache; the table of choices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "orchestrator/accel.h"
#include "tests/unit/lacking.h"

/*
 * Any kind of KVM on any host: this program's open() and ioctl() are ours, and pass everything on
 * unless a test asks for a fake.
 */
enum fake { REAL, FAST, HANGS, CRASHES, TAKEN, STOPS, ABSENT, FORBIDDEN };
static enum fake fake;

int open(const char *path, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	mode_t mode = va_arg(ap, mode_t);
	va_end(ap);
	if (fake == REAL || strcmp(path, "/dev/kvm") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fake != ABSENT && fake != FORBIDDEN)
		return memfd_create("kvm", MFD_CLOEXEC);
	errno = fake == ABSENT ? ENOENT : EACCES;
	return -1;
}

static int fake_run(int cpu)
{
	uint32_t reason = fake == STOPS ? KVM_EXIT_SHUTDOWN : KVM_EXIT_HLT;
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	while (fake == HANGS)
		pause();
	if (fake == CRASHES)
		kill(getpid(), SIGKILL);
	return pwrite(cpu, &reason, sizeof(reason), offsetof(struct kvm_run, exit_reason)) < 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	va_start(ap, request);
	void *data = va_arg(ap, void *);
	va_end(ap);
	if (fake == REAL)
		return (int)syscall(SYS_ioctl, fd, request, data);
	if (request == KVM_CREATE_VCPU) {
		int cpu = memfd_create("cpu", MFD_CLOEXEC);
		return ftruncate(cpu, sizeof(struct kvm_run)) < 0 ? -1 : cpu;
	}
	if (request == KVM_GET_VCPU_MMAP_SIZE)
		return sizeof(struct kvm_run);
	if (request == KVM_RUN)
		return fake_run(fd);
	if (request == KVM_GET_REGS)
		memset(data, 0, sizeof(struct kvm_regs));
	if (request == KVM_CREATE_VM && fake == TAKEN) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

static char folder[] = "/tmp/test-accel.XXXXXX";
static char cache[64];

/* 50 ms of ours; the rest is for a test host that lets us wait for a CPU. */
enum { MOST_MS = 250 };

static struct accel_proof probe(const char *file)
{
	struct err err = ERR_INIT;
	struct accel_proof p;
	assert_int_equal(accel_probe(file, &p, &err), 0);
	return p;
}

/* Reaped, or on a busy host at least ended: then we can reap it. One that runs on is never heard of. */
static void assert_no_child(void)
{
	alarm(10);
	waitpid(-1, NULL, 0);
	alarm(0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* Any host may run this: what is asserted is that the answer fits what the host lets us see. */
static void proof_is_consistent(void **state)
{
	(void)state;
	struct accel_proof p = {0};
	int64_t took = MOST_MS + 1;
	for (int tries = 0; tries < 50 && took > MOST_MS; tries++) { /* the host may be busy */
		int64_t start = clock_ms();
		p = probe(NULL);
		took = clock_ms() - start;
	}
	print_message("%s in %d ms: %s; %s\n", kvm_verdict_name(p.verdict), (int)took, p.reason,
		p.remedy);
	assert_false(p.cached);
	assert_in_range(took, 0, MOST_MS);

	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		assert_int_equal(p.verdict, KVM_NO_DEVICE);
	else if (fd < 0 && errno == EACCES)
		assert_int_equal(p.verdict, KVM_NO_PERMISSION);
	else if (fd >= 0)
		assert_in_range(p.verdict, KVM_PROVEN, KVM_FAILS);
	cleanup_close(&fd);

	if (p.verdict == KVM_PROVEN)
		assert_true(p.speed > 100000000);
	if (p.verdict == KVM_SLOW)
		assert_in_range(p.speed, 1, 110000000);
	if (p.verdict > KVM_SLOW)
		assert_int_equal(p.speed, 0);
	assert_true(p.reason[0]);
	assert_int_equal(p.remedy[0] == '\0', p.verdict == KVM_PROVEN);
	assert_no_child();
}

static void every_kind_of_kvm(void **state)
{
	(void)state;
	static const struct {
		enum fake kind;
		enum kvm_verdict verdict;
		const char *reason, *remedy;
		bool settled;
	} table[] = {
		{FAST, KVM_PROVEN, "million instructions/s", "", true},
		{HANGS, KVM_FAILS, "no answer", "", false},
		{CRASHES, KVM_FAILS, "ended early", "", true},
		{TAKEN, KVM_FAILS, "KVM_CREATE_VM", "another hypervisor", true},
		{STOPS, KVM_FAILS, "stopped the test program", "", true},
		{ABSENT, KVM_NO_DEVICE, "No such file", "", true},
		{FORBIDDEN, KVM_NO_PERMISSION, "Permission denied", "usermod -aG kvm", true},
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct accel_proof p;
		int64_t took;
		/* on a busy host a child may not come to answer in time: then once more */
		for (int tries = 0; tries < 50; tries++) {
			int64_t start = clock_ms();
			fake = table[i].kind;
			p = probe(NULL);
			fake = REAL;
			took = clock_ms() - start;
			if ((p.settled || !table[i].settled) && took <= MOST_MS)
				break;
		}
		print_message("%s in %d ms: %s; %s\n", kvm_verdict_name(p.verdict), (int)took,
			p.reason, p.remedy);
		assert_int_equal(p.verdict, table[i].verdict);
		assert_int_equal(p.settled, table[i].settled);
		assert_non_null(strstr(p.reason, table[i].reason));
		assert_non_null(strstr(p.remedy, table[i].remedy));
		assert_in_range(took, 0, MOST_MS);
		assert_no_child();
	}
}

static void change_cache(const char *key, const char *value)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *j = json_file_read(AT_FDCWD, cache, &err);
	assert_non_null(j);
	assert_non_null(json_object_get(j, key));
	json_object_set_new(j, key, json_string(value));
	assert_int_equal(json_file_write(AT_FDCWD, cache, j, false, &err), 0);
}

/* With a KVM that settles the question on a busy host, too. */
static void fill_cache(void)
{
	fake = FAST;
	for (int tries = 0; tries < 50 && !probe(cache).settled; tries++)
		;
	fake = REAL;
}

static void cache_is_honoured(void **state)
{
	(void)state;
	struct stat st;
	fill_cache();
	assert_int_equal(stat(cache, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	change_cache("reason", "it was so written");
	struct accel_proof p = probe(cache);
	assert_true(p.cached);
	assert_string_equal(p.reason, "it was so written");
}

static void cache_is_invalidated(void **state)
{
	(void)state;
	static const char *const changes[][2] = {
		{"boot", "00000000-0000-0000-0000-000000000000"},
		{"device", "another device"},
		{"verdict", "splendid"},
		{"reason", ""},
	};
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		unlink(cache);
		fill_cache();
		assert_true(probe(cache).cached);
		change_cache(changes[i][0], changes[i][1]);
		assert_false(probe(cache).cached);
	}
	struct err err = ERR_INIT;
	assert_int_equal(file_replace(AT_FDCWD, cache, "{", 1, false, &err), 0);
	assert_false(probe(cache).cached);
	assert_false(probe("/nonexistent/folder/cache").cached);
}

/* "whether we may open it" is part of the key: another user's answer is not ours. */
static void cache_of_another_user(void **state)
{
	(void)state;
	if (geteuid() != 0 || access("/dev/kvm", F_OK) < 0)
		not_here("it takes root and /dev/kvm");
	assert_int_equal(chmod(folder, 0755), 0);
	unlink(cache);
	fill_cache();
	assert_int_equal(chmod(cache, 0644), 0);
	struct stat st;
	assert_int_equal(stat("/dev/kvm", &st), 0);
	if ((st.st_mode & 06) == 06)
		not_here("/dev/kvm is open to everybody");
	assert_int_equal(seteuid(65534), 0);
	struct accel_proof p = probe(cache);
	assert_int_equal(seteuid(0), 0);
	assert_false(p.cached);
	assert_int_equal(p.verdict, KVM_NO_PERMISSION);
	assert_non_null(strstr(p.remedy, "usermod -aG kvm"));
}

enum wish { PLAIN, FALLBACK, UNPROVEN, BOTH };
enum { REFUSED = ACCEL_MAX };

static void choices(void **state)
{
	(void)state;
	static const struct {
		enum accel asked;
		enum wish wish;
		enum kvm_verdict verdict;
		int chosen;
		bool speaks;
	} table[] = {
		{ACCEL_AUTO, PLAIN, KVM_PROVEN, ACCEL_KVM, false},
		{ACCEL_AUTO, PLAIN, KVM_SLOW, ACCEL_TCG, true},
		{ACCEL_AUTO, PLAIN, KVM_FAILS, ACCEL_TCG, true},
		{ACCEL_AUTO, PLAIN, KVM_NO_DEVICE, ACCEL_TCG, true},
		{ACCEL_AUTO, PLAIN, KVM_NO_PERMISSION, ACCEL_TCG, true},
		{ACCEL_AUTO, UNPROVEN, KVM_SLOW, ACCEL_TCG, true},
		{ACCEL_TCG, PLAIN, KVM_PROVEN, ACCEL_TCG, false},
		{ACCEL_TCG, PLAIN, KVM_SLOW, ACCEL_TCG, false},
		{ACCEL_KVM, PLAIN, KVM_PROVEN, ACCEL_KVM, false},
		{ACCEL_KVM, FALLBACK, KVM_PROVEN, ACCEL_KVM, false},
		{ACCEL_KVM, PLAIN, KVM_SLOW, REFUSED, false},
		{ACCEL_KVM, PLAIN, KVM_FAILS, REFUSED, false},
		{ACCEL_KVM, PLAIN, KVM_NO_DEVICE, REFUSED, false},
		{ACCEL_KVM, PLAIN, KVM_NO_PERMISSION, REFUSED, false},
		{ACCEL_KVM, FALLBACK, KVM_SLOW, ACCEL_TCG, true},
		{ACCEL_KVM, FALLBACK, KVM_NO_DEVICE, ACCEL_TCG, true},
		{ACCEL_KVM, UNPROVEN, KVM_SLOW, ACCEL_KVM, true},
		{ACCEL_KVM, UNPROVEN, KVM_FAILS, ACCEL_KVM, true},
		{ACCEL_KVM, UNPROVEN, KVM_NO_DEVICE, REFUSED, false},
		{ACCEL_KVM, UNPROVEN, KVM_NO_PERMISSION, REFUSED, false},
		{ACCEL_KVM, BOTH, KVM_SLOW, ACCEL_KVM, true},
		{ACCEL_KVM, BOTH, KVM_NO_DEVICE, ACCEL_TCG, true},
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct accel_proof proof = {.verdict = table[i].verdict,
			.reason = "the reason",
			.remedy = "the remedy"};
		enum wish wish = table[i].wish;
		enum accel chosen = ACCEL_AUTO;
		char said[ACCEL_SAID_MAX] = "untouched";
		struct err err = ERR_INIT;
		print_message("row %zu\n", i);
		int rc = accel_choose(table[i].asked, wish == FALLBACK || wish == BOTH,
			wish == UNPROVEN || wish == BOTH, &proof, &chosen, said, &err);
		if (table[i].chosen == REFUSED) {
			assert_int_equal(rc, -1);
			assert_int_equal(err.kind, ERR_REFUSED);
			assert_non_null(strstr(err.message, "the reason"));
			assert_non_null(strstr(err.hint, "the remedy"));
			assert_int_equal(chosen, ACCEL_AUTO);
			assert_string_equal(said, "untouched");
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(chosen, table[i].chosen);
		assert_int_equal(said[0] != '\0', table[i].speaks);
		if (table[i].speaks)
			assert_non_null(strstr(said, "the reason"));
		if (table[i].speaks && chosen == ACCEL_TCG)
			assert_non_null(strstr(said, "the remedy"));
	}
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(cache, sizeof(cache), "%s/kvm.json", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	return dir_remove(AT_FDCWD, folder, &err);
}

static void threads_of_tcg(void **state)
{
	(void)state;
	static const char *const old[] = {
		"pc-q35-7.2", "pc-i440fx-9.2", "pc-q35-10.0", "q35", "pc-q35-", "pc-q35-x.1", NULL};
	for (size_t i = 0; i < sizeof(old) / sizeof(*old); i++) {
		assert_true(accel_tcg_threads(old[i], 1));
		assert_false(accel_tcg_threads(old[i], 2));
	}
	assert_true(accel_tcg_threads("pc-q35-10.1", 2));
	assert_true(accel_tcg_threads("pc-i440fx-11.0", 64));
}

int main(void)
{
	umask(077); /* as the programs have it: it decides whether a group may read */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proof_is_consistent),
		cmocka_unit_test(every_kind_of_kvm),
		cmocka_unit_test(cache_is_honoured),
		cmocka_unit_test(cache_is_invalidated),
		cmocka_unit_test(cache_of_another_user),
		cmocka_unit_test(choices),
		cmocka_unit_test(threads_of_tcg),
	};
	return cmocka_run_group_tests_name("accel", tests, setup, teardown);
}
