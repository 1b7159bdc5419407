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
#include "orchestrator/uplinks.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/run_options.h"
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

/* What is known of an image of the store, by those who entered it in the catalogue. Returns its least memory. */
static uint64_t take_facts(const struct cli *cli, const char *image, json_t *o)
{
	enum { USUAL = 1 << 30 };
	struct err none = ERR_INIT;
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	if (store_open(&s, &none) < 0 || store_find(&s, image, &i, &none) < 0)
		return 0;
	json_set_text(o, "firmware", i.facts.firmware);
	if (i.facts.min_memory > USUAL && !cli_flag(cli, "memory")) {
		_cleanup_free_ char *size =
			str_fmt("%" PRIu64 "M", (i.facts.min_memory - 1) / (1 << 20) + 1);
		json_set_text(o, "memory", size);
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
	_cleanup_json_ json_t *cloud = chosen ? run_cloud_init(cli, err) : NULL;
	if (!cloud)
		return NULL;
	/* without a '/' it would be looked for in the store first */
	_cleanup_free_ char *path = stored ? xstrdup(image) : realpath(image, NULL);
	json_t *disk = json_pack("{s:s}", "image", path ? path : image);
	json_set_text(disk, "size", cli_value(cli, "size", NULL));
	_cleanup_json_ json_t *o =
		json_pack("{s:s, s:[o], s:O}", "name", chosen, "disks", disk, "cloud_init", cloud);
	if (!o) {
		err_set(err, ERR_USAGE, "an option of `roost run` is not valid UTF-8");
		return NULL;
	}
	uint64_t least = stored ? take_facts(cli, image, o) : 0;
	json_set_text(o, "memory", cli_value(cli, "memory", NULL));
	json_set_text(o, "vcpus", cli_value(cli, "vcpus", NULL));
	json_set_text(o, "accel", cli_value(cli, "accel", NULL));
	if (run_interface(cli, o, err) < 0)
		return NULL;
	struct definition *d = definition_of_words(o, err);
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
	if (!cli->json)
		start_tell(reply);
	json_decref(reply);
	if (guest_find(d->name, &f, err) < 0)
		return -1;
	logout_tell(&f);
	if (!cli->json)
		uplinks_tell(&f);
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
