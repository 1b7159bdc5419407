#include "orchestrator/ssh_entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ask.h"
#include "base/str.h"
#include "orchestrator/connect.h"
#include "orchestrator/guest_agent.h"
#include "orchestrator/record.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/ssh_words.h"

enum { SCAN_MS = 20000, AGENT_MS = 5000, KEY_FILE_MAX = 4096, ANSWER_MAX = 256 };

/* ---- the key that it shows -------------------------------------------------------------------------- */

struct shown {
	const char *guest;
	char *key, *fingerprint; /* "TYPE BASE64", "SHA256:..." */
	const char *kind, *file; /* "ED25519", and where such a key lies in a guest */
};

static void shown_free(struct shown *s)
{
	free(s->key);
	free(s->fingerprint);
}

static void name_kind(struct shown *s)
{
	static const struct {
		const char *type, *kind, *file;
	} kinds[] = {
		{"ssh-ed25519", "ED25519", "/etc/ssh/ssh_host_ed25519_key.pub"},
		{"ecdsa-", "ECDSA", "/etc/ssh/ssh_host_ecdsa_key.pub"},
		{"ssh-rsa", "RSA", "/etc/ssh/ssh_host_rsa_key.pub"},
	};
	s->kind = "Its";
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_starts(s->key, kinds[i].type)) {
			s->kind = kinds[i].kind;
			s->file = kinds[i].file;
		}
}

static int scan(const json_t *params, struct shown *out, struct err *err)
{
	json_t *copy = json_deep_copy(params);
	json_object_del(copy, "host_key");
	_cleanup_json_ json_t *answer = ssh_ask("scan", copy, SCAN_MS, err);
	if (!answer)
		return err_prefix(err, "guest '%s'", out->guest);
	out->key = xstrdup(json_get_str(answer, "host_key", ""));
	out->fingerprint = xstrdup(json_get_str(answer, "fingerprint", ""));
	name_kind(out);
	return 0;
}

/* ---- may it be believed? ----------------------------------------------------------------------------- */

/* What the guest's agent reads is compared and nothing else: a guest may answer whatever it likes. */
enum agents_word { AGENT_SILENT, AGENT_SAME, AGENT_OTHER };
static enum agents_word ask_agent(const struct shown *s)
{
	struct err ignored = ERR_INIT;
	char ours[64], theirs[64];
	_cleanup_buf_ struct buf line = {0};
	if (!s->file ||
		guest_agent_file(s->guest, s->file, KEY_FILE_MAX, AGENT_MS, &line, &ignored) < 0 ||
		!line.len)
		return AGENT_SILENT;
	if (key_text_same(line.data, s->key))
		return AGENT_SAME;
	bool same_type = key_text_type(line.data, theirs, sizeof(theirs)) == 0 &&
			 key_text_type(s->key, ours, sizeof(ours)) == 0 && str_eq(ours, theirs);
	return same_type ? AGENT_OTHER : AGENT_SILENT;
}

/* The question and its answers are those of ssh: there are scripts that give them. */
static int ask_somebody(
	const struct shown *s, const char *address, enum agents_word word, struct err *err)
{
	char typed[ANSWER_MAX];
	_cleanup_free_ char *question = str_fmt(
		"%sThe host key of guest '%s' (%s) is not known.\n%s key fingerprint is %s.\n"
		"Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
		word == AGENT_OTHER
			? "WARNING: on the guest's own disk there is another one, as its agent says.\n"
			: "",
		s->guest, address, s->kind, s->fingerprint);
	const char *next = question;
	for (;;) {
		if (ask_line(next, false, typed, sizeof(typed), err) < 0)
			return err_prefix(err, "guest '%s': its host key is not known", s->guest);
		if (strcasecmp(typed, "yes") == 0 || str_eq(typed, s->fingerprint))
			return 0;
		if (strcasecmp(typed, "no") == 0)
			return err_set(err, ERR_REFUSED,
				"guest '%s': its host key was not accepted", s->guest);
		next = "Please type 'yes', 'no' or the fingerprint: ";
	}
}

static int refuse(const struct shown *s, enum agents_word word, struct err *err)
{
	if (word == AGENT_OTHER) {
		err_set(err, ERR_REFUSED,
			"guest '%s': what answers has a host key (%s %s) that is not the one on the guest's own disk",
			s->guest, s->kind, s->fingerprint);
		return err_hint(err,
			"its agent says so; `roost ssh %s` at a terminal asks you about it",
			s->guest);
	}
	err_set(err, ERR_REFUSED, "guest '%s': its host key is not known: %s %s", s->guest, s->kind,
		s->fingerprint);
	return err_hint(err,
		"`roost ssh %s` at a terminal asks you about it, `roost ssh --accept-new %s` keeps whatever it shows",
		s->guest, s->guest);
}

static int believe(
	const struct cli *cli, const struct shown *s, const char *address, struct err *err)
{
	enum agents_word word = ask_agent(s);
	const char *why = word == AGENT_SAME ? "is the one on its disk, as its agent says"
					     : "is new and was accepted";
	if (word != AGENT_SAME && !(word == AGENT_SILENT && cli_flag(cli, "accept-new"))) {
		if (cli_flag(cli, "batch") || !ask_can())
			return refuse(s, word, err);
		if (ask_somebody(s, address, word, err) < 0)
			return -1;
	}
	fprintf(stderr, "roost: the host key of guest '%s' %s: %s %s\n", s->guest, why, s->kind,
		s->fingerprint);
	return 0;
}

/* ---- and kept ---------------------------------------------------------------------------------------- */

/* Who cannot keep it gets in all the same, as with ssh. */
static void keep(const struct shown *s, const char *instead)
{
	struct err err = ERR_INIT;
	json_t *args =
		json_pack("{s:s, s:s, s:s*}", "name", s->guest, "key", s->key, "instead", instead);
	if (supervisor_call("roost-host-key", args, NULL, &err) < 0)
		fprintf(stderr, "roost: it is not kept: %s\n", err.message);
}

static int learn(const struct cli *cli, const char *guest, json_t *params, struct err *err)
{
	_cleanup_(shown_free) struct shown s = {.guest = guest};
	const char *known = json_get_str(params, "host_key", NULL);
	_cleanup_free_ char *address = str_fmt("%s port %d", json_get_str(params, "address", ""),
		(int)json_get_int(params, "port", 0));
	if (scan(params, &s, err) < 0)
		return -1;
	if (known && key_text_same(known, s.key))
		return 0;
	if (believe(cli, &s, address, err) < 0)
		return -1;
	keep(&s, known);
	json_object_set_new(params, "host_key", json_string(s.key));
	return 0;
}

json_t *ssh_entry(
	const struct cli *cli, const char *word, const char *user, char name[64], struct err *err)
{
	_cleanup_status_ struct status s = {0};
	const char *at = strrchr(word, '@');
	_cleanup_free_ char *before = at ? strndup(word, (size_t)(at - word)) : NULL;
	struct found f;
	if (guest_find(at ? at + 1 : word, &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return NULL;
	if (name)
		snprintf(name, 64, "%s", f.name);
	if (!s.number) {
		err_set(err, ERR_REFUSED, "guest '%s' is not running", f.name);
		err_hint(err, "`roost start %s` starts it", f.name);
		return NULL;
	}
	_cleanup_definition_ struct definition *d = record_read(f.name, err);
	_cleanup_json_ json_t *params = d ? ssh_params(d, &s, before ? before : user, err) : NULL;
	if (!params)
		return NULL;
	if ((!d->issued.host_key || cli_flag(cli, "forget-key")) &&
		learn(cli, f.name, params, err) < 0)
		return NULL;
	json_object_set_new(params, "ask", json_boolean(!cli_flag(cli, "batch")));
	return TAKE(params);
}
