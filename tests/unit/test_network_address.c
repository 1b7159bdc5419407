/* orchestrator/network_address: one address for each guest, whoever asks at the same time. */
#include "tests/unit/scratch.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/str.h"
#include "orchestrator/network_address.h"

#define UUID(n) "00000000-0000-4000-8000-00000000000" #n

static struct network network(const char *name, const char *address)
{
	struct err err = ERR_INIT;
	struct network n;
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "address",
		address, "address6", "fd00:1::/64", "uuid", UUID(9));
	if (network_from_json(o, &n, &err) < 0 || network_save(&n, &err) < 0)
		fail_msg("%s", err.message);
	return n;
}

/* A guest's record, as far as addresses go by it. */
static void guest(const char *name, const char *uuid, const char *mac, const char *address)
{
	_cleanup_free_ char *dir = str_fmt("guests/%s", name),
			    *file = str_fmt("%s/guest.json", dir);
	mkdir(dir, 0700);
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "name", name, "uuid",
		uuid, "interfaces", "mac", mac, "address", address);
	_cleanup_free_ char *text = json_pretty(o);
	write_file(file, text, strlen(text));
}

static struct network_address taken(const struct network *n, const char *mac, const char *name,
	const char *uuid, const char *wanted)
{
	struct err err = ERR_INIT;
	struct network_address a;
	if (network_address_take(n,
		    &(struct network_claim){.mac = mac, .guest = name, .uuid = uuid}, wanted, &a,
		    &err) < 0)
		fail_msg("%s", err.message);
	return a;
}

static void refused(const struct network *n, const char *mac, const char *name, const char *wanted,
	const char *message)
{
	struct err err = ERR_INIT;
	struct network_address a = {.v4 = "untouched"};
	assert_int_equal(
		network_address_take(n,
			&(struct network_claim){.mac = mac, .guest = name, .uuid = UUID(8)}, wanted,
			&a, &err),
		-1);
	assert_string_equal(a.v4, "untouched");
	if (!strstr(err.message, message))
		fail_msg("'%s' does not say '%s'", err.message, message);
}

/* What a process took that has ended: its guests were never recorded, so nobody has them. */
static void taken_by_another(const struct network *n, const char *mac, const char *wanted)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = ERR_INIT;
		struct network_address a;
		_exit(-network_address_take(n,
			&(struct network_claim){.mac = mac, .guest = "never", .uuid = UUID(7)},
			wanted, &a, &err));
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define MAC_C "52:54:00:00:00:0c"

static void one_guest(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct network n = network("one", "10.1.2.1/24");
	struct network_address a = taken(&n, MAC_A, "a", UUID(1), NULL), b;
	assert_true(str_starts(a.v4, "10.1.2."));
	assert_string_equal(a.v6, "fd00:1::5054:ff:fe00:a");
	guest("a", UUID(1), MAC_A, a.v4);
	b = taken(&n, MAC_A, "a", UUID(1), NULL);
	assert_string_equal(a.v4, b.v4);
	refused(&n, MAC_A, "thief", NULL, "52:54:00:00:00:0a is the MAC address of guest 'a'");
	refused(&n, MAC_B, "thief", a.v4, "is the address of guest 'a'");
	refused(&n, MAC_B, "thief", "10.1.2.1", "its gateway");
	refused(&n, MAC_B, "thief", "10.1.2.0", "is not an address that it has for guests");
	refused(&n, MAC_B, "thief", "10.1.2.255", "is not an address that it has for guests");
	refused(&n, MAC_B, "thief", "10.1.3.7", "is not an address that it has for guests");
	refused(&n, MAC_B, "thief", "10.1.2", "is not an IPv4 address");
	refused(&n, "01:00:5e:00:00:01", "thief", NULL, "no MAC address");

	/* another one on request; the first is its guest's until the record says otherwise */
	b = taken(&n, MAC_A, "a", UUID(1), "10.1.2.77");
	assert_string_equal(b.v4, "10.1.2.77");
	refused(&n, MAC_B, "thief", a.v4, "guest 'a'");
	guest("a", UUID(1), MAC_A, b.v4);
	network_address_drop(&n, a.v4, MAC_B); /* not that one's: nothing happens */
	network_address_drop(&n, a.v4, MAC_A);
	b = taken(&n, MAC_B, "b", UUID(2), a.v4);
	assert_string_equal(b.v4, a.v4);
	guest("b", UUID(2), MAC_B, b.v4);

	assert_int_equal(network_address_rename(&n, b.v4, MAC_B, "c", &err), 0);
	refused(&n, MAC_C, "thief", b.v4, "is the address of guest 'c'");
	rename("guests/b", "guests/c");
	refused(&n, MAC_C, "thief", b.v4, "is the address of guest 'c'");
	_cleanup_json_ json_t *file = network_address_of(&n, MAC_B);
	assert_string_equal(json_get_str(file, "guest", ""), "c");
	_cleanup_json_ json_t *all = network_addresses(&n, &err);
	assert_int_equal(json_array_size(all), 2);
}

static void full(void **state)
{
	(void)state;
	struct network n = network("small", "10.9.9.1/29");
	char mac[18], name[8], uuid[] = UUID(0);
	taken_by_another(&n, "52:54:00:00:01:00", "10.9.9.5");
	for (int i = 2; i < 7; i++) {
		snprintf(mac, sizeof(mac), "52:54:00:00:01:%02x", (unsigned)i & 0xff);
		snprintf(name, sizeof(name), "f%d", i & 7);
		uuid[35] = (char)('0' + i);
		if (i == 4)
			continue;
		guest(name, uuid, mac, taken(&n, mac, name, uuid, i == 2 ? "10.9.9.6" : NULL).v4);
	}
	/* all have a file; that of the ended process is nobody's */
	assert_string_equal(taken(&n, MAC_A, "late", UUID(1), NULL).v4, "10.9.9.5");
	refused(&n, MAC_B, "later", NULL, "no address left: 5 are issued");
}

static void expect_host(
	const struct network *n, const char *mac, const char *name, const char *address)
{
	_cleanup_json_ json_t *file = network_address_of(n, mac);
	assert_true(json_get_bool(file, "host", false));
	assert_string_equal(json_get_str(file, "guest", ""), name);
	assert_string_equal(json_get_str(file, "address", ""), address);
	assert_false(network_address_is_void(file));
}

static void hosts(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct network n = network("hosts", "10.4.4.1/24");
	struct network_address a;
	assert_int_equal(network_address_take_host(&n, MAC_A, "printer", "10.4.4.9", &a, &err), 0);
	assert_int_equal(network_address_take_host(&n, MAC_A, "printer", NULL, &a, &err), 0);
	assert_string_equal(a.v4, "10.4.4.9");
	refused(&n, MAC_B, "thief", "10.4.4.9", "is the address of host 'printer'");
	refused(&n, MAC_B, "Printer", NULL, "'Printer' is the name of the host with " MAC_A);
	refused(&n, MAC_B, "Gateway", NULL, "'Gateway' is the name of its gateway");
	assert_int_equal(network_address_take_host(&n, MAC_B, "gateway", NULL, &a, &err), -1);
	err = (struct err)ERR_INIT;
	assert_int_equal(network_address_take_host(&n, MAC_A, "scanner", NULL, &a, &err), -1);
	/* one that has moved lets go of what it had */
	assert_int_equal(network_address_take_host(&n, MAC_A, "printer", "10.4.4.8", &a, &err), 0);
	assert_int_equal(network_address_take_host(&n, MAC_B, "plotter", "10.4.4.9", &a, &err), 0);
	network_address_drop(&n, "10.4.4.8", MAC_A);
	assert_null(network_address_of(&n, MAC_A));
	/* announced by its MAC before it was made, under its own name or another */
	static const char *const names[] = {"web1", "host-52-54-00-00-00-0a"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(
			network_address_take_host(&n, MAC_A, names[i], "10.4.4.7", &a, &err), 0);
		assert_string_equal(taken(&n, MAC_A, "web1", UUID(1), NULL).v4, "10.4.4.7");
		_cleanup_json_ json_t *file = network_address_of(&n, MAC_A);
		assert_false(json_get_bool(file, "host", false));
		assert_string_equal(json_get_str(file, "uuid", ""), UUID(1));
		assert_string_equal(network_address_host(file), names[i]);
		if (i) /* else it is another interface of that guest's */
			refused(&n, MAC_B, names[i], NULL, "is the name of the host with " MAC_A);
		/* the guest is gone, the host is not */
		network_address_drop(&n, "10.4.4.7", MAC_A);
		expect_host(&n, MAC_A, names[i], "10.4.4.7");
		assert_int_equal(network_address_drop_host(&n, "10.4.4.7", MAC_A, &err), 0);
		assert_null(network_address_of(&n, MAC_A));
	}
	/* nobody has that name any more */
	taken(&n, "52:54:00:00:00:0c", names[1], UUID(2), NULL);
}

/* A guest in the place of a host: killed, moved, and no longer announced. */
static void announced(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct network n = network("announced", "10.6.6.1/24");
	struct network_address a;
	assert_int_equal(network_address_take_host(&n, MAC_A, "web", "10.6.6.7", &a, &err), 0);
	taken_by_another(&n, MAC_A, NULL); /* never recorded, by a process that has ended */
	expect_host(&n, MAC_A, "web", "10.6.6.7");
	refused(&n, MAC_B, "thief", "10.6.6.7", "is the address of host 'web'");
	refused(&n, MAC_B, "web", NULL, "'web' is the name of the host with " MAC_A);
	assert_string_equal(taken(&n, MAC_A, "a6", UUID(6), NULL).v4, "10.6.6.7");
	const struct network_claim nobodys = {
		.mac = MAC_A, .guest = "a6", .uuid = UUID(6), .maker = -1};
	assert_int_equal(network_address_take(&n, &nobodys, "10.6.6.8", &a, &err), 0);
	guest("a6", UUID(6), MAC_A, "10.6.6.8");
	network_address_drop(&n, "10.6.6.7", MAC_A);
	assert_int_equal(network_address_rename(&n, "10.6.6.8", MAC_A, "b6", &err), 0);
	refused(&n, MAC_B, "web", NULL, "'web' is the name of the host with " MAC_A);
	assert_int_equal(rename("guests/a6", "gone"), 0);
	expect_host(&n, MAC_A, "web", "10.6.6.8");
	_cleanup_json_ json_t *all = network_addresses(&n, &err);
	assert_int_equal(json_array_size(all), 1);
	/* announced no longer, while a guest has its place: that keeps it */
	assert_string_equal(taken(&n, MAC_A, "b6", UUID(6), NULL).v4, "10.6.6.8");
	assert_int_equal(network_address_drop_host(&n, "10.6.6.8", MAC_A, &err), 0);
	_cleanup_json_ json_t *file = network_address_of(&n, MAC_A);
	assert_string_equal(json_get_str(file, "guest", ""), "b6");
	assert_null(network_address_host(file));
	network_address_drop(&n, "10.6.6.8", MAC_A);
	assert_null(network_address_of(&n, MAC_A));
	taken(&n, MAC_B, "web", UUID(2), NULL);
}

/* The processes wait for each other, so that all of them are at work, and are there until all have been counted. */
static void a_race(void **state)
{
	(void)state;
	enum { PROCESSES = 8, EACH = 20 };
	struct err err = ERR_INIT;
	struct network n = network("race", "10.5.5.1/24");
	pid_t pids[PROCESSES];
	int go[2], stay[2], status;
	char mac[18], name[16], byte;
	assert_int_equal(pipe(go) | pipe(stay), 0);
	for (int p = 0; p < PROCESSES; p++) {
		if ((pids[p] = fork()) != 0)
			continue;
		close(go[1]);
		close(stay[1]);
		(void)!read(go[0], &byte, 1);
		for (int i = 0; i < EACH; i++) {
			struct network_address a;
			snprintf(mac, sizeof(mac), "52:54:00:05:%02x:%02x", p & 0xff, i & 0xff);
			snprintf(name, sizeof(name), "r%d-%d", p & 7, i & 0xff);
			if (network_address_take(&n,
				    &(struct network_claim){
					    .mac = mac, .guest = name, .uuid = UUID(5)},
				    NULL, &a, &err) < 0)
				_exit(1);
		}
		(void)!read(stay[0], &byte, 1);
		_exit(0);
	}
	close(go[1]);
	/* all are there: 160 files, and each of them somebody's */
	_cleanup_json_ json_t *all = NULL;
	for (int64_t until = deadline_in(30000); deadline_left(until);) {
		json_decref(all);
		all = network_addresses(&n, &err);
		if (json_array_size(all) == PROCESSES * EACH)
			break;
		poll(NULL, 0, 20);
	}
	assert_int_equal(json_array_size(all), PROCESSES * EACH);
	size_t i;
	json_t *file;
	json_array_foreach (all, i, file)
		assert_false(network_address_is_void(file));
	close(stay[1]);
	for (int p = 0; p < PROCESSES; p++) {
		waitpid(pids[p], &status, 0);
		assert_int_equal(status, 0);
	}
	json_array_foreach (all, i, file)
		assert_true(network_address_is_void(file));
}

static int enter(void **state)
{
	if (scratch_enter(state) < 0)
		return -1;
	_cleanup_free_ char *run = str_fmt("%s/run", scratch);
	setenv("ROOST_STATE", scratch, 1);
	setenv("ROOST_RUN", run, 1);
	return mkdir("networks", 0700) < 0 ? -1 : mkdir("guests", 0700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_guest),
		cmocka_unit_test(full),
		cmocka_unit_test(hosts),
		cmocka_unit_test(announced),
		cmocka_unit_test(a_race),
	};
	return cmocka_run_group_tests_name("network_address", tests, enter, scratch_leave);
}
