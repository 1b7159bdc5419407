/*
 * A network's holder: what it may no more, each tried by a process that is confined like it; what it tells dnsmasq, and what
 * that has leased; which filters of a host's firewall drop what passes through it, and where they are opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "netsetup/confine.h"
#include "netsetup/dhcp.h"
#include "netsetup/host_firewall.h"
#include "netsetup/legacy_firewall.h"
#include "orchestrator/network_leases.h"
#include "tests/unit/lacking.h"

static char scratch[] = "/tmp/roost-holder-XXXXXX";

static int enter(void **state)
{
	(void)state;
	return mkdtemp(scratch) ? chdir(scratch) : -1;
}

static int leave(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	return chdir("/") < 0 ? -1 : dir_remove(AT_FDCWD, scratch, &err);
}

enum { SKIPPED = 77 };

/* What went wrong first, as the exit status: 0 is nothing. */
static int try_all(void)
{
	struct err err = ERR_INIT;
	static const struct {
		long call, first, second;
	} calls[] = {
		{SYS_unshare, CLONE_NEWNS, 0},
		{SYS_setns, -1, 0},
		{SYS_ptrace, 16, 1},
		{SYS_chroot, (long)".", 0},
		{SYS_umount2, (long)"/proc", MNT_DETACH},
	};
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		return SKIPPED;
	if (confine("in", &err) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (syscall(calls[i].call, calls[i].first, calls[i].second, 0, 0) == 0 ||
			errno != EPERM)
			return 2 + (int)i;
	if (open("in/new", O_WRONLY | O_CREAT, 0600) < 0 || rename("in/new", "in/other") < 0 ||
		mkdir("in/folder", 0700) < 0 || unlink("in/other") < 0)
		return 10;
	if (open("there", O_RDONLY) < 0)
		return 11;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0)
		return 0;
	if (open("there", O_WRONLY) >= 0 || open("new", O_WRONLY | O_CREAT, 0600) >= 0 ||
		unlink("there") == 0 || rename("there", "in/there") == 0 || mkdir("x", 0700) == 0)
		return 12;
	return 0;
}

static void may_no_more(void **state)
{
	(void)state;
	int status;
	assert_int_equal(mkdir("in", 0700), 0);
	int fd = open("there", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	pid_t pid = fork();
	if (pid == 0)
		_exit(try_all());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		not_here("no user may make a user namespace");
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- dnsmasq -------------------------------------------------------------------------------------- */

/* As it stands in the file, which is written before dnsmasq is run; this one ends at once. */
static void config_of(struct dhcp_network *n, struct buf *out)
{
	struct err err = ERR_INIT;
	char *folder = realpath(".", NULL);
	setenv("ROOST_DNSMASQ", "/bin/false", 1);
	n->folder = folder;
	struct dhcp *d = dhcp_open(n, &err);
	assert_non_null(d);
	assert_int_equal(dhcp_start(d, &err), -1);
	assert_int_equal(dhcp_pid(d), 0);
	dhcp_close(d);
	assert_int_equal(file_read(AT_FDCWD, "dnsmasq.conf", 65536, out, &err), 0);
	unsetenv("ROOST_DNSMASQ");
	n->folder = NULL;
	free(folder);
}

static void has(const struct buf *text, const char *line)
{
	_cleanup_free_ char *whole = str_fmt("\n%s\n", line);
	if (!strstr(text->data, whole))
		fail_msg("no line '%s' in:\n%s", line, text->data);
}

static void tells_dnsmasq(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct prefix address, address6;
	_cleanup_buf_ struct buf full = {0}, least = {0};
	assert_int_equal(prefix_parse("10.77.8.1/21", &address, &err), 0);
	assert_int_equal(prefix_parse("fd77::1/64", &address6, &err), 0);
	struct dhcp_network n = {.bridge = "br0",
		.domain = "lan.internal",
		.address = &address,
		.address6 = &address6,
		.mtu = 1400,
		.dns = true,
		.routes = true,
		.servers = {"192.0.2.1", "2001:db8::1"},
		.server_count = 2};
	config_of(&n, &full);
	has(&full, "dhcp-range=10.77.8.0,static,255.255.248.0,infinite");
	has(&full, "dhcp-range=fd77::,ra-only,64,infinite");
	has(&full, "ra-param=br0,mtu:1400,60,0"); /* no router: IPv6 leads nowhere */
	has(&full, "dhcp-option=option:mtu,1400");
	has(&full, "no-resolv");
	has(&full, "server=192.0.2.1");
	has(&full, "server=2001:db8::1");
	has(&full, "host-record=gateway.lan.internal,gateway,10.77.8.1,fd77::1");
	assert_null(strstr(full.data, "option:router"));
	/* isolated, and without names: what guests ask is somebody else, whom they are told */
	n = (struct dhcp_network){.bridge = "br0",
		.domain = "lan.internal",
		.address = &address,
		.servers = {"192.0.2.1", "2001:db8::1", "192.0.2.2"},
		.server_count = 3};
	config_of(&n, &least);
	has(&least, "port=0");
	has(&least, "dhcp-option=option:dns-server,192.0.2.1,192.0.2.2");
	has(&least, "dhcp-option=option:router");
	assert_null(strstr(least.data, "ra-"));
	assert_null(strstr(least.data, "option:mtu"));
}

static void reads_leases(void **state)
{
	(void)state;
	static const char text[] =
		"0 52:54:00:00:00:01 10.77.0.11 web 01:52:54:00:00:00:01\n"
		"1796000000 52:54:00:00:00:02 10.77.0.12 * *\n"
		"duid 00:01:00:01:2a:2b\n"
		"1796000000 52:54:00:00:00:03\n"
		"\n"
		"1796000000 52:54:00:00:00:04 fd77::14 db *"; /* cut off: no end of the line */
	struct err err = ERR_INIT;
	struct network n = {.name = "lan", .id = "0a0b0c0d", .address = "10.77.0.1/24"};
	setenv("ROOST_RUN", scratch, 1);
	json_t *none = network_leases(&n, NULL, &err);
	assert_int_equal(json_array_size(none), 0);
	json_decref(none);
	assert_int_equal(mkdir("n", 0700), 0);
	assert_int_equal(mkdir("n/0a0b0c0d", 0700), 0);
	assert_int_equal(
		file_replace(AT_FDCWD, "n/0a0b0c0d/leases", text, strlen(text), false, &err), 0);
	_cleanup_json_ json_t *all = network_leases(&n, NULL, &err);
	assert_int_equal(json_array_size(all), 3);
	const json_t *web = json_array_get(all, 0), *second = json_array_get(all, 1);
	assert_int_equal(json_get_int(web, "expires", -1), 0);
	assert_int_equal(json_get_int(web, "prefix", 0), 24);
	assert_string_equal(json_get_str(web, "hostname", ""), "web");
	assert_string_equal(json_get_str(web, "client_id", ""), "01:52:54:00:00:00:01");
	assert_null(json_object_get(second, "hostname"));
	assert_null(json_object_get(second, "client_id"));
	assert_string_equal(json_get_str(json_array_get(all, 2), "protocol", ""), "ipv6");
	_cleanup_json_ json_t *one = network_leases(&n, "52:54:00:00:00:02", &err);
	assert_int_equal(json_array_size(one), 1);
}

/* ---- the host's firewall -------------------------------------------------------------------------- */

static const char docker[] =
	"table ip filter { chain DOCKER-USER { }; chain FORWARD { type filter hook forward priority filter; "
	"policy drop; jump DOCKER-USER; }; };";
static const char ufw[] =
	"table ip6 filter { chain ufw6-user-forward { }; chain ufw6-before-forward { jump ufw6-user-forward; }; "
	"chain FORWARD { type filter hook forward priority filter; policy drop; jump ufw6-before-forward; }; };";
/* accepts what it does not drop in the end; and one that drops by its last rule */
static const char mine[] =
	"table inet open { chain forward { type filter hook forward priority 5; policy accept; "
	"ip saddr 192.0.2.1 drop; }; };"
	"table inet closed { chain forward { type filter hook forward priority 6; policy accept; "
	"ct state established accept; reject; }; };";

static const struct host_filter *of_table(
	const struct host_filter *filters, int count, const char *kind, const char *table)
{
	for (int i = 0; i < count; i++)
		if (str_eq(filters[i].kind, kind) && str_eq(filters[i].table, table))
			return &filters[i];
	return NULL;
}

/* In a child's namespace: assertions of cmocka's return into the test, so what fails is told by its line. */
#define NEED(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			dprintf(STDERR_FILENO, "%d: %s: %s\n", __LINE__, #what, err.message);      \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int look_at_filters(void)
{
	struct err err = ERR_INIT;
	struct host_filter filters[HOST_FILTERS_MAX];
	if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return SKIPPED;
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	struct host_firewall *f = host_firewall_open("0a0b0c0d", "rn-0a0b0c0d", false, &err);
	NEED(nft && f && host_firewall_filters(f, filters, &err) == 0);
	NEED(nft_run_cmd_from_buffer(nft, docker) == 0 && nft_run_cmd_from_buffer(nft, ufw) == 0 &&
		nft_run_cmd_from_buffer(nft, mine) == 0);
	int count = host_firewall_filters(f, filters, &err);
	const struct host_filter *of_docker = of_table(filters, count, "ip", "filter"),
				 *of_ufw = of_table(filters, count, "ip6", "filter"),
				 *closed = of_table(filters, count, "inet", "closed");
	NEED(count == 3 && of_docker && of_ufw && closed);
	NEED(str_eq(of_docker->owner, "Docker") && str_eq(of_docker->opening, "DOCKER-USER"));
	NEED(str_eq(of_ufw->owner, "ufw") && str_eq(of_ufw->opening, "ufw6-user-forward"));
	NEED(!closed->owner && !closed->opening[0]);
	_cleanup_free_ char *text = host_filter_text(of_docker),
			    *remedy = host_filter_remedy(closed, "rn-x");
	NEED(str_eq(text, "the chain FORWARD of table 'ip filter' (Docker)"));
	NEED(str_eq(remedy, "`nft insert rule inet closed forward iifname rn-x accept && "
			    "nft insert rule inet closed forward oifname rn-x accept`"));
	NEED(host_firewall_heal(f, &err) == 2 && host_firewall_heal(f, &err) == 0);
	_cleanup_json_ json_t *marks = host_firewall_marks(f, &err);
	NEED(json_array_size(marks) == 1);
	NEED(str_eq(json_string_value(json_array_get(marks, 0)), "0a0b0c0d"));
	NEED(host_firewall_unheal(f, &err) == 0);
	_cleanup_json_ json_t *left = host_firewall_marks(f, &err);
	NEED(left && json_array_size(left) == 0);
	host_firewall_close(f);
	nft_ctx_free(nft);
	return 0;
}

static void finds_filters(void **state)
{
	(void)state;
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(look_at_filters());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		not_here("no user may make a user namespace");
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void reads_marks(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"", "roost-", "roost-0a0b0c0", "roost-0a0b0cXX", "0a0b0c0d", "my roost-0a0b0c0d"};
	_cleanup_json_ json_t *marks = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		filter_mark_add(marks, wrong[i]);
	assert_int_equal(json_array_size(marks), 0);
	filter_mark_add(marks, "roost-0a0b0c0d");
	filter_mark_add(marks, "roost-0a0b0c0d\"");
	filter_mark_add(marks, "roost-00000001");
	assert_int_equal(json_array_size(marks), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(may_no_more),
		cmocka_unit_test(tells_dnsmasq), cmocka_unit_test(reads_leases),
		cmocka_unit_test(finds_filters), cmocka_unit_test(reads_marks)};
	return cmocka_run_group_tests(tests, enter, leave);
}
