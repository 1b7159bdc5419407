/* orchestrator/network: what a network is, what is refused, and which subnet it gets. */
#include "tests/unit/lacking.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/scratch.h"

#include "base/str.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/network.h"

static int parse(const char *yaml, struct network *out, struct err *err)
{
	static const struct origin origin = {.file = "lab.yaml", .folder = "/"};
	_cleanup_node_ struct node *root = node_from_yaml(yaml, strlen(yaml), &origin, err);
	return root ? network_from_node(root, out, err) : -1;
}

static struct network good(const char *yaml)
{
	struct err err = ERR_INIT;
	struct network n;
	if (parse(yaml, &n, &err) < 0)
		fail_msg("%s", err.message);
	return n;
}

static void bad(const char *yaml, const char *message)
{
	struct err err = ERR_INIT;
	struct network n;
	assert_int_equal(parse(yaml, &n, &err), -1);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.message, message))
		fail_msg("'%s' does not say '%s'", err.message, message);
}

static void what_people_write(void **state)
{
	(void)state;
	struct network n = good("name: Lab\n");
	assert_string_equal(n.name, "Lab");
	assert_string_equal(n.domain, "lab.internal");
	assert_string_equal(n.address, "");
	assert_true(n.mode == NETWORK_NAT && n.dns && !n.autostart && !n.mtu);
	assert_true(str_starts(n.address6, "fd") && str_ends(n.address6, "::1/64"));
	n = good("name: lab\naddress: 10.1.2.0/23\naddress6: none\nmode: isolated\nmtu: 9000\n"
		 "dns_servers: [9.9.9.9, \"2620:fe::fe\"]\ndomain: Lab.Example\nautostart: yes\n");
	assert_string_equal(n.address, "10.1.2.1/23");
	assert_string_equal(n.address6, "");
	assert_string_equal(n.domain, "lab.example");
	assert_true(n.mode == NETWORK_ISOLATED && n.mtu == 9000 && n.autostart);
	assert_int_equal(n.dns_server_count, 2);
	assert_string_equal(n.dns_servers[1], "2620:fe::fe");
	n = good("name: office\nbridge: br0\n");
	assert_true(n.mode == NETWORK_BRIDGE && !n.dns);
	assert_string_equal(n.address6, "");
	assert_string_equal(n.domain, "");
	assert_string_equal(good("{name: x, address6: \"fd00:1::/64\"}").address6, "fd00:1::1/64");
	/* too small for IPv6, which then is not there */
	assert_string_equal(good("name: small\nmtu: 1000\n").address6, "");
}

static void what_is_refused(void **state)
{
	(void)state;
	bad("name: lab\nmod: nat\n", "lab.yaml:2: mod: there is no such key");
	bad("name: a/b\n", "lab.yaml:1: network 'a/b'");
	bad("name: bridge-br0\n", "networks of bridges that the host has");
	bad("name: lab\naddress: 10.0.0.1\n", "lab.yaml:2: address: '10.0.0.1' is not a gateway's");
	bad("name: lab\naddress: 10.0.0.255/24\n", "broadcast");
	bad("name: lab\naddress: 10.0.0.1/30\n", "8 to 29 bits");
	bad("name: lab\naddress: 127.1.0.1/24\n", "not a network");
	bad("name: lab\naddress6: \"fd00::1/48\"\n", "/64 only");
	bad("name: lab\naddress6: \"fe80::1/64\"\n", "neither global");
	bad("name: lab\nmode: bridge\n", "needs the key 'bridge'");
	bad("name: lab\nmode: nat\nbridge: br0\n", "only mode bridge");
	bad("name: lab\nbridge: br0\naddress: 10.0.0.1/24\n", "are not ours to give");
	bad("name: lab\nbridge: a/b\n", "not the name of a bridge");
	bad("name: lab\ndns_servers: [nowhere]\n", "'nowhere' is not an address");
	bad("name: lab\ndomain: a..b\n", "not a domain");
	bad("name: lab\nmtu: 65522\n", "mtu: 65522 is not between 576 and 65521");
	bad("name: lab\nmtu: 1000\naddress6: \"fd00::1/64\"\n", "IPv6 needs 1280");
}

static struct network loaded(const char *name)
{
	struct err err = ERR_INIT;
	struct network n;
	if (network_load(name, &n, &err) < 0)
		fail_msg("%s", err.message);
	return n;
}

static void records(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct network n = loaded("default"), again = loaded("default");
	assert_true(n.implicit && n.address[0] && n.uuid[0]);
	assert_memory_equal(&n, &again, sizeof(n));
	assert_int_equal(network_settle(&n, &err), 0);
	assert_false(n.implicit);
	again = loaded("default");
	assert_memory_equal(&n, &again, sizeof(n));
	assert_int_equal(network_settle(&n, &err), 0);

	struct network lab = good("name: lab\nuuid: 0b1c4b62-3f6e-4a39-9d16-11f6a1b9a001\n");
	assert_int_equal(network_choose(&lab, &err), 0);
	assert_string_not_equal(lab.address, n.address);
	assert_int_equal(network_save(&lab, &err), 0);
	again = loaded("lab");
	assert_memory_equal(&lab, &again, sizeof(lab));
	strcpy(lab.address, n.address);
	assert_int_equal(network_check_subnet(&lab, &err), -1);
	assert_non_null(strstr(err.message, "the network 'default' has a part of"));

	n = loaded("bridge-br0");
	assert_true(n.implicit && n.mode == NETWORK_BRIDGE);
	assert_string_equal(n.bridge, "br0");
	assert_int_equal(strlen(n.uuid), 36);
	assert_int_equal(network_settle(&n, &err), 0);

	_cleanup_names_ char **names = NULL;
	size_t count;
	assert_int_equal(network_names(&names, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(names[1], "lab");
	assert_int_equal(network_load("nosuch", &n, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	write_file("networks/torn.json", "{\"roost\": 1", 11);
	assert_int_equal(network_load("torn", &n, &err), -1);
	assert_non_null(strstr(err.message, "torn"));
}

/* As its root, for `ip` is another program. */
static bool enter_own_network(void)
{
	uid_t uid = geteuid();
	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET) < 0)
		return false;
	if (!uid)
		return true;
	_cleanup_free_ char *map = str_fmt("0 %u 1", (unsigned)uid);
	_cleanup_close_ int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write_all(fd, map, strlen(map)) == 0;
}

/* A host of its own: a child in a namespace where routes are made as `lines` say. */
static int on_a_host(const char *lines)
{
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		struct err err = ERR_INIT;
		struct network n;
		if (!enter_own_network())
			_exit(77);
		if (system(lines) != 0)
			_exit(78);
		_exit(network_load("default", &n, &err) < 0     ? 1
			: str_eq(n.address, "192.168.122.1/24") ? 10
			: str_eq(n.address, "192.168.124.1/24") ? 11
			: str_eq(n.address, "172.24.0.1/24")    ? 12
			: str_eq(n.address, "10.128.0.1/24")    ? 13
								: 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		not_here("no network namespace for us");
	if (WEXITSTATUS(status) == 78)
		lacking("ip");
	return WEXITSTATUS(status);
}

static void subnets(void **state)
{
	(void)state;
#define CABLE                                                                                      \
	"PATH=$PATH:/sbin:/usr/sbin; ip link add d0 type veth peer d1 && ip link set d0 up && "
	assert_int_equal(on_a_host("true"), 10);
	assert_int_equal(
		on_a_host(CABLE "ip address add 192.168.122.7/24 dev d0 && "
				"ip route add 192.168.123.128/25 dev d0 && "
				"ip route add default dev d0 && ip route add 0.0.0.0/1 dev d0"),
		11);
	assert_int_equal(on_a_host(CABLE "ip route add 192.168.0.0/16 dev d0 table 77"), 12);
	assert_int_equal(on_a_host(CABLE "ip address add 192.168.0.1/16 dev d0 && "
					 "ip route add 172.16.0.0/12 dev d0"),
		13);
	assert_int_equal(
		on_a_host(CABLE
			"ip address add 192.168.0.1/16 dev d0 && "
			"ip route add 172.16.0.0/12 dev d0 && ip route add 10.0.0.0/8 dev d0"),
		1);
}

static int enter(void **state)
{
	if (scratch_enter(state) < 0)
		return -1;
	_cleanup_free_ char *run = str_fmt("%s/run", scratch);
	setenv("ROOST_STATE", scratch, 1);
	setenv("ROOST_RUN", run, 1);
	return mkdir("networks", 0700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_people_write),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(subnets),
		cmocka_unit_test(records),
	};
	return cmocka_run_group_tests_name("network", tests, enter, scratch_leave);
}
