/*
 * netsetup/ against the kernel, in a network namespace of the test's own: two guests' taps on a bridge, frames as a
 * guest may send them and as it may not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netsetup/guard.h"
#include "netsetup/namespace.h"
#include "netsetup/netlink.h"
#include "netsetup/tap.h"
#include "tests/unit/lacking.h"

enum { VNET_HEADER = 10, FRAME_MAX = 256, ARRIVE_MS = 10000 };

static const struct mac gateway = {{0x52, 0x54, 0, 0x77, 0, 1}};
static const struct mac first = {{0x52, 0x54, 0, 0x77, 1, 1}};
static const struct mac second = {{0x52, 0x54, 0, 0x77, 1, 2}};
static struct prefix net4, net6, first4, second4, first6;
static bool alone; /* in a namespace of our own */

static void addresses_parse(void)
{
	struct err err = ERR_INIT;
	assert_int_equal(prefix_parse("10.77.0.1/24", &net4, &err), 0);
	assert_int_equal(prefix_parse("10.77.0.11/24", &first4, &err), 0);
	assert_int_equal(prefix_parse("10.77.0.12/24", &second4, &err), 0);
	assert_int_equal(prefix_parse("fd77::1/64", &net6, &err), 0);
	assert_int_equal(prefix_parse("fd77::5054:ff:fe77:101/128", &first6, &err), 0);
}

static int go_alone(void **state)
{
	(void)state;
	addresses_parse();
	alone = unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0 &&
		access("/dev/net/tun", R_OK | W_OK) == 0;
	return 0;
}

/* ---- addresses ------------------------------------------------------------------------------------ */

static void reads_addresses(void **state)
{
	(void)state;
	static const char *const wrong_macs[] = {"", "52:54:00:12:34", "52:54:00:12:34:5",
		"525400123456", "52:54:00:12:34:56:78", "52:54:00:12:34:5g", "53:54:00:12:34:56",
		"00:00:00:00:00:00", "+2:54:00:12:34:56"};
	static const char *const wrong_prefixes[] = {"", "10.0.0.1", "10.0.0.1/33", "10.0.0/8",
		"10.0.0.1/", "10.0.0.1/x", "fd00::1/129", "a/8"};
	struct err err = ERR_INIT;
	struct mac mac;
	struct prefix p;
	char text[ADDRESS_TEXT + 4];
	uint8_t own[16];
	assert_int_equal(mac_parse("52:54:00:AB:cd:01", &mac, &err), 0);
	assert_string_equal(mac_text(&mac, text), "52:54:00:ab:cd:01");
	for (size_t i = 0; i < ARRAY_SIZE(wrong_macs); i++)
		assert_int_equal(mac_parse(wrong_macs[i], &mac, &err), -1);
	assert_string_equal(mac_text(&mac, text), "52:54:00:ab:cd:01");
	for (size_t i = 0; i < ARRAY_SIZE(wrong_prefixes); i++)
		assert_int_equal(prefix_parse(wrong_prefixes[i], &p, &err), -1);
	assert_string_equal(prefix_text(&net6, text), "fd77::1/64");
	address_eui64(&net6, &first, own);
	assert_memory_equal(own, first6.address, sizeof(own));
	assert_true(prefix_has(&net4, AF_INET, first4.address));
	assert_false(prefix_has(&net4, AF_INET6, first4.address));
	assert_int_equal(prefix_parse("10.0.0.0/9", &p, &err), 0);
	assert_true(prefix_overlaps(&p, &net4));
	assert_int_equal(prefix_parse("10.128.0.0/9", &p, &err), 0);
	assert_false(prefix_overlaps(&p, &net4));
	assert_int_equal(prefix_parse("0.0.0.0/0", &p, &err), 0);
	assert_true(prefix_overlaps(&p, &net4));
}

/* ---- a network of two guests ---------------------------------------------------------------------- */

struct set {
	struct netlink *n;
	struct guard *g;
	int bridge, taps[2];
};

static int lay_out(struct set *s, bool isolated, bool strict6, struct err *err)
{
	const struct guard_network network = {
		.bridge = "br0", .gateway = gateway, .prefix6 = &net6};
	const struct guard_port ports[] = {{.tap = "tap0",
						   .mac = first,
						   .address4 = &first4,
						   .address6 = &first6,
						   .strict6 = strict6},
		{.tap = "tap1", .mac = second, .address4 = &second4}};
	s->n = netlink_open(err);
	s->g = guard_open(GUARD_TABLE, err);
	if (!s->n || !s->g || (s->bridge = bridge_make(s->n, "br0", &gateway, err)) < 0 ||
		address_add(s->n, s->bridge, &net4, err) < 0 ||
		address_add(s->n, s->bridge, &net6, err) < 0 ||
		guard_install(s->g, &network, NULL, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int link;
		if (guard_add(s->g, &ports[i], err) < 0 ||
			tap_open(ports[i].tap, 1, &s->taps[i], err) < 0 ||
			(link = link_index(s->n, ports[i].tap, err)) < 0 ||
			port_join(s->n, link, s->bridge, (struct port_flags){.isolated = isolated},
				err) < 0)
			return -1;
	}
	return 0;
}

/* Where that cannot be done here, the test is skipped. */
static struct set begun(bool isolated, bool strict6)
{
	struct err err = ERR_INIT;
	struct set s = {.taps = {-1, -1}};
	if (!alone)
		not_here("it takes a network namespace and /dev/net/tun");
	if (lay_out(&s, isolated, strict6, &err) < 0)
		fail_msg("%s", err.message);
	return s;
}

static void clear(struct set *s)
{
	struct err err = ERR_INIT;
	cleanup_close(&s->taps[0]);
	cleanup_close(&s->taps[1]);
	assert_int_equal(link_remove(s->n, s->bridge, &err), 0);
	assert_int_equal(link_remove(s->n, s->bridge, &err), 0);
	guard_cleanup(&s->g);
	netlink_cleanup(&s->n);
}

struct frame {
	size_t len;
	uint8_t data[FRAME_MAX];
};

static void add(struct frame *f, const void *data, size_t len)
{
	assert_true(f->len + len <= sizeof(f->data));
	memcpy(f->data + f->len, data, len);
	f->len += len;
}

static void add16(struct frame *f, unsigned value)
{
	add(f, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static struct frame ethernet(const struct mac *to, const struct mac *from, unsigned type)
{
	struct frame f = {0};
	add(&f, to->bytes, 6);
	add(&f, from->bytes, 6);
	add16(&f, type);
	return f;
}

static const struct mac everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

static struct frame arp(const struct mac *from, const char *own, const char *wanted)
{
	struct frame f = ethernet(&everybody, &first, 0x0806);
	uint8_t address[4];
	add(&f, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
	add(&f, from->bytes, 6);
	inet_pton(AF_INET, own, address);
	add(&f, address, 4);
	add(&f, (uint8_t[6]){0}, 6);
	inet_pton(AF_INET, wanted, address);
	add(&f, address, 4);
	return f;
}

static struct frame udp4(const struct mac *to, const struct mac *from, const char *source,
	const char *target, unsigned source_port, unsigned port)
{
	struct frame f = ethernet(to, from, 0x0800);
	uint8_t address[4];
	add(&f, (uint8_t[]){0x45, 0, 0, 32, 0, 1, 0, 0, 64, IPPROTO_UDP, 0, 0}, 12);
	inet_pton(AF_INET, source, address);
	add(&f, address, 4);
	inet_pton(AF_INET, target, address);
	add(&f, address, 4);
	unsigned sum = 0;
	for (size_t i = 14; i < 34; i += 2)
		sum += (unsigned)f.data[i] << 8 | f.data[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	f.data[24] = (uint8_t)(sum >> 8);
	f.data[25] = (uint8_t)sum;
	add16(&f, source_port);
	add16(&f, port);
	add(&f, (uint8_t[]){0, 12, 0, 0, 'r', 'o', 's', 't'}, 8);
	return f;
}

static struct frame ip6(
	const char *source, const char *target, uint8_t next, const void *data, size_t len)
{
	struct frame f = ethernet(&second, &first, 0x86dd);
	uint8_t address[16];
	add(&f, (uint8_t[]){0x60, 0, 0, 0, 0, (uint8_t)len, next, 255}, 8);
	inet_pton(AF_INET6, source, address);
	add(&f, address, 16);
	inet_pton(AF_INET6, target, address);
	add(&f, address, 16);
	add(&f, data, len);
	return f;
}

static struct frame icmp6(const char *source, uint8_t type)
{
	return ip6(source, "ff02::1", IPPROTO_ICMPV6, (uint8_t[24]){type}, 24);
}

static struct frame udp6(const char *source, uint8_t source_port_high, uint8_t source_port_low)
{
	return ip6(source, "fd77::5054:ff:fe77:102", IPPROTO_UDP,
		(uint8_t[12]){source_port_high, source_port_low, 3, 0, 0, 12}, 12);
}

static struct frame of_type(const char *to, unsigned type)
{
	struct err err = ERR_INIT;
	struct mac mac;
	int low;
	/* a group's address, which mac_parse() refuses */
	if (mac_parse(to, &mac, &err) < 0) {
		mac = (struct mac){{0x01, 0x80, 0xc2, 0, 0, 0}};
		assert_int_equal(sscanf(to, "01:80:c2:00:00:%x", (unsigned *)&low), 1);
		mac.bytes[5] = (uint8_t)low;
	}
	struct frame f = ethernet(&mac, &first, type);
	add(&f, (uint8_t[46]){0x42, 0x42, 0x03}, 46);
	return f;
}

/* An 802.1Q tag in a frame that would pass without it. */
static struct frame tagged(struct frame f)
{
	memmove(f.data + 16, f.data + 12, f.len - 12);
	memcpy(f.data + 12, (uint8_t[]){0x81, 0, 0, 5}, 4);
	f.len += 4;
	return f;
}

static void send_frame(int tap, const struct frame *f)
{
	uint8_t text[VNET_HEADER + FRAME_MAX] = {0};
	memcpy(text + VNET_HEADER, f->data, f->len);
	assert_int_equal(write(tap, text, VNET_HEADER + f->len), VNET_HEADER + f->len);
}

/* Does the other guest get it? What the bridge says itself is passed over. */
static bool arrives(int tap, const struct frame *f, int wait_ms)
{
	uint8_t text[VNET_HEADER + 2048];
	for (;;) {
		ssize_t len = read(tap, text, sizeof(text));
		if (len < 0) {
			assert_int_equal(errno, EAGAIN);
			struct pollfd p = {.fd = tap, .events = POLLIN};
			if (poll(&p, 1, wait_ms) <= 0)
				return false;
			continue;
		}
		if ((size_t)len == VNET_HEADER + f->len &&
			memcmp(text + VNET_HEADER, f->data, f->len) == 0)
			return true;
	}
}

/* How many frames of tap0's were dropped, and for which reason the last one was. */
static int64_t dropped(struct guard *g, int64_t seen[8], const char **last)
{
	struct err err = ERR_INIT;
	static char reason[32];
	int64_t all = 0;
	size_t i;
	json_t *d;
	_cleanup_json_ json_t *drops = guard_drops(g, &err);
	assert_non_null(drops);
	json_array_foreach (drops, i, d) {
		assert_string_equal(json_get_str(d, "tap", ""), "tap0");
		static const char *const names[] = {
			"mac", "arp", "ipv4", "ipv6", "dhcp-server", "router", "protocol"};
		int64_t packets = json_get_int(d, "packets", 0);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			if (strcmp(json_get_str(d, "reason", ""), names[k]) != 0)
				continue;
			if (packets != seen[k])
				snprintf(reason, sizeof(reason), "%s", names[k]);
			seen[k] = packets;
		}
		all += packets;
	}
	*last = reason;
	return all;
}

static void guards_frames(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	const struct {
		const char *name;
		struct frame frame;
		const char *reason; /* NULL: it passes; "": the bridge keeps it */
	} frames[] = {
		{"IPv4", udp4(&second, &first, "10.77.0.11", "10.77.0.12", 1000, 9999), NULL},
		{"ARP", arp(&first, "10.77.0.11", "10.77.0.12"), NULL},
		{"ARP probe", arp(&first, "0.0.0.0", "10.77.0.11"), NULL},
		{"DHCP request", udp4(&everybody, &first, "0.0.0.0", "255.255.255.255", 68, 67),
			NULL},
		{"IPv6", udp6("fd77::5054:ff:fe77:101", 4, 0), NULL},
		{"IPv6, an address of its choice", udp6("fd77::1:2:3:4", 4, 0), NULL},
		{"IPv6 link-local", udp6("fe80::5054:ff:fe77:101", 4, 0), NULL},
		{"neighbour solicitation", icmp6("::", 135), NULL},
		{"another's MAC", udp4(&second, &gateway, "10.77.0.11", "10.77.0.12", 1000, 9999),
			"mac"},
		{"another's IPv4", udp4(&second, &first, "10.77.0.12", "10.77.0.12", 1000, 9999),
			"ipv4"},
		{"the world's IPv4", udp4(&second, &first, "8.8.8.8", "10.77.0.12", 1000, 9999),
			"ipv4"},
		{"no IPv4, no DHCP", udp4(&everybody, &first, "0.0.0.0", "255.255.255.255", 68, 69),
			"ipv4"},
		{"ARP for the gateway", arp(&first, "10.77.0.1", "10.77.0.12"), "arp"},
		{"ARP with another's MAC", arp(&second, "10.77.0.11", "10.77.0.12"), "arp"},
		{"a DHCP server", udp4(&everybody, &first, "10.77.0.11", "255.255.255.255", 67, 68),
			"dhcp-server"},
		{"a DHCPv6 server", udp6("fe80::1", 2, 35), "dhcp-server"},
		{"a router advertisement", icmp6("fe80::1", 134), "router"},
		{"a redirect", icmp6("fe80::1", 137), "router"},
		{"the world's IPv6", udp6("2001:db8::1", 4, 0), "ipv6"},
		{"a VLAN tag", tagged(udp4(&second, &first, "10.77.0.11", "10.77.0.12", 1, 2)),
			"protocol"},
		{"spanning tree", of_type("01:80:c2:00:00:00", 38), "protocol"},
		{"LLDP", of_type("01:80:c2:00:00:0e", 0x88cc), ""},
		{"an unknown protocol", of_type("52:54:00:77:01:02", 0x88b5), "protocol"},
	};
	int64_t before = 0, seen[8] = {0};
	const char *why;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		send_frame(s.taps[0], &frames[i].frame);
		bool came = arrives(s.taps[1], &frames[i].frame, frames[i].reason ? 0 : ARRIVE_MS);
		int64_t now = dropped(s.g, seen, &why);
		bool counted = frames[i].reason && frames[i].reason[0];
		if (came == !frames[i].reason && now == before + counted &&
			(!counted || strcmp(why, frames[i].reason) == 0)) {
			before = now;
			continue;
		}
		fail_msg("%s: %s, %lld drops more, the last for '%s'", frames[i].name,
			came ? "arrived" : "did not arrive", (long long)(now - before), why);
	}
	clear(&s);
}

static void keeps_to_issued_ipv6(void **state)
{
	(void)state;
	struct set s = begun(false, true);
	struct frame own = udp6("fd77::5054:ff:fe77:101", 4, 0),
		     other = udp6("fd77::1:2:3:4", 4, 0);
	send_frame(s.taps[0], &own);
	assert_true(arrives(s.taps[1], &own, ARRIVE_MS));
	send_frame(s.taps[0], &other);
	assert_false(arrives(s.taps[1], &other, 20));
	clear(&s);
}

/* On a bridge that is somebody else's any address of theirs is let pass, and learned; servers and routers are not. */
static void learns_on_a_foreign_bridge(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	struct err err = ERR_INIT;
	const struct guard_network network = {.foreign = true, .bridge = "br0"};
	const struct guard_port port = {.tap = "tap0", .mac = first};
	/* those that begun() has made let nothing of this pass */
	assert_int_equal(guard_uninstall(s.g, &err), 0);
	assert_int_equal(guard_uninstall(s.g, &err), 0);
	struct guard *foreign = guard_open("roost_0123abcd", &err);
	assert_int_equal(guard_install(foreign, &network, NULL, 0, &err), 0);
	assert_int_equal(guard_add(foreign, &port, &err), 0);
	struct frame legal[] = {arp(&first, "192.0.2.7", "192.0.2.1"),
		udp4(&second, &first, "192.0.2.7", "10.77.0.12", 1000, 9999),
		icmp6("2001:db8::7", 135)};
	for (size_t i = 0; i < ARRAY_SIZE(legal); i++) {
		send_frame(s.taps[0], &legal[i]);
		assert_true(arrives(s.taps[1], &legal[i], ARRIVE_MS));
	}
	struct frame server = udp4(&everybody, &first, "192.0.2.7", "255.255.255.255", 67, 68);
	struct frame router = icmp6("fe80::1", 134), other = legal[1];
	memcpy(other.data + 6, gateway.bytes, 6);
	const struct frame *const illegal[] = {&server, &router, &other};
	for (size_t i = 0; i < ARRAY_SIZE(illegal); i++) {
		send_frame(s.taps[0], illegal[i]);
		assert_false(arrives(s.taps[1], illegal[i], 20));
	}
	_cleanup_json_ json_t *learned = guard_learned(foreign, &err),
			      *drops = guard_drops(foreign, &err);
	assert_int_equal(json_array_size(drops), 3);
	assert_int_equal(json_array_size(learned), 2);
	const json_t *l = json_array_get(learned, 0);
	assert_string_equal(json_get_str(l, "tap", ""), "tap0");
	assert_string_equal(json_get_str(l, "mac", ""), "52:54:00:77:01:01");
	assert_string_equal(json_get_str(l, "address", ""), "192.0.2.7");
	assert_string_equal(json_get_str(json_array_get(learned, 1), "address", ""), "2001:db8::7");
	assert_int_equal(guard_remove(foreign, &port, &err), 0);
	send_frame(s.taps[0], &server);
	assert_true(arrives(s.taps[1], &server, ARRIVE_MS));
	assert_int_equal(guard_uninstall(foreign, &err), 0);
	guard_close(foreign);
	clear(&s);
}

/* Neither by a direct frame, nor by a broadcast, nor by IPv6 multicast, nor around by the gateway. */
static void isolates(void **state)
{
	(void)state;
	struct set s = begun(true, false);
	int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
	struct frame frames[] = {udp4(&second, &first, "10.77.0.11", "10.77.0.12", 1000, 9999),
		arp(&first, "10.77.0.11", "10.77.0.12"), icmp6("fe80::5054:ff:fe77:101", 136)};
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		send_frame(s.taps[0], &frames[i]);
		assert_false(arrives(s.taps[1], &frames[i], 20));
	}
	/* so that the gateway could send it on at once */
	struct frame known = arp(&first, "10.77.0.11", "10.77.0.1");
	send_frame(s.taps[0], &known);
	struct frame around = udp4(&gateway, &first, "10.77.0.11", "10.77.0.12", 1000, 9999);
	send_frame(s.taps[0], &around);
	uint8_t text[VNET_HEADER + 2048];
	struct pollfd p = {.fd = s.taps[1], .events = POLLIN};
	while (poll(&p, 1, 200) > 0) {
		ssize_t len = read(s.taps[1], text, sizeof(text));
		/* not a frame of the first guest's, nor the gateway's ARP on its behalf */
		assert_true(len < VNET_HEADER + 14 ||
			    memcmp(text + VNET_HEADER + 12, (uint8_t[]){8, 0}, 2) != 0);
		assert_true(len < VNET_HEADER + 14 ||
			    memcmp(text + VNET_HEADER + 12, (uint8_t[]){8, 6}, 2) != 0);
	}
	clear(&s);
}

/* ---- the rest ------------------------------------------------------------------------------------- */

static void refuses_what_is_there(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	struct err err = ERR_INIT;
	int fds[TAP_QUEUES_MAX];
	assert_int_equal(tap_open("tap0", 1, fds, &err), -1);
	assert_string_equal(err.message, "the tap 'tap0' exists already");
	assert_int_equal(tap_open("sixteen-bytes-it", 1, fds, &err), -1);
	assert_int_equal(tap_open("tap2", TAP_QUEUES_MAX + 1, fds, &err), -1);
	assert_int_equal(bridge_make(s.n, "br0", &gateway, &err), -1);
	assert_string_equal(err.message, "cannot make the bridge 'br0': File exists");
	assert_int_equal(link_index(s.n, "tap2", &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	/* of several queues, and gone with its last file */
	assert_int_equal(tap_open("tap2", 2, fds, &err), 0);
	assert_true(link_index(s.n, "tap2", &err) > 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(link_index(s.n, "tap2", &err), -1);
	clear(&s);
}

static void steers_what_the_bridge_receives(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	struct err err = ERR_INIT;
	char said[64] = "";
	cpu_set_t cpus;
	if (namespace_steer("br0", &err) < 0)
		fail_msg("%s", err.message);
	FILE *out = popen(
		"unshare --mount sh -c 'mount -t sysfs none /sys && cat /sys/class/net/br0/queues/rx-0/rps_cpus'",
		"r");
	assert_non_null(out);
	assert_non_null(fgets(said, sizeof(said), out));
	pclose(out);
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	int steered = 0;
	for (const char *digit = said; *digit; digit++)
		if (*digit != ',' && *digit != '\n')
			steered += __builtin_popcountl(strtoul((char[]){*digit, 0}, NULL, 16));
	assert_int_equal(steered, CPU_COUNT(&cpus) > 1 ? CPU_COUNT(&cpus) : 0);
	assert_int_equal(namespace_steer("no-such", &err), CPU_COUNT(&cpus) > 1 ? -1 : 0);
	clear(&s);
}

static bool take_one(const struct neighbour *found, void *context)
{
	*(struct neighbour *)context = *found;
	return memcmp(found->mac.bytes, first.bytes, 6) != 0;
}

static void finds_neighbours(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	struct err err = ERR_INIT;
	struct neighbour found = {0};
	struct frame f = arp(&first, "10.77.0.11", "10.77.0.1");
	send_frame(s.taps[0], &f);
	assert_int_equal(neighbours(s.n, take_one, &found, &err), 0);
	assert_memory_equal(found.mac.bytes, first.bytes, 6);
	assert_int_equal(found.link, s.bridge);
	assert_memory_equal(found.address.address, first4.address, 4);
	clear(&s);
}

struct seen_routes {
	int bridge;
	bool net, local, enough;
};

static bool see_route(const struct route *r, void *context)
{
	struct seen_routes *seen = context;
	struct prefix net;
	struct err err = ERR_INIT;
	assert_false(seen->enough);
	assert_int_equal(prefix_parse("10.77.0.0/24", &net, &err), 0);
	if (r->link != seen->bridge || r->to.family != AF_INET)
		return true;
	if (r->to.bits == 24 && prefix_overlaps(&r->to, &net) && !r->local && !r->advertised)
		seen->net = true;
	if (r->to.bits == 32 && memcmp(r->to.address, net4.address, 4) == 0 && r->local)
		seen->local = true;
	seen->enough = seen->net && seen->local;
	return !seen->enough;
}

/* Those that come with an address: to its network, and to itself. */
static void reads_routes(void **state)
{
	(void)state;
	struct set s = begun(false, false);
	struct err err = ERR_INIT;
	struct seen_routes seen = {.bridge = s.bridge};
	assert_int_equal(routes(s.n, see_route, &seen, &err), 0);
	assert_true(seen.enough);
	clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(reads_addresses),
		cmocka_unit_test(guards_frames), cmocka_unit_test(keeps_to_issued_ipv6),
		cmocka_unit_test(learns_on_a_foreign_bridge), cmocka_unit_test(isolates),
		cmocka_unit_test(refuses_what_is_there),
		cmocka_unit_test(steers_what_the_bridge_receives),
		cmocka_unit_test(finds_neighbours), cmocka_unit_test(reads_routes)};
	return cmocka_run_group_tests(tests, go_alone, NULL);
}
