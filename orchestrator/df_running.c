#include "orchestrator/df_running.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/guest_agent.h"
#include "orchestrator/look_net.h"
#include "orchestrator/smoke_ssh.h"
#include "orchestrator/guest_text.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/verb.h"

/* Of both coreutils and busybox; one that complains of a mount has told the others all the same. */
#define COMMAND "LC_ALL=C; export LC_ALL; df -kPT; echo; df -iP"

enum {
	EXEC_MS = 10000,
	SSH_MS = 30000,
	ASK_AGAIN_MS = 30,
	TEXT_MAX = 256 * 1024,
	FILESYSTEMS_MAX = 512,
};

/* ---- what df prints ---------------------------------------------------------------------------------- */

static json_t *find_device(const json_t *list, const char *device)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (str_eq(json_get_str(one, "device", ""), device))
			return one;
	return NULL;
}

static void set_kib(json_t *o, const char *key, uint64_t kib)
{
	if (kib <= INT64_MAX / 1024)
		json_object_set_new(o, key, json_integer((json_int_t)(kib * 1024)));
}

/* "/dev/vda1 ext4 112403 30619 79265 28% /": a device that is mounted twice is told once. */
static void take_blocks(json_t *list, const char *line)
{
	char device[256], type[64];
	uint64_t total, used, available;
	int at = 0;
	if (sscanf(line, "/dev/%255s %63s %" SCNu64 " %" SCNu64 " %" SCNu64 " %*s %n", device, type,
		    &total, &used, &available, &at) != 5 ||
		!at || json_array_size(list) == FILESYSTEMS_MAX)
		return;
	_cleanup_free_ char *name = text_line(device, strlen(device), sizeof(device));
	if (find_device(list, name))
		return;
	_cleanup_free_ char *kind = text_line(type, strlen(type), sizeof(type));
	_cleanup_free_ char *mounted = text_line(line + at, strlen(line + at), 256);
	json_t *o = json_pack("{s:s, s:s, s:s}", "device", name, "type", kind, "mounted", mounted);
	if (!o)
		return;
	set_kib(o, "total", total);
	set_kib(o, "used", used);
	set_kib(o, "available", available);
	json_array_append_new(list, o);
}

/* "/dev/vda1 7680 1040 6640 14% /"; "-" where there are none */
static void take_inodes(json_t *list, const char *line)
{
	char device[256];
	uint32_t inodes, used;
	if (sscanf(line, "/dev/%255s %" SCNu32 " %" SCNu32, device, &inodes, &used) != 3 || !inodes)
		return;
	_cleanup_free_ char *name = text_line(device, strlen(device), sizeof(device));
	json_t *o = find_device(list, name);
	if (!o || json_object_get(o, "inodes"))
		return;
	json_object_set_new(o, "inodes", json_integer(inodes));
	json_object_set_new(o, "inodes-used", json_integer(used));
}

json_t *df_parse(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	json_t *list = json_array();
	bool inodes = false;
	for (char *rest = copy, *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (!line[0])
			inodes = true;
		else if (inodes)
			take_inodes(list, line);
		else
			take_blocks(list, line);
	}
	return list;
}

/* ---- by the agent ------------------------------------------------------------------------------------ */

/* Until it has ended, which no event tells. */
static json_t *follow(struct look *l, int64_t pid, struct err *err)
{
	int64_t deadline = deadline_in(EXEC_MS);
	for (;;) {
		json_t *status = guest_agent_call(l->f.name, "guest-exec-status",
			json_pack("{s:I}", "pid", (json_int_t)pid), AGENT_LOOK_MS, err);
		if (!status || json_get_bool(status, "exited", false))
			return status;
		json_decref(status);
		if (!deadline_left(deadline)) {
			err_set(err, ERR_TIMEOUT, "guest '%s': df has not ended", l->f.name);
			return NULL;
		}
		poll(NULL, 0, ASK_AGAIN_MS);
	}
}

static json_t *by_agent(struct look *l, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_json_ json_t *started = guest_agent_call(l->f.name, "guest-exec",
		json_pack("{s:s, s:[s, s], s:b}", "path", "/bin/sh", "arg", "-c", COMMAND,
			"capture-output", 1),
		AGENT_LOOK_MS, err);
	if (!started)
		return NULL;
	_cleanup_json_ json_t *status = follow(l, json_get_int(started, "pid", -1), err);
	if (!status)
		return NULL;
	guest_agent_decode(json_get_str(status, "out-data", ""), TEXT_MAX, &text);
	json_t *list = df_parse(text.data ? text.data : "");
	if (json_array_size(list))
		return list;
	json_decref(list);
	err_set(err, ERR_QEMU, "guest '%s': df tells of no file system", l->f.name);
	return NULL;
}

/* The agent's account of a file system: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html */
static void add_account(json_t *list, const json_t *fs)
{
	const char *name = json_get_str(fs, "name", "");
	int64_t used = json_get_int(fs, "used-bytes", -1);
	int64_t users = json_get_int(fs, "total-bytes", -1); /* without root's reserve */
	int64_t total = json_get_int(fs, "total-bytes-privileged", users);
	_cleanup_free_ char *device = text_line(name, strlen(name), 255);
	if (!json_array_size(json_object_get(fs, "disk")) || used < 0 || users < used ||
		find_device(list, device) || json_array_size(list) == FILESYSTEMS_MAX)
		return;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I}", "device", device, "total", (json_int_t)total,
		"used", (json_int_t)used, "available", (json_int_t)(users - used));
	if (!o)
		return;
	static const char *const same[][2] = {{"type", "type"}, {"mountpoint", "mounted"}};
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		const char *value = json_get_str(fs, same[i][0], "");
		_cleanup_free_ char *clean = text_line(value, strlen(value), 255);
		json_object_set_new(o, same[i][1], json_string(clean));
	}
	if (!json_object_get(fs, "total-bytes-privileged"))
		json_object_set_new(o, "approximate", json_true());
	json_array_append_new(list, o);
}

static json_t *by_account(struct look *l, struct err *err)
{
	_cleanup_json_ json_t *all =
		guest_agent_call(l->f.name, "guest-get-fsinfo", NULL, AGENT_LOOK_MS, err);
	if (!all)
		return NULL;
	json_t *list = json_array(), *fs;
	size_t i;
	json_array_foreach (all, i, fs)
		add_account(list, fs);
	if (json_array_size(list))
		return list;
	json_decref(list);
	err_set(err, ERR_QEMU, "guest '%s': its agent tells of no file system", l->f.name);
	return NULL;
}

/* ---- over SSH ---------------------------------------------------------------------------------------- */

static json_t *by_ssh(struct look *l, struct err *err)
{
	_cleanup_definition_ struct definition *d = look_definition(&l->f, err);
	if (d && !d->cloud_init.enabled && !d->ready.user && !d->ready.identity) {
		err_set(err, ERR_REFUSED, "nobody is known to have a login there");
		return NULL;
	}
	json_t *params = d ? ssh_params(d, &l->s, NULL, err) : NULL;
	_cleanup_close_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_(answer_free) struct answer a = {0};
	if (!params)
		return NULL;
	json_object_set_new(params, "command", json_string(COMMAND));
	if (guest_exec(params, in, deadline_in(SSH_MS), &a, err) < 0)
		return NULL;
	json_t *list = df_parse(a.out.data ? a.out.data : "");
	if (json_array_size(list))
		return list;
	json_decref(list);
	err_set(err, ERR_QEMU, "guest '%s': df tells of no file system", l->f.name);
	return NULL;
}

json_t *df_running(struct look *l, struct err *err)
{
	struct err agents = ERR_INIT, ssh = ERR_INIT;
	json_t *list = by_agent(l, &agents);
	if (!list && agents.kind != ERR_GONE)
		list = by_ssh(l, &ssh);
	if (!list && agents.kind == ERR_QEMU)
		list = by_account(l, &agents);
	if (list)
		return list;
	err_set(err, agents.kind, "%s; over SSH: %s", agents.message,
		ssh.message[0] ? cli_said_of(l->f.name, &ssh) : "not tried");
	err_hint(err, "with qemu-guest-agent in the guest it needs neither network nor key");
	return NULL;
}
