/* The check of user-data: each line of the tables is a text, and where its error must be and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "orchestrator/userdata_check.h"

static void good_ones(void **state)
{
	static const char *const texts[] = {"", "#cloud-config\n", "#cloud-config",
		"#cloud-config  \r\na: &x 1\r\n",
		"#cloud-config\nhostname: web1\nruncmd:\n  - [ls, -l]\n  - echo: 1\n",
		"#cloud-config\n# a comment\n---\npackages: [git, {name: x}]\nusers: default\n",
		"#cloud-config\nntp:\nlocale: no\nhostname: \"12\"\npackage_update: yes\n",
		"#cloud-config\nusers:\n  - &me {name: a}\n  - *me\nbootcmd: &all [a]\nruncmd: *all\n",
		"#cloud-config\n{\"hostname\": \"web1\", \"package_upgrade\": true}\n",
		"#cloud-config\nwrite_files:\n- path: /x\n  content: |\n    runcmdd: 1\n    \tx\n",
		"#!/bin/sh\nrm -rf: [\n", "## template: jinja\n#cloud-config\n{% if x %}\n",
		"#include\nhttp://x\n", "#cloud-config-archive\n- type: x\n",
		"Content-Type: multipart/mixed; boundary=x\n\n",
		"content-type: text/cloud-config\n\n"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		struct userdata_strangers s;
		if (userdata_check("f", texts[i], strlen(texts[i]), &s, &err) < 0)
			fail_msg("'%s': %s", texts[i], err.message);
		assert_int_equal(s.count, i == 3); /* the key `a` */
	}
}

static void bad_ones(void **state)
{
	static const struct {
		const char *text, *message, *hint;
	} rows[] = {
		{"hostname: x\n", "f:1: the first line does not say", "#cloud-config"},
		{"#cloud-confg\nhostname: x\n", "f:1: the first line does not say",
			"#cloud-config"},
		{" #cloud-config\n", "f:1: the first line", "#cloud-config"},
		{"#cloud-config\n\nruncmdd:\n  - ls\n", "f:3: cloud-init knows no key 'runcmdd'",
			"did you mean 'runcmd'?"},
		{"#cloud-config\npackage_updat: true\n",
			"f:2: cloud-init knows no key 'package_updat'",
			"did you mean 'package_update'?"},
		{"#cloud-config\nruncmd: ls\n", "f:2: 'runcmd' wants a list", ""},
		{"#cloud-config\nruncmd:\n  ls: -l\n", "f:2: 'runcmd' wants a list", ""},
		{"#cloud-config\nhostname: [a]\n", "f:2: 'hostname' wants a text", ""},
		{"#cloud-config\nchpasswd: root\n", "f:2: 'chpasswd' wants a mapping", ""},
		{"#cloud-config\npackage_update: maybe\n",
			"f:2: 'package_update' wants true or false", ""},
		{"#cloud-config\npackage_update: \"yes\"\n",
			"f:2: 'package_update' wants true or false", ""},
		{"#cloud-config\nusers:\n", "f:2: 'users' wants a list, a mapping or a text", ""},
		{"#cloud-config\nhostname: 12\n", "f:2: 'hostname' wants a text", "\"12\""},
		{"#cloud-config\nfqdn: 2026-11-29\n", "f:2: 'fqdn' wants a text", "\"2026-11-29\""},
		{"#cloud-config\ntimezone: off\n", "f:2: 'timezone' wants a text", "\"off\""},
		{"#cloud-config\nresize_rootfs: yess\n",
			"f:2: 'resize_rootfs' wants a text of: noblock or true or false", ""},
		{"#cloud-config\napt_pipelining: 1.5\n",
			"f:2: 'apt_pipelining' wants a text of: none unchanged os, a number or true or false",
			""},
		{"#cloud-config\n- runcmd\n", "f:2: a #cloud-config is a mapping", ""},
		{"#cloud-config\njust words\n", "f:2: a #cloud-config is a mapping", ""},
		{"#cloud-config\nhostname: a\nhostname: b\n", "f:3: 'hostname' is there twice", ""},
		{"#cloud-config\nhostname: a\n  b: [\n",
			"f:3: it is not well-formed YAML: mapping values", ""},
		{"#cloud-config\nruncmd:\n\t- ls\n", "f:3: it is not well-formed YAML", ""},
		{"#cloud-config\nruncmd: [ls\n", "f:3: it is not well-formed YAML", ""},
		{"#cloud-config\n[a]: b\n", "f:2: a key is a text", ""},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct userdata_strangers s;
		const char *text = rows[i].text;
		if (userdata_check("f", text, strlen(text), &s, &err) == 0)
			fail_msg("'%s' is taken", text);
		assert_int_equal(err.kind, ERR_USAGE);
		if (strncmp(err.message, rows[i].message, strlen(rows[i].message)) != 0)
			fail_msg("'%s': '%s', not '%s'", text, err.message, rows[i].message);
		if (!strstr(err.hint, rows[i].hint))
			fail_msg("'%s': the hint is '%s'", text, err.hint);
	}
}

static void strangers(void **state)
{
	static const char text[] =
		"#cloud-config\nzzzzzzzz: 1\nhostname: a\n\"qqqq\\e[2Jqqq\": {}\n";
	struct err err = ERR_INIT;
	struct userdata_strangers s;
	(void)state;
	assert_int_equal(userdata_check("f", text, strlen(text), &s, &err), 0);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.names[0], "zzzzzzzz");
	assert_int_equal(s.lines[0], 2);
	assert_string_equal(s.names[1], "qqqq?[2Jqqq");
	assert_int_equal(s.lines[1], 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests_name("userdata", tests, NULL, NULL);
}
