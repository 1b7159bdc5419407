/* roost-ssh without a network: parameters, banners, cloud-init's words, scp's records, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "orchestrator/ssh_params.h"
#include "orchestrator/ssh_words.h"

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAxo"

/* ---- words ------------------------------------------------------------------------------------- */

static void banners(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum banner banner;
	} cases[] = {
		{"", BANNER_MORE},
		{"S", BANNER_MORE},
		{"SSH-2.0", BANNER_MORE},
		{"SSH-2.0-dropbear", BANNER_MORE},
		{"SSH-2.0-dropbear_2022.83\r\n", BANNER_SSH},
		{"SSH-2.0-x\n\x14\x01", BANNER_SSH},
		{"SSH-1.99-old\n", BANNER_SSH},
		{"SSH-1.5-older\n", BANNER_NOT_SSH},
		{"SSH-2.1-x\n", BANNER_NOT_SSH},
		{"ssh-2.0-x\n", BANNER_NOT_SSH},
		{"HTTP/1.1 400 Bad Request\r\n", BANNER_NOT_SSH},
		{"\n", BANNER_NOT_SSH},
		{"220 mail ESMTP\r\n", BANNER_NOT_SSH},
		{"Not allowed", BANNER_MORE},
		{"Not allowed at this time\r\n", BANNER_TURNED_AWAY},
		{"Exceeded MaxStartups\r\n", BANNER_TURNED_AWAY},
		{"Nothing", BANNER_NOT_SSH},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
			banner_classify(cases[i].text, strlen(cases[i].text)), cases[i].banner);
	/* a line may have 255 bytes and no more */
	char line[400] = "SSH-2.0-";
	memset(line + 8, 'x', sizeof(line) - 8);
	assert_int_equal(banner_classify(line, 254), BANNER_MORE);
	assert_int_equal(banner_classify(line, 255), BANNER_NOT_SSH);
	line[254] = '\n';
	assert_int_equal(banner_classify(line, sizeof(line)), BANNER_SSH);
	line[254] = 'x';
	line[255] = '\n';
	assert_int_equal(banner_classify(line, sizeof(line)), BANNER_NOT_SSH);
	/* it may not be text at all */
	assert_int_equal(banner_classify("SSH-2.0-\0\n", 10), BANNER_SSH);
	assert_int_equal(banner_classify("\0\0\0", 3), BANNER_NOT_SSH);
}

static void cloud(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum cloud_state state;
		const char *detail;
	} cases[] = {
		{"", CLOUD_UNKNOWN, ""},
		{"Traceback (most recent call last):\n", CLOUD_UNKNOWN, ""},
		{"status: not installed\n", CLOUD_ABSENT, ""},
		/* 18 to 22 */
		{"\nstatus: done\ntime: Thu, 01 Jan\ndetail:\nDataSourceNoCloud [seed=/dev/vdb]\n",
			CLOUD_DONE, "DataSourceNoCloud [seed=/dev/vdb]"},
		{".......\nstatus: error\ntime: x\ndetail:\n('a', E(1))\n('b', E(2))\n",
			CLOUD_ERROR, "('a', E(1)); ('b', E(2))"},
		{"status: disabled\ndetail:\nCloud-init disabled by cloud-init-generator\n",
			CLOUD_DISABLED, "Cloud-init disabled by cloud-init-generator"},
		{"status: not run\n", CLOUD_RUNNING, ""},
		/* 23 and later */
		{"status: not started\n", CLOUD_RUNNING, ""},
		{"status: running\nextended_status: running\n", CLOUD_RUNNING, ""},
		{"status: done\nextended_status: done\nboot_status_code: enabled-by-generator\n"
		 "last_update: x\ndetail: DataSourceNone\nerrors: []\nrecoverable_errors: {}\n",
			CLOUD_DONE, "DataSourceNone"},
		{"status: done\nextended_status: degraded done\ndetail: DataSourceNone\nerrors: []\n"
		 "recoverable_errors:\nWARNING:\n\t- one\n\t- two\n",
			CLOUD_DEGRADED, "WARNING:; one; two"},
		{"status: error\nextended_status: error - done\ndetail: DataSourceNone\n"
		 "errors:\n\t- broken\nrecoverable_errors: {}\n",
			CLOUD_ERROR, "broken"},
		{"status: done\ndetail:\n\x1b[31mred\xff\n", CLOUD_DONE, "\\x1b[31mred\\xff"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_buf_ struct buf detail = {0};
		assert_int_equal(cloud_status_parse(cases[i].text, strlen(cases[i].text), &detail),
			cases[i].state);
		assert_string_equal(detail.data ? detail.data : "", cases[i].detail);
	}
}

static void scp_records(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "X", "C", "C0644", "C0644 1", "C0644 1 ", "C0644 x f",
		"C0944 1 f", "C0644 -1 f", "C0644 9223372036854775808 f", "C10000 1 f",
		"C0644  1 f", "C0644 1 ..", "C0644 1 .", "C0644 1 a/b", "C0644 1 /etc/passwd",
		"D0755 0 ..", "E1", "T1 0 2", "T1 0 2 0 ", "T1 1000000 2 0", "T-1 0 2 0",
		"T1 0 2 0x"};
	struct err err = ERR_INIT;
	struct scp_record r;
	assert_int_equal(scp_record_parse("C0644 9223372036854775807 a b ", &r, &err), 0);
	assert_int_equal(r.kind, SCP_FILE);
	assert_int_equal(r.mode, 0644);
	assert_true(r.size == INT64_MAX);
	assert_string_equal(r.text, "a b ");
	assert_int_equal(scp_record_parse("D7777 0 -rf", &r, &err), 0);
	assert_int_equal(r.kind, SCP_ENTER);
	assert_int_equal(r.mode, 07777);
	assert_int_equal(scp_record_parse("E", &r, &err), 0);
	assert_int_equal(r.kind, SCP_LEAVE);
	assert_int_equal(scp_record_parse("T1100000000 0 1000000000 999999", &r, &err), 0);
	assert_int_equal(r.kind, SCP_TIMES);
	assert_int_equal(r.modified, 1100000000);
	assert_int_equal(r.accessed, 1000000000);
	assert_int_equal(scp_record_parse("\1scp: x: No such file", &r, &err), 0);
	assert_int_equal(r.kind, SCP_WARNING);
	assert_string_equal(r.text, "scp: x: No such file");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct scp_record untouched = {.size = 42};
		assert_int_equal(scp_record_parse(bad[i], &untouched, &err), -1);
		assert_int_equal(untouched.size, 42);
	}
	char name[400] = "C0644 1 ";
	memset(name + 8, 'n', 255);
	assert_int_equal(scp_record_parse(name, &r, &err), 0);
	name[8 + 255] = 'n';
	assert_int_equal(scp_record_parse(name, &r, &err), -1);
}

static void host_keys(void **state)
{
	(void)state;
	char type[64];
	assert_true(key_text_same(KEY, KEY));
	assert_true(key_text_same(KEY " root@guest", KEY));
	assert_true(key_text_same(KEY " a", KEY " b\n"));
	assert_false(key_text_same(KEY, KEY "x"));
	assert_false(key_text_same(KEY "x", KEY));
	assert_false(key_text_same(KEY, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAxp"));
	assert_false(key_text_same(KEY, "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAxo"));
	/* what is no key is the same as nothing, not even as itself */
	static const char *const none[] = {"", "ssh-ed25519", "ssh-ed25519 ", " AAAA", "  "};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_false(key_text_same(none[i], none[i]));
		assert_int_equal(key_text_type(none[i], type, sizeof(type)), -1);
	}
	assert_int_equal(key_text_type(KEY, type, sizeof(type)), 0);
	assert_string_equal(type, "ssh-ed25519");
	assert_int_equal(key_text_type(KEY, type, 11), -1);
}

static void texts(void **state)
{
	(void)state;
	static const char *const shown[][2] = {
		{"plain", "plain"},
		{"caf\xc3\xa9", "caf\xc3\xa9"},
		{"caf\xe9", "caf\\xe9"},
		{"a\nb\x7f", "a\\x0ab\\x7f"},
		{"", ""},
	};
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		_cleanup_free_ char *text = text_shown(shown[i][0], strlen(shown[i][0]));
		assert_string_equal(text, shown[i][1]);
	}
	assert_int_equal(signal_number("TERM"), 15);
	assert_int_equal(signal_number("SIGTERM"), 0);
	assert_string_equal(signal_name(9), "KILL");
	assert_null(signal_name(63));
}

/* ---- parameters -------------------------------------------------------------------------------- */

static json_t *object(const char *text)
{
	struct err err = ERR_INIT;
	json_t *o = json_text_parse(text, strlen(text), &err);
	if (!o)
		fail_msg("%s", err.message);
	return o;
}

#define TO "\"address\":\"10.0.0.2\",\"user\":\"debian\",\"host_key\":\"" KEY "\""

static void climb_parameters(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct remote r;
	struct climb_params c;
	_cleanup_json_ json_t *o =
		object("{" TO ",\"rungs\":[\"login\",\"probes\"],\"probes\":[\"true\"],"
		       "\"deadlines_ms\":{\"login\":500},\"port\":2222,\"identities\":[\"/k\"]}");
	assert_int_equal(climb_params(o, &r, &c, &err), 0);
	assert_string_equal(r.address, "10.0.0.2");
	assert_int_equal(r.port, 2222);
	assert_false(r.trust_first);
	assert_true(r.agent);
	assert_int_equal(json_array_size(r.identities), 1);
	assert_int_equal(c.last, RUNG_PROBES);
	assert_true(c.wanted[RUNG_LOGIN] && c.wanted[RUNG_PROBES] && !c.wanted[RUNG_CLOUD_INIT]);
	assert_int_equal(c.deadline_ms[RUNG_LOGIN], 500);
	assert_int_equal(c.deadline_ms[RUNG_TCP], 0);
	assert_int_equal(c.total_ms, 300000);
}

static void refused_parameters(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"{}",
		"{" TO "}",
		"{" TO ",\"rungs\":\"tcp\"}",
		"{" TO ",\"rungs\":[\"tcp\"],\"deadlines_ms\":{\"tcp\":0}}",
		"{" TO ",\"rungs\":[\"tcp\"],\"deadlines_ms\":{\"moon\":1}}",
		"{" TO ",\"rungs\":[\"tcp\"],\"deadlines_ms\":[]}",
		"{" TO ",\"rungs\":[\"tcp\"],\"total_ms\":99999999999}",
		"{" TO ",\"rungs\":[\"tcp\"],\"command\":\"x\"}",
		"{" TO ",\"rungs\":[\"tcp\"],\"port\":0}",
		"{" TO ",\"rungs\":[\"tcp\"],\"probes\":[{}]}",
		"{\"address\":\"guest.example\",\"user\":\"u\",\"rungs\":[\"tcp\"]}",
		"{\"address\":\"\",\"user\":\"u\",\"rungs\":[\"tcp\"]}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		struct remote r;
		struct climb_params c;
		_cleanup_json_ json_t *o = object(bad[i]);
		if (climb_params(o, &r, &c, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.kind, ERR_USAGE);
	}
}

static void other_parameters(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct remote r;
	struct exec_params e;
	struct copy_params c;
	_cleanup_json_ json_t *shell = object("{\"address\":\"fe80::1%lo\",\"user\":\"u\","
					      "\"trust\":\"first\",\"pty\":true,\"command\":null}");
	assert_int_equal(exec_params(shell, &r, &e, &err), 0);
	assert_true(r.trust_first && !r.host_key);
	assert_null(e.command);
	assert_int_equal(e.pty, PTY_YES);
	_cleanup_json_ json_t *pty = object("{" TO ",\"pty\":\"maybe\"}");
	assert_int_equal(exec_params(pty, &r, &e, &err), -1);
	_cleanup_json_ json_t *env = object("{" TO ",\"env\":{\"A\":1}}");
	assert_int_equal(exec_params(env, &r, &e, &err), -1);
	/* one text is a list of one */
	_cleanup_json_ json_t *to =
		object("{" TO ",\"direction\":\"to\",\"local\":\"a\",\"remote\":\"\"}");
	assert_int_equal(copy_params(to, &r, &c, &err), 0);
	assert_int_equal(json_array_size(c.local), 1);
	assert_string_equal(json_string_value(json_array_get(c.local, 0)), "a");
	_cleanup_json_ json_t *two =
		object("{" TO ",\"direction\":\"from\",\"local\":[\"a\",\"b\"],\"remote\":\"x\"}");
	assert_int_equal(copy_params(two, &r, &c, &err), -1);
	_cleanup_json_ json_t *nothing =
		object("{" TO ",\"direction\":\"to\",\"local\":[],\"remote\":\"x\"}");
	assert_int_equal(copy_params(nothing, &r, &c, &err), -1);
	_cleanup_json_ json_t *sideways =
		object("{" TO ",\"direction\":\"by\",\"local\":\"a\",\"remote\":\"x\"}");
	assert_int_equal(copy_params(sideways, &r, &c, &err), -1);
}

static void keygen_parameters(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct keygen_params p = {0};
	_cleanup_json_ json_t *none = object("{}");
	assert_int_equal(keygen_params(none, &p, &err), 0);
	assert_string_equal(p.type, "ssh-ed25519");
	assert_string_equal(p.comment, "");
	assert_null(p.passphrase);
	_cleanup_json_ json_t *secret = object("{\"passphrase\":\"hush\"}");
	assert_int_equal(keygen_params(secret, &p, &err), 0);
	assert_string_equal(p.passphrase, "hush");
	_cleanup_json_ json_t *two = object("{\"comment\":\"a\\nssh-rsa AAAA\"}");
	assert_int_equal(keygen_params(two, &p, &err), -1);
	_cleanup_json_ json_t *other = object("{\"address\":\"127.0.0.1\"}");
	assert_int_equal(keygen_params(other, &p, &err), -1);
}

static json_t *read_from_pipe(const char *text, struct err *err)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
	close(fds[1]);
	json_t *o = params_read(fds[0], err);
	close(fds[0]);
	return o;
}

static void reading(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *o = read_from_pipe(" {\"a\": 1}\n", &err);
	assert_int_equal(json_get_int(o, "a", 0), 1);
	assert_null(read_from_pipe("", &err));
	assert_null(read_from_pipe("[]", &err));
	assert_null(read_from_pipe("{} {}", &err));
	assert_null(read_from_pipe("{\"a\":1,\"a\":1}", &err));
	assert_null(params_read(-1, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(banners),
		cmocka_unit_test(cloud),
		cmocka_unit_test(scp_records),
		cmocka_unit_test(host_keys),
		cmocka_unit_test(texts),
		cmocka_unit_test(keygen_parameters),
		cmocka_unit_test(climb_parameters),
		cmocka_unit_test(refused_parameters),
		cmocka_unit_test(other_parameters),
		cmocka_unit_test(reading),
	};
	return cmocka_run_group_tests_name("ssh", tests, NULL, NULL);
}
