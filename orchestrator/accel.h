/*
 * Which accelerator a guest gets: KVM only where it is proven to run 64-bit code at the speed of
 * hardware (DESIGN.md 5), TCG otherwise, and a sentence that says so.
 *
 *	struct accel_proof proof;
 *	if (accel_probe(cache, &proof, err) < 0 ||
 *		accel_choose(def->accel, ..., &proof, &chosen, said, err) < 0)
 *		return -1;
 */
#ifndef ORCHESTRATOR_ACCEL_H
#define ORCHESTRATOR_ACCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "orchestrator/definition.h"

enum kvm_verdict {
	KVM_PROVEN,        /* ran the test program as fast as hardware does */
	KVM_SLOW,          /* runs it, but thousands of times slower: interpreted */
	KVM_FAILS,         /* opens, but makes no VM, or stops it, or does not answer */
	KVM_NO_DEVICE,     /* no /dev/kvm, or nothing behind it */
	KVM_NO_PERMISSION, /* we may not open it */
	KVM_VERDICT_MAX
};

const char *kvm_verdict_name(enum kvm_verdict verdict);

struct accel_proof {
	enum kvm_verdict verdict;
	int64_t speed;    /* instructions per second; 0 where none ran */
	bool settled;     /* false: the host was too busy to tell; not kept for the next time */
	bool cached;      /* from the cache file, not measured now */
	char reason[116]; /* "/dev/kvm runs 1.6 million instructions/s, ..." */
	char remedy[116]; /* "`sudo usermod -aG kvm $USER`, ..."; empty when proven */
};

/*
 * The proof for this boot and this /dev/kvm as we may open it: from `cache_file`, else measured
 * and written there (NULL: no cache; one that cannot be written is no error). Measuring happens in
 * a child that is killed and reaped: it ends within 50 ms whatever KVM does.
 */
int accel_probe(const char *cache_file, struct accel_proof *out, struct err *err);

enum { ACCEL_SAID_MAX = 256 };

/*
 * auto: KVM if proven, else TCG. kvm without proof: ERR_REFUSED, unless `unproven` (KVM all the
 * same, where it can be opened) or `fallback_tcg` (TCG). `said` is "" or one sentence for the user
 * when he does not get proven KVM or what he named.
 */
int accel_choose(enum accel asked, bool fallback_tcg, bool unproven,
	const struct accel_proof *proof, enum accel *chosen, char said[ACCEL_SAID_MAX],
	struct err *err);

/*
 * Under TCG, may each vCPU have a thread of its own? Else all take turns in one. QEMU before 10.1 dies now and
 * then (SIGSEGV) with several threads: one vCPU writes to a device by what was true before another
 * one has plugged, unplugged or moved a device (QEMU's issues 1864 and 3040; tried with 7.2). A
 * machine type of 10.1 is in no QEMU before it. `machine` may be NULL.
 */
bool accel_tcg_threads(const char *machine, unsigned max_vcpus);

#endif
