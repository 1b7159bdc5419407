#include "orchestrator/qemu_caps.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"

enum { ASK_MS = 10000 };

static json_t *identity(const char *binary, struct err *err)
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

/* `-machine help` prints a line for each: NAME DESCRIPTION (alias of REAL) (deprecated) ... */
static json_t *parse_machines(char *text)
{
	json_t *machines = json_object();
	char *save = NULL;
	strtok_r(text, "\n", &save); /* the heading */
	for (char *line; (line = strtok_r(NULL, "\n", &save));) {
		size_t len = strcspn(line, " ");
		_cleanup_free_ char *name = strndup(line, len);
		char *alias = strstr(line, "(alias of ");
		if (alias) {
			alias += strlen("(alias of ");
			alias[strcspn(alias, ")")] = '\0';
		}
		json_object_set_new(machines, name, json_string(alias ? alias : name));
	}
	return machines;
}

static json_t *ask_machines(const char *binary, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_buf_ struct buf text = {0};
	const char *argv[] = {binary, "-machine", "help", NULL};
	int64_t deadline = deadline_in(ASK_MS);
	if (child_start(argv, false, &c, err) < 0)
		return NULL;
	for (;;) {
		if (fd_wait(c.out, POLLIN, deadline) <= 0) {
			err_set(err, ERR_TIMEOUT, "'%s -machine help' does not end", binary);
			return NULL;
		}
		buf_reserve(&text, 8192);
		ssize_t n = read(c.out, text.data + text.len, 8192);
		if (n <= 0)
			break;
		text.len += (size_t)n;
		text.data[text.len] = '\0';
	}
	json_t *machines = parse_machines(text.data ? text.data : (char[]){""});
	if (json_object_size(machines))
		return machines;
	json_decref(machines);
	err_set(err, ERR_QEMU, "'%s -machine help' names no machine", binary);
	return NULL;
}

/* The cached answer if it is this binary's, else a new one, which is then kept. */
static json_t *machines_of(const char *binary, struct err *err)
{
	struct err ignored = ERR_INIT;
	const char *state = paths_state(err);
	_cleanup_json_ json_t *id = state ? identity(binary, err) : NULL;
	if (!id)
		return NULL;
	_cleanup_free_ char *path = str_fmt("%s/qemu.json", state);
	_cleanup_json_ json_t *cache = json_file_read(AT_FDCWD, path, &ignored);
	if (json_equal(json_object_get(cache, "identity"), id))
		return json_incref(json_object_get(cache, "machines"));
	json_t *machines = ask_machines(binary, err);
	_cleanup_json_ json_t *now = json_pack("{s:O, s:O}", "identity", id, "machines", machines);
	if (machines)
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
