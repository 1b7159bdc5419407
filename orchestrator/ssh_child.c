#include "orchestrator/ssh_child.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/answer.h"
#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/reach.h"

enum { PARAMS_FD = 3 };

static void add_if_there(json_t *list, const char *path)
{
	if (access(path, R_OK) == 0)
		json_array_append_new(list, json_string(path));
}

json_t *ssh_identities(const struct definition *d, struct err *err)
{
	static const char *const usual[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
	json_t *list = json_array();
	const char *state = paths_state(err), *home = getenv("HOME");
	if (d && d->ready.identity) {
		json_array_append_new(list, json_string(d->ready.identity));
		return list;
	}
	_cleanup_free_ char *own = str_fmt("%s/ssh/id_ed25519", state ? state : "");
	add_if_there(list, own);
	for (size_t i = 0; home && i < ARRAY_SIZE(usual); i++) {
		_cleanup_free_ char *path = str_fmt("%s/.ssh/%s", home, usual[i]);
		add_if_there(list, path);
	}
	return list;
}

const char *ssh_user(const struct definition *d, const char *user)
{
	return user ? user : d->ready.user ? d->ready.user : d->cloud_init.user;
}

/* Of a guest where nobody is known, as ssh has it. */
static const char *caller(void)
{
	const struct passwd *us = getpwuid(geteuid());
	return us ? us->pw_name : "root";
}

json_t *ssh_params(
	const struct definition *d, const struct status *s, const char *user, struct err *err)
{
	struct reach r;
	if (reach_find(d, s, SSH_PORT, &r, err) < 0)
		return NULL;
	const char *who = ssh_user(d, user);
	json_t *params = json_pack("{s:s, s:i, s:s, s:s, s:o, s:s?}", "address", r.address, "port",
		(int)r.port, "guest", d->name, "user", who ? who : caller(), "identities",
		ssh_identities(d, err), "host_key", d->issued.host_key);
	if (r.network[0])
		json_object_update_new(
			params, json_pack("{s:s, s:s}", "network", r.network, "instance",
					paths_are_system() ? "system" : "session"));
	return params;
}

static int find_program(char path[4096], struct err *err)
{
	snprintf(path, 4096, "%s", libexec_path("roost-ssh"));
	if (access(path, X_OK) == 0)
		return 0;
	err_set(err, ERR_SYSTEM, "the program roost-ssh is not installed");
	return err_hint(err, "build roost with libssh: `apt install libssh-dev`, then `make`");
}

int ssh_become(const char *subcommand, json_t *params, struct err *err)
{
	char path[4096];
	_cleanup_json_ json_t *owned = params;
	_cleanup_free_ char *text = json_line(owned);
	if (find_program(path, err) < 0)
		return -1;
	int fd = memfd_create("parameters", 0);
	if (fd < 0 || write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
		(fd != PARAMS_FD && dup2(fd, PARAMS_FD) < 0))
		return err_errno(err, "cannot hand parameters to roost-ssh");
	execl(path, "roost-ssh", "--params-fd", "3", subcommand, (char *)NULL);
	return err_errno(err, "cannot run '%s'", path);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = number;
}

/* Who asks has set the terminal up and must put it back before anybody else goes on: ^C is his first. */
static void leave_interrupts(const json_t *params)
{
	struct sigaction a = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
	if (!json_get_bool(params, "ask", false))
		return;
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGQUIT, &a, NULL);
}

void ssh_ended(void)
{
	if (!interrupted)
		return;
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}

int ssh_start(const char *subcommand, json_t *params, struct child *out, struct err *err)
{
	char path[4096];
	_cleanup_json_ json_t *owned = params;
	_cleanup_free_ char *text = json_line(owned);
	const char *argv[] = {path, subcommand, NULL};
	leave_interrupts(owned);
	if (find_program(path, err) < 0 || child_start(argv, true, out, err) < 0)
		return -1;
	if (write_all(out->in, text, strlen(text)) < 0) {
		child_end(out);
		return err_errno(err, "cannot hand parameters to roost-ssh");
	}
	cleanup_close(&out->in);
	return 0;
}

static void wipe_texts(json_t *o)
{
	const char *key;
	json_t *value;
	json_object_foreach (o, key, value)
		if (json_is_string(value)) /* jansson's copy, of which nobody has need any more */
			explicit_bzero((char *)json_string_value(value), json_string_length(value));
}

json_t *ssh_ask(const char *subcommand, json_t *params, int64_t ms, struct err *err)
{
	char path[4096];
	_cleanup_json_ json_t *owned = params;
	const char *const argv[] = {path, subcommand, NULL};
	if (find_program(path, err) < 0)
		return NULL;
	_cleanup_free_ char *text = json_line(owned);
	leave_interrupts(owned);
	json_t *answer = child_answer(argv, text, strlen(text), ms, err);
	explicit_bzero(text, strlen(text));
	wipe_texts(owned);
	ssh_ended();
	return answer;
}
