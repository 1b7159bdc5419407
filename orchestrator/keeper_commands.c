/*
 * What a keeper's socket understands besides QEMU's own commands: one row each. Operations that
 * need more than a line have a file of their own.
 */
#include "orchestrator/guest.h"
#include "orchestrator/install.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/event_log.h"
#include "orchestrator/vnc.h"
#include "orchestrator/guest_ask.h"
#include "qmp/agent.h"
#include "orchestrator/save.h"
#include "orchestrator/snapshots.h"

static int look_status(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)r, (void)err;
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", g->def->name, "state",
		guest_state_name(g->status.state), "reason", g->status.reason, "busy",
		g->status.busy, "number", (json_int_t)g->status.number, "memory",
		(json_int_t)g->status.memory, "vcpus", (json_int_t)g->status.vcpus);
	return 0;
}

static int look_commands(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)self, (void)args, (void)r, (void)err;
	*ret = command_list(keeper_commands);
	return 0;
}

/* The first client that says so is roostd: only it holds the other end before guest.sock is served. */
static int be_supervised(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)ret;
	if (r->peer.uid != 0 && r->peer.uid != geteuid())
		return err_set(err, ERR_REFUSED, "only the supervisor may say so");
	g->supervisor = r->client;
	return 0;
}

/* A start that failed leaves no QEMU and nothing in $RUN, before anybody hears of it. */
static void give_up(struct guest *g)
{
	struct err ignored = ERR_INIT;
	g->operation = NULL; /* a client that has gone cannot cancel this */
	g->failed_to_start = true;
	if (g->qemu.pidfd >= 0 && !g->qemu_ended)
		op_destroy(g, "failed to start", false, &ignored);
	keeper_drop(g, &ignored); /* what is written of its end must be the keeper's, not root's */
	guest_tell_starter(g);
	g->destroying = true;
	snprintf(g->destroyed_by, sizeof(g->destroyed_by), "failed to start");
	guest_end(g);
}

/* A guest that was saved is neither booted by mistake, nor started from anything else. */
static int prepare_start(struct guest *g, const json_t *args, struct request *r, struct err *err)
{
	const json_t *restore = json_object_get(args, "restore");
	bool saved = snapshots_saved(g->dir);
	if (saved && !json_get_bool(args, "force-boot", false) &&
		!json_get_bool(restore, "managed", false)) {
		err_set(err, ERR_REFUSED, "guest '%s' has been saved by managedsave", g->def->name);
		return err_hint(err,
			"`roost start %s` goes on from there, `roost managedsave-remove %s` discards it",
			g->def->name, g->def->name);
	}
	const json_t *install = json_object_get(args, "install");
	if (json_object_size(install))
		return install_prepare(g, install, r, err);
	if (!json_object_size(restore))
		return 0;
	return restore_prepare(g, restore, r, err);
}

static int start(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	if (g->qemu.pidfd >= 0)
		return err_set(err, ERR_REFUSED, "guest '%s' is running already", g->def->name);
	if (prepare_start(g, args, r, err) < 0) {
		install_free(g);
		give_up(g);
		return -1;
	}
	json_t *by = r->client == g->supervisor ? json_object_get(args, "by") : NULL;
	g->starter = by ? json_incref(by) : event_who(&r->peer);
	if (json_get_bool(args, "fallback-tcg", false))
		g->def->accel_fallback_tcg = true; /* this time: nobody writes it down */
	if (op_start(g, json_get_bool(args, "paused", false), json_get_int(args, "number", 0),
		    err) < 0) {
		restore_free(g);
		install_free(g);
		give_up(g);
		return -1;
	}
	restore_free(g);
	install_free(g);
	*ret = json_pack("{s:s, s:I, s:s, s:s, s:O*}", "name", g->def->name, "number",
		(json_int_t)g->status.number, "accel", g->status.accel, "accel-said",
		g->status.accel_said, "identity-said", json_object_get(args, "identity-said"));
	return 0;
}

static int adopt(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)ret;
	if (op_adopt(g, err) < 0)
		return -1;
	/* who asked reads the status next: it must not say `running` of a QEMU that has ended */
	return g->qemu_ended || g->ending[0] ? guest_answer_at_end(g, r) : 0;
}

static int suspend(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_suspend(self, err);
}

static int resume(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_resume(self, err);
}

static int reset(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r, (void)ret;
	return op_reset(self, err);
}

static int destroy(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	if (op_destroy(self, "destroyed", json_get_bool(args, "graceful", false), err) < 0)
		return -1;
	return guest_answer_at_end(self, r);
}

static int cancel(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)r;
	if (!g->operation)
		return err_set(
			err, ERR_REFUSED, "guest '%s': no operation is at work", g->def->name);
	g->cancelled = true;
	*ret = json_pack("{s:s}", "operation", g->operation->name);
	return 0;
}

/* ---- shutdown and reboot ---------------------------------------------------------------------------- */

enum {
	SHUTDOWN_MS = 120000,
	UNPLUG_MS = 30000,
	MEMORY_MS = 30000,
	AGENT_MS = 30000,
	ASK_MS = 5000,
};

static unsigned rungs_of(const json_t *args)
{
	const char *mode = json_get_str(args, "mode", "");
	return str_eq(mode, "agent")  ? ASK_AGENT
	       : str_eq(mode, "acpi") ? ASK_ACPI
				      : ASK_AGENT | ASK_ACPI;
}

static int check_mode(const json_t *args, struct err *err)
{
	const char *mode = json_get_str(args, "mode", "agent");
	if (str_eq(mode, "agent") || str_eq(mode, "acpi"))
		return 0;
	return err_set(err, ERR_USAGE, "mode '%.40s' is neither 'agent' nor 'acpi'", mode);
}

static int shut_down(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	bool wait = json_get_bool(args, "wait", true);
	if (check_mode(args, err) < 0 ||
		op_shutdown(g, rungs_of(args), json_get_int(args, "timeout-ms", SHUTDOWN_MS), wait,
			err) < 0)
		return -1;
	if (wait)
		return guest_answer_at_end(g, r);
	*ret = json_pack("{s:s, s:s}", "rung", g->shutdown_by, "agent-said", g->agent_said);
	return 0;
}

static int reboot(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)r;
	if (check_mode(args, err) < 0 ||
		op_reboot(g, rungs_of(args), json_get_int(args, "timeout-ms", SHUTDOWN_MS),
			json_get_bool(args, "wait", true), err) < 0)
		return -1;
	*ret = json_pack("{s:s, s:s}", "rung", g->shutdown_by, "agent-said", g->agent_said);
	g->shutdown_by[0] = '\0';
	return 0;
}

/* ---- memory, vCPUs, devices -------------------------------------------------------------------------- */

static int set_memory(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_setmem(self, (uint64_t)json_get_int(args, "bytes", 0),
		json_get_int(args, "timeout-ms", MEMORY_MS), err);
}

static int memory_stats(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r;
	*ret = op_memstat(self, err);
	return *ret ? 0 : -1;
}

static int set_vcpus(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	int64_t count = json_get_int(args, "count", 0);
	(void)r, (void)ret;
	return op_setvcpus(self, count < 0 || count > VCPUS_MAX ? 0 : (unsigned)count, err);
}

static int attach_disk(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	return op_attach_disk(
		self, json_object_get(args, "disk"), json_object_get(args, "layers"), r, ret, err);
}

static int detach_disk(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_detach_disk(self, json_get_str(args, "target", ""),
		json_get_int(args, "timeout-ms", UNPLUG_MS), err);
}

static int resize_disk(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_blockresize(self, json_get_str(args, "target", ""),
		(uint64_t)json_get_int(args, "bytes", 0), err);
}

static int attach_interface(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	return op_attach_interface(self, args, r, ret, err);
}

static int detach_interface(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_detach_interface(self, json_get_str(args, "mac", ""),
		json_get_int(args, "timeout-ms", UNPLUG_MS), err);
}

static int pull_link(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_set_link(
		self, json_get_str(args, "interface", ""), json_get_bool(args, "up", true), err);
}

static int look_attached(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	struct guest *g = self;
	(void)args, (void)r, (void)err;
	*ret = json_incref(g->attached);
	return 0;
}

/* ---- looking in, and talking to the guest ------------------------------------------------------------ */

static int change_media(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	return op_change_media(self, json_get_str(args, "drive", ""),
		json_get_str(args, "mode", "update"), json_get_str(args, "medium", NULL),
		json_get_bool(args, "force", false), r, err);
}

static int save(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	if (op_save(self, json_get_bool(args, "managed", false), r, err) < 0)
		return -1;
	return guest_answer_at_end(self, r);
}

static int backup(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	return op_backup(self, args, r, ret, err);
}

static int blockpull(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_blockpull(self, json_get_str(args, "target", ""),
		json_get_int(args, "bytes-per-second", 0), err);
}

static int blockcommit(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_blockcommit(self, json_get_str(args, "target", ""),
		json_get_int(args, "bytes-per-second", 0), err);
}

static int blockcommit_into(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	return op_blockcommit_into(self, args, r, err);
}

static int snapshot(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	return op_snapshot_live(self, args, r, err);
}

static int delete_snapshot(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return op_snapshot_delete_live(self, args, err);
}

static int freeze_disks(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)r;
	return op_freeze_disks(self, ret, err);
}

static int revert(void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	if (op_revert(self, json_get_str(args, "snapshot", ""), err) < 0)
		return -1;
	return guest_answer_at_end(self, r);
}

static int screenshot(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)args, (void)ret;
	return op_screenshot(self, r, err);
}

static int ask_agent(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	json_t *answer = NULL;
	(void)r;
	if (op_agent(self, json_get_str(args, "command", ""), json_object_get(args, "arguments"),
		    json_get_int(args, "timeout-ms", AGENT_MS), &answer, err) < 0)
		return -1;
	*ret = json_pack("{s:o}", "return", answer ? answer : json_object());
	return 0;
}

static int look_interfaces(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	return guest_ask(self, r, "guest-network-get-interfaces", agent_interfaces,
		json_get_int(args, "timeout-ms", ASK_MS), err);
}

static int look_guest_vcpus(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)ret;
	return guest_ask(self, r, "guest-get-vcpus", agent_vcpus,
		json_get_int(args, "timeout-ms", ASK_MS), err);
}

static int set_vnc_password(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return vnc_set_password(self, json_get_str(args, "password", ""), err);
}

/* What readiness found out, from a child of the command line. */
static int note_rung(
	void *self, const json_t *args, struct request *r, json_t **ret, struct err *err)
{
	(void)r, (void)ret;
	return guest_note_rung(
		self, json_get_str(args, "rung", ""), json_get_int(args, "ms", 0), err);
}

const struct command keeper_commands[] = {
	{"query-commands", "Lists what this socket understands besides QEMU's own commands.", NULL,
		CMD_QUICK, look_commands},
	{"roost-status", "Tells the guest's state, the reason, and the operation at work.", NULL,
		CMD_QUICK, look_status},
	{"roost-cancel", "Asks the operation at work to stop and undo itself.", NULL, CMD_KILLING,
		cancel},
	{"roost-supervise", "Says that this client is the supervisor, which may be asked for help.",
		NULL, CMD_QUICK, be_supervised},
	{"roost-start", "Forks the guest's QEMU and lets its CPUs go.",
		ARGS({"paused", ARG_BOOL, true, "leave the CPUs stopped"},
			{"fallback-tcg", ARG_BOOL, true, "TCG where KVM is asked for in vain"},
			{"number", ARG_INT, true, "the small Id of this run"},
			{"restore", ARG_OBJECT, true,
				"go on from what was saved: the file's facts; the file and plugged disks come along"},
			{"install", ARG_OBJECT, true,
				"this time with an installer: {\"medium\": PATH, \"kernel\", \"initrd\": BOOL, \"cmdline\": TEXT, \"noreboot\": BOOL}; the files come along"},
			{"force-boot", ARG_BOOL, true, "what was saved is given up"},
			{"identity-said", ARG_STR, true, "what the answer says of its identity"},
			{"by", ARG_OBJECT, true, "who has asked roostd for it"}),
		CMD_CHANGING | CMD_UNTOLD, start},
	{"roost-adopt", "Takes over a QEMU whose keeper has died.", NULL, CMD_CHANGING | CMD_UNTOLD,
		adopt},
	{"stop", "Stops the guest's CPUs.", NULL, CMD_CHANGING, suspend},
	{"cont", "Lets the guest's CPUs go on.", NULL, CMD_CHANGING, resume},
	{"system_reset", "Resets the guest as its reset button would.", NULL, CMD_CHANGING, reset},
	{"roost-destroy", "Ends QEMU at once; the answer comes when it has ended.",
		ARGS({"graceful", ARG_BOOL, true, "never kill a QEMU that does not end by itself"}),
		CMD_KILLING, destroy},
	{"roost-shutdown",
		"Asks the guest to power off: its agent, then the ACPI button until it is heard.",
		ARGS({"mode", ARG_STR, true, "only 'agent' or only 'acpi'"},
			{"timeout-ms", ARG_INT, true, "how long to wait"},
			{"wait", ARG_BOOL, true, "answer when it is off (default), or at once"}),
		CMD_CHANGING, shut_down},
	{"roost-reboot", "Asks the guest to reboot; one that powers off instead is reset.",
		ARGS({"mode", ARG_STR, true, "only 'agent' or only 'acpi'"},
			{"timeout-ms", ARG_INT, true, "how long to wait"},
			{"wait", ARG_BOOL, true,
				"answer when it boots anew (default), or at once"}),
		CMD_CHANGING, reboot},
	{"roost-setmem", "Gives the guest that much memory, by balloon and plugged memory.",
		ARGS({"bytes", ARG_INT, false, "a multiple of 2 MiB above the boot size"},
			{"timeout-ms", ARG_INT, true, "how long the guest may take"}),
		CMD_CHANGING, set_memory},
	{"roost-memstat", "Asks the guest's balloon for its statistics, in KiB.", NULL,
		CMD_CHANGING | CMD_UNTOLD, memory_stats},
	{"roost-set-vnc-password",
		"Sets the password that VNC asks for, from now on and at later starts.",
		ARGS({"password", ARG_STR, false, "1 to 8 bytes"}), CMD_CHANGING, set_vnc_password},
	{"roost-setvcpus", "Gives the guest that many vCPUs.",
		ARGS({"count", ARG_INT, false, "1 to max_vcpus"}), CMD_CHANGING, set_vcpus},
	{"roost-attach-disk", "Plugs a disk whose open files come with the request.",
		ARGS({"disk", ARG_OBJECT, false, "as in a definition"},
			{"layers", ARG_ARRAY, false,
				"{qcow2, writable} for each file, active layer first"}),
		CMD_CHANGING, attach_disk},
	{"roost-detach-disk", "Unplugs a disk and waits for the guest to let it go.",
		ARGS({"target", ARG_STR, false, "its target or path"},
			{"timeout-ms", ARG_INT, true, "how long the guest may take"}),
		CMD_CHANGING, detach_disk},
	{"roost-blockresize", "Makes a disk larger.",
		ARGS({"target", ARG_STR, false, "its target or path"},
			{"bytes", ARG_INT, false, "the new size"}),
		CMD_CHANGING, resize_disk},
	{"roost-attach-interface",
		"Plugs an interface; the open files of its tap come along, one for each queue.",
		ARGS({"interface", ARG_OBJECT, false, "as in a definition"},
			{"port", ARG_INT, true, "the root port that the tap was made for"},
			{"forwards", ARG_ARRAY, true, "what was published for it"}),
		CMD_CHANGING, attach_interface},
	{"roost-detach-interface", "Unplugs an interface and waits for the guest to let it go.",
		ARGS({"mac", ARG_STR, false, "its MAC address"},
			{"timeout-ms", ARG_INT, true, "how long the guest may take"}),
		CMD_CHANGING, detach_interface},
	{"roost-set-link", "Pulls the cable of an interface, or plugs it in again.",
		ARGS({"interface", ARG_STR, false, "its name or MAC address"},
			{"up", ARG_BOOL, false, "is it plugged in?"}),
		CMD_CHANGING, pull_link},
	{"roost-attached", "Lists what was plugged since the start.", NULL, CMD_QUICK,
		look_attached},
	{"roost-change-media", "Changes the medium in a CD-ROM drive; its open file comes along.",
		ARGS({"drive", ARG_STR, false, "its target or path"},
			{"mode", ARG_STR, true, "'eject', 'insert' or 'update' (default)"},
			{"medium", ARG_STR, true, "the path of the new one; without it, none"},
			{"force", ARG_BOOL, true, "although the guest holds the tray locked"}),
		CMD_CHANGING, change_media},
	{"roost-save",
		"Writes RAM and devices into the pipe that comes along; see op_save.c for the rest.",
		ARGS({"managed", ARG_BOOL, true, "the file is the guest's own"}), CMD_CHANGING,
		save},
	{"roost-backup",
		"Copies disks as they are at one instant into qcow2 images in the file that comes along.",
		ARGS({"disks", ARG_ARRAY, false,
			     "of each its 'target', and the 'offset' and 'size' of its room in the file"},
			{"quiesce", ARG_STR, true,
				"'try' (default), 'demand' or 'no': the agent freezes its file systems"},
			{"compress", ARG_BOOL, true, "write compressed clusters"},
			{"bytes-per-second", ARG_INT, true, "of each disk, at most"}),
		CMD_CHANGING, backup},
	{"roost-blockpull", "Makes a disk stand alone: copies up what lies below it.",
		ARGS({"target", ARG_STR, false, "the disk"},
			{"bytes-per-second", ARG_INT, true, "at most"}),
		CMD_CHANGING, blockpull},
	{"roost-blockcommit",
		"Merges layers of a disk that no snapshot and no clone needs into what they stand on.",
		ARGS({"target", ARG_STR, false, "the disk"},
			{"bytes-per-second", ARG_INT, true, "at most"}),
		CMD_CHANGING, blockcommit},
	{"roost-blockcommit-into",
		"Commits a disk's own chain into a file that it stands on, which comes along, open to be written to.",
		ARGS({"target", ARG_STR, false, "the disk"},
			{"base", ARG_STR, false, "that file's path, as the record has it"},
			{"mark", ARG_STR, false, "what roostd's roost-commit-record has told"},
			{"above", ARG_INT, true, "1: the top stays, and stands on that file then"},
			{"bytes-per-second", ARG_INT, true, "at most"}),
		CMD_CHANGING, blockcommit_into},
	{"roost-snapshot", "Makes a snapshot of the guest as it is at one instant.",
		ARGS({"snapshot", ARG_STR, false, "what it is called"},
			{"description", ARG_STR, true, "for people"},
			{"plugged", ARG_ARRAY, true,
				"targets of plugged disks that it holds, too, for the guest has them at its next start"},
			{"quiesce", ARG_BOOL, true, "the agent freezes its file systems meanwhile"},
			{"memory", ARG_BOOL, true,
				"of its RAM, too, into the pipe that comes along: see op_save.c"}),
		CMD_CHANGING, snapshot},
	{"roost-snapshot-delete", "Gives up a snapshot; the guest, and other snapshots, stay.",
		ARGS({"snapshot", ARG_STR, false, "which one"},
			{"children", ARG_STR, true, "'too', or 'only': those that stand on it"},
			{"bytes-per-second", ARG_INT, true, "of each merge, at most"}),
		CMD_CHANGING, delete_snapshot},
	{"roost-freeze-disks",
		"Puts an empty layer on all disks at one instant, with quiet file systems if the agent answers; tells what lies below, for roost-clone.",
		NULL, CMD_CHANGING, freeze_disks},
	{"roost-revert", "Goes back to a snapshot; the answer comes when QEMU has ended.",
		ARGS({"snapshot", ARG_STR, false, "which one"}), CMD_CHANGING, revert},
	{"roost-screenshot", "Draws the guest's display as PNG into the file that comes along.",
		NULL, CMD_CHANGING | CMD_UNTOLD, screenshot},
	{"roost-agent", "Sends a raw command to the guest's agent; returns its answer.",
		ARGS({"command", ARG_STR, false, "such as guest-get-osinfo"},
			{"arguments", ARG_OBJECT, true, "as the agent's documentation says"},
			{"timeout-ms", ARG_INT, true, "how long the agent may take"}),
		CMD_CHANGING, ask_agent},
	{"roost-interfaces",
		"Asks the guest's agent for its interfaces: names, addresses, counters.",
		ARGS({"timeout-ms", ARG_INT, true, "how long the guest may take"}), CMD_QUICK,
		look_interfaces},
	{"roost-guest-vcpus", "Asks the guest's agent how many vCPUs it sees and uses.",
		ARGS({"timeout-ms", ARG_INT, true, "how long the guest may take"}), CMD_QUICK,
		look_guest_vcpus},
	{"roost-rung", "Notes that the guest has reached a rung of readiness.",
		ARGS({"rung", ARG_STR, false, "its name"},
			{"ms", ARG_INT, false, "since the start"}),
		CMD_QUICK, note_rung},
	{0},
};
