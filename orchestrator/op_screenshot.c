/*
 * A picture of the guest's display, as PNG.
 *
 * The caller sends an open file, which QEMU gets as an fdset for as long as it draws: it writes there
 * and nowhere else. If the keeper dies meanwhile, QEMU closes the set itself, for nothing uses it.
 */
#include "orchestrator/guest.h"

#include <string.h>

#include "base/str.h"

static int draw(struct guest *g, int64_t set, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("/dev/fdset/%lld", (long long)set);
	if (guest_qmp(g, "screendump", json_pack("{s:s, s:s}", "filename", path, "format", "png"),
		    QMP_HEAVY_MS, NULL, err) == 0)
		return 0;
	/* so says QEMU of a machine without any display; what devices give one, it knows best */
	if (!strstr(err->message, "no console"))
		return -1;
	err_set(err, ERR_REFUSED, "guest '%s' has no display", g->def->name);
	return err_hint(err, "add `display: vga` to its definition, for its next start");
}

int op_screenshot(struct guest *g, struct request *file, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *added = NULL;
	_cleanup_close_ int fd = request_take_fd(file);
	if (fd < 0)
		return err_set(err, ERR_USAGE, "no file came with the request");
	if (guest_qmp_fds(g, "add-fd", json_pack("{s:s}", "opaque", "screenshot"), &fd, 1,
		    QMP_BLOCK_MS, &added, err) < 0)
		return -1;
	int64_t set = json_get_int(added, "fdset-id", 0);
	failpoint("screenshot-after-fd");
	int result = draw(g, set, err);
	failpoint("screenshot-drawn");
	guest_qmp(g, "remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)set), QMP_BLOCK_MS,
		NULL, &ignored);
	return result;
}
