/*
 * Starting a guest.
 *
 * While the keeper is still root it opens everything that QEMU will hold, and forks QEMU into its
 * jail (launch.c). Then it drops to its own uid for good. QEMU stands with its CPUs stopped; the
 * console is connected; the CPUs go. A failure on the way leaves nothing: QEMU is killed, $RUN is
 * emptied.
 */
#include "orchestrator/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/accel.h"
#include "orchestrator/access.h"
#include "orchestrator/argv.h"
#include "orchestrator/attached.h"
#include "orchestrator/claim.h"
#include "orchestrator/consoles.h"
#include "orchestrator/install.h"
#include "orchestrator/journal.h"
#include "orchestrator/paths.h"
#include "orchestrator/ports.h"
#include "orchestrator/record.h"
#include "orchestrator/tpm.h"
#include "orchestrator/save.h"
#include "orchestrator/snapshots.h"
#include "orchestrator/vnc.h"

enum {
	QEMU_UP_MS = 30000,  /* until its first reply; 30 ms as a rule, more on a host in trouble */
	QEMU_ENDS_MS = 5000, /* some 10 ms as a rule */
	QMP_QUEUE = 2,
};

/* ---- what is opened beforehand ------------------------------------------------------------------ */

int guest_open_in_run(const struct guest *g, const char *name, int flags, struct err *err)
{
	return access_open(g->run, name, flags, 0600, g->def->issued.keeper_uid, err);
}

/* In its own folder, where no cleaner of /run takes the name away: guest_home.c. */
static int listen_for_qemu(const struct guest *g, const char *name, struct err *err)
{
	_cleanup_free_ char *path = guest_own_path(g, name);
	_cleanup_close_ int fd = sock_listen(path, QMP_QUEUE, err);
	if (fd < 0 || access_give_at(g->dir, name, g->def->issued.keeper_uid, err) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int open_disks(struct guest *g, struct opened *o, struct err *err)
{
	for (size_t i = 0; i < g->def->disk_count; i++) {
		if (g->install && str_eq(g->def->disks[i].target, g->def->install.drive))
			continue;
		if (disk_open(&g->def->disks[i], g->dir, &o->disks[i], err) < 0)
			return -1;
		if (o->disks[i].count)
			guest_add_place(g, g->def->disks[i].target, o->disks[i].layers[0].fd);
	}
	return 0;
}

/* Variables that have snapshots are a chain like a disk's. */
static int open_vars(struct guest *g, struct opened *o, struct err *err)
{
	struct disk_def disks[SNAPSHOT_DISKS_MAX];
	const struct definition *d = g->def;
	if (firmware_open(g->dir, d, &o->firmware, err) < 0)
		return -1;
	size_t count = snapshot_disks(g->dir, d, disks);
	if (!count || !str_eq(disks[count - 1].target, SNAPSHOT_VARS) || !o->firmware.vars_qcow2)
		return 0;
	cleanup_close(&o->firmware.vars);
	return disk_open(&disks[count - 1], g->dir, &o->vars, err);
}

static int open_all(struct guest *g, struct opened *o, struct err *err)
{
	const struct definition *d = g->def;
	if (snapshots_commit(g->dir, err) < 0 || open_disks(g, o, err) < 0 ||
		consoles_open(g, o, err) < 0 || open_vars(g, o, err) < 0)
		return -1;
	if (g->install && install_open(g, o, err) < 0)
		return -1;
	bool own = !d->install.kernel;
	if (own && d->kernel && launch_copy(d->kernel, d->issued.qemu_uid, &o->kernel, err) < 0)
		return -1;
	if (own && d->initrd && launch_copy(d->initrd, d->issued.qemu_uid, &o->initrd, err) < 0)
		return -1;
	o->qmp_log = guest_open_in_run(g, "qmp.log", O_WRONLY | O_APPEND, err);
	if (o->qmp_log < 0)
		return -1;
	g->qmp_log_fd = fcntl(o->qmp_log, F_DUPFD_CLOEXEC, 0);
	o->qmp = listen_for_qemu(g, "qmp.sock", err);
	if (o->qmp < 0)
		return -1;
	if (d->agent)
		o->agent = listen_for_qemu(g, "ga.sock", err);
	return d->agent && o->agent < 0 ? -1 : 0;
}

/* ---- the launch --------------------------------------------------------------------------------- */

static int choose_accel(struct guest *g, enum accel *out, bool *proven, struct err *err)
{
	_cleanup_free_ char *cache = str_fmt("%s/kvm.json", paths_run(err));
	struct accel_proof proof;
	if (accel_probe(cache, &proof, err) < 0 ||
		accel_choose(g->def->accel, g->def->accel_fallback_tcg, g->def->accel_unproven,
			&proof, out, g->status.accel_said, err) < 0)
		return -1;
	*proven = proof.verdict == KVM_PROVEN;
	snprintf(g->status.accel, sizeof(g->status.accel), "%s", accel_name(*out));
	return 0;
}

static int save_argv(struct guest *g, const struct launch *l, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < l->argc; i++)
		json_array_append_new(list, json_string(l->argv[i]));
	_cleanup_free_ char *text = json_line(list);
	return file_replace(g->run, "argv", text, strlen(text), false, err);
}

/* Ports that are taken are told before QEMU is there. QEMU that needs none of the host's network does not get it. */
static int open_nics(struct guest *g, struct opened *o, struct launch *l, struct err *err)
{
	struct definition *d = g->def;
	bool needs_host = !d->nic_count;
	for (size_t i = 0; i < d->nic_count; i++) {
		const struct nic_of of = {.guest = d->name, .id = d->issued.id, .index = i};
		bool user = d->nics[i].kind == NIC_USER;
		needs_host = needs_host || user;
		if ((user ? ports_choose(&d->nics[i], i, g->status.forwards, err)
			  : nic_tap_open(&d->nics[i], &of, g->status.forwards, &o->nics[i], err)) <
			0)
			return -1;
	}
	l->no_network = !needs_host && geteuid() == 0;
	return 0;
}

static int launch(struct guest *g, struct err *err)
{
	enum accel accel;
	bool proven;
	_cleanup_opened_ struct opened o = OPENED_NONE;
	_cleanup_launch_ struct launch l = LAUNCH_NONE;
	json_decref(g->status.forwards);
	g->status.forwards = json_array();
	if (g->restore && restore_addresses(g, err) < 0)
		return -1;
	if (open_nics(g, &o, &l, err) < 0 || choose_accel(g, &accel, &proven, err) < 0 ||
		open_all(g, &o, err) < 0 || tpm_start(g, &o, err) < 0)
		return -1;
	l.uid = geteuid() == 0 ? g->def->issued.qemu_uid : 0;
	l.stderr_fd = guest_open_in_run(g, "qemu.err", O_WRONLY | O_APPEND | O_TRUNC, err);
	if (l.stderr_fd < 0)
		return -1;
	argv_build(g->def, accel, proven, g->status.forwards, &o, &l);
	if (g->restore && restore_argv(g, &l, err) < 0)
		return -1;
	if (save_argv(g, &l, err) < 0 || record_keep_running(g->run, g->def, err) < 0)
		return -1;
	failpoint("start-before-fork");
	if (launch_run(&l, &g->qemu, err) < 0)
		return -1;
	g->qemu_is_child = true;
	guest_look_for_oom(g);
	g->status.qemu_pid = g->qemu.pid;
	g->status.qemu_start = g->qemu.start;
	g->status.started = clock_ms();
	g->status.started_wall = time(NULL);
	guest_tell_status(g);
	failpoint("start-after-fork");
	return 0;
}

/* QEMU refused: its own words are the reason. */
static int refused(struct guest *g, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf words = {0};
	char tpm[128];
	file_read(g->run, "qemu.err", 16 * 1024, &words, &ignored);
	while (words.len && words.data[words.len - 1] == '\n')
		words.data[--words.len] = '\0';
	tpm_words(g, tpm);
	if (words.len)
		return err_set(err, ERR_QEMU, "QEMU did not start: %s%s%s", words.data,
			tpm[0] ? "; its TPM says: " : "", tpm);
	guest_learn_exit(g);
	return err_set(err, ERR_QEMU, "QEMU did not start and said nothing: it %s",
		g->qemu_status_known ? proc_status_text(g->qemu_status) : "ended");
}

int guest_connect_qemu(struct guest *g, int64_t deadline, struct err *err)
{
	_cleanup_free_ char *path = guest_own_path(g, "qmp.sock");
	int fd = sock_connect(path, deadline, err);
	if (fd < 0)
		return -1;
	g->qmp = qmp_start(fd);
	g->heartbeat_due = deadline_in(1000);
	/* the greeting proves nothing: alive means a reply */
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp(g, "query-status", NULL, deadline - clock_ms(), &reply, err) < 0)
		return -1;
	g->status.stamp = clock_ms();
	return 0;
}

/* ---- the second half: with the CPUs still stopped ------------------------------------------------- */

static void note(struct guest *g, const char *rung)
{
	struct err ignored = ERR_INIT;
	guest_note_rung(g, rung, clock_ms() - g->status.started, &ignored);
}

int start_finish(struct guest *g, struct err *err)
{
	struct err ignored = ERR_INIT;
	guest_note_rung(g, "process", 0, &ignored);
	note(g, "qmp");
	if (vnc_tell_password(g, err) < 0 || (g->vnc_fd < 0 && vnc_listen(g, err) < 0))
		return -1;
	if (consoles_connect(g, err) < 0)
		return -1;
	if (g->restore && restore_load(g, err) < 0)
		return -1;
	if (links_begin(g, err) < 0)
		return -1;
	failpoint("start-before-cont");
	if (!g->status.paused_start) {
		if (guest_qmp(g, "cont", NULL, QMP_BLOCK_MS, NULL, err) < 0)
			return -1;
		guest_tell(g, GUEST_RUNNING, g->restored ? "restored" : "booted");
		note(g, "running");
	} else {
		g->paused_by_user = true;
		guest_tell(g, GUEST_PAUSED, "user");
	}
	failpoint("start-after-cont");
	/* what was saved has been used, or given up */
	snapshots_forget_saved(g->dir, g->def->issued.keeper_uid);
	return 0;
}

int op_start(struct guest *g, bool paused, int64_t number, struct err *err)
{
	g->status.number = number;
	g->status.paused_start = paused;
	snprintf(g->status.boot, sizeof(g->status.boot), "%s", boot_id());
	g->status.memory = (int64_t)g->def->memory;
	g->status.vcpus = g->def->vcpus;
	unlinkat(g->run, RECORD_AGAIN, 0); /* tried once */
	unlinkat(g->run, "attached", 0);
	attached_load(g);
	journal_end(g); /* of a QEMU that went with the host: nothing is half done any more */
	files_sweep(g->dir);
	g->status.state = GUEST_STARTING;
	guest_tell_status(g); /* no event yet: its log must not become root's */
	if (claim_check(g->dir, g->def->name, err) < 0)
		return -1;
	if (launch(g, err) < 0 || keeper_drop(g, err) < 0)
		return err_prefix(err, "guest '%s'", g->def->name);
	guest_tell_starter(g);
	unlinkat(g->dir, "crashed",
		0); /* of the run before: guest_note_running() tells of this one */
	if (guest_connect_qemu(g, deadline_in(QEMU_UP_MS), err) < 0) {
		/* its socket closes a moment before it has ended */
		struct wait end = WAIT_FOR(.deadline = deadline_in(QEMU_ENDS_MS));
		if (g->qemu_ended || (err->kind == ERR_GONE && guest_wait(g, &end) == WAKE_GONE))
			refused(g, err);
		return err_prefix(err, "guest '%s'", g->def->name);
	}
	g->restored = g->restore;
	if (start_finish(g, err) < 0) {
		if (g->qemu_ended) /* a stream that it cannot load ends it */
			refused(g, err);
		return err_prefix(err, "guest '%s'", g->def->name);
	}
	guest_note_running(g);
	malloc_trim(0); /* from here on most keepers sleep for days */
	return 0;
}
