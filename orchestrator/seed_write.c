/* The children that make seeds: roost-ssh and roost-image. What is secret goes over pipes. */
#include "orchestrator/seed_write.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/paths.h"

enum { CHILD_MS = 20000, TEXT_MAX = 1024 * 1024 };

static int feed(struct child *c, const char *input, struct err *err)
{
	int result = input ? write_all(c->in, input, strlen(input)) : 0;
	cleanup_close(&c->in);
	return result < 0 ? err_errno(err, "cannot write to a child") : 0;
}

json_t *seed_child(const char *const argv[], const char *input, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_buf_ struct buf text = {0};
	int64_t deadline = deadline_in(CHILD_MS);
	if (child_start(argv, true, &c, err) < 0 || feed(&c, input, err) < 0)
		return NULL;
	for (ssize_t n = 1; n > 0 && text.len < TEXT_MAX;) {
		if (fd_wait(c.out, POLLIN, deadline) <= 0) {
			err_set(err, ERR_TIMEOUT, "'%s %s' does not end", argv[0], argv[1]);
			return NULL;
		}
		buf_reserve(&text, 8192);
		n = read(c.out, text.data + text.len, 8192);
		text.len += n > 0 ? (size_t)n : 0;
		text.data[text.len] = '\0';
	}
	int status = 0;
	_cleanup_json_ json_t *answer =
		text.len ? json_text_parse(text.data, text.len, err) : json_object();
	if (proc_reap(&c.proc, deadline, &status, err) < 0)
		return NULL;
	json_t *error = json_object_get(answer, "error");
	if (error) {
		json_to_err(error, err);
		return NULL;
	}
	if (status || !answer) {
		err_set(err, ERR_SYSTEM, "'%s %s' %s", argv[0], argv[1], proc_status_text(status));
		return NULL;
	}
	return TAKE(answer);
}

const char *seed_program(const char *name, char path[4096], struct err *err)
{
	snprintf(path, 4096, "%s", libexec_path(name));
	if (access(path, X_OK) == 0)
		return path;
	err_set(err, ERR_SYSTEM, "the program '%s' is not installed, which makes seeds", name);
	err_hint(err, "build roost with its library: `roost validate` names it");
	return NULL;
}

int seed_write(const struct seed_files *files, const char *out, struct err *err)
{
	char path[4096];
	const char *argv[] = {seed_program("roost-image", path, err), "seed", out, NULL};
	char *request = argv[0] ? seed_request(files, err) : NULL;
	_cleanup_json_ json_t *answer = request ? seed_child(argv, request, err) : NULL;
	seed_request_free(&request);
	return answer ? 0 : -1;
}
