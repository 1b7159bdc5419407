/* image pull, image catalogue: images from their publishers. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/catalogue.h"
#include "orchestrator/image_name.h"
#include "orchestrator/pull.h"
#include "orchestrator/table.h"

enum { STALL_MS = 30000 };

/* ---- image pull --------------------------------------------------------------------------------------- */

/* The digest that was given, or where one is, or that none is wanted: one of these at most. */
static int read_digest(const struct cli *cli, struct pull *p, struct err *err)
{
	const char *sha256 = cli_value(cli, "sha256", NULL),
		   *sha512 = cli_value(cli, "sha512", NULL),
		   *url = cli_value(cli, "checksum-url", NULL);
	int given = !!sha256 + !!sha512 + !!url + cli_flag(cli, "no-verify");
	if (given > 1)
		return err_set(err, ERR_USAGE,
			"--sha256, --sha512, --checksum-url and --no-verify exclude one another");
	if ((sha256 && strlen(sha256) != 64) || (sha512 && strlen(sha512) != 128))
		return err_set(err, ERR_USAGE, "a digest has %s hexadecimal digits, not %zu",
			sha256 ? "64" : "128", strlen(sha256 ? sha256 : sha512));
	p->digest = sha256 ? sha256 : sha512;
	if (p->digest && store_digest_check(p->digest, err) < 0)
		return -1;
	if (url && !catalogue_is_address(url))
		return err_set(err, ERR_USAGE, "'%s' is not an address (https, http, file)", url);
	if (given)
		p->checksum_url = url;
	if (p->digest || p->checksum_url || cli_flag(cli, "no-verify"))
		return 0;
	err_set(err, ERR_REFUSED, "nothing tells what the image must be: there is no digest of it");
	return err_hint(err,
		"give --sha256 or --sha512, or --checksum-url for the publisher's list; "
		"--no-verify takes whatever comes");
}

/* "debian-12-generic-amd64" of ".../debian-12-generic-amd64.qcow2" */
static char *name_from(const char *url)
{
	static const char *const suffixes[] = {".qcow2", ".img", ".raw"};
	char *name = image_file_name(url);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (str_ends(name, suffixes[i]))
			name[strlen(name) - strlen(suffixes[i])] = '\0';
	return name;
}

static int no_address(const char *word, struct err *err)
{
	err_set(err, ERR_USAGE, "'%s' is not an address (https, http, file)", word);
	return access(word, F_OK) == 0 ? err_hint(err, "`roost image import %s` takes a file", word)
				       : -1;
}

static int from_addresses(const struct cli *cli, json_t *urls, struct err *err)
{
	for (int i = 0; i < cli->count; i++) {
		if (!catalogue_is_address(cli->operands[i]))
			return no_address(cli->operands[i], err);
		json_t *url = json_string(cli->operands[i]);
		if (!url)
			return err_set(err, ERR_USAGE, "an address is not UTF-8");
		json_array_append_new(urls, url);
	}
	return 0;
}

static int from_catalogue(const struct cli *cli, const struct catalogue_image *i, json_t *urls,
	struct pull *p, struct err *err)
{
	if (cli->count > 1)
		return err_set(err, ERR_USAGE, "'%s' is a name of the catalogue: one at a time",
			cli->operands[0]);
	json_array_append_new(urls, json_string(i->url));
	for (size_t k = 0; k < i->mirror_count; k++)
		json_array_append_new(urls, json_string(i->mirrors[k]));
	p->name = i->name;
	p->checksum_url = i->checksum;
	p->facts = (struct store_facts){.os = i->os,
		.user = i->user,
		.firmware = i->firmware == CATALOGUE_ANY
				    ? NULL
				    : (char *)catalogue_firmware_name(i->firmware),
		.min_memory = i->min_memory};
	return 0;
}

static int read_options(const struct cli *cli, struct pull *p, struct err *err)
{
	const char *stall = cli_value(cli, "timeout", NULL);
	p->name = cli_value(cli, "name", p->name);
	p->cacert = cli_value(cli, "cacert", NULL);
	p->proxy = cli_value(cli, "proxy", NULL);
	p->quiet = cli_flag(cli, "quiet") || cli->json;
	p->stall_ms = STALL_MS;
	if (stall && str_parse_duration(stall, "--timeout", &p->stall_ms, err) < 0)
		return -1;
	if (name_check(p->name, "image", err) < 0)
		return cli_value(cli, "name", NULL) ? -1 : err_hint(err, "--name gives it another");
	return read_digest(cli, p, err);
}

static void tell(const struct cli *cli, const json_t *image)
{
	const char *name = json_get_str(image, "name", "");
	if (cli->json)
		cli_print_json(json_incref((json_t *)image));
	else
		printf("Image '%s' is in the store: %s, %s; `roost run %s` makes a guest of it\n",
			name, json_get_str(image, "format", ""),
			str_size((uint64_t)json_get_int(image, "virtual_size", 0)), name);
}

static int run_pull(const struct cli *cli, struct err *err)
{
	_cleanup_catalogue_ struct catalogue c = {0};
	_cleanup_json_ json_t *image = NULL;
	_cleanup_json_ json_t *urls = json_array();
	_cleanup_free_ char *name = NULL;
	struct pull p = {.urls = urls};
	if (strstr(cli->operands[0], "://") || strchr(cli->operands[0], '/')) {
		if (from_addresses(cli, urls, err) < 0)
			return -1;
		p.name = name = name_from(cli->operands[0]);
	} else {
		if (catalogue_load(&c, err) < 0)
			return -1;
		const struct catalogue_image *i = catalogue_find(&c, cli->operands[0], err);
		if (!i && access(cli->operands[0], F_OK) == 0)
			return err_hint(
				err, "`roost image import %s` takes a file", cli->operands[0]);
		if (!i || from_catalogue(cli, i, urls, &p, err) < 0)
			return -1;
	}
	if (read_options(cli, &p, err) < 0)
		return -1;
	if (cli_flag(cli, "no-verify") && !p.quiet)
		fprintf(stderr,
			"roost: not verified: whatever the server sends enters the store\n");
	if (pull_image(&p, &image, err) < 0)
		return -1;
	tell(cli, image);
	return 0;
}

/* ---- image catalogue ----------------------------------------------------------------------------------- */

static void print_one(const struct catalogue_image *i)
{
	printf("%-12s %s\n%-12s %s\n%-12s %s\n", "name:", i->name, "os:", i->os ? i->os : "-",
		"image:", i->url);
	for (size_t k = 0; k < i->mirror_count; k++)
		printf("%-12s %s\n", "mirror:", i->mirrors[k]);
	printf("%-12s %s\n%-12s %s\n%-12s %s\n%-12s %s\n%-12s %s\n%-12s %s\n",
		"checksum:", i->checksum ? i->checksum : "none", "user:", i->user ? i->user : "-",
		"firmware:", catalogue_firmware_name(i->firmware),
		"memory:", i->min_memory ? str_size(i->min_memory) : "-",
		"fetched:", i->fetched ? "yes" : "no", "told by:", i->origin);
}

static void print_all(const struct catalogue *c)
{
	_cleanup_json_ json_t *rows = json_array();
	table_row(rows, "Name", "OS", "User", "Firmware", "Memory", "Fetched");
	for (size_t i = 0; i < c->count; i++) {
		const struct catalogue_image *m = &c->images[i];
		table_row(rows, m->name, m->os ? m->os : "-", m->user ? m->user : "-",
			catalogue_firmware_name(m->firmware),
			m->min_memory ? str_size(m->min_memory) : "-", m->fetched ? "yes" : "no");
	}
	table_print(rows);
}

static int run_catalogue(const struct cli *cli, struct err *err)
{
	_cleanup_catalogue_ struct catalogue c = {0};
	const struct catalogue_image *one = NULL;
	if (catalogue_load(&c, err) < 0)
		return -1;
	if (cli->count && !(one = catalogue_find(&c, cli->operands[0], err)))
		return -1;
	if (!cli->json) {
		if (one)
			print_one(one);
		else
			print_all(&c);
		return 0;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < c.count && !one; i++)
		json_array_append_new(list, catalogue_to_json(&c.images[i]));
	if (one) {
		json_decref(list);
		list = catalogue_to_json(one);
	}
	cli_print_json(list);
	return 0;
}

const struct verb verb_image_pull = {"image pull", "SOURCE [MIRROR...]",
	"Fetches an image, by its name in the catalogue or from an address, into the store.", 1, -1,
	false,
	{{"name", "IMAGE-NAME", 0, "as which it enters; default: the catalogue's, or the file's"},
		{"sha256", "HEX", 0, "the digest that it must have"},
		{"sha512", "HEX", 0, "the digest that it must have"},
		{"checksum-url", "URL", 0, "the publisher's list of digests, such as SHA256SUMS"},
		{"no-verify", NULL, 0, "take whatever comes, without any digest"},
		{"timeout", "DURATION", 0,
			"give a server up that sends nothing for so long; default 30s"},
		{"cacert", "FILE", 0, "certificates to trust instead of the system's"},
		{"proxy", "URL", 0, "go through this proxy; those in the environment are not used"},
		{"quiet", NULL, 'q', "no progress, no notes"}},
	run_pull, "roost image pull debian-12", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_catalogue = {"image catalogue", "[SOURCE]",
	"Lists the images that `image pull` knows by name, or tells about one.", 0, 1, false, {{0}},
	run_catalogue, "roost image catalogue debian-12", GROUP_IMAGES, GUESTS_ALL};
