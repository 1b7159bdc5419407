#include "orchestrator/install.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/journal.h"
#include "orchestrator/media.h"
#include "orchestrator/record.h"

enum { RESET_MS = 10000 };

/* ---- before QEMU -------------------------------------------------------------------------------- */

static void set_text(char **to, const char *text)
{
	free(*to);
	*to = text ? xstrdup(text) : NULL;
}

static int take_medium(struct guest *g, const char *path, struct request *files, struct err *err)
{
	struct definition *d = g->def;
	struct disk_def *drive = NULL;
	for (size_t i = 0; i < d->disk_count && !drive; i++)
		if (d->disks[i].cdrom && !d->disks[i].path)
			drive = &d->disks[i];
	if (!drive)
		return err_set(err, ERR_REFUSED,
			       "guest '%s' has no empty CD-ROM drive for the installer", d->name),
		       err_hint(err, "add `cdrom: none` to its definition");
	g->install->medium = request_take_fd(files);
	if (g->install->medium < 0)
		return err_set(err, ERR_USAGE, "the medium '%s' did not come open", path);
	set_text(&drive->path, path);
	snprintf(d->install.drive, sizeof(d->install.drive), "%s", drive->target);
	return 0;
}

static int take_kernel(struct guest *g, const json_t *facts, struct request *files, struct err *err)
{
	bool initrd = json_get_bool(facts, "initrd", false);
	const char *cmdline = json_get_str(facts, "cmdline", NULL);
	if (cmdline && cmdline[strcspn(cmdline, "\n\r")])
		return err_set(err, ERR_USAGE, "the kernel's command line is one line");
	g->install->kernel = request_take_fd(files);
	g->install->initrd = initrd ? request_take_fd(files) : -1;
	if (g->install->kernel < 0 || (initrd && g->install->initrd < 0))
		return err_set(err, ERR_USAGE, "the installer's kernel did not come open");
	g->def->install.kernel = true;
	/* told, not opened */
	set_text(&g->def->kernel, "/installer/kernel");
	set_text(&g->def->initrd, initrd ? "/installer/initrd" : NULL);
	set_text(&g->def->cmdline, cmdline);
	return 0;
}

int install_prepare(struct guest *g, const json_t *facts, struct request *files, struct err *err)
{
	const char *medium = json_get_str(facts, "medium", NULL);
	bool kernel = json_get_bool(facts, "kernel", false);
	g->install = xcalloc(1, sizeof(*g->install));
	*g->install = (struct install){-1, -1, -1};
	g->def->install = (struct install_def){
		.enabled = true, .noreboot = json_get_bool(facts, "noreboot", false)};
	if (!medium && !kernel)
		return err_set(err, ERR_USAGE, "an installation wants a medium or a kernel");
	if (medium && take_medium(g, medium, files, err) < 0)
		return -1;
	return kernel ? take_kernel(g, facts, files, err) : 0;
}

static int copy(int *fd, uid_t uid, int *out, struct err *err)
{
	_cleanup_free_ char *self = str_fmt("/proc/self/fd/%d", *fd);
	int result = launch_copy(self, uid, out, err);
	cleanup_close(fd);
	return result;
}

/* The drive's path is told, not opened: that file may be the caller's alone. */
static int open_medium(struct guest *g, struct opened *o, struct err *err)
{
	for (size_t i = 0; i < g->def->disk_count; i++) {
		struct disk_def *d = &g->def->disks[i];
		if (!str_eq(d->target, g->def->install.drive))
			continue;
		if (disk_check_unused(g->install->medium, d->path, false, err) < 0)
			return -1;
		o->disks[i].layers[0] = (struct disk_layer){.fd = TAKE_FD(g->install->medium)};
		o->disks[i].count = 1;
	}
	return 0;
}

int install_open(struct guest *g, struct opened *o, struct err *err)
{
	uid_t uid = g->def->issued.qemu_uid;
	if (g->install->medium >= 0 && open_medium(g, o, err) < 0)
		return -1;
	if (g->install->kernel >= 0 && copy(&g->install->kernel, uid, &o->kernel, err) < 0)
		return -1;
	return g->install->initrd >= 0 ? copy(&g->install->initrd, uid, &o->initrd, err) : 0;
}

void install_free(struct guest *g)
{
	struct install *i = TAKE(g->install);
	if (!i)
		return;
	cleanup_close(&i->medium);
	cleanup_close(&i->kernel);
	cleanup_close(&i->initrd);
	free(i);
}

int install_refuse(const struct guest *g, const char *what, struct err *err)
{
	if (!g->def->install.enabled)
		return 0;
	err_set(err, ERR_REFUSED, "guest '%s' cannot be %s: it is being installed", g->def->name,
		what);
	return err_hint(err, "wait until it has rebooted, or `roost destroy %s`", g->def->name);
}

/* ---- the end of the installation ------------------------------------------------------------------ */

bool install_ends(struct guest *g, const char *reason)
{
	if (!g->def->install.enabled ||
		(!str_eq(reason, "guest-reset") && !str_eq(reason, "host-qmp-system-reset")))
		return false;
	if (g->def->install.kernel || g->def->install.noreboot)
		return false;
	g->installed = true;
	return true;
}

/* What a boot_index of argv.c was for this run alone. */
static int set_boot_index(struct guest *g, struct err *err)
{
	const char *drive = g->def->install.drive;
	_cleanup_free_ char *path = str_fmt("/machine/peripheral/disk-%s", drive);
	int index = argv_boot_index(g->def, drive);
	return guest_qmp(g, "qom-set",
		json_pack("{s:s, s:s, s:i}", "path", path, "property", "bootindex", "value",
			index ? index : -1),
		QMP_BLOCK_MS, NULL, err);
}

/* `cont` follows on the event RESET (guest_events.c), and RESUME on that. */
static int reset(struct guest *g, struct err *err)
{
	int64_t deadline = deadline_in(RESET_MS);
	g->run_after_reset = true;
	if (guest_qmp(g, "system_reset", NULL, QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	while (g->run_after_reset) {
		struct wait w = WAIT_FOR(.deadline = deadline, .wants = any_event);
		enum wake wake = guest_wait(g, &w);
		json_decref(w.event);
		if (wake != WAKE_EVENT)
			return err_set(err, ERR_TIMEOUT, "guest '%s': QEMU does not reset it",
				g->def->name);
	}
	return 0;
}

static int go_on(struct guest *g, const char *status, struct err *err)
{
	g->paused_by_user = false;
	if (str_eq(status, "prelaunch")) /* a former keeper had just reset it */
		return guest_qmp(g, "cont", NULL, QMP_BLOCK_MS, NULL, err);
	if (!str_eq(status, "shutdown"))
		return 0;
	if (media_take_out(g, g->def->install.drive, err) < 0)
		return -1;
	failpoint("installed-ejected");
	if (set_boot_index(g, err) < 0 ||
		guest_qmp(g, "set-action", json_pack("{s:s}", "reboot", "reset"), QMP_BLOCK_MS,
			NULL, err) < 0)
		return -1;
	failpoint("installed-before-reset");
	return reset(g, err);
}

static void tell_installed(struct guest *g)
{
	guest_event(g, "ROOST_INSTALLED",
		json_pack("{s:b}", "starts", !g->def->install.noreboot && !g->destroying));
}

/* From here on it runs by its definition, as it is on disk. */
static void forget(struct guest *g)
{
	struct err ignored = ERR_INIT;
	struct disk_def *drive = definition_disk(g->def, g->def->install.drive);
	if (drive)
		set_text(&drive->path, NULL);
	tell_installed(g);
	g->installed = false;
	g->def->install = (struct install_def){0};
	record_keep_running(g->run, g->def, &ignored);
}

static int finish(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (guest_qmp(g, "query-status", NULL, QMP_BLOCK_MS, &reply, err) < 0 ||
		go_on(g, json_get_str(reply, "status", ""), err) < 0)
		return -1;
	failpoint("installed-runs");
	forget(g);
	return 0;
}

int op_installed(struct guest *g, struct err *err)
{
	if (journal_begin(g, "installed", json_object(), err) < 0)
		return -1;
	failpoint("installed-begin");
	int result = finish(g, err);
	failpoint("installed-before-end");
	journal_end(g);
	return result;
}

int recover_installed(struct guest *g, const json_t *journal, struct err *err)
{
	(void)journal;
	return g->def->install.enabled ? finish(g, err) : 0;
}

void install_leave(struct guest *g)
{
	struct err ignored = ERR_INIT;
	bool reset = str_eq(g->ending, "guest-reset") || str_eq(g->ending, "host-qmp-system-reset");
	if (!g->def->install.enabled || g->destroying || !reset)
		return;
	tell_installed(g);
	if (g->def->install.noreboot)
		return;
	_cleanup_json_ json_t *how = json_pack(
		"{s:s, s:b}", "name", g->def->name, "fallback-tcg", g->def->accel_fallback_tcg);
	json_file_write(g->run, RECORD_AGAIN, how, false, &ignored);
}
