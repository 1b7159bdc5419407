/*
 * What this host offers to guests: a list of checks, each with what was found and, where that is
 * not what one would wish, what to do about it. They take a fraction of a second in all, change
 * nothing and need no privilege, though their answers depend on who asks.
 */
#ifndef ORCHESTRATOR_VALIDATE_H
#define ORCHESTRATOR_VALIDATE_H

#include <stddef.h>

enum validate_result {
	VALIDATE_PASS, /* as it should be */
	VALIDATE_WARN, /* guests run, but something is lacking: speed, confinement, a feature */
	VALIDATE_FAIL, /* no guest will run */
	VALIDATE_RESULT_MAX
};

const char *validate_result_name(enum validate_result result); /* "PASS", "WARN", "FAIL" */

struct validate_row {
	const char *name; /* "kvm": one word, the same in every version */
	enum validate_result result;
	char detail[256];
	char remedy[192]; /* empty for VALIDATE_PASS */
};

enum { VALIDATE_MAX = 32 };

/* Fills `rows` and returns how many, VALIDATE_MAX at most. */
size_t validate_host(struct validate_row rows[VALIDATE_MAX]);

/* Its rows about networks. validate_networks.c */
void validate_dnsmasq(struct validate_row *r);
void validate_uplink(struct validate_row *r);
/* Those about devices and QEMU. validate_hardware.c */
void validate_qemu_features(struct validate_row *r);
void validate_vhost_net(struct validate_row *r);
void validate_vhost_vsock(struct validate_row *r);
void validate_fuse(struct validate_row *r);
void validate_iommu(struct validate_row *r);
void validate_nested(struct validate_row *r);
/* How a row is filled. `remedy` is "" for VALIDATE_PASS. */
void validate_say(struct validate_row *r, enum validate_result result, const char *detail,
	const char *remedy);

#endif
