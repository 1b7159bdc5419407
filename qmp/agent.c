/*
 * The guest agent's stream knows no ids, so an answer is only ours because nothing else can come:
 * one command is under way at a time, and after a call that was not answered in time the
 * stream cannot be trusted until a synchronisation: 0xFF (the agent forgets what it was reading),
 * then a random number, which it repeats behind a 0xFF of its own (we forget what we were reading).
 * What comes before that is late or rubbish and is dropped.
 *
 * Whatever the guest says may be a lie: each value is checked for its type and range here.
 */
#include "qmp/agent.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

enum { VCPUS_MAX = 1024 };

struct agent {
	struct wire wire;
	bool synced;
	agent_wait_fn *wait;
	void *wait_self;
	json_t *asked; /* agent_ask()'s command, which goes out once `sync_id` has come back */
	int64_t sync_id;
};

static int poll_wait(void *self, int fd, short events, int64_t deadline, struct err *err)
{
	(void)self;
	int ready = fd_wait(fd, events, deadline);
	return ready < 0 ? err_errno(err, "cannot wait for the guest agent") : ready;
}

struct agent *agent_open(int fd)
{
	struct agent *a = xcalloc(1, sizeof(*a));
	wire_init(&a->wire, fd);
	a->wire.limit = AGENT_ANSWER_MAX;
	a->wait = poll_wait;
	return a;
}

struct agent *agent_connect(const char *path, struct err *err)
{
	int fd = sock_connect(path, deadline_in(0), err);
	return fd < 0 ? NULL : agent_open(fd);
}

void agent_close(struct agent *a)
{
	if (!a)
		return;
	wire_close(&a->wire);
	json_decref(a->asked);
	free(a);
}

void agent_set_wait(struct agent *a, agent_wait_fn *wait, void *self)
{
	a->wait = wait ? wait : poll_wait;
	a->wait_self = self;
}

/* ---- one call ---- */

static int late(struct err *err)
{
	err_set(err, ERR_TIMEOUT, "the guest agent did not answer in time");
	return err_hint(err, "is qemu-guest-agent installed and running in the guest?");
}

/* Sleeps until there is something to do; -1 when the deadline passed or the caller gives up. */
static int wait_for(struct agent *a, int64_t deadline, struct err *err)
{
	int ready = a->wait(a->wait_self, a->wire.fd, wire_events(&a->wire), deadline, err);
	return ready == 0 ? late(err) : ready < 0 ? -1 : 0;
}

/* While nobody reads in the guest, what we send waits; then nothing is added to it. */
static int drain_out(struct agent *a, int64_t deadline, struct err *err)
{
	for (;;) {
		if (wire_flush(&a->wire, err) < 0)
			return -1;
		if (!(wire_events(&a->wire) & POLLOUT))
			return 0;
		if (wait_for(a, deadline, err) < 0)
			return -1;
	}
}

/* The next object the agent says, whatever it is; what is none is skipped. */
static int next_message(struct agent *a, int64_t deadline, json_t **out, struct err *err)
{
	for (;;) {
		int found = wire_next(&a->wire, out, err);
		if (found > 0)
			return 0;
		if (found < 0 && err->kind == ERR_USAGE)
			continue;
		if (found < 0 || wait_for(a, deadline, err) < 0)
			return -1;
		/* the other side's end is told by wire_next(), behind what came before it */
		wire_flush(&a->wire, err);
		wire_read(&a->wire, err);
	}
}

static json_t *command_message(const char *command, json_t *args)
{
	json_t *msg = json_pack("{s:s}", "execute", command);
	if (args)
		json_object_set_new(msg, "arguments", args);
	return msg;
}

static int send_command(struct agent *a, const char *command, json_t *args, struct err *err)
{
	_cleanup_json_ json_t *msg = command_message(command, args);
	return wire_send(&a->wire, msg, NULL, 0, err);
}

static int send_sync(struct agent *a, int64_t *id, struct err *err)
{
	uint64_t random;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_errno(err, "cannot get a random number");
	*id = (int64_t)(random >> 12); /* fits a double too: some agents are scripts */
	a->synced = false;
	return send_command(
		a, "guest-sync-delimited", json_pack("{s:I}", "id", (json_int_t)*id), err);
}

static bool is_sync(const json_t *msg, int64_t id)
{
	const json_t *value = json_object_get(msg, "return");
	return json_is_integer(value) && json_integer_value(value) == id;
}

/* Ends whatever the agent has read half of, which it may answer with an error. */
static int send_reset(struct agent *a, struct err *err)
{
	static const unsigned char reset = 0xff;
	return wire_send_raw(&a->wire, &reset, 1, err);
}

static int sync_agent(struct agent *a, int64_t deadline, struct err *err)
{
	int64_t id;
	if (drain_out(a, deadline, err) < 0 || send_reset(a, err) < 0 || send_sync(a, &id, err) < 0)
		return -1;
	while (!a->synced) {
		_cleanup_json_ json_t *msg = NULL;
		if (next_message(a, deadline, &msg, err) < 0)
			return -1;
		a->synced = is_sync(msg, id);
	}
	return 0;
}

/* Takes the call to the point where its answer is the next message. Steals `args`. */
static int begin(
	struct agent *a, const char *command, json_t *args, int64_t deadline, struct err *err)
{
	if (!a->synced && sync_agent(a, deadline, err) < 0) {
		json_decref(args);
		return -1;
	}
	a->synced = false; /* until the answer is here */
	return send_command(a, command, args, err);
}

/* Only the guest's description is taken: it chooses neither roost's exit codes nor its hints. */
static int refused(const json_t *msg, const char *command, struct err *err)
{
	_cleanup_json_ json_t *error = json_object();
	json_t *desc = json_object_get(json_object_get(msg, "error"), "desc");
	if (desc)
		json_object_set(error, "desc", desc);
	return wire_error(error, command, err);
}

static int take_answer(const json_t *msg, const char *command, json_t **reply, struct err *err)
{
	if (json_object_get(msg, "error"))
		return refused(msg, command, err);
	json_t *value = json_object_get(msg, "return");
	if (!value)
		return err_set(err, ERR_QEMU,
			"%s: the guest agent's answer is neither result nor error", command);
	*reply = json_incref(value);
	return 0;
}

static int call(struct agent *a, const char *command, json_t *args, int64_t deadline,
	json_t **reply, struct err *err)
{
	_cleanup_json_ json_t *msg = NULL;
	if (begin(a, command, args, deadline, err) < 0 || next_message(a, deadline, &msg, err) < 0)
		return err_prefix(err, "%s", command);
	a->synced = true;
	return take_answer(msg, command, reply, err);
}

int agent_call(struct agent *a, const char *command, json_t *args, int64_t deadline, json_t **reply,
	struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	if (call(a, command, args, deadline, &value, err) < 0)
		return -1;
	if (reply)
		*reply = TAKE(value);
	return 0;
}

/* ---- one question, without waiting ---- */

int agent_fd(const struct agent *a)
{
	return a->wire.fd;
}

short agent_events(const struct agent *a)
{
	return wire_events(&a->wire);
}

int agent_ask(struct agent *a, const char *command, json_t *args, struct err *err)
{
	a->asked = command_message(command, args);
	if (send_reset(a, err) < 0 || send_sync(a, &a->sync_id, err) < 0)
		return err_prefix(err, "%s", command);
	return 0;
}

int agent_take(struct agent *a, json_t **reply, struct err *err)
{
	const char *command = json_get_str(a->asked, "execute", "");
	/* the other side's end is told by wire_next(), behind what came before it */
	wire_flush(&a->wire, err);
	wire_read(&a->wire, err);
	for (;;) {
		_cleanup_json_ json_t *msg = NULL;
		int found = wire_next(&a->wire, &msg, err);
		if (found < 0 && err->kind == ERR_USAGE)
			continue;
		if (found <= 0)
			return found < 0 ? err_prefix(err, "%s", command) : 0;
		if (a->synced)
			return take_answer(msg, command, reply, err) < 0 ? -1 : 1;
		a->synced = is_sync(msg, a->sync_id);
		if (a->synced && wire_send(&a->wire, a->asked, NULL, 0, err) < 0)
			return err_prefix(err, "%s", command);
	}
}

/* ---- calls ---- */

/* Without a reset, so that an error before the sync's answer can only be the command's own. */
static int sent_silently(struct agent *a, const char *command, int64_t deadline, struct err *err)
{
	int64_t id;
	if (send_sync(a, &id, err) < 0)
		return -1;
	while (!a->synced) {
		_cleanup_json_ json_t *msg = NULL;
		if (next_message(a, deadline, &msg, err) < 0)
			return -1;
		if (json_object_get(msg, "error"))
			return refused(msg, command, err);
		a->synced = is_sync(msg, id);
	}
	return 0;
}

int agent_call_silent(
	struct agent *a, const char *command, json_t *args, int64_t deadline, struct err *err)
{
	if (begin(a, command, args, deadline, err) < 0 || drain_out(a, deadline, err) < 0)
		return err_prefix(err, "%s", command);
	struct err said = ERR_INIT;
	if (sent_silently(a, command, deadline, &said) == 0 || said.kind == ERR_GONE ||
		said.kind == ERR_TIMEOUT)
		return 0;
	*err = said;
	return -1;
}

/* ---- typed calls ---- */

/* "COMMAND: the guest agent's answer ...". */
static int lie(const char *command, const char *what, struct err *err)
{
	return err_set(err, ERR_QEMU, "%s: the guest agent's answer %s", command, what);
}

static int call_for(struct agent *a, const char *command, json_t *args, json_type type,
	int64_t deadline, json_t **out, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	if (call(a, command, args, deadline, &value, err) < 0)
		return -1;
	if (json_typeof(value) != type)
		return lie(command, "is of the wrong type", err);
	*out = TAKE(value);
	return 0;
}

static int call_for_count(struct agent *a, const char *command, json_t *args, int64_t deadline,
	unsigned *count, struct err *err)
{
	_cleanup_json_ json_t *value = NULL;
	if (call_for(a, command, args, JSON_INTEGER, deadline, &value, err) < 0)
		return -1;
	json_int_t n = json_integer_value(value);
	if (n < 0 || n > INT32_MAX)
		return lie(command, "is no count", err);
	*count = (unsigned)n;
	return 0;
}

int agent_ping(struct agent *a, int64_t deadline, struct err *err)
{
	return agent_call(a, "guest-ping", NULL, deadline, NULL, err);
}

int agent_shutdown(
	struct agent *a, enum agent_shutdown_mode mode, int64_t deadline, struct err *err)
{
	static const char *const names[] = {
		[AGENT_POWERDOWN] = "powerdown",
		[AGENT_REBOOT] = "reboot",
		[AGENT_HALT] = "halt",
	};
	return agent_call_silent(
		a, "guest-shutdown", json_pack("{s:s}", "mode", names[mode]), deadline, err);
}

int agent_set_time(struct agent *a, int64_t ns, int64_t deadline, struct err *err)
{
	return agent_call(a, "guest-set-time", json_pack("{s:I}", "time", (json_int_t)ns), deadline,
		NULL, err);
}

int agent_fsfreeze(struct agent *a, int64_t deadline, unsigned *count, struct err *err)
{
	return call_for_count(a, "guest-fsfreeze-freeze", NULL, deadline, count, err);
}

int agent_fsthaw(struct agent *a, int64_t deadline, unsigned *count, struct err *err)
{
	return call_for_count(a, "guest-fsfreeze-thaw", NULL, deadline, count, err);
}

/* ---- vCPUs ---- */

struct vcpu {
	int64_t id;
	bool online;
	bool fixed; /* cannot go offline */
};

static int by_id(const void *a, const void *b)
{
	int64_t x = ((const struct vcpu *)a)->id, y = ((const struct vcpu *)b)->id;
	return (x > y) - (x < y);
}

static int parse_vcpu(const json_t *o, struct vcpu *out, struct err *err)
{
	bool can_offline = true;
	struct vcpu v = {.id = -1};
	if (!json_is_boolean(json_object_get(o, "online")))
		return err_set(err, ERR_QEMU, "'online' is missing");
	if (json_int(o, "logical-id", &v.id, err) < 0 ||
		json_bool_opt(o, "online", &v.online, err) < 0 ||
		json_bool_opt(o, "can-offline", &can_offline, err) < 0)
		return -1;
	if (v.id < 0)
		return err_set(err, ERR_QEMU, "'logical-id' is negative");
	v.fixed = v.online && !can_offline;
	*out = v;
	return 0;
}

/* Sorted by id; *out is freed by the caller. */
static int parse_vcpus(const json_t *list, struct vcpu **out, size_t *count, struct err *err)
{
	static const char command[] = "guest-get-vcpus";
	size_t n = json_array_size(list);
	if (n == 0 || n > VCPUS_MAX)
		return lie(command, "names no vCPU, or too many", err);
	_cleanup_free_ struct vcpu *vcpus = xcalloc(n, sizeof(*vcpus));
	for (size_t i = 0; i < n; i++) {
		if (parse_vcpu(json_array_get(list, i), &vcpus[i], err) < 0) {
			err->kind = ERR_QEMU;
			return err_prefix(err, "%s: the guest agent's answer", command);
		}
	}
	qsort(vcpus, n, sizeof(*vcpus), by_id);
	for (size_t i = 1; i < n; i++)
		if (vcpus[i].id == vcpus[i - 1].id)
			return lie(command, "names a vCPU twice", err);
	*out = TAKE(vcpus);
	*count = n;
	return 0;
}

static int get_vcpus(
	struct agent *a, int64_t deadline, struct vcpu **out, size_t *count, struct err *err)
{
	_cleanup_json_ json_t *list = NULL;
	if (call_for(a, "guest-get-vcpus", NULL, JSON_ARRAY, deadline, &list, err) < 0)
		return -1;
	return parse_vcpus(list, out, count, err);
}

static unsigned count_online(const struct vcpu *vcpus, size_t count)
{
	unsigned n = 0;
	for (size_t i = 0; i < count; i++)
		n += vcpus[i].online;
	return n;
}

json_t *agent_vcpus(const json_t *answer, struct err *err)
{
	_cleanup_free_ struct vcpu *vcpus = NULL;
	size_t count;
	if (parse_vcpus(answer, &vcpus, &count, err) < 0)
		return NULL;
	return json_pack("{s:I, s:I}", "vcpus", (json_int_t)count, "online",
		(json_int_t)count_online(vcpus, count));
}

int agent_count_vcpus(struct agent *a, unsigned *online, int64_t deadline, struct err *err)
{
	_cleanup_free_ struct vcpu *vcpus = NULL;
	size_t count;
	if (get_vcpus(a, deadline, &vcpus, &count, err) < 0)
		return -1;
	*online = count_online(vcpus, count);
	return 0;
}

/* The changes that leave `online` of them online, as guest-set-vcpus wants them. */
static json_t *vcpu_changes(const struct vcpu *vcpus, size_t count, unsigned online)
{
	json_t *changes = json_array();
	unsigned left = online;
	for (size_t i = 0; i < count; i++)
		left -= vcpus[i].fixed && left;
	for (size_t i = 0; i < count; i++) {
		bool want = vcpus[i].fixed || left;
		if (want && !vcpus[i].fixed)
			left--;
		if (want != vcpus[i].online)
			json_array_append_new(
				changes, json_pack("{s:I, s:b}", "logical-id",
						 (json_int_t)vcpus[i].id, "online", want));
	}
	return changes;
}

int agent_set_vcpus(
	struct agent *a, unsigned online, unsigned *now, int64_t deadline, struct err *err)
{
	static const char command[] = "guest-set-vcpus";
	_cleanup_free_ struct vcpu *vcpus = NULL;
	size_t count;
	unsigned done;
	if (get_vcpus(a, deadline, &vcpus, &count, err) < 0)
		return -1;
	if (online < 1 || online > count)
		return err_set(err, ERR_USAGE, "%u vCPUs online: the guest has %zu", online, count);
	_cleanup_json_ json_t *changes = vcpu_changes(vcpus, count, online);
	size_t wanted = json_array_size(changes);
	if (wanted && call_for_count(a, command, json_pack("{s:O}", "vcpus", changes), deadline,
			      &done, err) < 0)
		return -1;
	return agent_count_vcpus(a, now, deadline, err);
}

/* ---- addresses ---- */

static void copy_name(char *out, size_t size, const char *name)
{
	size_t i = 0;
	for (; name[i] && i + 1 < size; i++) {
		unsigned char c = (unsigned char)name[i];
		out[i] = c < 128 && (isalnum(c) || strchr(" ._:@+-", c)) ? name[i] : '_';
	}
	out[i] = '\0';
}

/* Lower case; false for what is no MAC address. */
static bool copy_mac(char out[18], const char *mac)
{
	if (strlen(mac) != 17)
		return false;
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? mac[i] != ':' : !isxdigit((unsigned char)mac[i]))
			return false;
	for (int i = 0; i < 18; i++)
		out[i] = (char)tolower((unsigned char)mac[i]);
	return true;
}

/* Written anew by us, so that it is the usual text of it. NULL for what is no address. */
static json_t *parse_address(const json_t *o)
{
	unsigned char raw[sizeof(struct in6_addr)];
	char address[INET6_ADDRSTRLEN];
	const char *type = json_get_str(o, "ip-address-type", "");
	const char *text = json_get_str(o, "ip-address", "");
	bool ipv6 = str_eq(type, "ipv6");
	int family = ipv6 ? AF_INET6 : AF_INET;
	int64_t widest = ipv6 ? 128 : 32, prefix = json_get_int(o, "prefix", widest);
	if ((!ipv6 && !str_eq(type, "ipv4")) || prefix < 0 || prefix > widest ||
		inet_pton(family, text, raw) != 1 ||
		!inet_ntop(family, raw, address, sizeof(address)))
		return NULL;
	return json_pack(
		"{s:s, s:s, s:I}", "type", type, "address", address, "prefix", (json_int_t)prefix);
}

static json_t *parse_statistics(const json_t *o)
{
	static const struct {
		const char *theirs, *ours;
	} names[] = {{"rx-bytes", "rx_bytes"}, {"rx-packets", "rx_packets"}, {"rx-errs", "rx_errs"},
		{"rx-dropped", "rx_drop"}, {"tx-bytes", "tx_bytes"}, {"tx-packets", "tx_packets"},
		{"tx-errs", "tx_errs"}, {"tx-dropped", "tx_drop"}};
	json_t *out = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int64_t value = json_get_int(o, names[i].theirs, -1);
		if (value >= 0)
			json_object_set_new(out, names[i].ours, json_integer(value));
	}
	return out;
}

static json_t *parse_interface(const json_t *o, size_t *addresses)
{
	char name[32], mac[18];
	size_t i;
	const json_t *each;
	json_t *list = json_array();
	copy_name(name, sizeof(name), json_get_str(o, "name", "?"));
	json_t *out = json_pack("{s:s, s:o}", "name", name, "addresses", list);
	if (copy_mac(mac, json_get_str(o, "hardware-address", "")))
		json_object_set_new(out, "mac", json_string(mac));
	json_array_foreach (json_object_get(o, "ip-addresses"), i, each) {
		json_t *address = *addresses < AGENT_ADDRESSES_MAX ? parse_address(each) : NULL;
		if (address)
			json_array_append_new(list, address);
		*addresses += address != NULL;
	}
	_cleanup_json_ json_t *statistics = parse_statistics(json_object_get(o, "statistics"));
	if (json_object_size(statistics))
		json_object_set(out, "statistics", statistics);
	return out;
}

json_t *agent_interfaces(const json_t *answer, struct err *err)
{
	size_t i, addresses = 0;
	const json_t *o;
	if (!json_is_array(answer)) {
		lie("guest-network-get-interfaces", "is of the wrong type", err);
		return NULL;
	}
	json_t *out = json_array();
	json_array_foreach (answer, i, o)
		if (i < AGENT_INTERFACES_MAX)
			json_array_append_new(out, parse_interface(o, &addresses));
	return out;
}
