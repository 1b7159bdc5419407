/*
 * The supervisor: owns what the host has one of. It spawns keepers, reaps, re-attaches, and serves
 * `define`, `start` and the like on $RUN/roostd.sock. It never waits for a keeper: one loop polls
 * everything, and what takes long (making a guest's folder) is a worker, a forked child with
 * straight-line code and a pipe.
 *
 * roostd is the first QMP client of every keeper: it sends `roost-start` or `roost-adopt`, and hears
 * ROOST_WANTS_KILL. It holds no fact of its own: killed and started again, it finds the keepers by
 * their locks in $RUN/g and the guests without a keeper by their status files.
 */
#ifndef ORCHESTRATOR_ROOSTD_H
#define ORCHESTRATOR_ROOSTD_H

#include "base/proc.h"
#include "orchestrator/definition.h"
#include "qmp/client.h"
#include "qmp/command.h"
#include "qmp/server.h"

/* A client's command that waits for something to happen to a keeper. */
struct waiting {
	struct waiting *next;
	struct request *request;
};

struct keeper {
	struct keeper *next;
	char name[64];
	char id[13];
	struct proc proc; /* empty for one that a former roostd spawned */
	struct qmp *link;
	bool stirred;              /* poll() said so of its link, or the link is new */
	uint64_t call;             /* roost-start or roost-adopt, unanswered; 0: none */
	uint64_t hello;            /* roost-supervise, unanswered; 0: none */
	struct request *starter;   /* who asked for the start; NULL when adopting */
	struct waiting *attenders; /* answered when it serves the guest */
	struct waiting *followers; /* start, undefine: its guest has ended, it is just ending */
	bool found;                /* by its socket, not spawned: it serves when it has answered */
	bool served;               /* the start or the adoption is done */
	unsigned failures;         /* adoptions in a row that failed */
	int64_t retry_at;          /* when to spawn the next one; 0: not planned */
};

struct worker {
	struct worker *next;
	struct child child;
	struct buf output;
	struct request *request;
	bool ending; /* it has been asked to end */
};

struct supervisor {
	struct server *server;
	struct keeper *keepers;
	struct worker *workers;
	struct watched *networks;
	int64_t networks_due; /* when to look at all of them */
	int signals;          /* signalfd */
	bool activated;       /* systemd made the listener, and keeps it */
	bool stays;           /* does not end when idle: roost-stay */
	dev_t socket_dev;     /* the socket's file, if we have made it */
	ino_t socket_ino;
	int64_t idle_since;
	bool quit;
	int lock;         /* roostd.lock */
	int64_t home_due; /* when to look whether that and the socket are still there */
};

extern const struct command supervisor_commands[];
/* May it change things here, and does it? Then who asked is told in $STATE/events.jsonl. */
void supervisor_tell(struct supervisor *s, const struct request *request);
/* Runs a client's command; answers it unless the handler keeps it. roostd.c */
void supervisor_run(struct supervisor *s, struct request *request);

/*
 * The lock, held for life, and the listener: systemd's, or our own. A second supervisor is ERR_BUSY
 * and leaves the first one alone, but that systemd's takes the place of one that a command had
 * started: the socket's name is systemd's now, and nobody could reach that one any more.
 * roostd_listen.c
 */
int supervisor_listen(struct supervisor *s, struct err *err);
/*
 * Who may change things: root, the user whose instance this is, members of its group. The socket's
 * mode says the same, but it may come from a unit file.
 */
int may_change(const struct supervisor *s, const struct request *r, struct err *err);
/* About every second: makes socket and lock anew if they have vanished. */
void supervisor_look_home(struct supervisor *s);
/* Removes the socket, if it is still ours. */
void supervisor_unlisten(const struct supervisor *s);

/* roostd_kill.c */
/* SIGKILL for a keeper that does not answer; its successor adopts the guest. */
int keeper_kill(struct keeper *k, struct err *err);
/* SIGKILL for its QEMU, as it asks: `data` is {pid, start}. */
void keeper_kill_qemu(struct keeper *k, const json_t *data);

/* roostd_keepers.c */
struct keeper *keeper_find(struct supervisor *s, const char *name);
/*
 * Has the guest ended, and only its keeper not yet? Then the request is run again when it has: what
 * is true of the guest for who asked is true for us.
 */
bool keeper_follow(struct keeper *k, struct request *request);
/* Finds living keepers and orphaned guests in $RUN/g. */
void keepers_find_all(struct supervisor *s);
/* Takes over a guest that runs without a keeper; NULL when it does not run. */
struct keeper *keeper_adopt(
	struct supervisor *s, const char *name, const char *id, struct err *err);
/* It does, as far as can be told now. */
bool keeper_serves(const struct keeper *k);
/* A keeper for it at once, if it has none: the next try may be seconds away. */
int keeper_want(struct keeper *k, struct err *err);
int keeper_start(struct supervisor *s, const struct definition *d, const json_t *args,
	struct request *request, struct err *err);
/* Looks at the links where something stirs; spawns successors of keepers that died. */
void keepers_look(struct supervisor *s);
size_t keepers_poll_fds(struct supervisor *s, struct pollfd *fds, size_t max);
/* What poll() said of the `count` that keepers_poll_fds() filled in. */
void keepers_polled(struct supervisor *s, const struct pollfd *fds, size_t count);
int64_t keepers_deadline(const struct supervisor *s);

/* Finds networks, starts those anew whose processes were killed. roostd_networks.c */
void networks_look(struct supervisor *s);
size_t networks_poll_fds(const struct supervisor *s, struct pollfd *fds, size_t max);
int64_t networks_deadline(const struct supervisor *s);

/*
 * Which interfaces on networks were plugged into a guest that has ended, as its folder in $RUN tells: once. And with
 * "address" those that it ran with and has no more; "changed": it is defined with others.
 */
json_t *networks_plugged(const char *guest, int runs, const char *id);
/* Gives back their addresses when that folder has gone; `plugged` stolen. */
void networks_release(struct supervisor *s, json_t *plugged);

/* Reaps all that ended; records how an orphaned QEMU did. roostd_reap.c */
void keepers_reap(struct supervisor *s);

/* roostd_home.c */
/* The folder of a guest in $RUN, its keeper's; opened. */
int home_make(const char *name, const char *id, struct err *err);
enum home {
	HOME_NONE,    /* no such guest runs */
	HOME_TO_COME, /* its keeper lives and is about to fill the folder, which is there */
	HOME_STANDS,  /* there is a status file in it again, by which the guest can be adopted */
};
/* What has vanished of a running guest's folder in $RUN comes back, as `running` in $STATE tells. */
enum home home_restore(const char *name, const char *id);
/* Calls `found` with the name and the id of each guest that runs, as `running` tells, unknown to us. */
void home_find_lost(struct supervisor *s,
	void (*found)(struct supervisor *s, const char *name, const char *id));

/* op_undefine.c: of a guest that runs; it is undefined when it has ended. */
int undefine_mark(const json_t *args, json_t **ret, struct err *err);
/* One that has ended, if it is marked so; at once but for the removing, which a child does. */
void undefine_marked(const char *name);
/* The same of all that do not run: they ended while no roostd was there. */
void undefine_all_marked(struct supervisor *s);

/* roostd_workers.c */
typedef int worker_fn(const json_t *args, json_t **ret, struct err *err);
/* Runs `work` in a child; its result answers the request. */
int worker_start(struct supervisor *s, worker_fn *work, struct request *request, struct err *err);
void workers_look(struct supervisor *s);
/* For a worker: what has become of a guest's definition, told to all clients: ROOST_DEFINED, ROOST_UNDEFINED. */
void worker_tell_definition(const char *event, const char *guest, const char *how);
/*
 * For a worker: how far it has come with a "guest" or an "image", told to all clients as ROOST_PROGRESS, but
 * not more than some times a second.
 */
void worker_progress(
	const char *kind, const char *name, const char *step, int64_t done, int64_t total);
/*
 * Asks the worker to end that makes a guest, or an image, of that name; the command that it is at, or NULL.
 * It undoes what it has done, and says so (base/signals.h).
 */
const char *worker_cancel(struct supervisor *s, const char *kind, const char *name);
/* What is being done to a guest, or to its name: "defined", "undefined"; NULL: nothing. */
const char *worker_changes(const struct supervisor *s, const char *name);
/* The names of all to which something is being done. */
json_t *workers_guests(const struct supervisor *s);
size_t workers_poll_fds(struct supervisor *s, struct pollfd *fds, size_t max);

/*
 * Removes what workers that were killed have left; `surely`: one was, else it is looked whether there is
 * something. roostd_clean.c
 */
void leftovers_clean(bool surely);

/* What workers do; one file each. */
int op_define(const json_t *args, json_t **ret, struct err *err);
/* The "files" of roost-define into a new guest's folder, each checked: define_files.c */
int define_take_files(int dir, const struct definition *d, const void *args, struct err *err);
int op_undefine(const json_t *args, json_t **ret, struct err *err);
int op_disk_size(const json_t *args, json_t **ret, struct err *err);
int op_host_key(const json_t *args, json_t **ret, struct err *err);
int op_nic_issue(const json_t *args, json_t **ret, struct err *err);
int op_nic_release(const json_t *args, json_t **ret, struct err *err);
int op_doctor(const json_t *args, json_t **ret, struct err *err);
int op_df(const json_t *args, json_t **ret, struct err *err);
int op_file_look(const json_t *args, json_t **ret, struct err *err);
int op_capabilities(const json_t *args, json_t **ret, struct err *err);
int op_rename(const json_t *args, json_t **ret, struct err *err);
/* Of guests that do not run; op_snapshot.c */
int op_snapshot_create(const json_t *args, json_t **ret, struct err *err);
int op_snapshot_revert(const json_t *args, json_t **ret, struct err *err);
int op_snapshot_tidy(const json_t *args, json_t **ret, struct err *err);
int op_snapshot_delete(const json_t *args, json_t **ret, struct err *err);
int op_sysprep(const json_t *args, json_t **ret, struct err *err);
int op_clone(const json_t *args, json_t **ret, struct err *err);
/* Before a clone's first start or snapshot; the answer's "identity-said" is for who asked: "", or why nothing was done. */
int op_renew(const json_t *args, json_t **ret, struct err *err);
int op_blockpull_off(const json_t *args, json_t **ret, struct err *err);
int op_blockcommit_off(const json_t *args, json_t **ret, struct err *err);
/* op_managed.c */
int op_managed_save(const json_t *args, json_t **ret, struct err *err);
int op_managed_snapshot(const json_t *args, json_t **ret, struct err *err);
int op_managed_check(const json_t *args, json_t **ret, struct err *err);
int op_managed_start(const json_t *args, json_t **ret, struct err *err);
int op_managed_remove(const json_t *args, json_t **ret, struct err *err);
int op_template(const json_t *args, json_t **ret, struct err *err);
/* Of the store: roostd_images.c */
/* args.command says which: image_change.h */
int op_image_change(const json_t *args, json_t **ret, struct err *err);
int op_image_unrecorded(const json_t *args, json_t **ret, struct err *err);
/* Of networks: op_network.c, op_network_update.c */
int op_network_define(const json_t *args, json_t **ret, struct err *err);
int op_network_undefine(const json_t *args, json_t **ret, struct err *err);
int op_network_start(const json_t *args, json_t **ret, struct err *err);
int op_network_destroy(const json_t *args, json_t **ret, struct err *err);
int op_network_autostart(const json_t *args, json_t **ret, struct err *err);
int op_network_host(const json_t *args, json_t **ret, struct err *err);
int op_network_publish(const json_t *args, json_t **ret, struct err *err);
/* Puts into a new guest's folder what it begins with; the rest is made. */
typedef int define_first_fn(
	int dir, const struct definition *d, const void *about, struct err *err);
/*
 * A new guest with an identity of its own, whose disks stand on what those of `like` are recorded to
 * stand on. op_define.c
 */
int define_another(struct definition *d, const struct definition *like, define_first_fn *first,
	const void *about, struct err *err);
/*
 * Two names that differ in case only would be one DNS name: refused, unless the other one is `own`.
 * op_define.c
 */
int name_check_free(const char *name, const char *own, struct err *err);

#endif
