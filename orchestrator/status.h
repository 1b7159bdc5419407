/*
 * A guest's states, and the small file in which its keeper tells the current one.
 *
 * $RUN/g/ID/status is one JSON object, replaced whole by the keeper at every change and stamped
 * every second after QEMU has answered. Anyone may look without waking anybody. `roost list`
 * reads nothing else of a running guest.
 *
 * $STATE/guests/NAME/last says, in the same form, how the guest ended the last time it ran; while it
 * runs, that it was started, and in which boot of the host, for the host may go down under it.
 */
#ifndef ORCHESTRATOR_STATUS_H
#define ORCHESTRATOR_STATUS_H

#include "base/json.h"
#include "base/proc.h"

enum guest_state {
	GUEST_SHUT_OFF,    /* no QEMU; may be started, redefined, undefined */
	GUEST_STARTING,    /* QEMU is there, its CPUs never ran yet; may be destroyed */
	GUEST_RUNNING,     /* CPUs run; everything is allowed */
	GUEST_PAUSED,      /* CPUs stopped by someone's wish; may be resumed; all but shutdown */
	GUEST_IN_SHUTDOWN, /* asked to power off, has not yet; may be destroyed */
	GUEST_MIGRATING,   /* its RAM is on its way; only looking and cancelling */
	GUEST_CRASHED, /* panicked and kept for inspection, or QEMU died; reset, destroy or start */
	GUEST_UNRESPONSIVE, /* QEMU has not answered for 2 s; may be destroyed */
	GUEST_IO_ERROR,     /* CPUs stopped by QEMU as a disk failed; resumes when it can */
	GUEST_BROKEN,       /* its record cannot be read; may be redefined or undefined */
	GUEST_STATE_MAX
};

const char *guest_state_name(enum guest_state state);
enum guest_state guest_state_of(const char *name); /* GUEST_BROKEN for a word that is none */

enum { TIMELINE_MAX = 32 };

/* A stamp older than this means `unresponsive`. */
#define STATUS_STALE_MS 2000

struct status {
	char name[64];
	char id[13];
	int64_t number; /* the small Id, +1 per start */
	enum guest_state state;
	char reason[160];     /* "guest poweroff", "disk0: no space"; may be empty */
	char accel[8];        /* "kvm", "tcg" */
	char accel_said[256]; /* why, and the remedy, if it is not what one would wish */
	char busy[96];        /* the changing operation at work, "" if none */
	pid_t keeper_pid, qemu_pid;
	uint64_t keeper_start, qemu_start;
	pid_t tpm_pid; /* its swtpm's; 0: the guest has no TPM */
	uint64_t tpm_start;
	char tpm_gone[128]; /* "swtpm is gone: it was killed by signal 9"; "" as long as it lives */
	int64_t stamp;      /* clock_ms() of QEMU's last answer */
	char boot[37];      /* the host's boot in which it was started: boot_id() */
	int64_t started;    /* clock_ms() when QEMU was forked */
	int64_t started_wall; /* seconds since 1970 */
	int64_t console_from; /* where this boot begins in console.log */
	int64_t memory;       /* bytes the guest has now (balloon and plugged memory counted) */
	int64_t vcpus;
	bool paused_start; /* `start --paused`: recovery must not run it; false once it was resumed */
	json_t *timeline; /* {RUNG: ms since the start}, owned; may be NULL */
	json_t *forwards; /* [{"host","port","guest_port","udp"}], owned; may be NULL */
};

/* What an earlier boot of the host has left does not run, whatever it says. */
bool status_of_this_boot(const struct status *s);
int status_write(int run_dir, const struct status *s, struct err *err);
int status_read(int dir, const char *file, struct status *out, struct err *err);
/*
 * The same for who tells the state: `unresponsive` if the stamp is too old. On a host that stood still itself for seconds all
 * are; so a guest whose keeper and QEMU live, neither stopped, is given half a second, once in the life of a program.
 */
int status_look(int dir, const char *file, struct status *out, struct err *err);
void status_free(struct status *s);
#define _cleanup_status_ _cleanup_(status_free)

/* $STATE/guests/NAME/running, for when $RUN is lost (guest_home.c). */
int status_write_running(int guest_dir, const struct status *s, struct err *err);
/*
 * How it ended, into the guest's folder (file "last"). A crash is also told by the file "crashed",
 * a second name of it, so that `list` need not read how a thousand others ended.
 */
int status_write_last(int guest_dir, const struct status *s, struct err *err);

#endif
