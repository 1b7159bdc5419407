/* qmp/agent: what a guest tells of its interfaces and vCPUs, and what of that is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "qmp/agent.h"

static json_t *interfaces_of(const char *text, struct err *err)
{
	_cleanup_json_ json_t *answer = json_text_parse(text, strlen(text), err);
	assert_non_null(answer);
	return agent_interfaces(answer, err);
}

static const json_t *address_of(const json_t *list, size_t interface, size_t i)
{
	return json_array_get(json_object_get(json_array_get(list, interface), "addresses"), i);
}

static void interfaces(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *list = interfaces_of(
		"[{\"name\":\"lo\",\"hardware-address\":\"00:00:00:00:00:00\",\"ip-addresses\":"
		"[{\"ip-address\":\"127.0.0.1\",\"ip-address-type\":\"ipv4\",\"prefix\":8}]},"
		"{\"name\":\"eth0\",\"hardware-address\":\"52:54:00:AB:cd:01\",\"ip-addresses\":"
		"[{\"ip-address\":\"10.0.2.15\",\"ip-address-type\":\"ipv4\",\"prefix\":24},"
		"{\"ip-address\":\"FE80:0:0::1\",\"ip-address-type\":\"ipv6\",\"prefix\":64}],"
		"\"statistics\":{\"rx-bytes\":1,\"rx-packets\":2,\"rx-errs\":3,\"rx-dropped\":4,"
		"\"tx-bytes\":5,\"tx-packets\":6,\"tx-errs\":7,\"tx-dropped\":8}},"
		"{\"name\":\"none\"}]",
		&err);
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(json_get_str(json_array_get(list, 0), "name", ""), "lo");
	assert_int_equal(json_get_int(address_of(list, 0, 0), "prefix", 0), 8);
	const json_t *eth = json_array_get(list, 1);
	assert_string_equal(json_get_str(eth, "mac", ""), "52:54:00:ab:cd:01");
	assert_string_equal(json_get_str(address_of(list, 1, 0), "address", ""), "10.0.2.15");
	assert_string_equal(json_get_str(address_of(list, 1, 0), "type", ""), "ipv4");
	assert_string_equal(json_get_str(address_of(list, 1, 1), "address", ""), "fe80::1");
	assert_string_equal(json_get_str(address_of(list, 1, 1), "type", ""), "ipv6");
	_cleanup_free_ char *counted = json_line(json_object_get(eth, "statistics"));
	assert_string_equal(counted,
		"{\"rx_bytes\":1,\"rx_packets\":2,\"rx_errs\":3,\"rx_drop\":4,"
		"\"tx_bytes\":5,\"tx_packets\":6,\"tx_errs\":7,\"tx_drop\":8}");
	assert_null(json_object_get(json_array_get(list, 2), "statistics"));
}

#define ADDRESS(text, type, prefix)                                                                \
	"{\"ip-address\":" text ",\"ip-address-type\":" type ",\"prefix\":" prefix "}"

static void lies_about_interfaces(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *list = interfaces_of(
		"[1,null,[],{},{\"name\":7,\"ip-addresses\":7,\"statistics\":7},"
		"{\"name\":\"$(reboot);`x`\\n\\u001b[2J|\\u00e4|a name that has far too many characters\","
		"\"hardware-address\":\"52:54:00:ab:cd:01; reboot\",\"ip-addresses\":[3,{}," ADDRESS(
			"\"$(reboot)\"", "\"ipv4\"", "24") "," ADDRESS("\"10.0.0.1; reboot\"",
			"\"ipv4\"", "24") "," ADDRESS("\"10.0.0.256\"", "\"ipv4\"",
			"24") "," ADDRESS("\"10.0.0.1\"", "\"ipv6\"",
			"24") "," ADDRESS("\"10.0.0.1\"", "\"ipv4\"",
			"33") "," ADDRESS("\"10.0.0.1\"", "\"ipv4\"",
			"-1") "," ADDRESS("\"fe80::1%$(x)\"", "\"ipv6\"", "64") "," ADDRESS("7",
			"\"ipv4\"", "24") "," ADDRESS("\"10.0.0.1\"", "4",
			"24") "," ADDRESS("\"10.0.0.2\"", "\"ipv4\"",
			"\"8\"") "],"
				 "\"statistics\":{\"rx-bytes\":-1,\"tx-bytes\":\"9\",\"tx-errs\":1.5,\"x\":3}}]",
		&err);
	const json_t *last = json_array_get(list, 5);
	assert_int_equal(json_array_size(list), 6);
	assert_string_equal(json_get_str(last, "name", ""), "__reboot___x____2J____a name th");
	assert_null(json_object_get(last, "mac"));
	assert_null(json_object_get(last, "statistics"));
	assert_int_equal(json_array_size(json_object_get(last, "addresses")), 1);
	assert_string_equal(json_get_str(address_of(list, 5, 0), "address", ""), "10.0.0.2");
	assert_int_equal(json_get_int(address_of(list, 5, 0), "prefix", 0), 32);
	assert_null(interfaces_of("{}", &err));
	assert_int_equal(err.kind, ERR_QEMU);
	assert_non_null(strstr(err.message, "is of the wrong type"));
}

/* Only so many addresses in all, however they are spread. */
static void many_addresses(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	buf_str(&text, "[");
	for (int i = 0; i < 300; i++)
		buf_fmt(&text, "%s{\"name\":\"e%d\",\"ip-addresses\":[%s,%s]}", i ? "," : "", i,
			ADDRESS("\"10.0.0.1\"", "\"ipv4\"", "8"),
			ADDRESS("\"::1\"", "\"ipv6\"", "8"));
	buf_str(&text, "]");
	_cleanup_json_ json_t *list = interfaces_of(text.data, &err);
	size_t addresses = 0, i;
	json_t *interface;
	json_array_foreach (list, i, interface)
		addresses += json_array_size(json_object_get(interface, "addresses"));
	assert_int_equal(json_array_size(list), AGENT_INTERFACES_MAX);
	assert_int_equal(addresses, AGENT_ADDRESSES_MAX);
}

static void vcpus(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static const char good[] = "[{\"logical-id\":1,\"online\":false,\"can-offline\":true},"
				   "{\"logical-id\":0,\"online\":true}]";
	_cleanup_json_ json_t *answer = json_text_parse(good, strlen(good), &err);
	_cleanup_json_ json_t *told = agent_vcpus(answer, &err);
	assert_int_equal(json_get_int(told, "vcpus", 0), 2);
	assert_int_equal(json_get_int(told, "online", 0), 1);
	_cleanup_json_ json_t *none = json_array();
	assert_null(agent_vcpus(none, &err));
	assert_null(agent_vcpus(told, &err));
	assert_int_equal(err.kind, ERR_QEMU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interfaces),
		cmocka_unit_test(lies_about_interfaces),
		cmocka_unit_test(many_addresses),
		cmocka_unit_test(vcpus),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
