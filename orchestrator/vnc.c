#include "orchestrator/vnc.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"

enum { BACKLOG = 4 };
#define PASSWORD_FILE "vnc-password"

int vnc_listen(struct guest *g, struct err *err)
{
	if (!g->def->vnc.enabled)
		return 0;
	_cleanup_free_ char *path = run_path(g->def->issued.id, "vnc.sock", err);
	int fd = path ? sock_listen_shared(path, BACKLOG, err) : -1;
	if (fd < 0)
		return -1;
	g->vnc_fd = fd;
	return 0;
}

static int tell(struct guest *g, const char *password, struct err *err)
{
	return guest_qmp(g, "set_password",
		json_pack("{s:s, s:s}", "protocol", "vnc", "password", password), QMP_LOOK_MS, NULL,
		err);
}

int vnc_set_password(struct guest *g, const char *password, struct err *err)
{
	size_t len = strlen(password);
	if (!g->def->vnc.password) {
		err_set(err, ERR_REFUSED, "guest '%s' has no VNC with a password", g->def->name);
		return err_hint(err, "define it with `vnc: {password: true}` and start it again");
	}
	if (len == 0 || len > VNC_PASSWORD_MAX)
		return err_set(err, ERR_USAGE,
			"a password of %zu bytes: VNC takes 1 to %d, and would ignore the rest",
			len, VNC_PASSWORD_MAX);
	if (tell(g, password, err) < 0)
		return -1;
	return file_replace(g->dir, PASSWORD_FILE, password, len, true, err);
}

int vnc_tell_password(struct guest *g, struct err *err)
{
	_cleanup_buf_ struct buf password = {0};
	struct err none = ERR_INIT;
	if (!g->def->vnc.password)
		return 0;
	if (file_read(g->dir, PASSWORD_FILE, VNC_PASSWORD_MAX, &password, &none) == 0)
		return tell(g, password.data, err);
	if (none.kind == ERR_NOT_FOUND)
		return 0;
	*err = none;
	return -1;
}

static void send(struct guest *g, const char *command, json_t *args, const int *fds, size_t count)
{
	struct err ignored = ERR_INIT;
	uint64_t call = qmp_send(g->qmp, command, args, fds, count, &ignored);
	if (call)
		qmp_forget(g->qmp, call);
}

void vnc_look(struct guest *g)
{
	static unsigned viewers;
	if (g->vnc_fd < 0 || !g->qmp)
		return;
	_cleanup_close_ int viewer = sock_accept(g->vnc_fd);
	if (viewer < 0)
		return;
	_cleanup_free_ char *name = str_fmt("viewer%u", viewers++);
	send(g, "getfd", json_pack("{s:s}", "fdname", name), &viewer, 1);
	send(g, "add_client", json_pack("{s:s, s:s}", "protocol", "vnc", "fdname", name), NULL, 0);
}
