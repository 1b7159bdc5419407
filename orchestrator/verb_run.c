/*
 * run: a guest from a definition, or from nothing but a disk image, up to the rung where it is ready.
 *
 * What is an image and what a definition, the content says: a definition is text, and no text has a
 * NUL byte in it. (The suffix says nothing.)
 */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/catalogue.h"
#include "orchestrator/climb.h"
#include "orchestrator/connect.h"
#include "orchestrator/definition.h"
#include "orchestrator/image_name.h"
#include "orchestrator/logout.h"
#include "orchestrator/password.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"
#include "orchestrator/record.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/store_open.h"

/* What makes sense only with an image: a definition says these things itself. */
static const char *const image_options[] = {"name", "memory", "vcpus", "size", "user", "key",
	"password-file", "cloud-init", "accel", "restrict", "network", "publish"};

static bool is_image(const char *path)
{
	enum { LOOK = 4096 };
	char start[LOOK];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? 0 : pread(fd, start, sizeof(start), 0);
	return n > 0 && memchr(start, '\0', (size_t)n);
}

/* A name or a tag of the store; with a '/' it is a path, as in definitions. */
static bool is_stored(const char *word)
{
	struct err why = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	return !strchr(word, '/') && store_open(&s, &why) == 0 &&
	       (store_find(&s, word, &i, &why) == 0 || why.kind == ERR_REFUSED);
}

/* ---- a definition for an image ------------------------------------------------------------------ */

/* The image's name, or with "-2", "-3" ... if there is such a guest. */
static char *free_name(const char *path, struct err *err)
{
	enum { TRIES = 10000 };
	char base[IMAGE_NAME_SIZE];
	_cleanup_close_ int guests = guests_open(err);
	if (guests < 0 && err->kind != ERR_NOT_FOUND)
		return NULL;
	*err = (struct err)ERR_INIT;
	image_name_of(path, base);
	if (!base[strspn(base, "0123456789")])
		snprintf(base, sizeof(base), "guest");
	for (int n = 1; n < TRIES; n++) {
		char *name = n == 1 ? xstrdup(base) : str_fmt("%.58s-%d", base, n);
		if (guests < 0 || faccessat(guests, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return name;
		free(name);
	}
	err_set(err, ERR_REFUSED, "there are %d guests named '%s' and so on", TRIES, base);
	err_hint(err, "choose a name with --name");
	return NULL;
}

/* The keys that the caller would log in with, as ssh takes them. */
static json_t *usual_keys(void)
{
	static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
	const char *home = getenv("HOME");
	json_t *keys = json_array();
	for (size_t i = 0; home && i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = str_fmt("%s/.ssh/%s.pub", home, names[i]);
		if (faccessat(AT_FDCWD, path, R_OK, 0) == 0)
			json_array_append_new(keys, json_string(path));
	}
	return keys;
}

static void set_text(json_t *o, const char *key, const char *value)
{
	if (value)
		json_object_set_new(o, key, json_string(value));
}

/* ---- --cloud-init, as virt-install has it ----------------------------------------------------- */

static const struct {
	const char *word, *key;
} cloud_words[] = {
	{"user-data", "user_data"}, {"meta-data", "meta_data"}, {"vendor-data", "vendor_data"},
	{"network-config", "network_config"}, {"user", "user"}, {"hostname", "hostname"},
	{"password-file", "password_file"}, {"ssh-key", "keys"},
	{"clouduser-ssh-key", "keys"}, /* virt-install's name */
};

static int unknown_word(const char *word, struct err *err)
{
	const char *words[ARRAY_SIZE(cloud_words) + 1] = {0};
	_cleanup_buf_ struct buf all = {0};
	for (size_t i = 0; i < ARRAY_SIZE(cloud_words); i++) {
		words[i] = cloud_words[i].word;
		buf_fmt(&all, "%s%s", i ? ", " : "", words[i]);
	}
	err_set(err, ERR_USAGE, "--cloud-init: there is no '%.40s'", word);
	const char *near = str_nearest(word, words);
	return near ? err_hint(err, "did you mean '%s'?", near)
		    : err_hint(err, "it takes KEY=VALUE,..., the keys are %s", all.data);
}

/* One KEY=VALUE. */
static int take_cloud_word(json_t *cloud, char *pair, struct err *err)
{
	char *value = strchr(pair, '=');
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(cloud_words); i++) {
		const char *key = cloud_words[i].key;
		if (!str_eq(pair, cloud_words[i].word))
			continue;
		if (!value || !*value)
			return err_set(err, ERR_USAGE, "--cloud-init: '%s' wants a value", pair);
		if (str_eq(key, "keys"))
			return json_array_append_new(
				json_object_get(cloud, key), json_string(value));
		if (json_object_get(cloud, key))
			return err_set(err, ERR_USAGE, "--cloud-init: '%s' is there twice", pair);
		return json_object_set_new(cloud, key, json_string(value));
	}
	return unknown_word(pair, err);
}

static int take_cloud_words(const char *words, json_t *cloud, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(words);
	char *rest = copy, *pair;
	while ((pair = strsep(&rest, ",")))
		if (*pair && take_cloud_word(cloud, pair, err) < 0)
			return err->message[0]
				       ? -1
				       : err_set(err, ERR_USAGE, "--cloud-init is not valid UTF-8");
	return 0;
}

/* Keys and a password are the user's whom we make, not of a user-data that makes its own. */
static json_t *cloud_of(const struct cli *cli, struct err *err)
{
	const char *key = cli_value(cli, "key", NULL), *words = cli_value(cli, "cloud-init", NULL),
		   *password = cli_value(cli, "password-file", NULL);
	_cleanup_json_ json_t *cloud =
		json_pack("{s:o}", "keys", key ? json_pack("[s]", key) : json_array());
	set_text(cloud, "user", cli_value(cli, "user", NULL));
	if (words && take_cloud_words(words, cloud, err) < 0)
		return NULL;
	if (!json_array_size(json_object_get(cloud, "keys")) &&
		!json_object_get(cloud, "user_data"))
		json_object_set_new(cloud, "keys", usual_keys());
	if (password) {
		_cleanup_free_ char *hash = password_hash_of(password, NULL, err);
		if (!hash)
			return NULL;
		set_text(cloud, "password_hash", hash);
	}
	return TAKE(cloud);
}

/* ---- its interface ---------------------------------------------------------------------------- */

/* As `hostfwd` has it: user networking, which `publish` is not of. */
static json_t *forward_word(const struct forward *f)
{
	char port[8] = "";
	if (f->host_port)
		snprintf(port, sizeof(port), "%u", f->host_port);
	return json_sprintf("%s:%s:%s-%u", f->udp ? "udp" : "tcp", f->host, port, f->guest_port);
}

static int take_ports(const struct cli *cli, bool on_network, json_t *ports, struct err *err)
{
	for (int i = 0; i < cli->repeated_count; i++) {
		struct forward f;
		if (publish_parse(cli->repeated[i].value, &f, err) < 0)
			return err_prefix(err, "--publish");
		_cleanup_free_ char *text = publish_text(&f);
		json_array_append_new(ports, on_network ? json_string(text) : forward_word(&f));
	}
	return 0;
}

/* Where nothing is said, every guest has an interface of user networking anyhow: then there is none. */
static int add_interface(const struct cli *cli, json_t *o, struct err *err)
{
	const char *network = cli_value(cli, "network", NULL);
	bool alone = cli_flag(cli, "restrict");
	if (!network && !alone && !cli->repeated_count)
		return 0;
	if (network && alone) {
		err_set(err, ERR_USAGE, "--restrict is not for a guest on a network");
		return err_hint(err, "one of `mode: isolated` leads nowhere: `roost net-define`");
	}
	_cleanup_json_ json_t *ports = network ? json_array() : json_pack("[s]", "-22");
	if (take_ports(cli, network, ports, err) < 0)
		return -1;
	json_t *nic =
		network ? json_pack("{s:s, s:O}", "network", network, "publish", ports)
			: json_pack("{s:{s:b, s:O}}", "user", "restrict", alone, "hostfwd", ports);
	if (!nic)
		return err_set(err, ERR_USAGE, "--network is not valid UTF-8");
	json_object_set_new(o, "interfaces", json_pack("[o]", nic));
	return 0;
}

/* What is known of an image of the store, by those who entered it in the catalogue. Returns its least memory. */
static uint64_t take_facts(const struct cli *cli, const char *image, json_t *o)
{
	enum { USUAL = 1 << 30 };
	struct err none = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	if (store_open(&s, &none) < 0 || store_find(&s, image, &i, &none) < 0)
		return 0;
	set_text(o, "firmware", i.facts.firmware);
	if (i.facts.min_memory > USUAL && !cli_flag(cli, "memory")) {
		_cleanup_free_ char *size =
			str_fmt("%" PRIu64 "M", (i.facts.min_memory - 1) / (1 << 20) + 1);
		set_text(o, "memory", size);
	}
	return i.facts.min_memory;
}

static void say_memory(const struct cli *cli, const struct definition *d, uint64_t least)
{
	if (!d || d->memory >= least || cli->json)
		return;
	_cleanup_free_ char *wanted = xstrdup(str_size(least));
	fprintf(stderr, "roost: the image wants %s of memory; the guest gets %s\n", wanted,
		str_size(d->memory));
}

/* What a person would have written for it; JSON is YAML, so it is read and checked as that. */
static struct definition *definition_of_image(
	const struct cli *cli, const char *image, bool stored, struct err *err)
{
	const char *name = cli_value(cli, "name", NULL);
	_cleanup_free_ char *chosen = name ? xstrdup(name) : free_name(image, err);
	_cleanup_json_ json_t *cloud = chosen ? cloud_of(cli, err) : NULL;
	if (!cloud)
		return NULL;
	/* without a '/' it would be looked for in the store first */
	_cleanup_free_ char *path = stored ? xstrdup(image) : realpath(image, NULL);
	json_t *disk = json_pack("{s:s}", "image", path ? path : image);
	set_text(disk, "size", cli_value(cli, "size", NULL));
	_cleanup_json_ json_t *o =
		json_pack("{s:s, s:[o], s:O}", "name", chosen, "disks", disk, "cloud_init", cloud);
	if (!o) {
		err_set(err, ERR_USAGE, "an option of `roost run` is not valid UTF-8");
		return NULL;
	}
	uint64_t least = stored ? take_facts(cli, image, o) : 0;
	set_text(o, "memory", cli_value(cli, "memory", NULL));
	set_text(o, "vcpus", cli_value(cli, "vcpus", NULL));
	set_text(o, "accel", cli_value(cli, "accel", NULL));
	if (add_interface(cli, o, err) < 0)
		return NULL;
	_cleanup_free_ char *text = json_pretty(o), *folder = getcwd(NULL, 0);
	struct definition *d = definition_parse(text, strlen(text), "", folder ? folder : "/", err);
	const char *what = d ? NULL : strstr(err->message, ": ");
	if (what) /* ":LINE: " of a text that nobody wrote */
		memmove(err->message, what + 2, strlen(what + 2) + 1);
	say_memory(cli, d, least);
	return d;
}

/* Neither a file nor in the store: but perhaps an image that could be fetched. */
static void missing(const char *word, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_catalogue_ struct catalogue c = {0};
	err_set(err, ERR_NOT_FOUND, "there is no file '%s', nor an image of that name in the store",
		word);
	if (catalogue_load(&c, &none) == 0 && catalogue_find(&c, word, &none))
		err_hint(err, "`roost image pull %s` fetches it", word);
	else
		err_hint(err,
			"`roost image list` shows the images that there are, `roost image catalogue` those that can be pulled");
}

static struct definition *read_definition(const struct cli *cli, struct err *err)
{
	const char *file = cli->operands[0];
	bool stored = is_stored(file);
	if (!stored && !strchr(file, '/') && !str_eq(file, "-") && access(file, F_OK) < 0) {
		missing(file, err);
		return NULL;
	}
	if (stored || is_image(file))
		return definition_of_image(cli, file, stored, err);
	for (size_t i = 0; i < ARRAY_SIZE(image_options); i++) {
		if (!cli_flag(cli, image_options[i]))
			continue;
		err_set(err, ERR_USAGE, "--%s goes with an image, and '%s' is a definition",
			image_options[i], file);
		err_hint(err, "write `%s` in the definition",
			str_eq(image_options[i], "key") ? "cloud_init: {keys: [...]}"
			: str_eq(image_options[i], "password-file")
				? "cloud_init: {password_file: ...}"
			: str_eq(image_options[i], "cloud-init") ? "cloud_init: {...}"
			: str_eq(image_options[i], "network") || str_eq(image_options[i], "publish")
				? "interfaces: [{network: default, publish: [...]}]"
				: image_options[i]);
		return NULL;
	}
	return definition_read(file, err);
}

/* ---- running it ------------------------------------------------------------------------------------ */

/* "web1 is ready: 127.0.0.1 port 40123, user roost; roost ssh web1" */
static int tell_ready(
	const struct cli *cli, const struct found *f, const struct readiness *r, struct err *err)
{
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	_cleanup_status_ struct status s = {0};
	struct err none = ERR_INIT;
	if (!d || guest_look(f, &s, err) < 0)
		return -1;
	_cleanup_json_ json_t *params = ssh_params(d, &s, NULL, &none);
	const char *address = json_get_str(params, "address", ""),
		   *user = json_get_str(params, "user", "");
	long long port = json_get_int(params, "port", 0);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:s, s:I, s:s}", "name", f->name, "rung",
			r->reached, "address", address, "port", (json_int_t)port, "user", user));
	else if (params && d->issued.host_key)
		printf("%s is ready (%s): %s port %lld, user %s; roost ssh %s\n", f->name,
			r->reached, address, port, user, f->name);
	else
		printf("%s is ready (%s); roost console %s\n", f->name, r->reached, f->name);
	return 0;
}

static int run_run(const struct cli *cli, struct err *err)
{
	struct readiness r = {0};
	struct found f;
	json_t *reply = NULL;
	_cleanup_definition_ struct definition *d = read_definition(cli, err);
	if (!d ||
		supervisor_call("roost-define",
			json_pack("{s:o}", "definition", definition_to_json(d)), NULL, err) < 0 ||
		supervisor_start(d->name, false, &reply, err) < 0)
		return -1;
	if (json_get_str(reply, "accel-said", "")[0] && !cli->json)
		fprintf(stderr, "roost: %s\n", json_get_str(reply, "accel-said", ""));
	json_decref(reply);
	if (guest_find(d->name, &f, err) < 0)
		return -1;
	logout_tell(&f);
	int result = climb_shown(cli, &f, &r, err);
	result = result < 0 ? climb_tell_failure(cli, &r, err) : tell_ready(cli, &f, &r, err);
	readiness_free(&r);
	return result;
}

const struct verb verb_run = {"run", "FILE",
	"Makes and starts a guest from a definition, a disk image or one of the store, and waits until it is ready.",
	1, 1, false,
	{CLIMB_OPTIONS, {"name", "NEW_NAME", 0, "of the guest; default the image's name"},
		{"memory", "SIZE", 0, "such as 2G; default 1G"}, {"vcpus", "N", 0, "default 1"},
		{"size", "SIZE", 0, "of its disk; default the image's own size"},
		{"user", "USER", 0, "the account that is made; default roost"},
		{"key", "FILE", 0, "a public key; default yours in ~/.ssh, and always roost's own"},
		{"password-file", "FILE", 0,
			"the user's password, one line (-: asked for); for the console, SSH takes keys"},
		{"cloud-init", "KEY=VALUE,...", 0,
			"user-data, meta-data, vendor-data, network-config, password-file, ssh-key=FILE; user, hostname"},
		{"accel", "ACCEL", 0, "auto, kvm or tcg"},
		{"network", "NETWORK", 0, "it is on this one, `default` for instance"},
		{"publish", "[ADDRESS:][PORT:]GUEST_PORT" OPTION_REPEATS, 0,
			"a port of the host that leads in, such as 8080:80 or 53:53/udp"},
		{"restrict", NULL, 0, "the guest reaches nothing outside"}},
	run_run, "roost run web1.yaml --for login", GROUP_LIFE, GUESTS_ALL};
