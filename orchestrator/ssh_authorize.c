/*
 * A shell in the guest does it, as with ssh-copy-id: what sshd reads is a file of the user's, wherever his home is. Only
 * lines are added. What others might write to is closed to them, or sshd would not believe it.
 */
#include "orchestrator/ssh_authorize.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_session.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { COMMAND_MS = 30000 };

/* One word per key; the login shell may be any, so it is sh that reads this. */
static const char head[] =
	"cd && umask 077 && mkdir -p .ssh && f=.ssh/authorized_keys && touch $f && chmod go-w .ssh $f || exit 1\n"
	"add() {\n"
	"if grep -v '^[[:space:]]*#' $f | grep -qF \"$1\"; then echo there; return; fi\n"
	"[ -z \"$(tail -c 1 $f)\" ] || echo >>$f || exit 1\n"
	"printf '%s\\n' \"$2\" >>$f || exit 1\n"
	"echo added\n"
	"}\n";
/* SELinux wants its label on what sshd reads. */
static const char tail[] = "! command -v restorecon >/dev/null || restorecon -F .ssh $f\n";

/* "add 'TYPE BLOB' 'TYPE BLOB COMMENT'" */
static int add_key(struct buf *script, const char *line, struct err *err)
{
	_cleanup_free_ char *text = key_in_line(line);
	if (!text)
		return err_set(err, ERR_USAGE, "'%.60s' is no public key", line);
	_cleanup_free_ char *bare = shell_word(text);
	_cleanup_free_ char *whole = shell_word(line);
	buf_fmt(script, "add %s %s\n", bare, whole);
	return 0;
}

static int script_of(json_t *keys, struct buf *script, struct err *err)
{
	size_t i;
	json_t *key;
	buf_str(script, head);
	json_array_foreach (keys, i, key)
		if (add_key(script, json_string_value(key), err) < 0)
			return -1;
	buf_str(script, tail);
	return 0;
}

static int count_of(const char *text, const char *word)
{
	int count = 0;
	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		count++;
	return count;
}

int authorize(const struct remote *r, const struct authorize_params *p)
{
	struct err err = ERR_INIT;
	enum reason why;
	int status = 0;
	_cleanup_buf_ struct buf script = {0}, said = {0};
	if (script_of(p->keys, &script, &err) < 0)
		return report_error(&err);
	_cleanup_free_ char *word = shell_word(script.data);
	_cleanup_free_ char *command = str_fmt("exec sh -c %s", word);
	_cleanup_session_ struct session *s = session_open(r, &why, &err);
	if (!s)
		return report_error(&err);
	watch_move(deadline_in(COMMAND_MS));
	if (session_run(s, command, &said, &status, &why, &err) < 0)
		return report_error(&err);
	watch_stop();
	const char *text = said.data ? said.data : "";
	int added = count_of(text, "added\n"), present = count_of(text, "there\n");
	if (status == 0 && (size_t)(added + present) == json_array_size(p->keys)) {
		report(json_pack("{s:s, s:i, s:i}", "state", "authorized", "added", added,
			"present", present));
		return 0;
	}
	_cleanup_free_ char *shown = text_shown(text, strcspn(text, "\n"));
	err_set(&err, ERR_QEMU, "the guest could not write its authorized_keys: %s",
		shown[0] ? shown : "it does not say why");
	return report_error(&err);
}
