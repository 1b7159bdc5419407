/*
 * images/seed.c and the program roost-image: the texts parse as YAML to what was meant, whatever is
 * in a key's comment; hostile input is refused; the ISO image carries the files under both names.
 */
#include "lacking.h"
#include "scratch.h"

#include <stdio.h>
#include <sys/stat.h>
#include <yaml.h>

#include "images/seed.h"

#define PRIVATE                                                                                    \
	"-----BEGIN OPENSSH PRIVATE KEY-----\n"                                                    \
	"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"                 \
	"QyNTUxOQAAACAyNTUxOQ==\n"                                                                 \
	"-----END OPENSSH PRIVATE KEY-----\n"
#define PUBLIC "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDI1NTE5 roost"

#define text_of(text) ((struct buf){.data = (char *)(text), .len = strlen(text)})

static const struct seed plain = {.instance_id = "0123abcd", .hostname = "g1", .user = "roost"};

static struct seed_files build(const struct seed *s)
{
	struct err err = ERR_INIT;
	struct seed_files f = {0};
	if (seed_build(s, &f, &err) < 0)
		fail_msg("%s", err.message);
	return f;
}

/* ---- reading YAML back --------------------------------------------------------------------------- */

static yaml_node_t *child(yaml_document_t *d, yaml_node_t *n, const char *step)
{
	if (n->type == YAML_SEQUENCE_NODE)
		return yaml_document_get_node(d, n->data.sequence.items.start[atoi(step)]);
	assert_int_equal(n->type, YAML_MAPPING_NODE);
	for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++)
		if (str_eq((char *)yaml_document_get_node(d, p->key)->data.scalar.value, step))
			return yaml_document_get_node(d, p->value);
	return NULL;
}

/* The scalar at "users/0/name", NULL if there is none; for the caller to free. */
static char *yaml_at(const char *text, const char *path)
{
	yaml_parser_t parser;
	yaml_document_t d;
	assert_int_equal(yaml_parser_initialize(&parser), 1);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
	if (!yaml_parser_load(&parser, &d))
		fail_msg("not YAML, line %zu: %s\n%s", parser.problem_mark.line, parser.problem,
			text);
	_cleanup_free_ char *steps = xstrdup(path);
	yaml_node_t *n = yaml_document_get_root_node(&d);
	char *rest;
	for (char *step = strtok_r(steps, "/", &rest); n && step; step = strtok_r(NULL, "/", &rest))
		n = child(&d, n, step);
	char *value = NULL;
	if (n) {
		assert_int_equal(n->type, YAML_SCALAR_NODE);
		value = xstrdup((char *)n->data.scalar.value);
	}
	yaml_document_delete(&d);
	yaml_parser_delete(&parser);
	return value;
}

static void assert_yaml(const char *text, const char *path, const char *expected)
{
	_cleanup_free_ char *value = yaml_at(text, path);
	if (!str_eq(value, expected))
		fail_msg("%s is '%s', not '%s'", path, value, expected);
}

/* ---- texts --------------------------------------------------------------------------------------- */

static void ours(void **state)
{
	(void)state;
	char *keys[] = {PUBLIC, "ecdsa-sha2-nistp256 AAAA me"};
	struct seed s = plain;
	s.keys = keys;
	s.key_count = 2;
	s.host_key_private = PRIVATE;
	s.host_key_public = PUBLIC;
	struct seed_files f = build(&s);
	assert_true(str_starts(f.user_data.data, "#cloud-config\n"));
	assert_yaml(f.user_data.data, "hostname", "g1");
	assert_yaml(f.user_data.data, "users/0/name", "roost");
	assert_yaml(f.user_data.data, "users/0/sudo", "ALL=(ALL) NOPASSWD:ALL");
	assert_yaml(f.user_data.data, "users/0/lock_passwd", "true");
	assert_yaml(f.user_data.data, "users/0/ssh_authorized_keys/0", keys[0]);
	assert_yaml(f.user_data.data, "users/0/ssh_authorized_keys/1", keys[1]);
	assert_yaml(f.user_data.data, "ssh_keys/ed25519_private", PRIVATE);
	assert_yaml(f.user_data.data, "ssh_keys/ed25519_public", PUBLIC);
	assert_yaml(f.user_data.data, "disable_root", "false");
	assert_yaml(f.user_data.data, "ssh_pwauth", "false");
	assert_yaml(f.meta_data.data, "instance-id", "0123abcd");
	assert_yaml(f.meta_data.data, "local-hostname", "g1");
	assert_null(f.vendor_data.data);
	assert_null(f.network_config.data);
	seed_files_free(&f);
	assert_null(f.user_data.data);
}

static void without_keys(void **state)
{
	(void)state;
	struct seed_files f = build(&plain);
	assert_yaml(f.user_data.data, "users/0/name", "roost");
	assert_yaml(f.user_data.data, "ssh_keys", NULL);
	assert_null(strstr(f.user_data.data, "ssh_authorized_keys"));
	seed_files_free(&f);
}

static void the_callers_own(void **state)
{
	(void)state;
	struct seed s = plain;
	s.user = NULL;
	s.user_data = &text_of("#!/bin/sh\necho \"as written\"\n");
	s.network_config = &text_of("version: 2\n");
	s.host_key_private = PRIVATE;
	s.host_key_public = PUBLIC;
	struct seed_files f = build(&s);
	assert_string_equal(f.user_data.data, s.user_data->data);
	assert_string_equal(f.network_config.data, s.network_config->data);
	assert_true(str_starts(f.vendor_data.data, "#cloud-config\n"));
	assert_yaml(f.vendor_data.data, "ssh_keys/ed25519_private", PRIVATE);
	assert_yaml(f.vendor_data.data, "ssh_keys/ed25519_public", PUBLIC);
	assert_yaml(f.meta_data.data, "local-hostname", "g1");
	seed_files_free(&f);
	s.host_key_private = s.host_key_public = NULL;
	f = build(&s);
	assert_null(f.vendor_data.data);
	seed_files_free(&f);
}

static void a_password(void **state)
{
	(void)state;
	struct seed s = plain;
	s.password_hash = "$6$salt$hash";
	struct seed_files f = build(&s);
	assert_yaml(f.user_data.data, "users/0/hashed_passwd", "$6$salt$hash");
	assert_yaml(f.user_data.data, "users/0/lock_passwd", "false");
	seed_files_free(&f);
}

static void the_images_user(void **state)
{
	(void)state;
	char *key = PUBLIC;
	struct seed s = plain;
	s.image_user_keys = &key;
	s.image_user_key_count = 1;
	s.once = true;
	struct seed_files f = build(&s);
	assert_yaml(f.user_data.data, "users/0/name", "default");
	assert_yaml(f.user_data.data, "users/0/ssh_authorized_keys/0", PUBLIC);
	assert_yaml(f.user_data.data, "users/0/sudo", NULL);
	assert_yaml(f.user_data.data, "users/1/name", "roost");
	assert_yaml(f.user_data.data, "users/1/ssh_authorized_keys", NULL);
	assert_yaml(f.user_data.data, "runcmd/0/1", "/etc/cloud/cloud-init.disabled");
	seed_files_free(&f);
	key = "no key\n- x";
	assert_int_equal(seed_build(&s, &f, &(struct err)ERR_INIT), -1);
}

/* The host key joins a vendor-data where there is no other place for it. */
static void vendor_data(void **state)
{
	(void)state;
	struct seed s = plain;
	s.vendor_data = &text_of("#!/bin/sh\necho \"caf\xc3\xa9\"\n");
	s.meta_data = &text_of("instance-id: mine\n");
	s.host_key_private = PRIVATE;
	s.host_key_public = PUBLIC;
	struct seed_files f = build(&s);
	assert_string_equal(f.vendor_data.data, s.vendor_data->data);
	assert_string_equal(f.meta_data.data, s.meta_data->data);
	seed_files_free(&f);
	s.user_data = &text_of("#cloud-config\n");
	f = build(&s);
	assert_true(str_starts(f.vendor_data.data, "#cloud-config-archive\n"));
	_cleanup_free_ char *ours = yaml_at(f.vendor_data.data, "0/content");
	assert_yaml(ours, "ssh_keys/ed25519_private", PRIVATE);
	assert_yaml(f.vendor_data.data, "1/content", s.vendor_data->data);
	seed_files_free(&f);
}

/* Whatever a key's comment has in it comes out as it went in, and nothing else changes. */
static void comments_survive(void **state)
{
	(void)state;
	static const char *const comments[] = {"me@host", "\"quoted\"", "back\\slash \\n", ": #x",
		"'", "%TAG !", "- - [a, {b: c}]", "caf\xc3\xa9", "\xf0\x9f\x90\x94", "\xc2\x85x",
		"\xe2\x80\xa8x", "\xef\xbb\xbfx", "\xc2\x9bx", "a\tb", "*a &b !!c", "\xef\xbf\xbd"};
	for (size_t i = 0; i < ARRAY_SIZE(comments); i++) {
		_cleanup_free_ char *key = str_fmt("ssh-ed25519 AAAA %s", comments[i]);
		struct seed s = plain;
		s.keys = &key;
		s.key_count = 1;
		struct seed_files f = build(&s);
		assert_yaml(f.user_data.data, "users/0/ssh_authorized_keys/0", key);
		seed_files_free(&f);
	}
}

static void assert_refused(const struct seed *s, const char *why)
{
	struct err err = ERR_INIT;
	struct seed_files f = {.user_data = {.data = scratch}};
	assert_int_equal(seed_build(s, &f, &err), -1);
	assert_ptr_equal(f.user_data.data, scratch);
	assert_int_equal(err.kind, ERR_USAGE);
	if (!strstr(err.message, why))
		fail_msg("'%s' lacks '%s'", err.message, why);
	assert_null(strstr(err.message, "b3Blbn")); /* nothing of a key in an error */
}

static void hostile_names(void **state)
{
	(void)state;
	char longest[300];
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	const char *const hostnames[] = {"", "a\nruncmd: [x]", "a b", "a:b", "-a", ".a", "a.",
		"a..b", "a\"b", "caf\xc3\xa9", "a/b", "$(x)", longest};
	const char *const users[] = {"", "Root", "a b", "a\nb", "1a", "-a", "a:b", "a.b", "a\"",
		"toolongtoolongtoolongtoolongtoolong"};
	const char *const ids[] = {"", "a\nb", "caf\xc3\xa9", "\x7f"};
	struct seed s;
	for (size_t i = 0; i < ARRAY_SIZE(hostnames); i++) {
		s = plain;
		s.hostname = hostnames[i];
		assert_refused(&s, "host name");
	}
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		s = plain;
		s.user = users[i];
		assert_refused(&s, "user");
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		s = plain;
		s.instance_id = ids[i];
		assert_refused(&s, "instance id");
	}
	const char *const good[] = {"a", "web-1.example.org", "Web_1", "0", "a-"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		s = plain;
		s.hostname = good[i];
		struct seed_files f = build(&s);
		assert_yaml(f.meta_data.data, "local-hostname", good[i]);
		seed_files_free(&f);
	}
}

static void vendor_data_that_does_not_join(void **state)
{
	(void)state;
	const char *const texts[] = {"\x1f\x8b\x08",
		"Content-Type: multipart/mixed; boundary=x\n\n", "#include\nhttp://x\n",
		"#cloud-config-archive\n- content: x\n", "hello\n"};
	struct seed s = plain;
	s.user_data = &text_of("#cloud-config\n");
	s.host_key_private = PRIVATE;
	s.host_key_public = PUBLIC;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		s.vendor_data = &text_of(texts[i]);
		assert_refused(&s, "cannot be joined");
	}
	s.vendor_data = NULL;
	s.password_hash = "in clear";
	assert_refused(&s, "is not hashed");
}

static void hostile_keys(void **state)
{
	(void)state;
	char *const keys[] = {"", "ssh-ed25519", "ssh-ed25519 AAAA\n", "ssh-rsa A\nssh-rsa B",
		"ssh-rsa A\rB", "ssh-rsa A\x1b[1m", "ssh-rsa \xff", "ssh-rsa \xc0\xaf",
		"-----BEGIN OPENSSH PRIVATE KEY-----"};
	struct seed s;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		s = plain;
		s.keys = &keys[i];
		s.key_count = 1;
		assert_refused(&s, "public key");
	}
	static const char *const private_keys[] = {"", "x", "-----BEGIN OPENSSH PRIVATE KEY-----\n",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn: x\n-----END OPENSSH PRIVATE KEY-----\n",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n\n-----END OPENSSH PRIVATE KEY-----\n",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn-----END OPENSSH PRIVATE KEY-----\n",
		PRIVATE "runcmd: [x]\n", PRIVATE PRIVATE};
	for (size_t i = 0; i < ARRAY_SIZE(private_keys); i++) {
		s = plain;
		s.host_key_private = private_keys[i];
		s.host_key_public = PUBLIC;
		assert_refused(&s, "host key");
	}
	s = plain;
	s.host_key_private = PRIVATE;
	assert_refused(&s, "both its halves");
	s.host_key_public = "ssh-rsa AAAA";
	assert_refused(&s, "must be an ssh-ed25519 one");
	s.host_key_public = "ssh-ed25519 AAAA\nx: y";
	assert_refused(&s, "one line");
}

/* ---- the program --------------------------------------------------------------------------------- */

/* libexec/roost/roost-image beside the folder of this test; "" if it was not built. */
static const char *program(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	assert_true(n > 0);
	path[n] = '\0';
	char *tests = strstr(path, "/tests/");
	assert_non_null(tests);
	strcpy(tests, "/libexec/roost/roost-image");
	if (access(path, X_OK) < 0)
		path[0] = '\0';
	return path;
}

static void must_have_program(void)
{
	if (!program()[0])
		lacking("roost-image (it wants libarchive)");
}

/* Feeds `request` to `roost-image seed out`; returns its exit status. */
static int run_seed(const struct buf *request, const char *out, struct buf *answer)
{
	write_file("request", request->data, request->len);
	_cleanup_free_ char *line = str_fmt("exec %s seed %s <request", program(), out);
	return TOOL(answer, "/bin/sh", "-c", line);
}

/* A seed with each of the four files, an empty one and a packed one among them; freed by the caller. */
static struct seed_files of_four(void)
{
	struct seed s = plain;
	s.user_data = &(struct buf){.data = (char *)"\x1f\x8b\0\xff", .len = 4};
	s.network_config = &(struct buf){0};
	s.host_key_private = PRIVATE;
	s.host_key_public = PUBLIC;
	return build(&s);
}

static void make(
	const struct seed_files *f, const char *filesystem, const char *format, const char *out)
{
	_cleanup_buf_ struct buf answer = {0}, request = {0};
	seed_request(f, &(struct seed_kind){filesystem, format}, &request);
	if (run_seed(&request, out, &answer) != 0)
		fail_msg("%s", answer.data);
	assert_int_equal(answer.len, 0);
}

static void assert_same(const struct buf *found, const struct buf *content)
{
	assert_int_equal(found->len, content->len);
	if (found->len)
		assert_memory_equal(found->data, content->data, found->len);
}

static void assert_in_iso(
	const char *iso, const char *names, const char *file, const struct buf *content)
{
	_cleanup_buf_ struct buf out = {0};
	assert_int_equal(TOOL(&out, "/usr/bin/isoinfo", names, "-i", iso, "-x", file), 0);
	assert_same(&out, content);
}

static void written(void **state)
{
	(void)state;
	must_have_program();
	struct err err = ERR_INIT;
	_cleanup_(seed_files_free) struct seed_files f = of_four();
	umask(0);
	write_file("seed.iso", "the one before", 14);
	make(&f, "iso9660", "raw", "seed.iso");
	static const char *const extensions[] = {"-R", "-J"};
	for (size_t i = 0; i < 2; i++) {
		assert_in_iso("seed.iso", extensions[i], "/user-data", &f.user_data);
		assert_in_iso("seed.iso", extensions[i], "/meta-data", &f.meta_data);
		assert_in_iso("seed.iso", extensions[i], "/vendor-data", &f.vendor_data);
		assert_in_iso("seed.iso", extensions[i], "/network-config", &f.network_config);
	}
	struct stat st;
	assert_int_equal(stat("seed.iso", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* padded: busybox finds no label on a disk that ends before 68 KiB */
	assert_true(st.st_size % 2048 == 0 && st.st_size > 300 * 1024);
	MUST("/bin/sh", "-c", "test \"$(blkid -p -o value -s LABEL seed.iso)\" = cidata");
	MUST("/bin/sh", "-c", "test \"$(ls | grep -c seed.iso)\" = 1");
	_cleanup_buf_ struct buf iso = {0};
	assert_int_equal(file_read(AT_FDCWD, "seed.iso", 1 << 20, &iso, &err), 0);
	assert_memory_equal(iso.data + 32768 + 40, "cidata ", 7);
}

/* What mtools and libblkid see; tests/e2e/t_seed.sh asks the kernel of a guest. */
static void written_as_vfat(void **state)
{
	(void)state;
	must_have_program();
	if (access("/usr/bin/mtype", X_OK) < 0)
		lacking("mtype");
	_cleanup_(seed_files_free) struct seed_files f = of_four();
	make(&f, "vfat", "raw", "seed.vfat");
	MUST("/bin/sh", "-c",
		"test \"$(blkid -p -o value -s LABEL -s TYPE seed.vfat | tr '\\n' ' ')\" = 'cidata vfat '");
	const struct {
		const char *name;
		const struct buf *content;
	} files[] = {{"::user-data", &f.user_data}, {"::meta-data", &f.meta_data},
		{"::vendor-data", &f.vendor_data}, {"::network-config", &f.network_config}};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_buf_ struct buf out = {0};
		assert_int_equal(TOOL(&out, "/usr/bin/mtype", "-i", "seed.vfat", files[i].name), 0);
		assert_same(&out, files[i].content);
	}
}

/* Of every size of cluster, and at its edges: the file system is sound, and what is in it comes out. */
static void vfat_of_all_sizes(void **state)
{
	(void)state;
	must_have_program();
	if (access("/usr/bin/mcopy", X_OK) < 0)
		lacking("mcopy");
	static const size_t sizes[] = {
		0, 1, 511, 512, 513, 500000, 4084 * 512 - 512, 4084 * 512, 5000001, 12000000};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct err err = ERR_INIT;
		_cleanup_(seed_files_free) struct seed_files f = {0};
		_cleanup_buf_ struct buf found = {0};
		buf_str(&f.meta_data, "instance-id: i\n");
		buf_reserve(&f.user_data, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			f.user_data.data[k] = (char)(k * 31 + k / 512);
		f.user_data.len = sizes[i];
		make(&f, "vfat", "raw", "seed.vfat");
		MUST("/usr/bin/mcopy", "-n", "-o", "-i", "seed.vfat", "::user-data", "got");
		assert_int_equal(file_read(AT_FDCWD, "got", 1 << 24, &found, &err), 0);
		assert_same(&found, &f.user_data);
		if (access("/usr/sbin/fsck.vfat", X_OK) == 0)
			MUST("/usr/sbin/fsck.vfat", "-n", "seed.vfat");
	}
}

static void written_as_qcow2(void **state)
{
	(void)state;
	must_have_program();
	_cleanup_(seed_files_free) struct seed_files f = of_four();
	umask(0);
	make(&f, "iso9660", "raw", "seed.raw");
	write_file("seed.qcow2", "the one before", 14);
	make(&f, "iso9660", "qcow2", "seed.qcow2");
	struct stat st;
	assert_int_equal(stat("seed.qcow2", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	MUST(QEMU_IMG, "check", "-q", "-f", "qcow2", "seed.qcow2");
	MUST(QEMU_IMG, "convert", "-f", "qcow2", "-O", "raw", "seed.qcow2", "back.iso");
	assert_in_iso("back.iso", "-R", "/vendor-data", &f.vendor_data);
	MUST("/bin/sh", "-c", "test \"$(ls | grep -c seed.qcow2)\" = 1");
}

static void refused_by_the_program(void **state)
{
	(void)state;
	must_have_program();
	static const struct {
		const char *request, *out;
		int status;
		const char *answer;
	} rows[] = {
#define KIND "\"filesystem\":\"iso9660\",\"format\":\"raw\","
		{"", "x.iso", 2, "\"class\":\"usage\""},
		{"[]", "x.iso", 2, "a JSON object is wanted"},
		{"{" KIND "\"meta-data\":0}", "x.iso", 2, "'user-data' is missing"},
		{"{" KIND "\"user-data\":\"\",\"meta-data\":0}", "x.iso", 2, "user-data"},
		{"{" KIND "\"user-data\":0,\"meta-data\":0,\"vendor-data\":true}", "x.iso", 2,
			"vendor-data"},
		{"{" KIND "\"user-data\":0,\"meta-data\":0,\"../x\":0}", "x.iso", 2,
			"no file '../x'"},
		{"{" KIND "\"user-data\":1,\"meta-data\":2}\nab", "x.iso", 2,
			"it ends within 'meta-data'"},
		{"{" KIND "\"user-data\":-1,\"meta-data\":2}\nab", "x.iso", 2,
			"it ends within 'user-data'"},
		{"{" KIND "\"user-data\":1,\"meta-data\":0}\nab", "x.iso", 2,
			"more than its files"},
		{"{\"format\":\"raw\",\"user-data\":0,\"meta-data\":0}", "x.iso", 2,
			"no file system ''"},
		{"{\"filesystem\":\"vfat\",\"format\":\"vmdk\",\"user-data\":0,\"meta-data\":0}",
			"x.iso", 2, "no image format 'vmdk'"},
		{"{" KIND "\"user-data\":0,\"meta-data\":0}", "no/x.iso", 3, "'no/'"},
		{"{" KIND "\"user-data\":0,\"meta-data\":0}", ".", 7, "\"class\":\"system\""},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		_cleanup_buf_ struct buf out = {0}, request = {0};
		buf_str(&request, rows[i].request);
		assert_int_equal(run_seed(&request, rows[i].out, &out), rows[i].status);
		_cleanup_json_ json_t *o = json_text_parse(out.data, out.len, &err);
		assert_non_null(json_object_get(o, "error"));
		if (!strstr(out.data, rows[i].answer))
			fail_msg("'%s' lacks '%s'", out.data, rows[i].answer);
		assert_int_equal(access("x.iso", F_OK), -1);
	}
	_cleanup_buf_ struct buf out = {0};
	assert_int_equal(TOOL(&out, program()), 2);
	assert_non_null(strstr(out.data, "usage: roost-image seed OUT"));
}

static void texts(void **state)
{
	(void)state;
	static const struct {
		const char *data;
		size_t len;
		bool packed;
		const char *why; /* NULL: it is taken */
	} rows[] = {
		{"", 0, false, NULL},
		{"caf\xc3\xa9", 5, false, NULL},
		{"\x1f\x8b\x08\0\xff", 5, true, NULL},
		{"\x1f\x8b\x08\0\xff", 5, false, "meta 'm' has a NUL byte"},
		{"a\0b", 3, true, "meta 'm' has a NUL byte"},
		{"\xff", 1, true, "meta 'm' is not UTF-8 text"},
		{"\x1f", 1, true, NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		_cleanup_buf_ struct buf text = {0};
		buf_add(&text, rows[i].data, rows[i].len);
		int result = seed_check_text("meta 'm'", &text, rows[i].packed, &err);
		assert_int_equal(result, rows[i].why ? -1 : 0);
		if (rows[i].why && !strstr(err.message, rows[i].why))
			fail_msg("'%s' lacks '%s'", err.message, rows[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours),
		cmocka_unit_test(without_keys),
		cmocka_unit_test(the_callers_own),
		cmocka_unit_test(a_password),
		cmocka_unit_test(the_images_user),
		cmocka_unit_test(vendor_data),
		cmocka_unit_test(vendor_data_that_does_not_join),
		cmocka_unit_test(comments_survive),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(hostile_keys),
		cmocka_unit_test(texts),
		cmocka_unit_test(written),
		cmocka_unit_test(written_as_vfat),
		cmocka_unit_test(vfat_of_all_sizes),
		cmocka_unit_test(written_as_qcow2),
		cmocka_unit_test(refused_by_the_program),
	};
	return cmocka_run_group_tests_name("seed", tests, scratch_enter, scratch_leave);
}
