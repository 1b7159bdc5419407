/* The check of user-data: each line of the tables is a text, and where its error must be and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "orchestrator/userdata_check.h"

#define MIME "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n" /* 4 lines */

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
		"## template: jinja\n#cloud-config\npackages: {{ x }}\n", "#!/usr/bin/python3\n",
		"#include-once\nhttp://x\n", "#include http://x\n", "#cloud-boothook\n#!/bin/sh\n",
		"#part-handler\n", "#upstart-job\n", "#cloud-config-jsonp\n[]\n", "\x1f\x8b\x08x",
		"#cloud-config-archive\n- |\n  #cloud-config\n  runcmd: [a]\n- {type: text/x-shellscript, content: \"#!/bin/sh\"}\n",
		"Content-Type: text/cloud-config\nmime-version: 1.0\n\n",
		"From nobody Sun Nov 29 2026\nSubject: none,\n folded\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"a b\"\n\npreamble\n--a b\n\n#cloud-config\nruncmd: [a]\n--a b\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\nH4sI\n\n--a b\nContent-Type: text/x-mine\n\nx\n--a b--\nepilogue\n",
		MIME
		"Content-Type: text/x-shellscript\n\n#cloud-config\nhostname: a\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: text/cloud-config; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nhostname=3A=\n a\n--y--\n\n--x--\n"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		struct userdata_strangers s;
		if (userdata_check("f", texts[i], strlen(texts[i]), &s, &err) < 0)
			fail_msg("'%s': %s", texts[i], err.message);
		assert_int_equal(s.count, i == 3); /* the key `a` */
	}
}

struct bad {
	const char *text, *message, *hint;
};

static void refused(const struct bad *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
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

static void bad_ones(void **state)
{
	static const struct bad rows[] = {
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
		{"## template: cheetah\n#cloud-config\n", "f:1: the first line does not say", ""},
	};
	(void)state;
	refused(rows, ARRAY_SIZE(rows));
}

static void bad_parts(void **state)
{
	static const struct bad rows[] = {
		{"Content-Type: multipart/mixed; boundary=x\n\n",
			"f:1: its MIME headers lack MIME-Version", "MIME-Version: 1.0"},
		{MIME "Content-Type: text/cloud-config\n\n#cloud-config\nruncmdd: [a]\n--x--\n",
			"f:8: cloud-init knows no key 'runcmdd'", "did you mean 'runcmd'?"},
		{MIME "\n#cloud-config\nruncmd: [\n--x--\n", "f:8: it is not well-formed YAML", ""},
		{MIME "Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"cc\"\n\nI2Nsb3VkLWNvbmZpZwpwYWNrYWdlczogW2dpdF0KcnVuY21kZDogW2FdCg==\n\n--x--\n",
			"f:9: part 'cc':3: cloud-init knows no key 'runcmdd'",
			"did you mean 'runcmd'?"},
		{MIME "Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\nI2?\n--x--\n",
			"f:8: the part that begins here is not base64", ""},
		{MIME "Content-Transfer-Encoding: uuencode\n\nx\n--x--\n",
			"f:7: the part that begins here has the unknown Content-Transfer-Encoding 'uuencode'",
			""},
		{MIME "Content-Type: text/cloud-confg\n\nx: 1\n--x--\n",
			"f:7: part 'part-001': cloud-init knows no type 'text/cloud-confg'",
			"did you mean 'text/cloud-config'?"},
		{MIME "\nhello\n--x--\n",
			"f:6: part 'part-001', a text/plain, does not say what it is",
			"text/cloud-config"},
		{MIME "\n#!/bin/sh\n", "f:6: it is cut off: its last line, '--x--', is missing",
			""},
		{MIME "#cloud-config\n--x--\n", "f:5: a MIME header is 'Name: value'", ""},
		{"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n#cloud-config\n",
			"f:4: there is no part: no line is '--x'", ""},
		{"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--x--\n",
			"f:4: the multipart that begins here names no boundary", ""},
		{"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    #cloud-config\n    runcmdd: [a]\n",
			"f:5: cloud-init knows no key 'runcmdd'", "did you mean 'runcmd'?"},
		{"#cloud-config-archive\n- \"#cloud-config\\nruncmd: a\"\n",
			"f:2: 'content':2: 'runcmd' wants a list", ""},
		{"#cloud-config-archive\na: b\n", "f:2: a #cloud-config-archive is a list", ""},
		{"#cloud-config-archive\n- [a]\n",
			"f:2: an entry of a #cloud-config-archive is a text", ""},
		{"#cloud-config-archive\n- [a\n", "f:3: it is not well-formed YAML", ""},
	};
	(void)state;
	refused(rows, ARRAY_SIZE(rows));
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
		cmocka_unit_test(bad_parts),
		cmocka_unit_test(strangers),
	};
	return cmocka_run_group_tests_name("userdata", tests, NULL, NULL);
}
