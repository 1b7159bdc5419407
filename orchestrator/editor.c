#include "orchestrator/editor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/str.h"

enum { TEXT_MAX = 1024 * 1024 };

static const char *chosen_editor(void)
{
	static const char *const variables[] = {"VISUAL", "EDITOR"};
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *value = getenv(variables[i]);
		if (value && value[0])
			return value;
	}
	return NULL;
}

static _Noreturn void exec_editor(const char *path)
{
	static const char any[] = "for e in sensible-editor nano vi; do\n"
				  "	command -v \"$e\" >/dev/null && exec \"$e\" \"$1\"\n"
				  "done\n"
				  "echo 'there is no editor here: set EDITOR' >&2\n"
				  "exit 127";
	const char *chosen = chosen_editor();
	_cleanup_free_ char *script = chosen ? str_fmt("%s \"$@\"", chosen) : xstrdup(any);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	execl("/bin/sh", "sh", "-c", script, "editor", path, (char *)NULL);
	_exit(127);
}

/* ^C at an editor is the editor's. */
static int run_editor(const char *path, struct err *err)
{
	int status = 0;
	void (*on_int)(int) = signal(SIGINT, SIG_IGN), (*on_quit)(int) = signal(SIGQUIT, SIG_IGN);
	pid_t pid = fork();
	if (pid == 0)
		exec_editor(path);
	if (pid > 0)
		waitpid(pid, &status, 0);
	signal(SIGINT, on_int);
	signal(SIGQUIT, on_quit);
	if (pid < 0)
		return err_errno(err, "cannot fork");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	const char *chosen = chosen_editor();
	return err_set(err, ERR_SYSTEM, "the editor%s%s%s %s", chosen ? " '" : "",
		chosen ? chosen : "", chosen ? "'" : "", proc_status_text(status));
}

static char *new_file(const char *name, const char *extension, const char *text, struct err *err)
{
	const char *folder = getenv("TMPDIR");
	_cleanup_free_ char *path = str_fmt("%s/roost-%s-XXXXXX.%s",
		folder && folder[0] == '/' ? folder : "/tmp", name, extension);
	_cleanup_close_ int fd = mkostemps(path, (int)strlen(extension) + 1, O_CLOEXEC);
	if (fd < 0 || write_all(fd, text, strlen(text)) < 0) {
		err_errno(err, "cannot write '%s'", path);
		if (fd >= 0)
			unlink(path);
		return NULL;
	}
	return TAKE(path);
}

/* Shows what is wrong, and asks. */
static bool wants_again(const struct err *err)
{
	char answer[64] = "";
	if (!isatty(STDIN_FILENO))
		return false;
	fprintf(stderr, "roost: %s\n", err->message);
	if (err->hint[0])
		fprintf(stderr, "       %s\n", err->hint);
	fputs("Edit again? [Y/n] ", stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	return strchr("yY\n", answer[0]);
}

/* The editor, what came of it, and `take`. */
static int edit_once(const char *path, const char *text, take_fn *take, void *about, bool *changed,
	struct err *err)
{
	_cleanup_buf_ struct buf got = {0};
	int result = run_editor(path, err);
	struct err ignored = ERR_INIT;
	if (file_read(AT_FDCWD, path, TEXT_MAX, &got, result < 0 ? &ignored : err) < 0) {
		*changed = access(path, F_OK) == 0; /* too long for us, but the user's own */
		return -1;
	}
	buf_str(&got, "");
	*changed = !str_eq(got.data, text);
	if (result < 0 || !*changed)
		return result;
	if (strlen(got.data) != got.len)
		return err_set(err, ERR_USAGE, "the text contains the character NUL");
	return take(got.data, path, about, err);
}

int editor_edit(const char *name, const char *extension, const char *text, take_fn *take,
	void *about, bool *changed, struct err *err)
{
	_cleanup_free_ char *path = new_file(name, extension, text, err);
	if (!path)
		return -1;
	int result;
	while ((result = edit_once(path, text, take, about, changed, err)) < 0 && *changed &&
		wants_again(err))
		*err = (struct err)ERR_INIT;
	if (result == 0 || !*changed) {
		unlink(path);
		return result;
	}
	_cleanup_free_ char *hint = xstrdup(err->hint);
	return err_hint(err, "%s%syour text is kept: %s", hint, hint[0] ? "; " : "", path);
}
