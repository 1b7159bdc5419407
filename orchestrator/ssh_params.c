#include "orchestrator/ssh_params.h"

#include <assert.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/ssh_words.h"

enum { PARAMS_MAX = 1024 * 1024, PARAMS_MS = 10000 };

static const char *const rung_names[] = {
	[RUNG_TCP] = "tcp",
	[RUNG_BANNER] = "banner",
	[RUNG_HOST_KEY] = "hostkey",
	[RUNG_LOGIN] = "login",
	[RUNG_CLOUD_INIT] = "cloud-init",
	[RUNG_PROBES] = "probes",
};
static_assert(ARRAY_SIZE(rung_names) == RUNG_MAX, "a rung lacks its name");

const char *rung_name(enum rung rung)
{
	return rung_names[rung];
}

static int rung_of(const char *name, enum rung *out, struct err *err)
{
	for (enum rung r = RUNG_TCP; r < RUNG_MAX; r++) {
		if (str_eq(name, rung_names[r])) {
			*out = r;
			return 0;
		}
	}
	return err_set(err, ERR_USAGE, "there is no rung '%s'", name ? name : "(not a text)");
}

/* ---- checks that every sub-command shares ------------------------------------------------------ */

static const char *const remote_keys[] = {"address", "port", "network", "instance", "host_key",
	"trust", "guest", "user", "identities", "agent", "ask", "connect_ms", NULL};

static bool among(const char *key, const char *const *keys)
{
	for (; *keys; keys++)
		if (strcmp(key, *keys) == 0)
			return true;
	return false;
}

static int check_keys(json_t *o, const char *const *own, const char *const *shared, struct err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach (o, key, value) {
		if (among(key, shared) || among(key, own))
			continue;
		err_set(err, ERR_USAGE, "unknown parameter '%s'", key);
		const char *near = str_nearest(key, own);
		near = near ? near : str_nearest(key, shared);
		return near ? err_hint(err, "did you mean '%s'?", near) : -1;
	}
	return 0;
}

/* A list that holds texts only, none with a NUL in it (jansson's parser refuses those). */
static int texts(const json_t *o, const char *key, json_t **out, struct err *err)
{
	json_t *list = NULL, *item;
	size_t i;
	if (json_arr_opt(o, key, &list, err) < 0)
		return -1;
	json_array_foreach (list, i, item) {
		if (!json_is_string(item))
			return err_set(
				err, ERR_USAGE, "item %zu of '%s' is not a text", i + 1, key);
	}
	*out = list;
	return 0;
}

static int milliseconds(
	const json_t *o, const char *key, int64_t otherwise, int64_t *out, struct err *err)
{
	int64_t ms = otherwise;
	if (json_int_opt(o, key, &ms, err) < 0)
		return -1;
	if (ms <= 0 || ms > 24 * 3600 * 1000)
		return err_set(err, ERR_USAGE, "'%s' is not within 1 ms and a day", key);
	*out = ms;
	return 0;
}

/* A name would be looked up, and its answer could be anybody: literal addresses only. */
static int check_address(const char *address, struct err *err)
{
	struct addrinfo *found = NULL;
	struct addrinfo want = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	if (getaddrinfo(address, NULL, &want, &found) != 0)
		return err_set(err, ERR_USAGE, "'%s' is not a literal IP address", address);
	freeaddrinfo(found);
	return 0;
}

static int check_host_key(const char *key, struct err *err)
{
	char type[64];
	return !key || key_text_type(key, type, sizeof(type)) == 0
		       ? 0
		       : err_set(err, ERR_USAGE, "'host_key' is not a public key (TYPE BASE64)");
}

static int read_remote(json_t *o, struct remote *out, struct err *err)
{
	struct remote r = {.agent = true, .guest = "NAME"};
	int64_t port = 22;
	const char *trust = NULL;
	if (json_str(o, "address", &r.address, err) < 0 ||
		json_int_opt(o, "port", &port, err) < 0 ||
		json_str_opt(o, "network", &r.network, err) < 0 ||
		json_str_opt(o, "instance", &r.instance, err) < 0 ||
		json_str_opt(o, "host_key", &r.host_key, err) < 0 ||
		json_str_opt(o, "trust", &trust, err) < 0 ||
		json_str_opt(o, "guest", &r.guest, err) < 0 ||
		json_str(o, "user", &r.user, err) < 0 ||
		texts(o, "identities", &r.identities, err) < 0 ||
		json_bool_opt(o, "agent", &r.agent, err) < 0 ||
		json_bool_opt(o, "ask", &r.ask, err) < 0 ||
		milliseconds(o, "connect_ms", 15000, &r.connect_ms, err) < 0 ||
		check_address(r.address, err) < 0 || check_host_key(r.host_key, err) < 0)
		return -1;
	if (port < 1 || port > 65535)
		return err_set(err, ERR_USAGE, "%lld is not a port", (long long)port);
	if (trust && strcmp(trust, "first") != 0)
		return err_set(err, ERR_USAGE, "'trust' may only be 'first'");
	if (!*r.user)
		return err_set(err, ERR_USAGE, "'user' is empty");
	r.port = (int)port;
	r.trust_first = trust != NULL;
	*out = r;
	return 0;
}

/* ---- keygen ------------------------------------------------------------------------------------ */

int keygen_params(json_t *o, struct keygen_params *out, struct err *err)
{
	static const char *const own[] = {"type", "comment", "passphrase", NULL};
	static const char *const none[] = {NULL};
	const char *type = "ssh-ed25519", *text = "", *secret = "";
	if (check_keys(o, own, none, err) < 0 || json_str_opt(o, "type", &type, err) < 0 ||
		json_str_opt(o, "comment", &text, err) < 0 ||
		json_str_opt(o, "passphrase", &secret, err) < 0)
		return -1;
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ') /* it stands at the end of a line of authorized_keys */
			return err_set(err, ERR_USAGE, "'comment' is not one line");
	*out = (struct keygen_params){type, text, secret[0] ? secret : NULL};
	return 0;
}

int pubkey_params(json_t *o, const char **private, struct err *err)
{
	static const char *const own[] = {"private", NULL};
	static const char *const none[] = {NULL};
	return check_keys(o, own, none, err) < 0 ? -1 : json_str(o, "private", private, err);
}

int scan_params(json_t *o, struct remote *r, struct err *err)
{
	static const char *const own[] = {NULL};
	return check_keys(o, own, remote_keys, err) < 0 ? -1 : read_remote(o, r, err);
}

/* ---- climb ------------------------------------------------------------------------------------- */

static int read_rungs(json_t *o, struct climb_params *c, struct err *err)
{
	json_t *list = NULL, *item;
	size_t i;
	if (texts(o, "rungs", &list, err) < 0)
		return -1;
	if (!json_array_size(list))
		return err_set(err, ERR_USAGE, "'rungs' names none");
	json_array_foreach (list, i, item) {
		enum rung r;
		if (rung_of(json_string_value(item), &r, err) < 0)
			return -1;
		c->wanted[r] = true;
		c->last = r > c->last ? r : c->last;
	}
	return 0;
}

static int read_deadlines(json_t *o, struct climb_params *c, struct err *err)
{
	json_t *deadlines = json_object_get(o, "deadlines_ms"), *value;
	const char *key;
	if (deadlines && !json_is_object(deadlines))
		return err_set(err, ERR_USAGE, "'deadlines_ms' is not an object");
	json_object_foreach (deadlines, key, value) {
		enum rung r;
		if (rung_of(key, &r, err) < 0 ||
			milliseconds(deadlines, key, 1, &c->deadline_ms[r], err) < 0)
			return err_prefix(err, "'deadlines_ms'");
	}
	return 0;
}

int climb_params(json_t *o, struct remote *r, struct climb_params *out, struct err *err)
{
	static const char *const own[] = {"rungs", "probes", "deadlines_ms", "total_ms", NULL};
	struct climb_params c = {.last = RUNG_TCP};
	if (check_keys(o, own, remote_keys, err) < 0 || read_remote(o, r, err) < 0 ||
		read_rungs(o, &c, err) < 0 || texts(o, "probes", &c.probes, err) < 0 ||
		read_deadlines(o, &c, err) < 0 ||
		milliseconds(o, "total_ms", 300000, &c.total_ms, err) < 0)
		return -1;
	if (c.wanted[RUNG_PROBES] && !json_array_size(c.probes))
		return err_set(
			err, ERR_USAGE, "the rung 'probes' is wanted, but there are no probes");
	*out = c;
	return 0;
}

/* ---- exec -------------------------------------------------------------------------------------- */

static int read_pty(json_t *o, enum pty *out, struct err *err)
{
	const json_t *v = json_object_get(o, "pty");
	if (!v || json_is_null(v) || str_eq(json_string_value(v), "auto"))
		*out = PTY_AUTO;
	else if (json_is_boolean(v))
		*out = json_is_true(v) ? PTY_YES : PTY_NO;
	else
		return err_set(err, ERR_USAGE, "'pty' is none of true, false and 'auto'");
	return 0;
}

static int read_env(json_t *o, json_t **out, struct err *err)
{
	json_t *env = json_object_get(o, "env"), *value;
	const char *key;
	if (env && !json_is_object(env))
		return err_set(err, ERR_USAGE, "'env' is not an object");
	json_object_foreach (env, key, value) {
		if (!json_is_string(value))
			return err_set(err, ERR_USAGE, "'env': '%s' is not a text", key);
	}
	*out = env;
	return 0;
}

static int read_dial(json_t *o, struct exec_params *out, struct err *err)
{
	json_t *dial = json_object_get(o, "dial");
	int64_t port = 0;
	if (!dial)
		return 0;
	if (json_str(dial, "address", &out->dial_address, err) < 0 ||
		json_int(dial, "port", &port, err) < 0 ||
		json_bool_opt(dial, "probe", &out->probe, err) < 0 ||
		check_address(out->dial_address, err) < 0)
		return err_prefix(err, "'dial'");
	if (port < 1 || port > 65535)
		return err_set(err, ERR_USAGE, "'dial': %lld is not a port", (long long)port);
	if (out->command)
		return err_set(err, ERR_USAGE, "'command' and 'dial' exclude one another");
	out->dial_port = (int)port;
	return 0;
}

int exec_params(json_t *o, struct remote *r, struct exec_params *out, struct err *err)
{
	static const char *const own[] = {"command", "pty", "env", "term", "dial", NULL};
	const char *term = getenv("TERM");
	struct exec_params e = {.term = term && *term ? term : "xterm"};
	if (check_keys(o, own, remote_keys, err) < 0 || read_remote(o, r, err) < 0 ||
		json_str_opt(o, "command", &e.command, err) < 0 || read_pty(o, &e.pty, err) < 0 ||
		read_env(o, &e.env, err) < 0 || json_str_opt(o, "term", &e.term, err) < 0 ||
		read_dial(o, &e, err) < 0)
		return -1;
	*out = e;
	return 0;
}

/* ---- copy -------------------------------------------------------------------------------------- */

static int read_direction(json_t *o, enum direction *out, struct err *err)
{
	const char *word = NULL;
	if (json_str(o, "direction", &word, err) < 0)
		return -1;
	if (strcmp(word, "to") != 0 && strcmp(word, "from") != 0)
		return err_set(err, ERR_USAGE, "'direction' is neither 'to' nor 'from'");
	*out = strcmp(word, "to") == 0 ? COPY_TO : COPY_FROM;
	return 0;
}

/* A single text stands for a list of one. */
static void as_list(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	if (json_is_string(v))
		json_object_set_new(o, key, json_pack("[O]", v));
}

int copy_params(json_t *o, struct remote *r, struct copy_params *out, struct err *err)
{
	static const char *const own[] = {
		"direction", "local", "remote", "recursive", "preserve", "stall_ms", NULL};
	struct copy_params c = {0};
	as_list(o, "local");
	as_list(o, "remote");
	if (check_keys(o, own, remote_keys, err) < 0 || read_remote(o, r, err) < 0 ||
		read_direction(o, &c.direction, err) < 0 || texts(o, "local", &c.local, err) < 0 ||
		texts(o, "remote", &c.remote, err) < 0 ||
		json_bool_opt(o, "recursive", &c.recursive, err) < 0 ||
		json_bool_opt(o, "preserve", &c.preserve, err) < 0 ||
		milliseconds(o, "stall_ms", 30000, &c.stall_ms, err) < 0)
		return -1;
	const json_t *sources = c.direction == COPY_TO ? c.local : c.remote;
	const json_t *targets = c.direction == COPY_TO ? c.remote : c.local;
	if (!json_array_size(sources))
		return err_set(err, ERR_USAGE, "there is nothing to copy");
	if (json_array_size(targets) != 1)
		return err_set(err, ERR_USAGE, "one place to copy to is needed");
	*out = c;
	return 0;
}

/* ---- authorize --------------------------------------------------------------------------------- */

int authorize_params(json_t *o, struct remote *r, struct authorize_params *out, struct err *err)
{
	static const char *const own[] = {"keys", NULL};
	struct authorize_params a = {0};
	if (check_keys(o, own, remote_keys, err) < 0 || read_remote(o, r, err) < 0 ||
		texts(o, "keys", &a.keys, err) < 0)
		return -1;
	if (!json_array_size(a.keys))
		return err_set(err, ERR_USAGE, "there is no key to add");
	*out = a;
	return 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

json_t *params_read(int fd, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	int64_t deadline = deadline_in(PARAMS_MS);
	for (;;) {
		buf_reserve(&text, 16384);
		ssize_t n = fd_wait(fd, POLLIN, deadline) > 0
				    ? read(fd, text.data + text.len, 16384)
				    : -1;
		if (n < 0) {
			err_set(err, ERR_USAGE, "the parameters did not arrive on fd %d", fd);
			return NULL;
		}
		if (n == 0)
			break;
		text.len += (size_t)n;
		if (text.len > PARAMS_MAX) {
			err_set(err, ERR_USAGE, "the parameters exceed 1 MiB");
			return NULL;
		}
	}
	json_t *o = json_text_parse(text.data ? text.data : "", text.len, err);
	if (o && !json_is_object(o)) {
		json_decref(o);
		err_set(err, ERR_USAGE, "the parameters are not a JSON object");
		return NULL;
	}
	if (!o)
		err_prefix(err, "the parameters");
	return o;
}
