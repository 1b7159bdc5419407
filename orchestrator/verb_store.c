/* image import, rm, gc, verify, tag: what is in the store. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "images/foreign.h"
#include "images/image.h"
#include "orchestrator/bases.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/image_name.h"
#include "orchestrator/image_users.h"
#include "orchestrator/store_open.h"

static json_t *image_json(const struct store *s, const struct store_image *i)
{
	_cleanup_free_ char *path = store_image_path(s, i);
	json_t *o = store_image_to_json(i);
	json_object_del(o, "roost");
	json_object_set_new(o, "name", json_string(i->name));
	json_object_set_new(o, "path", json_string(path));
	return o;
}

/* ---- import --------------------------------------------------------------------------------------- */

static void told(void *about, const char *step, int64_t done, int64_t total)
{
	(void)about, (void)done, (void)total;
	_cleanup_free_ char *point = str_fmt("image-%s", step);
	failpoint(point);
}

static int read_wish(const struct cli *cli, struct store_wish *w, struct err *err)
{
	const char *format = cli_value(cli, "format", NULL),
		   *digest = cli_value(cli, "sha256", NULL);
	if (format && !str_eq(format, "qcow2") && !str_eq(format, "raw")) {
		err_set(err, ERR_USAGE, "--format '%.40s' is unknown", format);
		return err_hint(err, "qcow2 or raw");
	}
	w->format = !format ? STORE_BY_CONTENT : str_eq(format, "qcow2") ? STORE_QCOW2 : STORE_RAW;
	w->digest = digest;
	if (cli_flag(cli, "convert") && (format || digest))
		return err_set(err, ERR_USAGE,
			"--convert makes a new qcow2 image: --format and --sha256 do not go with it");
	if (cli_flag(cli, "convert"))
		w->format = STORE_QCOW2;
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

/* What was copied becomes the source beside it, which nobody can change while qemu-img reads it. */
static int convert(const struct store *s, struct store_entry *e, const char *what, struct err *err)
{
	const char *format = foreign_format(e->fd, what, err);
	_cleanup_free_ char *from = str_fmt("%s/.new-%s/source", s->path, e->name);
	_cleanup_free_ char *to = str_fmt("%s/.new-%s/disk", s->path, e->name);
	if (!format)
		return -1;
	if (renameat(e->folder, "disk", e->folder, "source") < 0)
		return err_errno(err, "cannot convert '%s'", what);
	cleanup_close(&e->fd);
	e->fd = openat(e->folder, "disk", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (e->fd < 0)
		return err_errno(err, "cannot convert '%s'", what);
	return foreign_convert(from, format, to, NULL, NULL, err) < 0
		       ? err_prefix(err, "'%s' cannot be converted", what)
		       : 0;
}

/* What is refused at a glance is not copied first. */
static int open_source(
	const char *file, const struct store_wish *w, bool converting, struct err *err)
{
	struct stat st;
	struct image_look look;
	_cleanup_close_ int fd = image_open(file, &st, err);
	if (fd < 0 || disk_check_unused(fd, file, false, err) < 0)
		return -1;
	if (converting)
		return foreign_format(fd, file, err) ? TAKE_FD(fd) : -1;
	if (w->format == STORE_BY_CONTENT && image_look_open(fd, file, &look, err) < 0)
		return -1;
	return TAKE_FD(fd);
}

static int import(struct store *s, const char *file, const char *name, const struct store_wish *w,
	bool converting, struct store_image *out, struct err *err)
{
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	_cleanup_close_ int from = open_source(file, w, converting, err);
	if (from < 0 || store_begin(s, name, false, &e, err) < 0)
		return -1;
	if (store_copy(s, &e, from, err) < 0 || (converting && convert(s, &e, file, err) < 0)) {
		store_drop(s, &e);
		return -1;
	}
	return store_enter(s, &e, w, out, err);
}

static int run_import(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image image = {0};
	const char *file = cli->operands[0];
	struct store_wish wish = {0};
	char name[64];
	_cleanup_free_ char *source = realpath(file, NULL);
	struct store_facts facts = {.source = source};
	wish.facts = &facts;
	if (read_wish(cli, &wish, err) < 0 || read_name(cli, file, name, err) < 0 ||
		store_open_to_change(&s, err) < 0)
		return -1;
	s.told = told;
	if (import(&s, file, name, &wish, cli_flag(cli, "convert"), &image, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(image_json(&s, &image));
	else
		printf("Image '%s' is in the store: %s, %s; `roost run %s` makes a guest of it\n",
			name, image.qcow2 ? "qcow2" : "raw", str_size(image.virtual_size), name);
	return 0;
}

/* ---- rm, gc --------------------------------------------------------------------------------------- */

static int run_rm(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	const char *name = cli->operands[0];
	if (name_check(name, "image", err) < 0 || store_open_to_change(&s, err) < 0)
		return -1;
	s.told = told;
	_cleanup_close_ int lock = store_lock(&s, err);
	if (lock < 0 || image_check_unused(&s, name, err) < 0 || store_remove(&s, name, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "removed", name));
	else
		printf("Image '%s' removed\n", name);
	return 0;
}

static void note_removed(void *about, const char *name)
{
	json_array_append_new(about, json_string(name));
}

static int run_gc(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *removed = json_array();
	const json_t *name;
	size_t i;
	if (store_open_to_change(&s, err) < 0 || store_clean(&s, note_removed, removed, err) < 0 ||
		bases_sweep(false, note_removed, removed, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(json_pack("{s:O}", "removed", removed));
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
static int verify(const struct store *s, const char *name, json_t *list, struct err *err)
{
	_cleanup_store_image_ struct store_image i = {0};
	int result = store_look(s, name, &i, err) < 0 ? -1 : store_verify(s, &i, err);
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
	if (store_open(&s, err) < 0 || (!cli->count && store_names(&s, &names, NULL, err) < 0))
		return -1;
	const char *const one[] = {cli->operands[0], NULL};
	for (const char *const *name = cli->count ? one : (const char *const *)names; *name;
		name++) {
		struct err why = ERR_INIT;
		if (verify(&s, *name, list, &why) == 0) {
			if (!cli->json)
				printf("%s: ok\n", *name);
			continue;
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

static bool drop_tag(struct store_facts *f, const char *tag)
{
	for (size_t t = 0; t < f->tag_count; t++) {
		if (!str_eq(f->tags[t], tag))
			continue;
		free(f->tags[t]);
		f->tags[t] = f->tags[--f->tag_count];
		return true;
	}
	return false;
}

/* A tag is a second name: it belongs to one image, and no image has it for its own name. */
static int take_from_others(
	const struct store *s, const char *name, const char *tag, struct err *err)
{
	_cleanup_store_image_ struct store_image other = {0};
	if (store_find(s, tag, &other, err) < 0) {
		*err = (struct err)ERR_INIT;
		return 0;
	}
	if (str_eq(other.name, tag))
		return err_set(err, ERR_REFUSED, "'%s' is the name of an image", tag);
	if (str_eq(other.name, name) || !drop_tag(&other.facts, tag))
		return 0;
	return store_set_facts(s, &other, &other.facts, err);
}

static int add_tag(const struct store *s, struct store_image *i, const char *tag, struct err *err)
{
	struct store_facts *f = &i->facts;
	if (name_check(tag, "tag", err) < 0 || take_from_others(s, i->name, tag, err) < 0)
		return -1;
	drop_tag(f, tag);
	if (f->tag_count == STORE_TAGS_MAX)
		return err_set(err, ERR_REFUSED, "image '%s' has %d tags already", i->name,
			STORE_TAGS_MAX);
	f->tags[f->tag_count++] = xstrdup(tag);
	return 0;
}

static int run_tag(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	const char *tag = cli->operands[1];
	bool remove = cli_flag(cli, "remove");
	if (store_open_to_change(&s, err) < 0 || store_look(&s, cli->operands[0], &i, err) < 0)
		return -1;
	if (remove && !drop_tag(&i.facts, tag))
		return err_set(err, ERR_NOT_FOUND, "image '%s' has no tag '%s'", i.name, tag);
	if ((!remove && add_tag(&s, &i, tag, err) < 0) ||
		store_set_facts(&s, &i, &i.facts, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(image_json(&s, &i));
	else
		printf("Image '%s' %s tag '%s'\n", i.name, remove ? "no longer has the" : "has the",
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
