/*
 * The proof of KVM. A /dev/kvm that opens may belong to a nested software KVM, which interprets
 * about 1.6 million instructions a second: boot sectors run, stock kernels hang. So a child
 *
 *	makes a VM with one 2 MiB page, identity-mapped, and one virtual CPU in long mode;
 *	lets it count down from LOOPS (2 instructions each) and halt;
 *	takes it back after RUN_MS if it has not halted, by a signal.
 *
 * Hardware needs under 1 ms for it. What the child finds goes to a pipe as one `struct finding`.
 * The parent waits for that until ANSWER_MS, then kills and reaps until END_MS: a KVM_RUN that
 * ignores signals, a device that does not open and a child that crashes all end the same way.
 */
#include "orchestrator/accel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"

#define KVM_DEVICE "/dev/kvm"

enum {
	RUN_MS = 20,
	ENOUGH_MS = 4, /* hardware would have halted by then, several times over */
	ANSWER_MS = 44,
	END_MS = 49,
	LOOPS = 1 << 20,
	GUEST_BYTES = 2 << 20,
	PML4_AT = 0x1000,
	PDPT_AT = 0x2000,
	PD_AT = 0x3000,
	CODE_AT = 0x10000,
	CPUID_MAX = 128,
};

static const char *const verdict_names[] = {
	[KVM_PROVEN] = "proven",
	[KVM_SLOW] = "slow",
	[KVM_FAILS] = "fails",
	[KVM_NO_DEVICE] = "no-device",
	[KVM_NO_PERMISSION] = "no-permission",
};
static_assert(ARRAY_SIZE(verdict_names) == KVM_VERDICT_MAX, "a verdict lacks its name");

const char *kvm_verdict_name(enum kvm_verdict verdict)
{
	return verdict_names[verdict];
}

/* ---- in the child -------------------------------------------------------------------------- */

struct finding {
	enum kvm_verdict verdict;
	int64_t speed;
	bool settled;
	int error;     /* errno of `step`, 0 if it is not a system call that failed */
	char step[48]; /* what failed */
};

static struct finding failed(const char *step, int error)
{
	struct finding f = {.verdict = KVM_FAILS, .settled = true, .error = error};
	snprintf(f.step, sizeof(f.step), "%s", step);
	return f;
}

static struct kvm_run *volatile running;

/* The signal ends a KVM_RUN under way; the flag one that has not begun. */
static void take_back(int signal)
{
	(void)signal;
	running->immediate_exit = 1;
}

static void set_timer(void)
{
	struct sigaction action = {.sa_handler = take_back};
	struct itimerval timer = {.it_value = {.tv_usec = RUN_MS * 1000}};
	sigset_t all_but_alarm;
	sigaction(SIGALRM, &action, NULL);
	sigfillset(&all_but_alarm);
	sigdelset(&all_but_alarm, SIGALRM);
	sigprocmask(SIG_SETMASK, &all_but_alarm, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void fill_guest(uint8_t *memory)
{
	static const uint64_t present_writable = 3, page_2m = 0x80;
	static const uint8_t code[] = {
		0xff, 0xc9, /* again: dec %ecx */
		0x75, 0xfc, /* jnz again */
		0xf4,       /* hlt */
	};
	uint64_t pml4 = PDPT_AT | present_writable, pdpt = PD_AT | present_writable;
	uint64_t pd = page_2m | present_writable;
	memcpy(memory + PML4_AT, &pml4, sizeof(pml4));
	memcpy(memory + PDPT_AT, &pdpt, sizeof(pdpt));
	memcpy(memory + PD_AT, &pd, sizeof(pd));
	memcpy(memory + CODE_AT, code, sizeof(code));
}

/* Long mode as a 64-bit kernel has it: PAE, paging, protection, EFER.LME and LMA. */
static int enter_long_mode(int cpu)
{
	struct kvm_sregs s;
	if (ioctl(cpu, KVM_GET_SREGS, &s) < 0)
		return -1;
	struct kvm_segment segment = {.limit = 0xffffffff,
		.selector = 8,
		.present = 1,
		.type = 11,
		.s = 1,
		.l = 1,
		.g = 1};
	s.cs = segment;
	segment.selector = 16;
	segment.type = 3;
	segment.l = 0;
	segment.db = 1;
	s.ds = s.es = s.fs = s.gs = s.ss = segment;
	s.cr3 = PML4_AT;
	s.cr4 = 0x20;
	s.cr0 = 0x80050033;
	s.efer = 0x500;
	struct kvm_regs r = {.rip = CODE_AT, .rflags = 2, .rcx = LOOPS};
	return ioctl(cpu, KVM_SET_SREGS, &s) < 0 ? -1 : ioctl(cpu, KVM_SET_REGS, &r);
}

static void show_host_cpuid(int kvm, int cpu)
{
	_cleanup_free_ struct kvm_cpuid2 *cpuid =
		xcalloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	cpuid->nent = CPUID_MAX;
	/* without it long mode may be refused; whether it is, the next call tells */
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) == 0)
		ioctl(cpu, KVM_SET_CPUID2, cpuid);
}

static int64_t thread_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct finding measure(int cpu)
{
	set_timer();
	int64_t wall = clock_us(), own = thread_us();
	int rc = ioctl(cpu, KVM_RUN, 0), error = errno;
	wall = clock_us() - wall;
	own = thread_us() - own;

	struct kvm_regs r;
	if (rc < 0 && error != EINTR)
		return failed("KVM_RUN", error);
	if (rc == 0 && running->exit_reason != KVM_EXIT_HLT)
		return failed("KVM stopped the test program", 0);
	if (ioctl(cpu, KVM_GET_REGS, &r) < 0)
		return failed("KVM_GET_REGS", errno);
	int64_t left = (int64_t)(uint32_t)r.rcx;
	/* others may have had the CPU meanwhile: what counts is the time that was ours */
	int64_t took = rc == 0 || own < 1000 ? wall : own;
	return (struct finding){
		.verdict = rc == 0 ? KVM_PROVEN : KVM_SLOW,
		.speed = 2 * (LOOPS - left) * 1000000 / (took > 0 ? took : 1),
		.settled = rc == 0 || own > ENOUGH_MS * 1000,
	};
}

static struct finding try_kvm(void)
{
	int kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		struct finding f = failed("open", errno);
		if (f.error == EACCES || f.error == EPERM)
			f.verdict = KVM_NO_PERMISSION;
		else if (f.error == ENOENT || f.error == ENXIO || f.error == ENODEV)
			f.verdict = KVM_NO_DEVICE;
		return f;
	}
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return failed("KVM_CREATE_VM", errno);
	/* older Intel CPUs want it before anything runs; others ignore it */
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);

	uint8_t *memory =
		mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return failed("mmap", errno);
	fill_guest(memory);
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_BYTES, .userspace_addr = (uintptr_t)memory};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return failed("KVM_SET_USER_MEMORY_REGION", errno);

	int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (cpu < 0)
		return failed("KVM_CREATE_VCPU", errno);
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_bytes < (int)sizeof(struct kvm_run))
		return failed("KVM_GET_VCPU_MMAP_SIZE", errno);
	running = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (running == MAP_FAILED)
		return failed("mmap", errno);
	show_host_cpuid(kvm, cpu);
	if (enter_long_mode(cpu) < 0)
		return failed("long mode", errno);
	return measure(cpu);
}

/* ---- in the parent ------------------------------------------------------------------------- */

static int run_child(struct finding *out, struct err *err)
{
	int64_t start = clock_ms();
	int ends[2], status;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int from = ends[0], to = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot fork for the proof of KVM");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct finding f = try_kvm();
		_exit(write_all(to, &f, sizeof(f)) < 0 ? 1 : 0);
	}
	cleanup_close(&to);
	struct proc child = {.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
	struct finding found = failed("no answer within 50 ms", 0);
	found.settled = false;
	if (fd_wait(from, POLLIN, start + ANSWER_MS) > 0 &&
		read(from, &found, sizeof(found)) != (ssize_t)sizeof(found))
		found = failed("the test program's process ended early", 0);
	struct err ignored = ERR_INIT;
	proc_signal(&child, SIGKILL, &ignored);
	/* one that does not even die is left to whoever reaps our children */
	proc_reap(&child, start + END_MS, &status, &ignored);
	proc_close(&child);
	*out = found;
	return 0;
}

/* Is `flag` among the first CPU's flags? */
static bool cpu_has(const char *flag)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (file_read(AT_FDCWD, "/proc/cpuinfo", 8 << 20, &text, &ignored) < 0)
		return false;
	char *flags = strstr(text.data, "\nflags"), *end = flags ? strchr(flags + 1, '\n') : NULL;
	if (!end)
		return false;
	*end = '\0';
	_cleanup_free_ char *word = str_fmt(" %s ", flag);
	_cleanup_free_ char *line = str_fmt("%s ", flags);
	return strstr(line, word) != NULL;
}

static const char *remedy_without_device(void)
{
	if (cpu_has("vmx"))
		return "`sudo modprobe kvm_intel`; if that fails, `dmesg` says why (VT-x may be off "
		       "in the BIOS)";
	if (cpu_has("svm"))
		return "`sudo modprobe kvm_amd`; if that fails, `dmesg` says why (SVM may be off in "
		       "the BIOS)";
	if (cpu_has("hypervisor"))
		return "this host is a guest itself: enable nested virtualisation on the outer host";
	return "enable VT-x or AMD-V (SVM) in the BIOS";
}

static const char *remedy_without_permission(void)
{
	struct stat st;
	if (stat(KVM_DEVICE, &st) == 0 && (st.st_gid == 0 || (st.st_mode & 060) != 060))
		return "`sudo chgrp kvm " KVM_DEVICE " && sudo chmod 660 " KVM_DEVICE
		       " && sudo usermod -aG kvm $USER`, then log in again";
	return "`sudo usermod -aG kvm $USER`, then log in again";
}

static const char *remedy(const struct finding *f)
{
	switch (f->verdict) {
	case KVM_NO_PERMISSION:
		return remedy_without_permission();
	case KVM_NO_DEVICE:
		return remedy_without_device();
	case KVM_SLOW:
		if (!f->settled)
			return "try again when the host is less busy";
		return "enable hardware-assisted nested virtualisation on the outer host";
	case KVM_FAILS:
		if (f->error == EBUSY)
			return "another hypervisor holds the CPU: end it (VirtualBox?)";
		if (!cpu_has("vmx") && !cpu_has("svm"))
			return remedy_without_device();
		return "`dmesg | grep -i kvm` says why; `sudo modprobe -r` and `modprobe` of "
		       "kvm_intel or kvm_amd may help";
	case KVM_PROVEN:
	case KVM_VERDICT_MAX:
		break;
	}
	return "";
}

static void explain(const struct finding *f, struct accel_proof *p)
{
	double millions = (double)f->speed / 1e6;
	switch (f->verdict) {
	case KVM_PROVEN:
		snprintf(p->reason, sizeof(p->reason),
			KVM_DEVICE " runs %.0f million instructions/s", millions);
		break;
	case KVM_SLOW:
		snprintf(p->reason, sizeof(p->reason),
			KVM_DEVICE " runs only %.1f million instructions/s%s", millions,
			f->settled ? ": it is emulated, not hardware" : ", but the host is busy");
		break;
	case KVM_NO_DEVICE:
	case KVM_NO_PERMISSION:
		snprintf(p->reason, sizeof(p->reason), "cannot open " KVM_DEVICE ": %s",
			strerror(f->error));
		break;
	case KVM_FAILS:
	case KVM_VERDICT_MAX:
		snprintf(p->reason, sizeof(p->reason), KVM_DEVICE " does not work: %s%s%s", f->step,
			f->error ? ": " : "", f->error ? strerror(f->error) : "");
	}
	snprintf(p->remedy, sizeof(p->remedy), "%s", remedy(f));
}

/* ---- the cache ----------------------------------------------------------------------------- */

/* What the answer depends on besides the boot. Freed by the caller. */
static char *device_identity(void)
{
	struct stat st;
	if (stat(KVM_DEVICE, &st) < 0)
		return str_fmt("none: %s", strerror(errno));
	bool may_open = faccessat(AT_FDCWD, KVM_DEVICE, R_OK | W_OK, AT_EACCESS) == 0;
	return str_fmt("dev %ju ino %ju rdev %u:%u mode %o uid %u gid %u %s", (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino, major(st.st_rdev), minor(st.st_rdev), st.st_mode, st.st_uid,
		st.st_gid, may_open ? "ours to open" : "not ours to open");
}

static bool cache_read(const char *file, const char *device, struct accel_proof *out)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *j = json_file_read(AT_FDCWD, file, &ignored);
	if (!j || !str_eq(json_get_str(j, "boot", NULL), boot_id()) ||
		!str_eq(json_get_str(j, "device", NULL), device))
		return false;
	struct accel_proof p = {.verdict = KVM_VERDICT_MAX, .settled = true, .cached = true};
	const char *word = json_get_str(j, "verdict", "");
	for (int v = 0; v < KVM_VERDICT_MAX; v++) {
		if (str_eq(word, verdict_names[v]))
			p.verdict = (enum kvm_verdict)v;
	}
	p.speed = json_get_int(j, "speed", 0);
	snprintf(p.reason, sizeof(p.reason), "%s", json_get_str(j, "reason", ""));
	snprintf(p.remedy, sizeof(p.remedy), "%s", json_get_str(j, "remedy", ""));
	if (p.verdict == KVM_VERDICT_MAX || !p.reason[0])
		return false;
	*out = p;
	return true;
}

static void cache_write(const char *file, const char *device, const struct accel_proof *p)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "boot", boot_id(),
		"device", device, "verdict", verdict_names[p->verdict], "speed",
		(json_int_t)p->speed, "reason", p->reason, "remedy", p->remedy);
	json_file_write(AT_FDCWD, file, j, false, &ignored);
}

int accel_probe(const char *cache_file, struct accel_proof *out, struct err *err)
{
	_cleanup_free_ char *device = device_identity();
	if (cache_file && cache_read(cache_file, device, out))
		return 0;
	struct finding f;
	if (run_child(&f, err) < 0)
		return -1;
	struct accel_proof p = {.verdict = f.verdict, .speed = f.speed, .settled = f.settled};
	explain(&f, &p);
	if (cache_file && p.settled)
		cache_write(cache_file, device, &p);
	*out = p;
	return 0;
}

/* ---- the choice ---------------------------------------------------------------------------- */

static const char *separated(const char *remedy_text)
{
	return remedy_text[0] ? "; " : "";
}

/* KVM was named and is not proven. */
static int choose_without_proof(bool fallback_tcg, bool unproven, const struct accel_proof *p,
	enum accel *chosen, char said[ACCEL_SAID_MAX], struct err *err)
{
	if (unproven && p->verdict != KVM_NO_DEVICE && p->verdict != KVM_NO_PERMISSION) {
		snprintf(said, ACCEL_SAID_MAX, "KVM is not proven, used all the same: %s",
			p->reason);
		*chosen = ACCEL_KVM;
		return 0;
	}
	if (fallback_tcg) {
		snprintf(said, ACCEL_SAID_MAX, "TCG instead of KVM: %s%s%s", p->reason,
			separated(p->remedy), p->remedy);
		*chosen = ACCEL_TCG;
		return 0;
	}
	err_set(err, ERR_REFUSED, "KVM is asked for but not proven: %s", p->reason);
	return err_hint(err,
		"%s%saccel: auto or accel_fallback: tcg runs without KVM, slower, and so does ROOST_ACCEL_FALLBACK=tcg before the command",
		p->remedy, separated(p->remedy));
}

int accel_choose(enum accel asked, bool fallback_tcg, bool unproven,
	const struct accel_proof *proof, enum accel *chosen, char said[ACCEL_SAID_MAX],
	struct err *err)
{
	if (asked == ACCEL_KVM && proof->verdict != KVM_PROVEN)
		return choose_without_proof(fallback_tcg, unproven, proof, chosen, said, err);
	said[0] = '\0';
	*chosen = asked;
	if (asked != ACCEL_AUTO)
		return 0;
	*chosen = proof->verdict == KVM_PROVEN ? ACCEL_KVM : ACCEL_TCG;
	if (*chosen == ACCEL_TCG)
		snprintf(said, ACCEL_SAID_MAX, "TCG, slower than KVM: %s%s%s", proof->reason,
			separated(proof->remedy), proof->remedy);
	return 0;
}

bool accel_tcg_threads(const char *machine, unsigned max_vcpus)
{
	unsigned major = 0, minor = 0;
	const char *version = machine ? strrchr(machine, '-') : NULL;
	if (max_vcpus == 1)
		return true;
	if (!version || sscanf(version, "-%u.%u", &major, &minor) != 2)
		return false;
	return major > 10 || (major == 10 && minor >= 1);
}
