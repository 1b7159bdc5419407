/*
 * A guest as its owner asked for it.
 *
 * People write YAML (or JSON) with these keys; the store keeps the same as JSON in guest.json,
 * together with what roost issued (struct identity). Every key is typed and checked; an unknown or
 * doubled key is an error with its line and the nearest key that exists. Sizes are in bytes here,
 * and need a suffix there (`memory: 512M`); in guest.json they are numbers of bytes.
 *
 *	name: web1			memory: 512M		vcpus: 1
 *	title: one line			description: words for people
 *	uuid: ...			max_memory: 2G		max_vcpus: 4
 *	accel: auto|kvm|tcg		accel_fallback: tcg	accel_unproven: true
 *	machine: q35			cpu: qemu64		firmware: bios|uefi
 *	secure_boot: true		# with uefi; the distribution's keys are enrolled
 *	kernel: FILE			initrd: FILE		cmdline: TEXT
 *	disks:
 *	  - image: base.qcow2		# an overlay of it is made in the guest's folder
 *	    size: 10G			# of the overlay; default the image's
 *	  - path: /srv/data.raw		# a file of the user's, used as it is
 *	    format: raw			# qcow2 or raw; demanded with `path`, never guessed
 *	    bus: virtio			# virtio, scsi, sata, ide
 *	    readonly: true		cache: none		discard: true
 *	    serial: DATA01		target: vdb
 *	  - size: 1G			# a blank disk in the guest's folder
 *	cdrom: /srv/install.iso		# `none`: a drive without a medium (./none is a file)
 *	boot: [disk, cdrom, network]
 *	interfaces:
 *	  - user:
 *	      hostfwd: ["127.0.0.1:8080-80", "tcp:2222-22", "-22"]
 *	      restrict: true
 *	    mac: 52:54:00:12:34:56
 *	    model: virtio			# virtio, e1000e, e1000
 *	    pci: 01:00.0		# where the guest sees it; see pci_place.h
 *	boot_menu: true			# or {timeout: 10s}
 *	rng: true			watchdog: {model: i6300esb|itco, action: reset}
 *	console: true			display: none|vga	vnc: false
 *	agent: true
 *	autostart: false		# true: started when the host boots; or with what follows
 *	autostart: {order: 10, delay: 5s}
 *	# console: [serial, serial, virtio] are serial0, serial1 and hvc0; vnc: {password: true} lets
 *	# in who knows what `roost set-vnc-password` has set; a watchdog's action is reset,
 *	# poweroff, pause or none
 *	tpm: true			# version 2.0, by swtpm; or {model: crb|tis}
 *	on_crash: pause|destroy|restart	on_reboot: restart|destroy
 *	cloud_init:			# a NoCloud seed is made and attached
 *	  user: roost			# default "roost"
 *	  hostname: web1		# default the guest's name
 *	  keys: ["ssh-ed25519 AAAA...", /home/me/.ssh/id_ed25519.pub]
 *	  password_file: FILE		# of the user, kept hashed; or password_hash: "$6$..."
 *	  image_user_keys: [FILE]	# of the user whom the image has itself, "debian" say, beside ours
 *	  once: true			# cloud-init is switched off in the guest when it has run
 *	  user_data: FILE		# taken as written, instead of ours
 *	  meta_data: FILE		# the same; vendor_data and network_config: there are none else
 *	  host_key: ssh-ed25519 AAAA...	# what user_data installs; found by itself in a #cloud-config
 *	ready:
 *	  rung: login			# what `run` waits for; see readiness.h
 *	  timeout: 180s
 *	  deadlines: {console: 30s, banner: 120s}
 *	  probes: ["systemctl is-system-running --wait"]
 *	  user: alice			# who logs in; default cloud_init.user
 *	  identity: /home/me/.ssh/id_ed25519
 *	qemu_args: ["-device", "..."]	# an explicit escape
 *
 * An interface is one of
 *
 *	- user: {hostfwd: [...]}	# QEMU's own user networking
 *	- network: default		# a tap on a network (network.h), with an address that is issued once
 *	  address: 192.168.122.50	# or that one
 *	  publish: ["8080:80", "53:53/udp"]	# publish.h
 *	  isolated: true		strict_ipv6: true
 *	- bridge: br0			# a tap on a bridge of the host's; root's guests alone
 *
 * and of all: mac, model, pci; of those with a tap also queues, mtu, and link: down.
 *
 * A hostfwd entry is [tcp|udp:][HOSTADDR:][HOSTPORT]-GUESTPORT, the host address by default
 * 127.0.0.1; without a host port a free one is taken at each start. Without `interfaces` a guest
 * has one `user` interface that forwards a free port to 22; `interfaces: []` means none.
 * Relative paths are taken from the definition's folder and stored absolute; `~/` is the home. An
 * image without a '/' is the store's if it has one of that name, else a file in that folder.
 *
 * Defaults: memory 1G, max_memory = memory, vcpus 1, max_vcpus = the host's CPUs (at least vcpus),
 * console, agent and rng true, display none, watchdog i6300esb and reset where there is one, on_crash pause, on_reboot restart, discard true.
 * `cloud_init: true` is all of it by default; without the key there is none. Guests with the lower
 * order start first (default 100), those of the same order by name; the delay is waited after that
 * guest's start before the next.
 *
 * In guest.json the same keys hold numbers of bytes and milliseconds, and further ones what roost
 * worked out: `file` and `cdrom` of a disk, `issued`. How a key is added: definition_keys.h.
 */
#ifndef ORCHESTRATOR_DEFINITION_H
#define ORCHESTRATOR_DEFINITION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"

enum {
	DISKS_MAX = 16,
	LINEAGE_MAX = 31, /* with the active layer, CHAIN_MAX of images/chain.h */
	NICS_MAX = 8,
	FORWARDS_MAX = 16,
	QUEUES_MAX = 16, /* of an interface; netsetup/tap.h has as many */
	BOOT_MAX = 3,
	PROBES_MAX = 16,
	KEYS_MAX = 16,
	QEMU_ARGS_MAX = 64,
	VCPUS_MAX = 255,
	CONSOLES_MAX = 4,
	BOOT_MENU_MS_MAX = 65535,
	AUTOSTART_ORDER = 100, /* unless told */
	AUTOSTART_ORDER_MAX = 9999,
};

enum accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG, ACCEL_MAX };
enum firmware { FIRMWARE_BIOS, FIRMWARE_UEFI, FIRMWARE_MAX };
enum disk_format { FORMAT_NONE, FORMAT_RAW, FORMAT_QCOW2, FORMAT_MAX };
enum disk_bus { BUS_VIRTIO, BUS_SCSI, BUS_SATA, BUS_IDE, BUS_MAX };
enum disk_cache {
	CACHE_DEFAULT,
	CACHE_NONE,
	CACHE_WRITEBACK,
	CACHE_WRITETHROUGH,
	CACHE_UNSAFE,
	CACHE_MAX
};
enum disk_source { DISK_PATH, DISK_IMAGE, DISK_BLANK };
enum boot_device { BOOT_DISK, BOOT_CDROM, BOOT_NETWORK, BOOT_DEVICE_MAX };
enum nic_model { NIC_VIRTIO, NIC_E1000E, NIC_E1000, NIC_MODEL_MAX };
enum display { DISPLAY_NONE, DISPLAY_VGA, DISPLAY_MAX };
enum tpm_model { TPM_CRB, TPM_TIS, TPM_MODEL_MAX };
enum watchdog_model { WATCHDOG_I6300ESB, WATCHDOG_ITCO, WATCHDOG_MODEL_MAX };
enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_POWEROFF,
	WATCHDOG_PAUSE,
	WATCHDOG_NONE,
	WATCHDOG_ACTION_MAX
};
enum console_kind { CONSOLE_SERIAL, CONSOLE_VIRTIO, CONSOLE_KIND_MAX };
enum on_crash { ON_CRASH_PAUSE, ON_CRASH_DESTROY, ON_CRASH_RESTART, ON_CRASH_MAX };
enum on_reboot { ON_REBOOT_RESTART, ON_REBOOT_DESTROY, ON_REBOOT_MAX };

/* The words of those enums, with designated initialisers in definition.c. */
const char *accel_name(enum accel);
const char *firmware_name(enum firmware);
const char *disk_format_name(enum disk_format);
const char *disk_bus_name(enum disk_bus);
const char *disk_cache_name(enum disk_cache);
const char *boot_device_name(enum boot_device);
const char *nic_model_name(enum nic_model);
const char *display_name(enum display);
const char *watchdog_action_name(enum watchdog_action);

/*
 * A file that a disk stands on, as it was when that was recorded: start opens these and no others,
 * whatever the files' headers say meanwhile. Not written to but by a commit. See lineage.h.
 */
struct lineage_link {
	char *path; /* absolute; without '/': in the guest's folder, its own */
	enum disk_format format;
	char *digest; /* of an image of the store; NULL: another file */
	uint64_t size, inode;
	int64_t mtime_ns;
	char *commit; /* the mark of a commit into it that is at work; NULL: none. See committed.h */
};

struct disk_def {
	enum disk_source source;
	char *path;    /* DISK_PATH: the file; DISK_IMAGE: the base; DISK_BLANK: NULL; absolute.
		       * A CD-ROM without one is an empty drive */
	char *file;    /* DISK_IMAGE, DISK_BLANK: its name in the guest's folder, "disk0.qcow2" */
	uint64_t size; /* bytes; 0 for DISK_PATH, and where the image's own size is meant */
	enum disk_format format; /* of `path`; for DISK_IMAGE the base's, found on entry */
	enum disk_bus bus;
	bool readonly;
	bool cdrom;
	enum disk_cache cache;
	bool discard;   /* discard=unmap; default true where the format can */
	char *serial;   /* NULL: none */
	char target[8]; /* "vda", "sda", "hda": unique in the guest; in order if not asked for */
	bool lineage_known; /* false: never recorded, as of a disk that is just being plugged */
	struct lineage_link *lineage; /* from the active layer down; grows by lineage_grow() */
	size_t lineage_count;         /* at most LINEAGE_MAX; may be none */
};

struct forward {
	bool udp;
	char host[40];      /* an IPv4 address */
	uint16_t host_port; /* 0: a free one at each start */
	uint16_t guest_port;
};

enum nic_kind {
	NIC_USER,    /* QEMU's own user networking */
	NIC_NETWORK, /* a tap on a network of roost's: network.h */
	NIC_BRIDGE,  /* a tap on a bridge of the host's */
};

struct nic_def {
	enum nic_kind kind;
	char network[64]; /* NIC_NETWORK: its name; NIC_BRIDGE: the bridge's */
	char mac[18];     /* lower case; "" until identity is issued */
	enum nic_model model;
	char pci[8];     /* "01:00.0": pci_place.h; "": in order */
	bool restricted; /* NIC_USER: no way out but the forwards */
	/* NIC_USER: hostfwd; NIC_NETWORK: publish */
	struct forward forwards[FORWARDS_MAX];
	size_t forward_count;
	/* NIC_NETWORK: issued with the identity; `address` may have been asked for */
	char address[16], address6[46];
	bool address_fixed;
	bool isolated; /* from other such guests */
	bool strict6;  /* says no IPv6 but from its issued address */
	bool link_down;
	unsigned queues, mtu; /* 0: one; the network's */
};

struct cloud_init_def {
	bool enabled;
	char *user;           /* never NULL if enabled */
	char *hostname;       /* never NULL if enabled */
	char *keys[KEYS_MAX]; /* public keys as text, read from files on entry */
	size_t key_count;
	char *image_user_keys[KEYS_MAX]; /* the same, of the user that the image makes itself */
	size_t image_user_key_count;
	bool once;           /* its first run is its last */
	char *password_hash; /* crypt(3)'s, or NULL */
	char *password_file; /* until it is hashed, on entry */
	char *user_data, *meta_data, *vendor_data, *network_config; /* absolute paths, or NULL */
	char *host_key; /* public: what user_data installs, instead of ours; or NULL */
};

struct vnc_def {
	bool enabled;
	bool password; /* wanted; which one it is, is in the guest's folder: vnc.h */
};

struct watchdog_def {
	bool enabled;
	enum watchdog_model model;
	enum watchdog_action action;
};

struct boot_menu_def {
	bool enabled;
	int64_t timeout_ms; /* 0: the firmware's own */
};

/* What swtpm keeps of it, in the folder `tpm` of the guest's. */
#define TPM_STATE "tpm2-00.permall"
struct tpm_def {
	bool enabled;
	enum tpm_model model;
};

struct ready_def {
	char *rung;           /* NULL: the best that the definition allows */
	int64_t timeout_ms;   /* 0: readiness.c's own */
	json_t *deadlines_ms; /* object rung -> integer ms; NULL: defaults */
	char *probes[PROBES_MAX];
	size_t probe_count;
	char *user;     /* NULL: cloud_init.user */
	char *identity; /* private key's file; NULL: roost's own and the user's */
};

/* How `roost boot` starts it, if `autostart` says so at all. */
struct autostart_def {
	unsigned order;
	int64_t delay_ms; /* after its start, before the next guest's */
};

/* Only of a run, never of a guest: an installer is at work. See install.h. */
struct install_def {
	bool enabled;
	char drive[8];         /* the target of the drive that has its medium; "" without one */
	bool kernel, noreboot; /* it was booted as a kernel; its end is the guest's */
};

/* What roost issues when a guest is defined; kept in guest.json under "issued". */
struct identity {
	char id[13];      /* 12 hex digits: folder in $RUN */
	uid_t keeper_uid; /* root instance only; else our own uid */
	uid_t qemu_uid;
	char *host_key; /* what it is known by: public, "ssh-ed25519 AAAA..."; NULL: not yet */
	bool template;  /* it never runs, others are cloned of it: op_template.c */
	/* "vda vdb": disks of a clone whose system has still its original's identity: op_renew.c; "": none */
	char renew[DISKS_MAX * 8];
};

struct definition {
	char *name;
	char *title, *description;   /* NULL: none */
	char uuid[37];               /* lower case; "" until identity is issued */
	uint64_t memory, max_memory; /* bytes; max_memory >= memory */
	unsigned vcpus, max_vcpus;
	enum accel accel;
	bool accel_fallback_tcg, accel_unproven;
	char *machine; /* NULL: the default, resolved and recorded at define */
	char *cpu;     /* NULL: by accelerator */
	enum firmware firmware;
	bool secure_boot; /* with UEFI only */
	char *kernel, *initrd, *cmdline;
	struct disk_def disks[DISKS_MAX];
	size_t disk_count; /* the cdrom, if any, is among them */
	enum boot_device boot[BOOT_MAX];
	size_t boot_count;
	struct nic_def nics[NICS_MAX];
	size_t nic_count;
	bool agent, autostart, rng;
	enum console_kind consoles[CONSOLES_MAX]; /* the first is serial */
	size_t console_count;
	struct vnc_def vnc;
	struct watchdog_def watchdog;
	struct boot_menu_def boot_menu;
	struct autostart_def autostart_how;
	enum display display;
	struct tpm_def tpm;
	enum on_crash on_crash;
	enum on_reboot on_reboot;
	struct cloud_init_def cloud_init;
	struct ready_def ready;
	char *qemu_args[QEMU_ARGS_MAX];
	size_t qemu_arg_count;
	struct install_def install;
	char runner[80]; /* the `roost smoke` that it belongs to; "" if none: smoke.h */
	struct identity issued;
};

/*
 * What people write, YAML or JSON (which is YAML), from a file or "-" for standard input. Errors
 * are "FILE:LINE: ...". Files that the definition names must exist and be readable; images are
 * looked at (images/qcow2.h) and refused if they may not enter. Reads `paths` only to resolve
 * image names of the store. Built in definition_yaml.c, which alone needs libyaml: only `roost`
 * links it.
 */
struct definition *definition_read(const char *file, struct err *err);
/* The same from text; `file` names it in errors, `folder` resolves relative paths. */
struct definition *definition_parse(
	const char *text, size_t len, const char *file, const char *folder, struct err *err);

/*
 * What people could have written to get this guest, for `edit` and `dumpyaml`: definition_parse() makes
 * the same of it, but for `issued` and the disks' files, which roostd keeps by their targets.
 * definition_dump.c, with libyaml as above. Freed by the caller.
 */
char *definition_to_yaml(const struct definition *d);

/* guest.json's form, and back: the same checks, without lines. roostd trusts no client's JSON. */
json_t *definition_to_json(const struct definition *d);
struct definition *definition_from_json(const json_t *json, struct err *err);
/* A VGA card: VNC needs one, too. */
static inline bool definition_has_display(const struct definition *d)
{
	return d->display == DISPLAY_VGA || d->vnc.enabled;
}
void definition_free(struct definition *d);
static inline void definition_cleanup(struct definition **d)
{
	definition_free(*d);
}
#define _cleanup_definition_ _cleanup_(definition_cleanup)

/* A fresh random UUID (version 4), MAC (52:54:00:...), and 12-digit id, from getrandom(). */
void uuid_new(char out[37]);
void mac_new(char out[18]);
void id_new(char out[13]);

/* The first `target` of that bus that no disk has: "vdb". */
int disk_free_target(const struct definition *d, enum disk_bus bus, char out[8], struct err *err);
/*
 * One disk, one interface, from arguments (attach-disk), in guest.json's form and checked as there.
 * What only the whole definition can tell is left to the caller: `file` (NULL) and `target` ("")
 * if the arguments name none, `mac` (""), and that they are not taken.
 */
int disk_from_json(const json_t *json, struct disk_def *out, struct err *err);
json_t *disk_to_json(const struct disk_def *d);
int nic_from_json(const json_t *json, struct nic_def *out, struct err *err);
json_t *nic_to_json(const struct nic_def *n);
void disk_free(struct disk_def *d);
/* "serial0", "serial1", "hvc0": what the guest, and the user, calls its console number `index`. */
void console_name(const struct definition *d, size_t index, char out[16]);
/* Its files: "console.log" and "console.in" of the first one, "hvc0.log" and so on. */
void console_file(const struct definition *d, size_t index, const char *suffix, char out[24]);
/* By its target, or its `path`; NULL: there is none. */
struct disk_def *definition_disk(struct definition *d, const char *target_or_path);
/* Takes one of its disks out; NULL: none. */
void definition_drop_disk(struct definition *d, struct disk_def *disk);

#endif
