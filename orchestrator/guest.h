/*
 * One running guest, as its keeper sees it. A keeper is a process with one `struct guest`; an
 * operation (op_*.c) is a function on it that reads from top to bottom and sleeps only in
 * guest_wait().
 *
 * Newcomers: read op_start.c next, then guest_wait.c.
 */
#ifndef ORCHESTRATOR_GUEST_H
#define ORCHESTRATOR_GUEST_H

#include "base/clock.h"
#include "base/proc.h"
#include "orchestrator/definition.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/status.h"
#include "qmp/client.h"
#include "qmp/command.h"
#include "qmp/server.h"

struct pass; /* a command passed through to QEMU, waiting for its reply: guest_wait.c */
struct ask;  /* a question to the guest's agent: guest_ask.c */

struct guest {
	struct definition *def;
	struct status status; /* what the status file says; write it by guest_tell() */
	int dir;              /* $STATE/guests/NAME, ours */
	int run;              /* $RUN/g/ID, ours */
	int64_t home_due;     /* when to look whether that is still there */
	int lock;             /* held while this keeper lives; came from roostd */

	struct proc qemu;
	bool qemu_is_child; /* we forked it; else we adopted it */
	bool qemu_ended;
	int qemu_status; /* waitpid()'s, when known */
	bool qemu_status_known;
	struct proc tpm; /* its swtpm: tpm.h */
	bool tpm_is_child;
	char tpm_end[64]; /* how it ended, when known */
	int64_t tpm_gone_at; /* clock_ms when that was seen and not yet told; 0: it lives, or is told */
	struct {
		char file[200];          /* whose counter of kills for want of memory */
		uint64_t before, latest; /* what it was at the last look but one, and at the last */
		int64_t due;
	} oom; /* guest_look_for_oom() */

	struct qmp *qmp;           /* to QEMU; NULL before it is there */
	struct server *server;     /* our own face on guest.sock; roostd is a client like others */
	uint64_t supervisor;       /* roostd's connection among the clients; 0: none */
	json_t *starter;           /* who asked for the start, until that is told; else NULL */
	struct request *enders[8]; /* commands that are answered when the guest has ended */
	size_t ender_count;
	struct request *held[32]; /* came during the adoption; served after it */
	size_t held_count;

	/* the operation at work */
	const struct command *operation; /* NULL: idle */
	uint64_t operation_client;
	bool cancelled; /* somebody asked for it; guest_wait() also sees its client go away */
	bool undoing;   /* it undoes itself, or must not stop here: cancelling it says nothing */

	/* what QEMU told about the guest's end, kept until it is needed */
	char ending[64]; /* "guest-shutdown", "host-qmp-quit", "guest-panic", ... */
	bool failed_to_start;
	bool destroying;       /* we are ending it on purpose */
	char destroyed_by[64]; /* "destroyed" or "shut down by X": the reason to record */
	char shutdown_by[24]; /* the rung that was asked last: "agent", "ACPI button"; "" if none */
	char agent_said[160]; /* why its agent was not asked to power off; "" if it was */
	int64_t shutdown_until; /* then it has not shut down, and is told as running again */
	bool run_after_reset;   /* the CPUs are stopped, and shall run when it is reset */
	int64_t reboot_until;   /* a power-off before it is followed by a reset; 0: none is */
	int64_t press_due;      /* then the ACPI button is pressed again; 0: no more */
	int64_t press_boots;    /* for one that shall be rebooted: its boots until then */
	bool paused_by_user;
	int64_t resets[8];    /* clock_ms of the last guest resets, a ring */
	unsigned reset_count; /* by the guest */
	int64_t reset_by_us;  /* clock_ms of the last one that was not the guest's wish */
	unsigned boots;       /* resets by whomever */

	int64_t heartbeat_due;
	uint64_t heartbeat_call;
	struct pass *passes;
	struct ask *asks;

	struct install *install; /* starting with an installer: install.h; else NULL */
	bool installed;          /* it has stopped at the reset that ends its installation */
	struct restore *restore; /* starting from what was saved: save.h; else NULL */
	bool restored;           /* it was */
	bool saving; /* its CPUs stand still for an operation of ours, for nobody else */

	int console_fds[CONSOLES_MAX]; /* the logs, for punching holes; -1: not there */
	int qmp_log_fd;
	int vnc_fd;         /* listens for viewers; -1 without VNC */
	struct disk_place { /* where a disk's bytes go, to see when there is space again */
		char target[8];
		int fd; /* O_PATH on its active layer */
	} places[DISKS_MAX];
	size_t place_count;
	json_t *attached;    /* what was plugged since the start: attached.h */
	char failed_disk[8]; /* io-error: the disk that failed; "" if none */
	bool failed_for_space;
};

/* ---- waiting: guest_wait.c ----------------------------------------------------------------- */

enum wake {
	WAKE_DEADLINE,  /* the deadline passed */
	WAKE_REPLY,     /* the reply to `call` is there */
	WAKE_EVENT,     /* an event that `wants` wanted came; it is in `event` */
	WAKE_FD,        /* `fd` is ready */
	WAKE_REQUEST,   /* a changing command waits in `request` (only if `requests` was set) */
	WAKE_CANCEL,    /* the operation was cancelled */
	WAKE_GONE,      /* QEMU has ended */
	WAKE_INSTALLED, /* g->installed; only if `requests` was set */
};

struct wait {
	int64_t deadline;
	uint64_t call;                                         /* 0: no reply is waited for */
	bool (*wants)(const json_t *event, const void *about); /* NULL: no event */
	const void *about;
	int fd; /* -1: none */
	short fd_events;
	bool requests;
	int result; /* WAKE_REPLY: as qmp_take_reply(), with `reply` or `err` */
	json_t *reply;
	struct err err;
	json_t *event;           /* WAKE_EVENT: owned by the caller */
	struct request *request; /* WAKE_REQUEST: owned by the caller */
};
#define WAIT_FOR(...)                                                                              \
	(struct wait)                                                                              \
	{                                                                                          \
		.fd = -1, __VA_ARGS__                                                              \
	}

/*
 * The one function that sleeps. Meanwhile it serves quick requests, passes commands through,
 * sorts QEMU's events, stamps the status file, keeps the console bounded.
 */
enum wake guest_wait(struct guest *g, struct wait *w);
/* A QMP command to QEMU and its reply, through guest_wait(). `args` stolen; reply may be NULL. */
int guest_qmp(struct guest *g, const char *command, json_t *args, int64_t timeout_ms,
	json_t **reply, struct err *err);
int guest_qmp_fds(struct guest *g, const char *command, json_t *args, const int *fds,
	size_t fd_count, int64_t timeout_ms, json_t **reply, struct err *err);
/* Runs a command of our table now; answers it unless the handler keeps it. */
void guest_run(struct guest *g, struct request *request);
/* The error of an operation that WAKE_CANCEL has ended. Returns -1. */
int guest_cancelled(const struct guest *g, struct err *err);
/* For handlers: this request is answered by guest_end(). Returns DEFERRED. */
int guest_answer_at_end(struct guest *g, struct request *request);
#define DEFERRED 1
/* An event by its name, and with data.KEY equal to VALUE if `key` is not NULL. */
struct event_match {
	const char *name;
	const char *key, *value;
};
bool any_event(const json_t *event, const void *unused);
bool event_matches(const json_t *event, const void *match);

/* ---- telling: guest_tell.c ----------------------------------------------------------------- */

/* Writes the status file; a change of state is also an event and a line of events.jsonl. */
void guest_tell(struct guest *g, enum guest_state state, const char *reason_fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The status file anew, with the stamp as it is. */
void guest_tell_status(struct guest *g);
/* An event of QEMU's to all clients and into events.jsonl. */
void guest_pass_event(struct guest *g, const json_t *event);
/* An event of ours to all clients and into events.jsonl; `data` stolen. */
void guest_event(struct guest *g, const char *name, json_t *data);
/* ROOST_COMMAND: who has sent a command that changes something; `who` of event_who(), stolen. */
void guest_tell_command(struct guest *g, const char *command, json_t *who);
/* The same of the start, when its line can be written by our own uid. */
void guest_tell_starter(struct guest *g);
/* {"event":"ROOST_PROGRESS"}: step of the operation at work, 0..total. */
void guest_progress(struct guest *g, const char *step, int64_t done, int64_t total);
/* A rung of readiness is reached, `ms` after the start: the timeline. The first time counts. */
int guest_note_rung(struct guest *g, const char *rung, int64_t ms, struct err *err);
/* QEMU's own event: updates what we know, passes it on. guest_events.c */
void guest_on_qemu_event(struct guest *g, const json_t *event);
/* What QEMU stopped the CPUs for while nobody listened, by query-status: as its event would. */
void guest_on_found_stopped(struct guest *g, const char *status);
/* For a guest whose CPUs are stopped by its power-off or its panic. */
void guest_reset_and_run(struct guest *g);
/* The answer to our query-status: stamps, and corrects what events did not tell. */
void guest_on_qemu_status(struct guest *g, const json_t *reply);
/* One that is on its way is older than what is told now; another is asked for at once. guest_wait.c */
void guest_forget_status(struct guest *g);
/* Disks out of space: resumes when there is some again. Called about every second. */
void guest_try_resume(struct guest *g);
/* An I/O error has stopped it, of this block node. */
void guest_disk_failed(struct guest *g, const char *node, bool for_space);

/* ---- its folders: guest_home.c --------------------------------------------------------------- */

/* "/proc/self/fd/N/FILE", a path of any guest's folder in $STATE that is short enough for sockets. */
char *guest_own_path(const struct guest *g, const char *name);
/* $STATE/guests/NAME/running: it runs, should $RUN be lost. Written when it does. */
void guest_note_running(struct guest *g);
/* What is written there at a start or later, and read by others; only if it is lacking. */
void guest_fill_home(struct guest *g);
/* Called about every second: makes the folder in $RUN anew if it has vanished. */
void guest_look_home(struct guest *g);

/* ---- ending: guest_end.c ------------------------------------------------------------------- */

/* Learns how QEMU exited, if that can be known and is not yet. */
void guest_learn_exit(struct guest *g);
/* QEMU has ended: works out why, records it, removes what $RUN holds. */
void guest_end(struct guest *g);
/* SIGKILL through the pidfd, by roostd if our uid may not. */
int guest_kill(struct guest *g, struct err *err);
/* The same for another process at QEMU's uid. */
int guest_kill_process(struct guest *g, const struct proc *p, struct err *err);
/* g->ending by the log that QEMU itself keeps, if it is not known. */
void guest_find_ending(struct guest *g);
/* Takes note of the OOM killer's counter, for when QEMU has got SIGKILL: guest_end.c */
void guest_look_for_oom(struct guest *g);

/* ---- the keeper's commands: keeper_commands.c; operations: one file each -------------------- */

extern const struct command keeper_commands[];

/* A file in $RUN that is the keeper's: access_open(), 0600. */
int guest_open_in_run(const struct guest *g, const char *name, int flags, struct err *err);
int op_start(struct guest *g, bool paused, int64_t number, struct err *err);
/* The part after QEMU answers, which recovery repeats: console, then the CPUs. */
int start_finish(struct guest *g, struct err *err);
int op_adopt(struct guest *g, struct err *err);
/* Connects to the QEMU behind qmp.sock and waits until it answers. */
int guest_connect_qemu(struct guest *g, int64_t deadline, struct err *err);
int op_suspend(struct guest *g, struct err *err);
int op_resume(struct guest *g, struct err *err);
int op_reset(struct guest *g, struct err *err);
/* Ends QEMU by `quit`, then (unless graceful) by SIGKILL. WAKE_GONE follows. */
int op_destroy(struct guest *g, const char *reason, bool graceful, struct err *err);
/* From root to the keeper's uid, for good; nothing to do without root. */
int keeper_drop(const struct guest *g, struct err *err);
/* Bounds the console's and QMP's logs by punching holes over their old parts. */
void guest_bound_logs(struct guest *g);
void guest_add_place(struct guest *g, const char *target, int disk_fd);
/* The same of a disk of the definition, by the record of its snapshots. */
void guest_find_place(struct guest *g, const json_t *record, const struct disk_def *d);

/* Asks the guest to power off: agent, then the ACPI button again and again. op_shutdown.c */
enum { ASK_AGENT = 1, ASK_ACPI = 2 };
int op_shutdown(struct guest *g, unsigned rungs, int64_t timeout_ms, bool wait, struct err *err);
int op_reboot(struct guest *g, unsigned rungs, int64_t timeout_ms, bool wait, struct err *err);
/* Presses again for those who have not waited, if it is time to. Called about every second. */
void guest_press_again(struct guest *g);
/* `bytes` of RAM, by balloon and plugged memory; *now is what the guest has then. op_memory.c */
int op_setmem(struct guest *g, uint64_t bytes, int64_t timeout_ms, struct err *err);
json_t *op_memstat(struct guest *g, struct err *err);
/* What QEMU says that the guest has now; 0 when it does not say. */
int64_t memory_now(struct guest *g);
/* op_vcpus.c */
int op_setvcpus(struct guest *g, unsigned count, struct err *err);
/* Files of attach-disk come with the request, active layer first. op_disk.c */
int op_attach_disk(struct guest *g, const json_t *disk, const json_t *layers, struct request *files,
	json_t **ret, struct err *err);
int op_detach_disk(struct guest *g, const char *target, int64_t timeout_ms, struct err *err);
int op_blockresize(struct guest *g, const char *target, uint64_t bytes, struct err *err);
/* op_interface.c */
int op_attach_interface(
	struct guest *g, const json_t *args, struct request *files, json_t **ret, struct err *err);
/* Pulls the cable of an interface, or plugs it in: op_link.c. */
int op_set_link(struct guest *g, const char *word, bool up, struct err *err);
/* As the definition has them, and what was saved; before the CPUs run. */
int links_begin(struct guest *g, struct err *err);
/* Of one that is plugged now: whatever was known of a former one of its name. */
int link_set(struct guest *g, const char *nic, bool up, struct err *err);
void link_forget(struct guest *g, const char *nic);
int op_detach_interface(struct guest *g, const char *mac, int64_t timeout_ms, struct err *err);
/* "eject", "insert" or "update"; the medium's file comes with the request. op_media.c */
int op_change_media(struct guest *g, const char *drive, const char *mode, const char *medium,
	bool force, struct request *files, struct err *err);
/* Whatever medium is in that drive, locked or not; again, if that was begun. */
int media_take_out(struct guest *g, const char *drive, struct err *err);
/* RAM into the pipe that came with the request, then QEMU's end: save.h, op_save.c. */
int op_save(struct guest *g, bool managed, struct request *files, struct err *err);
/* All disks as they are at one instant, into the file that came with the request. op_backup.c */
int op_backup(
	struct guest *g, const json_t *args, struct request *files, json_t **ret, struct err *err);
/* Copies up what lies below a disk's active layer; at most `speed` bytes per second if not 0. */
int op_blockpull(struct guest *g, const char *target, int64_t speed, struct err *err);
/* All disks at one instant, and RAM if asked for, into layers in the guest's folder. op_snapshot_live.c */
int op_snapshot_live(struct guest *g, const json_t *args, struct request *files, struct err *err);
/* The layers alone; *ret: {"layers": {"vda": what is written to no more}}. */
int op_freeze_disks(struct guest *g, json_t **ret, struct err *err);
/* Back to a snapshot, by QEMU's end. op_revert.c */
int op_revert(struct guest *g, const char *name, struct err *err);
/* Gives up snapshots, merging by block jobs. op_snapshot_delete.c */
int op_snapshot_delete_live(struct guest *g, const json_t *args, struct err *err);
/* Merges layers of a disk that no snapshot and no clone needs; the top goes down, too. The same file. */
int op_blockcommit(struct guest *g, const char *target, int64_t speed, struct err *err);
/* Commits a disk's own chain into a file below, which comes with the request: op_blockcommit.c */
int op_blockcommit_into(
	struct guest *g, const json_t *args, struct request *files, struct err *err);
/* A PNG into the file that came with the request. op_screenshot.c */
int op_screenshot(struct guest *g, struct request *file, struct err *err);
/* *ret: what the agent returned; NULL of a command that answers nothing. op_agent.c */
int op_agent(struct guest *g, const char *command, const json_t *args, int64_t timeout_ms,
	json_t **ret, struct err *err);
/* What recovery does with what a keeper left half done. */
int recover_attach_disk(struct guest *g, const json_t *journal, struct err *err);
int recover_attach_interface(struct guest *g, const json_t *journal, struct err *err);
int recover_backup(struct guest *g, const json_t *journal, struct err *err);
int recover_blockcommit(struct guest *g, const json_t *journal, struct err *err);
int recover_blockpull(struct guest *g, const json_t *journal, struct err *err);
int recover_change_media(struct guest *g, const json_t *journal, struct err *err);
int recover_revert(struct guest *g, const json_t *journal, struct err *err);
int recover_snapshot(struct guest *g, const json_t *journal, struct err *err);
int recover_snapshot_delete(struct guest *g, const json_t *journal, struct err *err);
int recover_save(struct guest *g, const json_t *journal, struct err *err);
int recover_setvcpus(struct guest *g, const json_t *journal, struct err *err);

/* The guest's agent, connected, waiting through guest_wait(); closed by agent_close(). */
struct agent;
struct agent *guest_agent(struct guest *g, struct err *err);
/* Has the guest a channel for its agent? And has a process in it opened that, by query-chardev? */
int agent_check_channel(const struct guest *g, struct err *err);
int agent_check_listens(const struct guest *g, const json_t *chardevs, struct err *err);

#endif
