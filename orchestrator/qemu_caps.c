#include "orchestrator/qemu_caps.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "qmp/client.h"

enum { ASK_MS = 20000, QMP_FD = 3 };

/* Without these roost cannot do its work; they are in every QEMU since 6.0. */
static const char *const needed[] = {"add-fd", "blockdev-add", "blockdev-del", "block_resize",
	"chardev-change", "device_add", "device_del", "query-fdsets", "query-hotpluggable-cpus",
	"query-named-block-nodes", "qom-set", "system_powerdown"};

json_t *qemu_identity(const char *binary, struct err *err)
{
	struct stat st;
	if (stat(binary, &st) < 0) {
		err_errno(err, "QEMU is not there: '%s'", binary);
		err_hint(err, "apt install qemu-system-x86");
		return NULL;
	}
	return json_pack("{s:s, s:I, s:I, s:I}", "binary", binary, "size", (json_int_t)st.st_size,
		"inode", (json_int_t)st.st_ino, "mtime",
		(json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

/* A QEMU without a machine, only to be asked. */
static _Noreturn void exec_qemu(const char *binary, int monitor)
{
	int null = open("/dev/null", O_RDWR);
	int high = fcntl(monitor, F_DUPFD, QMP_FD + 1);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	dup2(high, QMP_FD);
	syscall(SYS_close_range, QMP_FD + 1U, ~0U, 0U);
	fcntl(QMP_FD, F_SETFD, 0);
	execl(binary, binary, "-machine", "none", "-nodefaults", "-no-user-config", "-display",
		"none", "-S", "-chardev", "socket,id=ask,fd=3", "-mon", "chardev=ask,mode=control",
		(char *)NULL);
	_exit(127);
}

struct qmp *qemu_to_ask(const char *binary, struct child *child, struct err *err)
{
	int pair[2];
	if (sock_pair(pair, err) < 0)
		return NULL;
	_cleanup_close_ int ours = pair[0], theirs = pair[1];
	pid_t pid = fork();
	if (pid < 0) {
		err_errno(err, "cannot fork a QEMU");
		return NULL;
	}
	if (pid == 0) {
		fd_set_nonblocking(theirs, 0);
		exec_qemu(binary, theirs);
	}
	child->proc.pid = pid;
	child->proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cleanup_close(&theirs);
	return qmp_open(TAKE_FD(ours), deadline_in(ASK_MS), err);
}

static int check_commands(const struct schema *s, const char *binary, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!schema_has_command(s, needed[i]))
			return err_set(err, ERR_REFUSED,
				       "'%s' has no QMP command '%s', which roost needs", binary,
				       needed[i]),
			       err_hint(err, "install QEMU 6.0 or newer");
	return 0;
}

/* {"q35":"pc-q35-7.2", "pc-q35-7.2":"pc-q35-7.2", ...} */
static json_t *digest_machines(const json_t *list)
{
	json_t *machines = json_object(), *m;
	size_t i;
	json_array_foreach (list, i, m) {
		const char *name = json_get_str(m, "name", ""),
			   *alias = json_get_str(m, "alias", NULL);
		json_object_set_new(machines, name, json_string(name));
		if (alias)
			json_object_set_new(machines, alias, json_string(name));
	}
	return machines;
}

static json_t *ask(const char *binary, const char *schema_file, struct err *err)
{
	_cleanup_(child_end) struct child child = CHILD_NONE;
	_cleanup_qmp_ struct qmp *q = qemu_to_ask(binary, &child, err);
	_cleanup_json_ json_t *machines = NULL, *raw = NULL;
	struct err ignored = ERR_INIT;
	if (!q || qmp_call(q, "query-machines", NULL, deadline_in(ASK_MS), &machines, err) < 0 ||
		qmp_call(q, "query-qmp-schema", NULL, deadline_in(ASK_MS), &raw, err) < 0) {
		err_prefix(err, "asking '%s'", binary);
		return NULL;
	}
	struct schema *s = schema_from_qmp(raw, err);
	int result = s ? check_commands(s, binary, err) : -1;
	if (result == 0)
		schema_save(s, schema_file, binary, &ignored); /* a cache: asked again without it */
	schema_free(s);
	return result < 0 ? NULL : digest_machines(machines);
}

struct schema *qemu_schema(const char *binary, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_(child_end) struct child child = CHILD_NONE;
	_cleanup_json_ json_t *raw = NULL;
	const char *state = paths_state(&ignored);
	_cleanup_free_ char *file = str_fmt("%s/schema.json", state ? state : "");
	struct schema *kept = schema_load(file, binary, &ignored);
	if (kept)
		return kept;
	_cleanup_qmp_ struct qmp *q = qemu_to_ask(binary, &child, err);
	if (!q || qmp_call(q, "query-qmp-schema", NULL, deadline_in(ASK_MS), &raw, err) < 0)
		return NULL;
	return schema_from_qmp(raw, err);
}

/* The cached answer if it is this binary's, else a new one, which is then kept. */
static json_t *machines_of(const char *binary, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *state = paths_state(err);
	_cleanup_json_ json_t *id = state ? qemu_identity(binary, err) : NULL;
	if (!id)
		return NULL;
	_cleanup_free_ char *path = str_fmt("%s/qemu.json", state);
	_cleanup_free_ char *schema_file = str_fmt("%s/schema.json", state);
	_cleanup_json_ json_t *cache = json_file_read(AT_FDCWD, path, &ignored);
	json_t *kept = json_object_get(cache, "machines");
	if (json_is_object(kept) && json_equal(json_object_get(cache, "identity"), id))
		return json_incref(kept);
	json_t *machines = ask(binary, schema_file, err);
	if (!machines)
		return NULL;
	_cleanup_json_ json_t *now = json_pack("{s:O, s:O}", "identity", id, "machines", machines);
	json_file_write(AT_FDCWD, path, now, false, &ignored);
	return machines;
}

int qemu_machine(const char *wanted, char out[64], struct err *err)
{
	_cleanup_json_ json_t *machines = machines_of(qemu_path(), err);
	if (!machines)
		return -1;
	const char *real = json_get_str(machines, wanted, NULL);
	if (!real) {
		err_set(err, ERR_USAGE, "machine: this QEMU knows no machine '%s'", wanted);
		return err_hint(err, "`%s -machine help` lists them", qemu_path());
	}
	snprintf(out, 64, "%s", real);
	return 0;
}
