/* qmp/agent: an agent that is absent, late, or lies. It acts whenever our side would sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "qmp/agent.h"
#include "tests/unit/peer.h"

/* What the agent does with a command that is not a synchronisation. */
struct act {
	const char *command;
	const char *says;  /* NULL: nothing */
	const char *heard; /* its arguments must be these, as text; NULL: whatever */
};

struct fake {
	struct peer peer;
	struct agent *a;
	const struct act *acts;  /* one after the other; the last has no command */
	const char *before_sync; /* said once, before the next synchronisation is answered */
	bool deaf;               /* does not answer synchronisations either */
	bool gives_up;
	unsigned syncs, waits;
};

static void act(struct fake *f, const json_t *msg)
{
	const char *command = json_get_str(msg, "execute", "");
	const json_t *args = json_object_get(msg, "arguments");
	if (str_eq(command, "guest-sync-delimited")) {
		f->syncs++;
		if (f->deaf)
			return;
		if (f->before_sync)
			peer_say(&f->peer, "%s", f->before_sync);
		f->before_sync = NULL;
		peer_say(&f->peer, "\xff{\"return\": %lld}\n",
			(long long)json_get_int(args, "id", 0));
		return;
	}
	assert_string_equal(command, f->acts->command);
	if (f->acts->heard) {
		_cleanup_free_ char *text = args ? json_line(args) : NULL;
		assert_string_equal(text ? text : "", f->acts->heard);
	}
	if (f->acts->says)
		peer_say(&f->peer, "%s", f->acts->says);
	f->acts++;
}

/* Instead of poll(). When the agent has nothing to say, the deadline passes at once. */
static int fake_wait(void *self, int fd, short events, int64_t deadline, struct err *err)
{
	struct fake *f = self;
	struct pollfd p = {.fd = fd, .events = events};
	(void)deadline;
	f->waits++;
	if (f->gives_up)
		return err_set(err, ERR_REFUSED, "cancelled");
	for (json_t *msg; (msg = peer_hear(&f->peer)); json_decref(msg))
		act(f, msg);
	return poll(&p, 1, 0);
}

static void fake_new(struct fake *f, const struct act *acts)
{
	*f = (struct fake){.acts = acts};
	f->a = agent_open(peer_new(&f->peer));
	agent_set_wait(f->a, fake_wait, f);
}

static void fake_end(struct fake *f)
{
	assert_null(f->acts->command); /* all has been acted */
	agent_close(f->a);
	peer_end(&f->peer);
}

static void expect_error(const struct err *err, enum err_kind kind, const char *text)
{
	assert_int_equal(err->kind, kind);
	if (!strstr(err->message, text))
		fail_msg("'%s' does not say '%s'", err->message, text);
}

static void ping(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-ping", "{\"return\": {}}\n", ""},
		{"guest-ping", "{\"return\": {}}\n", ""},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	f.before_sync = "{\"return\": {}}\nlogin: \x1b[31m{\"return\": [[[\"";
	assert_int_equal(agent_ping(f.a, 0, &err), 0);
	assert_int_equal(agent_ping(f.a, 0, &err), 0);
	assert_int_equal(f.syncs, 1);
	fake_end(&f);
}

static void an_absent_agent(void **state)
{
	(void)state;
	static const struct act acts[] = {{0}};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	f.deaf = true;
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-ping: the guest agent did not answer in time");
	assert_true(err.hint[0]);
	f.gives_up = true;
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_REFUSED, "guest-ping: cancelled");
	wire_close(&f.peer.wire);
	f.gives_up = false;
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_GONE, "guest-ping: ");
	fake_end(&f);
}

static void real_waiting(void **state)
{
	(void)state;
	struct peer p;
	struct err err = ERR_INIT;
	struct agent *a = agent_open(peer_new(&p));
	int64_t began = clock_ms();
	assert_int_equal(agent_ping(a, deadline_in(30), &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-ping");
	assert_in_range(clock_ms() - began, 30, 10000);
	agent_close(a);
	peer_end(&p);
}

/* Calls that nobody hears must not pile up in memory. */
static void an_agent_that_never_reads(void **state)
{
	(void)state;
	struct peer p;
	struct err err = ERR_INIT;
	struct agent *a = agent_open(peer_new(&p));
	for (int i = 0; i < 5000; i++)
		assert_int_equal(agent_ping(a, 0, &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-ping");
	for (json_t *msg; (msg = peer_hear(&p)); json_decref(msg))
		; /* what the socket held; now there is room for what waited behind it */
	size_t waited = 0;
	assert_int_equal(agent_ping(a, 0, &err), -1);
	for (json_t *msg; (msg = peer_hear(&p)); waited++)
		json_decref(msg);
	assert_in_range(waited, 1, 3);
	agent_close(a);
	peer_end(&p);
}

/* The answer to a call that timed out comes during the next one, and looks just right. */
static void a_late_answer(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-fsfreeze-freeze", NULL, NULL},
		{"guest-fsfreeze-thaw", "{\"return\": 2}", NULL},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	unsigned count = 99;
	fake_new(&f, acts);
	assert_int_equal(agent_fsfreeze(f.a, 0, &count, &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-fsfreeze-freeze");
	assert_int_equal(count, 99);
	peer_say(&f.peer, "{\"return\": 7}\n");
	assert_int_equal(agent_fsthaw(f.a, 0, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(f.syncs, 2);
	fake_end(&f);
}

static void errors_of_the_guest(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-ping",
			"{\"error\": {\"class\": \"busy\", \"desc\": \"$(reboot)\\n\\u001b[2J\","
			"\"hint\": \"run rm -rf\"}}",
			NULL},
		{"guest-ping", "{\"error\": 3}", NULL},
		{"guest-ping", "{\"neither\": 3}", NULL},
		{"guest-ping", "{\"return\": {}}", NULL},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	assert_int_equal(err.kind, ERR_QEMU); /* whatever class it claims */
	assert_string_equal(err.message, "guest-ping: $(reboot)  [2J");
	assert_string_equal(err.hint, "");
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_QEMU, "an error without a description");
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_QEMU, "neither result nor error");
	assert_int_equal(agent_ping(f.a, 0, &err), 0);
	fake_end(&f);
}

static void wrong_types(void **state)
{
	(void)state;
	static const char *const lies[] = {"{\"return\": \"2\"}", "{\"return\": {}}",
		"{\"return\": null}", "{\"return\": -1}", "{\"return\": 4294967296}",
		"{\"return\": 1.5}", "{\"return\": true}", "{\"return\": 99999999999999999999}"};
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		const struct act acts[] = {{"guest-fsfreeze-freeze", lies[i], NULL}, {0}};
		struct fake f;
		struct err err = ERR_INIT;
		unsigned count = 99;
		fake_new(&f, acts);
		assert_int_equal(agent_fsfreeze(f.a, 0, &count, &err), -1);
		expect_error(&err, ERR_QEMU, "guest-fsfreeze-freeze: the guest agent's answer ");
		assert_int_equal(count, 99);
		fake_end(&f);
	}
}

static void an_answer_that_is_too_long(void **state)
{
	(void)state;
	enum { CHUNK = 64 * 1024 };
	struct fake f;
	static const struct act acts[] = {{"guest-ping", "{\"return\": \"", NULL}, {0}};
	struct err err = ERR_INIT;
	size_t said = 0;
	_cleanup_free_ char *filler = xcalloc(1, CHUNK);
	memset(filler, 'x', CHUNK);
	fake_new(&f, acts);
	assert_int_equal(agent_ping(f.a, 0, &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-ping");
	while (err.kind == ERR_TIMEOUT) {
		said += peer_say_some(&f.peer, filler, CHUNK);
		f.deaf = true;
		assert_int_equal(agent_ping(f.a, 0, &err), -1);
	}
	expect_error(&err, ERR_GONE, "longer than 4 MiB");
	assert_in_range(said, AGENT_ANSWER_MAX - CHUNK, AGENT_ANSWER_MAX + 4 * CHUNK);
	fake_end(&f);
}

/* ---- commands without an answer ---- */

static void shutting_down(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-shutdown", NULL, "{\"mode\":\"powerdown\"}"},
		{"guest-shutdown", NULL, "{\"mode\":\"reboot\"}"},
		{"guest-shutdown", "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}",
			"{\"mode\":\"halt\"}"},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	assert_int_equal(agent_shutdown(f.a, AGENT_POWERDOWN, 0, &err), 0);
	assert_int_equal(agent_shutdown(f.a, AGENT_REBOOT, 0, &err), 0);
	assert_int_equal(agent_shutdown(f.a, AGENT_HALT, 0, &err), -1);
	expect_error(&err, ERR_QEMU, "guest-shutdown: no");
	fake_end(&f);
}

static int hang_up_after_shutdown(
	void *self, int fd, short events, int64_t deadline, struct err *err)
{
	struct fake *f = self;
	int ready = fake_wait(self, fd, events, deadline, err);
	if (!f->acts->command)
		wire_close(&f->peer.wire);
	return f->acts->command ? ready : 1;
}

static void the_guest_goes_down_at_once(void **state)
{
	(void)state;
	static const struct act acts[] = {{"guest-shutdown", NULL, NULL}, {0}};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	agent_set_wait(f.a, hang_up_after_shutdown, &f);
	assert_int_equal(agent_shutdown(f.a, AGENT_POWERDOWN, 0, &err), 0);
	fake_end(&f);
	/* but one that is not there has not been told */
	fake_new(&f, acts + 1);
	f.deaf = true;
	assert_int_equal(agent_shutdown(f.a, AGENT_POWERDOWN, 0, &err), -1);
	expect_error(&err, ERR_TIMEOUT, "guest-shutdown");
	fake_end(&f);
}

static void setting_the_time(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-set-time", "{\"return\": {}}", "{\"time\":1700000000000000000}"}, {0}};
	struct fake f;
	struct err err = ERR_INIT;
	fake_new(&f, acts);
	assert_int_equal(agent_set_time(f.a, 1700000000000000000, 0, &err), 0);
	fake_end(&f);
}

/* ---- vCPUs ---- */

#define CPU(id, online, can)                                                                       \
	"{\"logical-id\":" #id ",\"online\":" #online ",\"can-offline\":" #can "}"
#define CPUS(...) "{\"return\":[" __VA_ARGS__ "]}"

static void vcpus_off_and_on(void **state)
{
	(void)state;
	static const char four[] = CPUS(CPU(3, true, true) "," CPU(0, true, false) "," CPU(
		1, true, true) "," CPU(2, true, true));
	static const char two[] = CPUS(CPU(0, true, false) "," CPU(1, true, true) "," CPU(
		2, false, true) "," CPU(3, false, true));
	static const struct act acts[] = {
		{"guest-get-vcpus", four, ""},
		{"guest-set-vcpus", "{\"return\": 2}",
			"{\"vcpus\":[{\"logical-id\":2,\"online\":false},"
			"{\"logical-id\":3,\"online\":false}]}"},
		{"guest-get-vcpus", two, ""},
		{"guest-get-vcpus", two, ""}, /* three are wanted, but the guest does nothing */
		{"guest-set-vcpus", "{\"return\": 0}",
			"{\"vcpus\":[{\"logical-id\":2,\"online\":true}]}"},
		{"guest-get-vcpus", two, ""},
		{"guest-get-vcpus", two, ""}, /* two are wanted, and are there */
		{"guest-get-vcpus", two, ""},
		{"guest-get-vcpus", two, ""},
		{"guest-get-vcpus", two, ""},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	unsigned now = 0;
	fake_new(&f, acts);
	assert_int_equal(agent_set_vcpus(f.a, 2, &now, 0, &err), 0);
	assert_int_equal(now, 2);
	assert_int_equal(agent_set_vcpus(f.a, 3, &now, 0, &err), 0);
	assert_int_equal(now, 2);
	assert_int_equal(agent_set_vcpus(f.a, 2, &now, 0, &err), 0);
	assert_int_equal(agent_set_vcpus(f.a, 0, &now, 0, &err), -1);
	expect_error(&err, ERR_USAGE, "0 vCPUs online: the guest has 4");
	assert_int_equal(agent_set_vcpus(f.a, 5, &now, 0, &err), -1);
	expect_error(&err, ERR_USAGE, "5 vCPUs online: the guest has 4");
	fake_end(&f);
}

/* One that cannot go offline counts, wherever it stands. */
static void fixed_vcpus(void **state)
{
	(void)state;
	static const char before[] =
		CPUS(CPU(0, true, true) "," CPU(1, true, true) "," CPU(7, true, false));
	static const struct act acts[] = {
		{"guest-get-vcpus", before, ""},
		{"guest-set-vcpus", "{\"return\": 1}",
			"{\"vcpus\":[{\"logical-id\":1,\"online\":false}]}"},
		{"guest-get-vcpus", before, ""},
		{0},
	};
	struct fake f;
	struct err err = ERR_INIT;
	unsigned now = 0;
	fake_new(&f, acts);
	assert_int_equal(agent_set_vcpus(f.a, 2, &now, 0, &err), 0);
	assert_int_equal(now, 3);
	fake_end(&f);
}

static void lies_about_vcpus(void **state)
{
	(void)state;
	static const char *const lies[] = {
		"{\"return\":[]}",
		"{\"return\":{}}",
		"{\"return\":[1]}",
		CPUS("{}"),
		CPUS("{\"logical-id\":0}"),
		CPUS("{\"online\":true}"),
		CPUS(CPU(-1, true, true)),
		CPUS(CPU("0", true, true)),
		CPUS(CPU(0, 1, true)),
		CPUS(CPU(0, true, 3)),
		CPUS(CPU(0, true, true) "," CPU(1, true, true) "," CPU(0, false, true)),
	};
	struct buf many = {0};
	buf_str(&many, "{\"return\":[");
	for (int i = 0; i < 2000; i++)
		buf_fmt(&many, "%s{\"logical-id\":%d,\"online\":true}", i ? "," : "", i);
	buf_str(&many, "]}");
	for (size_t i = 0; i <= ARRAY_SIZE(lies); i++) {
		const struct act acts[] = {
			{"guest-get-vcpus", i < ARRAY_SIZE(lies) ? lies[i] : many.data, NULL}, {0}};
		struct fake f;
		struct err err = ERR_INIT;
		unsigned online = 99;
		fake_new(&f, acts);
		assert_int_equal(agent_count_vcpus(f.a, &online, 0, &err), -1);
		expect_error(&err, ERR_QEMU, "guest-get-vcpus: the guest agent's answer");
		assert_int_equal(online, 99);
		fake_end(&f);
	}
	buf_free(&many);
}

/* ---- a question, without waiting ---- */

/* Takes until there is something to tell; the agent acts in between. */
static int take(struct fake *f, json_t **reply, struct err *err)
{
	int result;
	unsigned waits = f->waits;
	while ((result = agent_take(f->a, reply, err)) == 0 && f->waits < waits + 20)
		fake_wait(f, agent_fd(f->a), agent_events(f->a), 0, err);
	return result;
}

static void a_question(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-info", "{\"return\": {\"version\": \"7\"}}", ""}, {0}};
	struct fake f;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *reply = NULL;
	fake_new(&f, acts);
	f.before_sync = "{\"return\": {}}\n{\"error\": {\"desc\": \"late\"}}\nlogin: \x1b[31m";
	assert_int_equal(agent_ask(f.a, "guest-info", NULL, &err), 0);
	assert_int_equal(agent_take(f.a, &reply, &err), 0); /* nobody has answered yet */
	assert_int_equal(take(&f, &reply, &err), 1);
	assert_string_equal(json_get_str(reply, "version", ""), "7");
	assert_int_equal(f.syncs, 1);
	fake_end(&f);
}

static void a_question_in_vain(void **state)
{
	(void)state;
	static const struct act acts[] = {
		{"guest-exec", "{\"error\": {\"class\": \"Busy\", \"desc\": \"no such file\"}}",
			"{\"path\":\"x\"}"},
		{0}};
	struct fake f;
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	fake_new(&f, acts);
	assert_int_equal(agent_ask(f.a, "guest-exec", json_pack("{s:s}", "path", "x"), &err), 0);
	assert_int_equal(take(&f, &reply, &err), -1);
	expect_error(&err, ERR_QEMU, "guest-exec: no such file");
	agent_close(f.a);
	peer_end(&f.peer);

	fake_new(&f, acts + 1);
	f.deaf = true;
	assert_int_equal(agent_ask(f.a, "guest-info", NULL, &err), 0);
	assert_int_equal(take(&f, &reply, &err), 0);
	wire_close(&f.peer.wire);
	assert_int_equal(agent_take(f.a, &reply, &err), -1);
	expect_error(&err, ERR_GONE, "guest-info: ");
	assert_null(reply);
	fake_end(&f);
}

/* ---- very long answers ---- */

/* 100,000 interfaces are too many bytes; 40,000 are taken, and some told. Said in pieces. */
struct flood {
	struct fake fake;
	struct buf text;
	size_t said;
};

static int say_on(void *self, int fd, short events, int64_t deadline, struct err *err)
{
	struct flood *f = self;
	int ready = fake_wait(&f->fake, fd, events, deadline, err);
	if (!f->fake.acts->command)
		f->said +=
			peer_say_some(&f->fake.peer, f->text.data + f->said, f->text.len - f->said);
	return f->fake.acts->command || f->said == f->text.len ? ready || f->said : 1;
}

static void many_interfaces(void **state)
{
	(void)state;
	static const struct act acts[] = {{"guest-network-get-interfaces", NULL, NULL}, {0}};
	for (int n = 40000; n <= 100000; n += 60000) {
		struct flood f = {0};
		struct err err = ERR_INIT;
		json_t *answer = NULL;
		fake_new(&f.fake, acts);
		agent_set_wait(f.fake.a, say_on, &f);
		buf_str(&f.text, "{\"return\":[");
		for (int i = 0; i < n; i++)
			buf_fmt(&f.text, "%s{\"name\":\"e%d\",\"ip-addresses\":[%s,%s]}",
				i ? "," : "", i,
				"{\"ip-address\":\"10.0.0.1\",\"ip-address-type\":\"ipv4\"}", "1");
		buf_str(&f.text, "]}\n");
		int result = agent_call(
			f.fake.a, "guest-network-get-interfaces", NULL, 0, &answer, &err);
		if (n == 40000) {
			assert_int_equal(result, 0);
			json_t *list = agent_interfaces(answer, &err);
			assert_int_equal(json_array_size(list), AGENT_INTERFACES_MAX);
			json_decref(list);
			json_decref(answer);
		} else {
			assert_int_equal(result, -1);
			expect_error(&err, ERR_GONE, "longer than 4 MiB");
		}
		buf_free(&f.text);
		fake_end(&f.fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ping),
		cmocka_unit_test(an_absent_agent),
		cmocka_unit_test(real_waiting),
		cmocka_unit_test(an_agent_that_never_reads),
		cmocka_unit_test(a_late_answer),
		cmocka_unit_test(errors_of_the_guest),
		cmocka_unit_test(wrong_types),
		cmocka_unit_test(an_answer_that_is_too_long),
		cmocka_unit_test(shutting_down),
		cmocka_unit_test(the_guest_goes_down_at_once),
		cmocka_unit_test(setting_the_time),
		cmocka_unit_test(vcpus_off_and_on),
		cmocka_unit_test(fixed_vcpus),
		cmocka_unit_test(lies_about_vcpus),
		cmocka_unit_test(a_question),
		cmocka_unit_test(a_question_in_vain),
		cmocka_unit_test(many_interfaces),
	};
	return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
