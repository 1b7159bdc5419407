#include "orchestrator/consoles.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/access.h"

static int open_input(const struct guest *g, const char *name, int in[2], struct err *err)
{
	struct stat st;
	if (mkfifoat(g->dir, name, 0660) < 0 && errno != EEXIST)
		return err_errno(err, "cannot make '%s'", name);
	/* a reader and a writer: without a writer QEMU would read its end as "hung up" */
	in[1] = openat(g->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	in[0] = openat(g->dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (in[0] < 0 || in[1] < 0)
		return err_errno(err, "cannot open '%s'", name);
	/* what was there before is its keeper's doing */
	if (fstat(in[1], &st) < 0 || !S_ISFIFO(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' in the guest's folder is not a FIFO", name);
	return access_give(in[1], g->def->issued.keeper_uid, err);
}

int consoles_open(struct guest *g, struct opened *o, struct err *err)
{
	char log[24], in[24];
	for (size_t i = 0; i < g->def->console_count; i++) {
		struct opened_console *c = &o->consoles[i];
		console_file(g->def, i, "log", log);
		console_file(g->def, i, "in", in);
		c->log = access_open(
			g->dir, log, O_WRONLY | O_APPEND, 0640, g->def->issued.keeper_uid, err);
		if (c->log < 0 || open_input(g, in, c->in, err) < 0)
			return -1;
		g->console_fds[i] = fcntl(c->log, F_DUPFD_CLOEXEC, 0);
	}
	if (g->def->console_count)
		g->status.console_from = lseek(o->consoles[0].log, 0, SEEK_END);
	return 0;
}

static bool exists(struct guest *g, const char *folder, const char *id)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, id);
	return guest_qmp(g, "qom-list", json_pack("{s:s}", "path", path), QMP_BLOCK_MS, NULL,
		       &ignored) == 0;
}

/* `command` gives the chardev its file and its FIFO: chardev-change or chardev-add. */
static int give_files(
	struct guest *g, size_t index, const char *command, const char *id, struct err *err)
{
	_cleanup_free_ char *out = str_fmt("/dev/fdset/%d", console_set(index));
	_cleanup_free_ char *in = str_fmt("/dev/fdset/%d", console_set(index) + 1);
	json_t *file = json_pack("{s:s, s:s, s:b}", "out", out, "in", in, "append", 1);
	return guest_qmp(g, command,
		json_pack("{s:s, s:{s:s, s:o}}", "id", id, "backend", "type", "file", "data", file),
		QMP_BLOCK_MS, NULL, err);
}

static int plug_virtio(struct guest *g, size_t index, const char *chardev, struct err *err)
{
	char name[16];
	console_name(g->def, index, name);
	if (!exists(g, "/chardevs", chardev) &&
		give_files(g, index, "chardev-add", chardev, err) < 0)
		return -1;
	if (exists(g, "/machine/peripheral", name))
		return 0;
	/* port 0 is where old kernels look for theirs; 1 is the agent's */
	return guest_qmp(g, "device_add",
		json_pack("{s:s, s:s, s:s, s:i, s:s}", "driver", "virtconsole", "id", name, "bus",
			"vserial0.0", "nr", str_eq(name, "hvc0") ? 0 : (int)index + 1, "chardev",
			chardev),
		QMP_BLOCK_MS, NULL, err);
}

int consoles_connect(struct guest *g, struct err *err)
{
	for (size_t i = 0; i < g->def->console_count; i++) {
		_cleanup_free_ char *id = str_fmt("console%zu", i);
		int result = g->def->consoles[i] == CONSOLE_VIRTIO
				     ? plug_virtio(g, i, id, err)
				     : give_files(g, i, "chardev-change", id, err);
		if (result < 0)
			return err_prefix(err, "its console %zu", i);
	}
	return 0;
}

void consoles_reopen(struct guest *g)
{
	struct err ignored = ERR_INIT;
	char log[24];
	for (size_t i = 0; i < g->def->console_count; i++) {
		console_file(g->def, i, "log", log);
		g->console_fds[i] =
			file_open_owned(g->dir, log, O_WRONLY, g->def->issued.keeper_uid, &ignored);
	}
}

void consoles_end(struct guest *g)
{
	char in[24];
	for (size_t i = 0; i < g->def->console_count; i++) {
		console_file(g->def, i, "in", in);
		unlinkat(g->dir, in, 0);
	}
}
