#include "orchestrator/sysprep_boot.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/signals.h"
#include "base/sock.h"
#include "base/str.h"
#include "images/sysprep_script.h"
#include "images/sysprep_tar.h"
#include "orchestrator/accel.h"
#include "orchestrator/argv.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/paths.h"
#include "orchestrator/ports.h"
#include "orchestrator/record.h"
#include "orchestrator/roostd.h"
#include "orchestrator/ssh_child.h"

enum {
	UP_MS = 600000, /* to a login, and until cloud-init is done */
	RUN_MS = 1800000,
	QMP_MS = 30000,
	SSH_PORT = 22,
	SAID_MAX = 1 << 20,
	PARAMS_FD = 3,
	TICK_MS = 1000,
};

bool sysprep_can_boot(const struct definition *d)
{
	return d->cloud_init.enabled || d->ready.user || d->ready.identity;
}

/* ---- the machine --------------------------------------------------------------------------------------- */

/* The same card, whatever it led to, with no way out. */
static void confine(struct nic_def *n)
{
	struct nic_def alone = {.kind = NIC_USER, .model = n->model, .restricted = true};
	memcpy(alone.mac, n->mac, sizeof(alone.mac));
	*n = alone;
}

/* The guest as it is, without what leads out of it and what nobody needs now. */
static struct definition *isolated(const struct definition *d, struct err *err)
{
	_cleanup_json_ json_t *json = definition_to_json(d);
	_cleanup_definition_ struct definition *alone = definition_from_json(json, err);
	if (!alone)
		return NULL;
	alone->issued.keeper_uid = d->issued.keeper_uid;
	alone->issued.qemu_uid = d->issued.qemu_uid;
	alone->agent = alone->vnc.enabled = alone->watchdog.enabled = alone->tpm.enabled = false;
	alone->display = DISPLAY_NONE;
	alone->console_count = 0;
	if (!alone->nic_count)
		mac_new(alone->nics[alone->nic_count++].mac);
	for (size_t i = 0; i < alone->nic_count; i++)
		confine(&alone->nics[i]);
	alone->nics[0].forwards[0] = (struct forward){.host = "127.0.0.1", .guest_port = SSH_PORT};
	alone->nics[0].forward_count = 1;
	return record_add_seed(alone, err) < 0 ? NULL : TAKE(alone);
}

static bool is_writable(const struct disk_def *d)
{
	return !d->readonly && !d->cdrom;
}

static int open_layers(
	struct off *o, const struct disk_def *d, struct disk_files *out, struct err *err)
{
	const char *layers[CHAIN_MAX];
	size_t count;
	return snapshot_chain(o->record, d, NULL, layers, &count, err) < 0
		       ? -1
		       : disk_open_layers(d, o->dir, layers, count, out, err);
}

static int open_vars(struct off *o, const struct definition *d, struct opened *to, struct err *err)
{
	const struct disk_def *vars = o->count ? &o->disks[o->count - 1] : NULL;
	if (firmware_open(o->dir, d, &to->firmware, err) < 0)
		return -1;
	if (!vars || !str_eq(vars->target, SNAPSHOT_VARS))
		return 0;
	cleanup_close(&to->firmware.vars);
	return off_put_on_top(o, vars, snapshot_top(o->record, SNAPSHOT_VARS), err) < 0
		       ? -1
		       : open_layers(o, vars, &to->vars, err);
}

static int open_all(struct off *o, const struct definition *d, struct opened *to, struct err *err)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct disk_def *disk = &d->disks[i];
		if ((is_writable(disk) ? open_layers(o, disk, &to->disks[i], err)
				       : disk_open(disk, o->dir, &to->disks[i], err)) < 0)
			return -1;
	}
	uid_t uid = d->issued.qemu_uid;
	if (open_vars(o, d, to, err) < 0 ||
		(d->kernel && launch_copy(d->kernel, uid, &to->kernel, err) < 0) ||
		(d->initrd && launch_copy(d->initrd, uid, &to->initrd, err) < 0))
		return -1;
	to->qmp_log = open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC);
	return to->qmp_log < 0 ? err_errno(err, "cannot open /dev/null") : 0;
}

static int choose_accel(const struct definition *d, enum accel *out, bool *proven, struct err *err)
{
	struct accel_proof proof;
	char said[ACCEL_SAID_MAX];
	_cleanup_free_ char *cache = str_fmt("%s/kvm.json", paths_run(err));
	if (accel_probe(cache, &proof, err) < 0)
		return -1;
	*proven = proof.verdict == KVM_PROVEN;
	return accel_choose(
		d->accel, d->accel_fallback_tcg, d->accel_unproven, &proof, out, said, err);
}

static int boot(struct off *o, const struct definition *d, json_t *forwards, struct disk_server *s,
	struct err *err)
{
	_cleanup_opened_ struct opened opened = OPENED_NONE;
	_cleanup_launch_ struct launch l = LAUNCH_NONE;
	enum accel accel;
	bool proven;
	int qmp = -1;
	*s = DISK_SERVER_NONE;
	s->words = memfd_create("words", MFD_CLOEXEC);
	l.stderr_fd = dup(s->words);
	if (choose_accel(d, &accel, &proven, err) < 0 || open_all(o, d, &opened, err) < 0 ||
		private_listener(o->dir, 1, &opened.qmp, &qmp, err) < 0)
		return -1;
	fd_set_nonblocking(qmp, 1);
	s->qmp = qmp_start(qmp);
	l.uid = geteuid() == 0 ? d->issued.qemu_uid : 0;
	l.dies_with_us = true;
	argv_build(d, accel, proven, forwards, &opened, &l);
	if (launch_run(&l, &s->qemu, err) < 0 ||
		qmp_call(s->qmp, "cont", NULL, deadline_in(QMP_MS), NULL, err) < 0) {
		disk_server_words(s, err);
		return -1;
	}
	return 0;
}

/* ---- its shell ------------------------------------------------------------------------------------------ */

struct alone {
	const struct definition *d;
	const struct status *status; /* its forwards */
	const char *doing;           /* as progress tells it */
};

static _Noreturn void become_ssh(json_t *params, const char *subcommand, int in, int out)
{
	struct err err = ERR_INIT;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
		dup2(out, STDERR_FILENO) >= 0) {
		syscall(SYS_close_range, (unsigned)PARAMS_FD, ~0U, 0U);
		ssh_become(subcommand, params, &err);
	}
	dprintf(STDERR_FILENO, "%s\n", err.message);
	_exit(127);
}

/* A text as somebody's input. */
static int input_of(const char *text, struct err *err)
{
	_cleanup_close_ int in = memfd_create("input", MFD_CLOEXEC);
	if (in < 0 || write_all(in, text, strlen(text)) < 0 || lseek(in, 0, SEEK_SET) < 0)
		return err_errno(err, "cannot make an input for roost-ssh");
	return TAKE_FD(in);
}

/* Until there is something to be read, telling meanwhile what is done. */
static int await(const struct alone *a, int fd, int64_t deadline, struct err *err)
{
	for (;;) {
		int got = signals_or_readable(fd, deadline_in(TICK_MS), err);
		if (got)
			return got < 0 ? -1 : 0;
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT, "it has not ended");
		worker_progress("guest", a->d->name, a->doing, 0, 0);
	}
}

/* `roost-ssh SUBCOMMAND` with that input, to its end; what it says is in `said`. */
static int ssh(const struct alone *a, json_t *params, const char *subcommand, int in,
	int64_t deadline, struct buf *said, int *status, struct err *err)
{
	_cleanup_json_ json_t *owned = params;
	_cleanup_(child_end) struct child c = CHILD_NONE;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot start roost-ssh");
	pid_t pid = fork();
	if (pid == 0)
		become_ssh(TAKE(owned), subcommand, in, ends[1]);
	close(ends[1]);
	c.out = ends[0];
	if (pid < 0 || proc_open_child(pid, &c.proc, err) < 0)
		return pid < 0 ? err_errno(err, "cannot fork") : -1;
	for (ssize_t n = 1; n > 0 && said->len < SAID_MAX;) {
		if (await(a, c.out, deadline, err) < 0)
			return -1;
		buf_reserve(said, 8192);
		n = read(c.out, said->data + said->len, 8192);
		said->len += n > 0 ? (size_t)n : 0;
		said->data[said->len] = '\0';
		if (strstr(said->data, SYSPREP_DONE "\n"))
			return 0;
	}
	return proc_reap(&c.proc, deadline, status, err);
}

/* The last line of what was said, made one that may be printed. */
static const char *last_line(struct buf *said)
{
	while (said->len &&
		(said->data[said->len - 1] == '\n' || said->data[said->len - 1] == '\r'))
		said->data[--said->len] = '\0';
	char *line = said->len ? strrchr(said->data, '\n') : NULL;
	line = line ? line + 1 : said->len ? said->data : "";
	for (char *p = line; *p; p++)
		*p = (unsigned char)*p < ' ' || (unsigned char)*p > '~' ? '?' : *p;
	return line;
}

static json_t *login(const struct alone *a, struct err *err)
{
	json_t *params = ssh_params(a->d, a->status, NULL, err);
	/* without an issued key: only our QEMU listens there, and it is the guest's */
	if (params && !a->d->issued.host_key)
		json_object_set_new(params, "trust", json_string("first"));
	return params;
}

static int wait_for_login(const struct alone *a, struct err *err)
{
	_cleanup_buf_ struct buf said = {0};
	int ended = 0;
	_cleanup_close_ int in = input_of("", err);
	json_t *params = in < 0 ? NULL : login(a, err);
	if (!params)
		return -1;
	json_object_set_new(params, "rungs", json_pack("[s, s]", "login", "cloud-init"));
	json_object_set_new(params, "total_ms", json_integer(UP_MS));
	if (ssh(a, params, "climb", in, deadline_in(UP_MS + QMP_MS), &said, &ended, err) < 0)
		return err_prefix(err, "waiting for its login");
	if (ended == 0)
		return 0;
	struct err ignored = ERR_INIT;
	const char *line = last_line(&said);
	_cleanup_json_ json_t *answer = json_text_parse(line, strlen(line), &ignored);
	if (!json_object_get(answer, "error"))
		return err_set(
			err, ERR_SYSTEM, "roost-ssh %s: %.300s", proc_status_text(ended), line);
	json_to_err(json_object_get(answer, "error"), err);
	return err_prefix(err, "nobody can log in");
}

static int feed_to_root(
	const struct alone *a, const char *command, int in, struct buf *said, struct err *err)
{
	int ended = 0;
	json_t *params = login(a, err);
	if (!params)
		return -1;
	bool root = str_eq(json_get_str(params, "user", ""), "root");
	_cleanup_free_ char *line = str_fmt("%s%s", root ? "" : "sudo -n ", command);
	json_object_set_new(params, "command", json_string(line));
	if (ssh(a, params, "exec", in, deadline_in(RUN_MS), said, &ended, err) < 0)
		return -1;
	if (ended == 0)
		return 0;
	return err_set(err, ERR_QEMU, "%s: %.300s", proc_status_text(ended), last_line(said));
}

static int run_as_root(const struct alone *a, const char *command, const char *input,
	struct buf *said, struct err *err)
{
	_cleanup_close_ int in = input_of(input, err);
	return in < 0 ? -1 : feed_to_root(a, command, in, said, err);
}

static int run_script(const struct alone *a, const char *script, struct err *err)
{
	static const char command[] =
		"sh -c 'f=$(mktemp) && cat >\"$f\" && chmod 700 \"$f\" && \"$f\"; s=$?; rm -f \"$f\"; exit $s'";
	_cleanup_buf_ struct buf said = {0};
	return run_as_root(a, command, script, &said, err);
}

static int run_first(const struct alone *a, const json_t *args, struct err *err)
{
	size_t i;
	json_t *script;
	json_array_foreach (json_object_get(args, "scripts"), i, script)
		if (run_script(a, json_get_str(script, "text", ""), err) < 0)
			return err_prefix(err, "%.200s", json_get_str(script, "name", "script"));
	return 0;
}

/* ---- files that are copied in --------------------------------------------------------------------------- */

/* Where no operation removes anything. */
#define ARCHIVE "/.roost-copy-in"

int sysprep_files_stream(const json_t *args)
{
	const json_t *fd = json_array_get(json_object_get(args, "fds"), 0);
	return json_object_get(args, "copy-in") && fd ? (int)json_integer_value(fd) : -1;
}

/* Says so if there is no such folder; else takes the archive. */
static char *taking(const json_t *folders)
{
	_cleanup_buf_ struct buf script = {0};
	size_t i;
	json_t *folder;
	json_array_foreach (folders, i, folder) {
		_cleanup_free_ char *word = shell_word(json_string_value(folder) ?: "");
		buf_fmt(&script,
			"[ -d %s ] || { printf \"there is no folder '%%s' in it\\n\" %s >&2; exit 1; }; ",
			word, word);
	}
	buf_str(&script, "umask 077; cat >" ARCHIVE);
	_cleanup_free_ char *word = shell_word(script.data);
	return str_fmt("sh -c %s", word);
}

/* They wait as an archive until all is cleaned: what was copied in is not. */
static int send_files(const struct alone *a, const json_t *args, uint64_t *copied, struct err *err)
{
	_cleanup_buf_ struct buf said = {0};
	int stream = sysprep_files_stream(args);
	if (stream < 0)
		return 0;
	_cleanup_close_ int archive = memfd_create("files", MFD_CLOEXEC);
	if (archive < 0)
		return err_errno(err, "cannot make a file in memory");
	if (sysprep_tar(stream, archive, copied, err) < 0)
		return -1;
	if (lseek(archive, 0, SEEK_SET) < 0)
		return err_errno(err, "cannot read what is to be copied");
	_cleanup_free_ char *command = taking(json_object_get(args, "copy-in"));
	return feed_to_root(a, command, archive, &said, err) < 0
		       ? err_prefix(err, "copying files into it")
		       : 0;
}

/* ---- all together --------------------------------------------------------------------------------------- */

static int clean(const struct alone *a, const json_t *args, struct err *err)
{
	_cleanup_buf_ struct buf said = {0};
	const char *archive = sysprep_files_stream(args) < 0 ? NULL : ARCHIVE;
	_cleanup_free_ char *script = sysprep_script(
		json_object_get(args, "operations"), json_object_get(args, "delete"), archive);
	if (run_as_root(a, "sh -s", script, &said, err) < 0)
		return err_prefix(err, "cleaning");
	if (!said.data || !strstr(said.data, SYSPREP_DONE "\n"))
		return err_set(err, ERR_QEMU, "cleaning ended early: %.300s", last_line(&said));
	return 0;
}

static int work(struct alone *a, const json_t *args, uint64_t *copied, struct err *err)
{
	if (wait_for_login(a, err) < 0)
		return -1;
	a->doing = "running";
	if (run_first(a, args, err) < 0)
		return -1;
	a->doing = "copying";
	if (send_files(a, args, copied, err) < 0)
		return -1;
	a->doing = "cleaning";
	return clean(a, args, err);
}

int sysprep_boot(
	struct off *o, const json_t *args, struct disk_server *s, uint64_t *copied, struct err *err)
{
	_cleanup_definition_ struct definition *d = isolated(o->d, err);
	_cleanup_json_ json_t *forwards = json_array();
	const struct status status = {.forwards = forwards};
	if (!d || ports_choose(&d->nics[0], 0, forwards, err) < 0 ||
		boot(o, d, forwards, s, err) < 0)
		return err_prefix(err, "booting it alone");
	failpoint("sysprep-booted");
	struct alone a = {d, &status, "booting"};
	if (work(&a, args, copied, err) < 0)
		return err_prefix(err, "booted alone");
	/* all that it had written is flushed by this; QEMU's own tables are by its end */
	_cleanup_json_ json_t *reply = NULL;
	return qmp_call(s->qmp, "stop", NULL, deadline_in(QMP_MS), &reply, err);
}
