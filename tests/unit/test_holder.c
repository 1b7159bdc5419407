/* A network's holder: what it may no more, each tried by a process that is confined like it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "netsetup/confine.h"
#include "tests/unit/lacking.h"

static char scratch[] = "/tmp/roost-holder-XXXXXX";

static int enter(void **state)
{
	(void)state;
	return mkdtemp(scratch) ? chdir(scratch) : -1;
}

static int leave(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	return chdir("/") < 0 ? -1 : dir_remove(AT_FDCWD, scratch, &err);
}

enum { SKIPPED = 77 };

/* What went wrong first, as the exit status: 0 is nothing. */
static int try_all(void)
{
	struct err err = ERR_INIT;
	static const struct {
		long call, first, second;
	} calls[] = {
		{SYS_unshare, CLONE_NEWNS, 0},
		{SYS_setns, -1, 0},
		{SYS_ptrace, 16, 1},
		{SYS_chroot, (long)".", 0},
		{SYS_umount2, (long)"/proc", MNT_DETACH},
	};
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		return SKIPPED;
	if (confine("in", &err) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (syscall(calls[i].call, calls[i].first, calls[i].second, 0, 0) == 0 ||
			errno != EPERM)
			return 2 + (int)i;
	if (open("in/new", O_WRONLY | O_CREAT, 0600) < 0 || rename("in/new", "in/other") < 0 ||
		mkdir("in/folder", 0700) < 0 || unlink("in/other") < 0)
		return 10;
	if (open("there", O_RDONLY) < 0)
		return 11;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0)
		return 0;
	if (open("there", O_WRONLY) >= 0 || open("new", O_WRONLY | O_CREAT, 0600) >= 0 ||
		unlink("there") == 0 || rename("there", "in/there") == 0 || mkdir("x", 0700) == 0)
		return 12;
	return 0;
}

static void may_no_more(void **state)
{
	(void)state;
	int status;
	assert_int_equal(mkdir("in", 0700), 0);
	int fd = open("there", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	pid_t pid = fork();
	if (pid == 0)
		_exit(try_all());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		not_here("no user may make a user namespace");
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(may_no_more)};
	return cmocka_run_group_tests(tests, enter, leave);
}
