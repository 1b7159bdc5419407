/* image import, rm, gc, verify, tag: what is in the store. What is done, image_change.c does, or has done. */
#include "orchestrator/verbs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "images/foreign.h"
#include "images/image.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/image_change.h"
#include "orchestrator/image_name.h"
#include "orchestrator/store_open.h"

/* Nobody asked for lines of progress where there is no terminal. */
static bool quiet(const struct cli *cli)
{
	return cli->json || !isatty(STDERR_FILENO);
}

/* ---- import --------------------------------------------------------------------------------------- */

static int check_options(const struct cli *cli, struct err *err)
{
	const char *format = cli_value(cli, "format", NULL),
		   *digest = cli_value(cli, "sha256", NULL);
	if (format && !str_eq(format, "qcow2") && !str_eq(format, "raw")) {
		err_set(err, ERR_USAGE, "--format '%.40s' is unknown", format);
		return err_hint(err, "qcow2 or raw");
	}
	if (cli_flag(cli, "convert") && (format || digest))
		return err_set(err, ERR_USAGE,
			"--convert makes a new qcow2 image: --format and --sha256 do not go with it");
	return digest ? store_digest_check(digest, err) : 0;
}

static int read_name(const struct cli *cli, const char *file, char out[64], struct err *err)
{
	char made[IMAGE_NAME_SIZE];
	image_name_of(file, made);
	snprintf(out, 64, "%.63s", cli_value(cli, "name", made));
	if (name_check(cli_value(cli, "name", made), "image", err) < 0)
		return cli_flag(cli, "name") ? -1 : err_hint(err, "choose one with --name");
	return 0;
}

/* With the rights of who calls. What is refused at a glance is not copied first. */
static int open_source(const struct cli *cli, const char *file, struct err *err)
{
	struct stat st;
	struct image_look look;
	_cleanup_close_ int fd = image_open(file, &st, err);
	if (fd < 0 && strstr(file, "://"))
		return err_hint(err, "`roost image pull %.200s` fetches it", file);
	if (fd < 0 || disk_check_unused(fd, file, false, err) < 0)
		return -1;
	if (cli_flag(cli, "convert"))
		return foreign_format(fd, file, err) ? TAKE_FD(fd) : -1;
	if (!cli_value(cli, "format", NULL) && image_look_open(fd, file, &look, err) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int run_import(const struct cli *cli, struct err *err)
{
	const char *file = cli->operands[0];
	char name[64];
	_cleanup_free_ char *source = realpath(file, NULL);
	_cleanup_json_ json_t *image = NULL;
	if (check_options(cli, err) < 0 || read_name(cli, file, name, err) < 0)
		return -1;
	_cleanup_close_ int fd = open_source(cli, file, err);
	if (fd < 0)
		return -1;
	json_t *args = json_pack("{s:s, s:s*, s:b, s:s*, s:{}}", "image", name, "format",
		cli_value(cli, "format", NULL), "convert", cli_flag(cli, "convert"), "digest",
		cli_value(cli, "sha256", NULL), "facts");
	json_object_set_new(args, "file", json_text(file, PATH_MAX));
	json_object_set_new(json_object_get(args, "facts"), "source",
		json_text(source ? source : file, PATH_MAX));
	if (image_ask("roost-image-import", args, fd, quiet(cli), &image, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(image));
	else
		printf("Image '%s' is in the store: %s, %s; `roost run %s` makes a guest of it\n",
			name, json_get_str(image, "format", ""),
			str_size((uint64_t)json_get_int(image, "virtual_size", 0)), name);
	return 0;
}

/* ---- rm, gc --------------------------------------------------------------------------------------- */

static int run_rm(const struct cli *cli, struct err *err)
{
	const char *name = cli->operands[0];
	_cleanup_json_ json_t *ret = NULL;
	if (name_check(name, "image", err) < 0 ||
		image_ask("roost-image-rm", json_pack("{s:s}", "image", name), -1, quiet(cli), &ret,
			err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(ret));
	else
		printf("Image '%s' removed\n", name);
	return 0;
}

static void note_removed(void *about, const char *name)
{
	json_array_append_new(about, json_string(name));
}

/* What a member has fetched for the system's store and it does not have. */
static int clean_own(json_t *removed, struct err *err)
{
	_cleanup_store_ struct store own = STORE_NONE;
	if (store_is_ours())
		return 0;
	return store_open_own(&own, err) < 0 ? -1
					     : store_clean(&own, false, note_removed, removed, err);
}

static int run_gc(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *ret = NULL;
	const json_t *name;
	size_t i;
	if (image_ask("roost-image-gc", json_object(), -1, quiet(cli), &ret, err) < 0)
		return -1;
	json_t *removed = json_object_get(ret, "removed");
	if (clean_own(removed, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(TAKE(ret));
		return 0;
	}
	json_array_foreach (removed, i, name)
		printf("removed: %s\n", json_string_value(name));
	if (!json_array_size(removed))
		puts("Nothing is left over");
	return 0;
}

/* ---- verify --------------------------------------------------------------------------------------- */

/* 0 or -1, as told in a line or in *list. */
static int verify(const struct cli *cli, const char *name, json_t *list, struct err *err)
{
	_cleanup_json_ json_t *ret = NULL;
	json_t *args = json_pack("{s:s}", "image", name);
	int result = image_ask("roost-image-verify", args, -1, quiet(cli), &ret, err);
	json_t *said = json_pack("{s:s, s:b}", "name", name, "ok", result == 0);
	if (result < 0)
		json_object_update_new(said, json_from_err(err));
	json_array_append_new(list, said);
	return result;
}

static int run_verify(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_names_ char **names = NULL;
	_cleanup_json_ json_t *list = json_array();
	int status = 0;
	bool there = store_open(&s, err) == 0;
	if (!there && err->kind != ERR_NOT_FOUND)
		return -1;
	if (!there && cli->count)
		return store_has_none(cli->operands[0], err);
	if (there && !cli->count && store_names(&s, &names, NULL, err) < 0)
		return -1;
	const char *const one[] = {cli->operands[0], NULL};
	for (const char *const *name = cli->count ? one : (const char *const *)names; name && *name;
		name++) {
		struct err why = ERR_INIT;
		if (verify(cli, *name, list, &why) == 0) {
			if (!cli->json)
				printf("%s: ok\n", *name);
			continue;
		}
		if (why.kind == ERR_GONE) { /* ^C: the others are not wanted either */
			*err = why;
			return -1;
		}
		if (!cli->json)
			fprintf(stderr, "roost: %s\n%s%s%s", why.message,
				why.hint[0] ? "       " : "", why.hint, why.hint[0] ? "\n" : "");
		status = err_exit_code(why.kind);
	}
	if (cli->json)
		cli_print_json(json_incref(list));
	return status;
}

/* ---- tag ------------------------------------------------------------------------------------------ */

static int run_tag(const struct cli *cli, struct err *err)
{
	const char *name = cli->operands[0], *tag = cli->operands[1];
	bool remove = cli_flag(cli, "remove");
	_cleanup_json_ json_t *image = NULL;
	if (name_check(name, "image", err) < 0 || name_check(tag, "tag", err) < 0)
		return -1;
	json_t *args = json_pack("{s:s, s:s, s:b}", "image", name, "tag", tag, "remove", remove);
	if (image_ask("roost-image-tag", args, -1, quiet(cli), &image, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(TAKE(image));
	else
		printf("Image '%s' %s tag '%s'\n", name, remove ? "no longer has the" : "has the",
			tag);
	return 0;
}

const struct verb verb_image_import = {"image import", "FILE",
	"Takes an image of yours into the store, after a look at what it is.", 1, 1, false,
	{{"name", "IMAGE-NAME", 0, "as which it enters; default: the file's"},
		{"format", "qcow2|raw", 0, "what it is; raw takes any content as it is"},
		{"convert", NULL, 0, "from VMDK, VHD, VHDX or VDI, by qemu-img in a jail"},
		{"sha256", "DIGEST", 0, "the digest that it must have"}},
	run_import, "roost image import debian-12.qcow2", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_rm = {"image rm", "IMAGE-NAME",
	"Removes an image that nothing stands on from the store.", 1, 1, false, {{0}}, run_rm,
	"roost image rm debian-12", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_gc = {"image gc", "",
	"Removes what nobody stands on: of imports, pulls and clones that were killed.", 0, 0,
	false, {{0}}, run_gc, "roost image gc", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_verify = {"image verify", "[IMAGE-NAME]",
	"Looks whether images still have the digests with which they entered.", 0, 1, false, {{0}},
	run_verify, "roost image verify debian-12", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_tag = {"image tag", "IMAGE-NAME TAG",
	"Gives an image a second name, taking it from any other that has it.", 2, 2, false,
	{{"remove", NULL, 0, "the image loses it"}}, run_tag, "roost image tag debian-12 stable",
	GROUP_IMAGES, GUESTS_ALL};
