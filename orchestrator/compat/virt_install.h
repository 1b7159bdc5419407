/*
 * virt-install, as virtinst 4.1 has it: its options become a definition as people could have written it, and an installer
 * (installing.h). virt_install.c has the options and what is said, _parts.c what stands behind an option's '=', _disk.c
 * the disks, _os.c what is known of operating systems.
 */
#ifndef ORCHESTRATOR_COMPAT_VIRT_INSTALL_H
#define ORCHESTRATOR_COMPAT_VIRT_INSTALL_H

#include "orchestrator/compat/compat.h"
#include "orchestrator/definition.h"
#include "orchestrator/installer.h"

enum { PARTS_MAX = 24 };

/* "path=a,size=20" of one option; a first part without '=' has the key that its parser calls the first. */
struct parts {
	const char *option;
	char *text; /* owned; keys and values point into it */
	const char *keys[PARTS_MAX], *values[PARTS_MAX];
	bool taken[PARTS_MAX];
	size_t count;
};
int parts_of(const char *option, const char *text, const char *first, struct parts *out,
	struct err *err);
void parts_free(struct parts *p);
#define _cleanup_parts_ _cleanup_(parts_free)
/* The value of a key; NULL: it is not there. "" of one without '='. */
const char *parts_take(struct parts *p, const char *key);
/* on, yes, true or 1. */
bool parts_on(struct parts *p, const char *key);
/* What nobody took is refused by name, as virtinst does it. */
int parts_end(const struct parts *p, struct err *err);

/* What virt-install is asked for. */
struct install_ask {
	const char *name;
	json_t *definition, *disks,
		*nics; /* as people write them; disks and nics are in it at the end */
	struct installer how;
	bool import, no_disk, no_nic, check_use, session, vnc;
	/* disks that are to be made, until they are; then what to take back */
	struct new_disk {
		char *path, *backing, *backing_format;
		uint64_t size;
		bool raw, made;
	} made[DISKS_MAX];
	size_t made_count;
};

/* One function for each option that says something about the guest. */
int ask_memory(struct install_ask *a, const char *text, struct err *err);
int ask_vcpus(struct install_ask *a, const char *text, struct err *err);
int ask_cpu(struct install_ask *a, const char *text, struct err *err);
int ask_disk(struct install_ask *a, const char *text, struct err *err);
int ask_network(struct install_ask *a, const char *text, struct err *err);
int ask_graphics(struct install_ask *a, const char *text, struct err *err);
int ask_video(struct install_ask *a, const char *text, struct err *err);
int ask_console(struct install_ask *a, const char *text, struct err *err);
int ask_serial(struct install_ask *a, const char *text, struct err *err);
int ask_channel(struct install_ask *a, const char *text, struct err *err);
int ask_rng(struct install_ask *a, const char *text, struct err *err);
int ask_tpm(struct install_ask *a, const char *text, struct err *err);
int ask_boot(struct install_ask *a, const char *text, struct err *err);
int ask_cloud_init(struct install_ask *a, const char *text, struct err *err);
int ask_check(struct install_ask *a, const char *text, struct err *err);
int ask_virt_type(struct install_ask *a, const char *text, struct err *err);
int ask_osinfo(struct install_ask *a, const char *text, struct err *err);

/* Makes the new disks, and takes them back. */
int disks_make(struct install_ask *a, struct err *err);
void disks_take_back(struct install_ask *a);

/* What osinfo-db knows of a short id, or our own small table; false: nobody does. *memory: its least, 0 if not known. */
bool os_find(const char *id, uint64_t *memory);

void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
