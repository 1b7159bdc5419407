/*
 * virt-install, as virtinst 4.1 has it: its options become a definition as people could have written it, and an installer
 * (installing.h). virt_install.c has the options, _guest.c what is made of all of them together, _end.c what is said from the
 * first word to the last, _xml.c what --print-xml prints; single options are in _parts.c (what stands behind an option's '=',
 * and the machine), _devices.c, _disk.c, _cloud.c and _os.c (what is known of operating systems).
 */
#ifndef ORCHESTRATOR_COMPAT_VIRT_INSTALL_H
#define ORCHESTRATOR_COMPAT_VIRT_INSTALL_H

#include "orchestrator/compat/compat.h"
#include "orchestrator/definition.h"
#include "orchestrator/installer.h"

enum { PARTS_MAX = 48 };

/* "path=a,size=20" of one option; a first part without '=' has the key that its parser calls the first. */
struct parts {
	const char *option;
	char *text; /* owned; keys and values point into it */
	const char *keys[PARTS_MAX], *values[PARTS_MAX];
	bool taken[PARTS_MAX];
	size_t count;
};
/* Quotes keep a comma in a value, as the shell's do. */
int parts_of(const char *option, const char *text, const char *first, struct parts *out,
	struct err *err);
void parts_free(struct parts *p);
#define _cleanup_parts_ _cleanup_(parts_free)
/* The value of a key; NULL: it is not there. "" of one without '='. */
const char *parts_take(struct parts *p, const char *key);
/* The same of one that has an older name as well. */
const char *parts_take_either(struct parts *p, const char *key, const char *older);
/* on, yes, true, 1 or y; and the other way. */
bool parts_on(struct parts *p, const char *key);
bool parts_off(struct parts *p, const char *key);
/*
 * Takes what says nothing else than what every guest of roost's has: `holds` are "KEY=VALUE", the value in one of the
 * words for on and off, or as it is.
 */
void parts_hold(struct parts *p, const char *const holds[], size_t count);
/* What nobody took is refused by name, as virtinst does it. */
int parts_end(const struct parts *p, struct err *err);
/* "Error: OPTION TEXT: 'VALUE' is not supported", and what roost has instead. */
int parts_refuse(const char *option, const char *value, const char *known, struct err *err);

/* What virt-install is asked for. */
struct install_ask {
	const char *name, *uuid;
	json_t *definition, *disks,
		*nics; /* as people write them; disks and nics are in it at the end */
	struct installer how;
	const char *reinstall; /* a guest that there is; its definition stays */
	bool import, define_only, transient, no_disk, no_nic, check_use, check_size, check_mac,
		session, vnc, no_video, vga, quiet, windows, os_memory /* its least is known */;
	unsigned serials, virtio_consoles;
	const char *files[DISKS_MAX], *sizes[DISKS_MAX]; /* of -f and -s, in their order */
	size_t file_count, size_count;
	bool no_console;
	char *root_password; /* made up, to be told; wiped */
	char *vnc_password;  /* wiped */
	/* disks that are to be made, until they are; then what to take back */
	struct new_disk {
		char *path, *backing, *backing_format;
		uint64_t size;
		bool raw, full, made;
	} made[DISKS_MAX];
	size_t made_count;
};

typedef int ask_fn(struct install_ask *a, const char *text, struct err *err);
/* One function for each option that says something about the guest. */
ask_fn ask_memory, ask_vcpus, ask_cpu, ask_boot, ask_virt_type, ask_arch, ask_machine, ask_metadata,
	ask_description, ask_events, ask_features, ask_clock, ask_pm, ask_check, ask_qemu;
ask_fn ask_disk, ask_file, ask_file_size, ask_network, ask_bridge, ask_graphics, ask_video,
	ask_console, ask_serial, ask_channel, ask_rng, ask_tpm, ask_watchdog, ask_memballoon,
	ask_panic, ask_input, ask_controller, ask_sound, ask_cloud_init, ask_osinfo;

/* ---- the command ------------------------------------------------------------------------------------ */

enum { USED_MAX = 128, INJECT_MAX = 32 };

/* Of options that are one text or a flag (""): the last one counts. */
enum text {
	TEXT_NONE,
	TEXT_NAME,
	TEXT_CONNECT,
	TEXT_UUID,
	TEXT_CDROM,
	TEXT_LOCATION,
	TEXT_IMPORT,
	TEXT_PXE,
	TEXT_LIVECD,
	TEXT_REINSTALL,
	TEXT_EXTRA,
	TEXT_NOAUTOCONSOLE,
	TEXT_AUTOCONSOLE,
	TEXT_WAIT,
	TEXT_NOREBOOT,
	TEXT_AUTOSTART,
	TEXT_TRANSIENT,
	TEXT_DRY_RUN,
	TEXT_PRINT_XML,
	TEXT_QUIET,
	TEXT_HELP,
	TEXT_VERSION,
	TEXT_OS_TYPE,
	TEXT_PROMPT,
	TEXT_FORCE,
	TEXT_MAX
};

struct command {
	const char *texts[TEXT_MAX]; /* NULL: not there */
	/* options that act on the guest, as they came */
	struct used {
		ask_fn *ask;
		const char *value;
	} used[USED_MAX];
	size_t used_count;
	const char *inject[INJECT_MAX];
	size_t inject_count;
	struct buf extra; /* of all --extra-args */
};

/* ---- what is made of it ------------------------------------------------------------------------------ */

/* The guest by all options, with its installer opened. */
int guest_of_command(struct install_ask *a, const struct command *c, struct err *err);
/* Is there one of that name? */
bool guest_is_there(const char *name);
/* Its definition; `files` is whether those that it names are looked at, which have to be made first. */
struct definition *ask_definition(const struct install_ask *a, bool files, struct err *err);

/* For who makes nothing: are the files there that are not to be made? */
int guest_check_files(const struct install_ask *a, struct err *err);

/* Makes the new disks, and takes them back. */
int disks_make(struct install_ask *a, struct err *err);
void disks_take_back(struct install_ask *a);

/* What osinfo-db knows of a short id, or our own small table; sizes in bytes, 0 if not known. */
struct os {
	char name[64]; /* its first short id */
	uint64_t memory, memory_least, storage;
};
/* false: nobody knows it. */
bool os_find(const char *id, struct os *out);
/* The one that an ISO image installs, by its volume's labels. */
bool os_of_medium(int fd, struct os *out);
/* Prints the short ids, those of one system in a line. */
int os_list(void);

/* --print-xml [STEP]: "1", "2", or "all"; the exit code. Nothing is made. */
int print_xml(const struct install_ask *a, const char *step);

/* From the start to the end of the installation; the exit code. */
int install(struct install_ask *a, const struct command *c);
/* "ERROR    TEXT" */
void install_complain(const char *text);
/* The same of an error, unless it has been told; the exit code. */
int install_fail(const struct err *err);

/* To standard output, not with --quiet; and a warning to standard error, neither. */
void tell(const struct install_ask *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warn(const struct install_ask *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
