/*
 * As whom we come in, in ssh's order: without anything, by the identities, by the keys of the SSH agent. For somebody
 * who may be asked also by keys that want a passphrase, and by what he types: what the server asks
 * (keyboard-interactive), then a password, three times each. What is typed is asked for here, where it is used, so
 * that no other process ever holds it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ask.h"
#include "base/clock.h"
#include "base/json.h"
#include "orchestrator/ssh_libssh.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { TRIES = 3, ANSWER_MAX = 1024, QUESTIONS_MAX = 32 };

/* What was tried, for the error and for the one that worked. */
struct login {
	struct session *session;
	const struct remote *remote;
	bool asks; /* there is somebody */
	struct buf offered, skipped;
	json_t *locked; /* files whose keys want a passphrase */
	char *method;   /* what was accepted */
};

static void login_free(struct login *l)
{
	buf_free(&l->offered);
	buf_free(&l->skipped);
	json_decref(l->locked);
	free(l->method);
}

static void add_item(struct buf *list, const char *fmt, const char *a, const char *b)
{
	buf_str(list, list->len ? ", " : "");
	buf_fmt(list, fmt, a, b);
}

static void add_methods(struct buf *list, int bits)
{
	static const struct {
		unsigned bit;
		const char *name;
	} methods[] = {
		{SSH_AUTH_METHOD_PUBLICKEY, "publickey"},
		{SSH_AUTH_METHOD_PASSWORD, "password"},
		{SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"},
		{SSH_AUTH_METHOD_HOSTBASED, "hostbased"},
		{SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if ((unsigned)bits & methods[i].bit)
			add_item(list, "%s%s", methods[i].name, "");
	if (!list->len)
		buf_str(list, "nothing");
}

static bool takes(const struct login *l, unsigned method)
{
	return (unsigned)ssh_userauth_list(l->session->ssh, NULL) & method;
}

static bool goes_on(int rc)
{
	return rc == SSH_AUTH_DENIED || rc == SSH_AUTH_PARTIAL;
}

/* ---- keys ---------------------------------------------------------------------------------------- */

static int offer_key(struct login *l, ssh_key key)
{
	struct session *s = l->session;
	int rc = UNTIL_DONE(s, ssh_userauth_publickey(s->ssh, NULL, key), SSH_AUTH_AGAIN);
	if (rc != SSH_AUTH_SUCCESS)
		return rc;
	_cleanup_free_ char *fingerprint = key_fingerprint(key);
	l->method = str_fmt("%s %s", ssh_key_type_to_char(ssh_key_type(key)), fingerprint);
	return rc;
}

/* One identity. Returns an ssh_auth_e; a key that cannot be used counts as denied. */
static int try_identity(struct login *l, size_t number, const char *identity)
{
	struct err err = ERR_INIT;
	bool is_text = identity_is_text(identity);
	_cleanup_free_ char *label = is_text ? str_fmt("identity %zu", number) : xstrdup(identity);
	_cleanup_key_ ssh_key key = identity_load(identity, NULL, &err);
	if (!key) {
		add_item(&l->skipped, "%s (%s)", label, err.message);
		if (err.kind == ERR_REFUSED && !is_text)
			json_array_append_new(l->locked, json_string(identity));
		return SSH_AUTH_DENIED;
	}
	_cleanup_free_ char *fingerprint = key_fingerprint(key);
	add_item(&l->offered, "%s (%s)", label, fingerprint);
	return offer_key(l, key);
}

/* "none" first: it tells the methods, and some guests want no more. */
static int try_nothing(struct login *l)
{
	struct session *s = l->session;
	int rc = UNTIL_DONE(s, ssh_userauth_none(s->ssh, NULL), SSH_AUTH_AGAIN);
	if (rc == SSH_AUTH_SUCCESS)
		l->method = xstrdup("nothing asked");
	return rc;
}

static int try_keys(struct login *l, int rc)
{
	const struct remote *r = l->remote;
	struct session *s = l->session;
	json_t *item;
	size_t i;
	json_array_foreach (r->identities, i, item) {
		if (!goes_on(rc))
			return rc;
		rc = try_identity(l, i + 1, json_string_value(item));
	}
	const char *agent = getenv("SSH_AUTH_SOCK");
	if (goes_on(rc) && r->agent && agent && *agent) {
		add_item(&l->offered, "%s%s", "the keys of the SSH agent", "");
		rc = UNTIL_DONE(s, ssh_userauth_agent(s->ssh, NULL), SSH_AUTH_AGAIN);
		if (rc == SSH_AUTH_SUCCESS)
			l->method = xstrdup("a key of the SSH agent");
	}
	return rc;
}

/* ---- somebody who is asked ------------------------------------------------------------------------- */

/* While he types there is no deadline, and after it as much time as ever. -1: no answer. */
static int ask(const struct login *l, const char *question, bool hidden, char out[ANSWER_MAX])
{
	struct err ignored = ERR_INIT;
	watch_move(DEADLINE_NONE);
	int rc = ask_line(question, hidden, out, ANSWER_MAX, &ignored);
	watch_move(deadline_in(l->remote->connect_ms));
	return rc;
}

static void say_denied(int rc)
{
	if (rc == SSH_AUTH_DENIED)
		ask_say("Permission denied, please try again.\n");
}

/* A passphrase is asked for only where the server takes the key. */
static int unlock(struct login *l, const char *file)
{
	_cleanup_key_ ssh_key public = NULL;
	_cleanup_free_ char *beside = str_fmt("%s.pub", file);
	_cleanup_free_ char *shown = text_shown(file, strlen(file));
	_cleanup_free_ char *question = str_fmt("Enter passphrase for key '%s': ", shown);
	struct session *s = l->session;
	if (ssh_pki_import_pubkey_file(beside, &public) != SSH_OK &&
		ssh_pki_import_pubkey_file(file, &public) != SSH_OK)
		return SSH_AUTH_DENIED;
	int rc = UNTIL_DONE(s, ssh_userauth_try_publickey(s->ssh, NULL, public), SSH_AUTH_AGAIN);
	if (rc != SSH_AUTH_SUCCESS)
		return rc;
	for (int i = 0; i < TRIES; i++) {
		struct err ignored = ERR_INIT;
		char typed[ANSWER_MAX];
		int got = ask(l, question, true, typed);
		bool none = got < 0 || !typed[0];
		_cleanup_key_ ssh_key key = none ? NULL : identity_load(file, typed, &ignored);
		explicit_bzero(typed, sizeof(typed));
		if (key)
			return offer_key(l, key);
		if (none)
			break;
	}
	return SSH_AUTH_DENIED;
}

static int try_locked(struct login *l, int rc)
{
	json_t *item;
	size_t i;
	json_array_foreach (l->locked, i, item) {
		if (!goes_on(rc) || !takes(l, SSH_AUTH_METHOD_PUBLICKEY))
			break;
		rc = unlock(l, json_string_value(item));
	}
	return rc;
}

/* "(alice@web1) Verification code: ", behind what the server has to say about it; none of it to be believed. */
static char *question_of(const struct login *l, const char *said, const char *prompt)
{
	_cleanup_free_ char *about = text_shown(said, strnlen(said, 400));
	_cleanup_free_ char *shown = text_shown(prompt, strnlen(prompt, 200));
	return str_fmt("%s%s(%s@%s) %s", about, about[0] ? "\n" : "", l->remote->user,
		l->remote->guest, shown);
}

/* All that the server asks in one go. -1: no answer. */
static int answer_all(struct login *l, bool *asked)
{
	ssh_session ssh = l->session->ssh;
	int count = ssh_userauth_kbdint_getnprompts(ssh);
	const char *said = ssh_userauth_kbdint_getinstruction(ssh);
	for (int i = 0; i < count && i < QUESTIONS_MAX; i++) {
		char echo = 0, typed[ANSWER_MAX];
		const char *prompt = ssh_userauth_kbdint_getprompt(ssh, (unsigned)i, &echo);
		_cleanup_free_ char *question =
			question_of(l, i == 0 && said ? said : "", prompt ? prompt : "");
		int rc = ask(l, question, !echo, typed);
		if (rc == 0)
			rc = ssh_userauth_kbdint_setanswer(ssh, (unsigned)i, typed);
		explicit_bzero(typed, sizeof(typed));
		if (rc < 0)
			return -1;
		*asked = true;
	}
	return 0;
}

static int by_questions(struct login *l)
{
	struct session *s = l->session;
	int rc = SSH_AUTH_DENIED;
	for (int i = 0; i < TRIES && rc == SSH_AUTH_DENIED; i++) {
		bool asked = false;
		for (int round = 0; round < QUESTIONS_MAX; round++) {
			rc = UNTIL_DONE(s, ssh_userauth_kbdint(s->ssh, NULL, NULL), SSH_AUTH_AGAIN);
			if (rc != SSH_AUTH_INFO)
				break;
			if (answer_all(l, &asked) < 0)
				return SSH_AUTH_DENIED;
		}
		if (!asked)
			break;
		say_denied(rc);
	}
	if (rc == SSH_AUTH_SUCCESS)
		l->method = xstrdup("what somebody has typed");
	return rc;
}

static int by_password(struct login *l)
{
	struct session *s = l->session;
	int rc = SSH_AUTH_DENIED;
	_cleanup_free_ char *question =
		str_fmt("%s@%s's password: ", l->remote->user, l->remote->guest);
	for (int i = 0; i < TRIES && rc == SSH_AUTH_DENIED; i++) {
		char typed[ANSWER_MAX];
		if (ask(l, question, true, typed) < 0)
			break;
		rc = UNTIL_DONE(s, ssh_userauth_password(s->ssh, NULL, typed), SSH_AUTH_AGAIN);
		explicit_bzero(typed, sizeof(typed));
		say_denied(rc);
	}
	if (rc == SSH_AUTH_SUCCESS)
		l->method = xstrdup("a password");
	return rc;
}

static int try_typed(struct login *l, int rc)
{
	rc = try_locked(l, rc);
	if (goes_on(rc) && takes(l, SSH_AUTH_METHOD_INTERACTIVE))
		rc = by_questions(l);
	if (goes_on(rc) && takes(l, SSH_AUTH_METHOD_PASSWORD))
		rc = by_password(l);
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------------- */

/* A server may want several ways, one after the other: then it takes the first ones that succeed as a part. */
static int try_all(struct login *l)
{
	int rc = try_nothing(l);
	for (int part = 0; part < TRIES && goes_on(rc); part++) {
		rc = try_keys(l, rc);
		if (l->asks && goes_on(rc))
			rc = try_typed(l, rc);
		if (rc != SSH_AUTH_PARTIAL || !l->asks)
			break;
	}
	return rc;
}

static int login_failed(struct login *l, int rc, enum reason *why, struct err *err)
{
	const struct remote *r = l->remote;
	struct session *s = l->session;
	bool too_many = strstr(ssh_get_error(s->ssh), "authentication failures");
	if (watch_expired() || watch_signal() || (!goes_on(rc) && !too_many))
		return session_fail(s, REASON_LOST, why, err, "login");
	_cleanup_buf_ struct buf methods = {0};
	add_methods(&methods, ssh_userauth_list(s->ssh, NULL));
	FAIL(why, REASON_LOGIN_REFUSED, err,
		"login as '%s' was refused%s: the server accepts %s; offered: %s%s%s", r->user,
		too_many                 ? " after too many keys"
		: rc == SSH_AUTH_PARTIAL ? ", a key is not enough"
					 : "",
		methods.data, l->offered.len ? l->offered.data : "no key",
		l->skipped.len ? "; skipped: " : "", l->skipped.len ? l->skipped.data : "");
	if (r->ask && !l->asks && takes(l, SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_INTERACTIVE))
		err_hint(err,
			"there is no terminal to ask for a password at; at one `roost ssh-copy-id %s@%s` "
			"lets your key in",
			r->user, r->guest);
	return -1;
}

int session_login(
	struct session *s, const struct remote *r, char **method, enum reason *why, struct err *err)
{
	_cleanup_(login_free) struct login l = {
		.session = s, .remote = r, .asks = r->ask && ask_can(), .locked = json_array()};
	int rc = try_all(&l);
	if (rc != SSH_AUTH_SUCCESS)
		return login_failed(&l, rc, why, err);
	*method = TAKE(l.method);
	return 0;
}
