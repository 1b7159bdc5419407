#include "orchestrator/image_change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "images/foreign.h"
#include "orchestrator/bases.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/image_users.h"
#include "orchestrator/store_open.h"

struct change {
	image_told_fn *told;
	void *about;
	int64_t size; /* of what is converted */
};

static json_t *image_json(const struct store *s, const struct store_image *i)
{
	_cleanup_free_ char *path = store_image_path(s, i);
	json_t *o = store_image_to_json(i);
	json_object_del(o, "roost");
	json_object_set_new(o, "name", json_string(i->name));
	json_object_set_new(o, "path", json_string(path));
	return o;
}

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	const struct change *c = about;
	_cleanup_free_ char *point = str_fmt("image-%s", step);
	failpoint(point);
	if (str_eq(step, "copy"))
		c->told(c->about, "copying", done, total);
	if (str_eq(step, "digest"))
		c->told(c->about, "checking", done, total);
	if (str_eq(step, "convert"))
		c->told(c->about, "converting",
			total ? (int64_t)((double)c->size * (double)done / (double)total) : 0,
			c->size);
}

/* ---- import --------------------------------------------------------------------------------------- */

static int read_wish(
	const json_t *args, struct store_wish *w, struct store_facts *facts, struct err *err)
{
	const char *format = json_get_str(args, "format", NULL);
	if (format && !str_eq(format, "qcow2") && !str_eq(format, "raw"))
		return err_set(
			err, ERR_USAGE, "the format '%.40s' is neither qcow2 nor raw", format);
	w->format = !format ? STORE_BY_CONTENT : str_eq(format, "qcow2") ? STORE_QCOW2 : STORE_RAW;
	w->digest = json_get_str(args, "digest", NULL);
	w->facts = facts;
	if (json_get_bool(args, "convert", false))
		w->format = STORE_QCOW2;
	if (w->digest && store_digest_check(w->digest, err) < 0)
		return -1;
	const json_t *told = json_object_get(args, "facts");
	return told ? store_facts_from_json(told, facts, err) : 0;
}

/* What was copied becomes the source beside it, which nobody can change while qemu-img reads it. */
static int convert(const struct store *s, struct store_entry *e, struct change *c, const char *what,
	struct err *err)
{
	struct stat st;
	const char *format = foreign_format(e->fd, what, err);
	_cleanup_free_ char *from = str_fmt("%s/.new-%s/source", s->path, e->name);
	_cleanup_free_ char *to = str_fmt("%s/.new-%s/disk", s->path, e->name);
	if (!format)
		return -1;
	uint64_t size = foreign_size(e->fd, format);
	if (fstat(e->fd, &st) < 0 || renameat(e->folder, "disk", e->folder, "source") < 0)
		return err_errno(err, "cannot convert '%s'", what);
	cleanup_close(&e->fd);
	e->fd = openat(e->folder, "disk", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (e->fd < 0)
		return err_errno(err, "cannot convert '%s'", what);
	c->size = st.st_size;
	return foreign_convert(from, format, size, to, tell, c, err) < 0
		       ? err_prefix(err, "'%s' cannot be converted", what)
		       : 0;
}

/* Before anything is copied. */
static int check_room(const struct store_entry *e, int from, const char *what, struct err *err)
{
	const char *format = foreign_format(from, what, err);
	return format ? foreign_check_room(from, format, e->folder, what, err) : -1;
}

static int source_fd(const json_t *args, struct err *err)
{
	struct stat st;
	const json_t *fd = json_array_get(json_object_get(args, "fds"), 0);
	int from = json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
	if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "no file came with the request");
	return from;
}

static int image_import(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_entry_ struct store_entry e = STORE_ENTRY_NONE;
	_cleanup_(store_facts_free) struct store_facts facts = {0};
	_cleanup_store_image_ struct store_image image = {0};
	struct change c = {.told = told, .about = about};
	struct store_wish wish = {0};
	const char *name = json_get_str(args, "image", "");
	const char *what = json_get_str(args, "file", name);
	bool convert_it = json_get_bool(args, "convert", false);
	int from = source_fd(args, err);
	if (from < 0 || read_wish(args, &wish, &facts, err) < 0 ||
		store_open_to_change(&s, err) < 0)
		return -1;
	s.told = tell;
	s.about = &c;
	if (store_begin(&s, name, false, &e, err) < 0)
		return -1;
	if ((convert_it && check_room(&e, from, what, err) < 0) ||
		store_copy(&s, &e, from, err) < 0 ||
		(convert_it && convert(&s, &e, &c, what, err) < 0)) {
		store_drop(&s, &e);
		return -1;
	}
	if (store_enter(&s, &e, &wish, &image, err) < 0)
		return -1;
	*ret = image_json(&s, &image);
	return 0;
}

/* ---- rm, gc, verify ------------------------------------------------------------------------------- */

/* By a tag nothing is removed: it may have moved since somebody thought of it. */
static int hint_tag(const struct store *s, const char *name, struct err *err)
{
	struct err none = ERR_INIT;
	_cleanup_store_image_ struct store_image i = {0};
	if (store_find(s, name, &i, &none) < 0)
		return -1;
	err_set(err, ERR_REFUSED, "'%s' is a tag of image '%s'", name, i.name);
	return err_hint(err,
		"`roost image rm %s` removes the image, `roost image tag --remove %s %s` the tag",
		i.name, i.name, name);
}

static int image_rm(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	struct change c = {.told = told, .about = about};
	const char *name = json_get_str(args, "image", "");
	if (name_check(name, "image", err) < 0 || store_open_to_change(&s, err) < 0)
		return -1;
	s.told = tell;
	s.about = &c;
	_cleanup_close_ int claim = store_claim(&s, name, err);
	if (claim < 0 && err->kind == ERR_NOT_FOUND)
		return hint_tag(&s, name, err);
	if (claim < 0 || image_check_unused(&s, name, err) < 0 || store_remove(&s, name, err) < 0)
		return -1;
	*ret = json_pack("{s:s}", "removed", name);
	return 0;
}

static void note_removed(void *about, const char *name)
{
	json_array_append_new(about, json_string(name));
}

static int image_gc(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_json_ json_t *removed = json_array();
	(void)args, (void)told, (void)about;
	if (store_open_to_change(&s, err) < 0 ||
		store_clean(&s, false, note_removed, removed, err) < 0 ||
		bases_sweep(SWEEP, note_removed, removed, err) < 0)
		return -1;
	*ret = json_pack("{s:O}", "removed", removed);
	return 0;
}

static int image_verify(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	struct change c = {.told = told, .about = about};
	if (store_open(&s, err) < 0 || store_find(&s, json_get_str(args, "image", ""), &i, err) < 0)
		return -1;
	s.told = tell;
	s.about = &c;
	if (store_verify(&s, &i, err) < 0)
		return -1;
	*ret = json_object();
	return 0;
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

static int image_tag(
	const json_t *args, image_told_fn *told, void *about, json_t **ret, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_store_image_ struct store_image i = {0};
	const char *tag = json_get_str(args, "tag", "");
	bool remove = json_get_bool(args, "remove", false);
	(void)told, (void)about;
	if (store_open_to_change(&s, err) < 0 ||
		store_find(&s, json_get_str(args, "image", ""), &i, err) < 0)
		return -1;
	if (remove && !drop_tag(&i.facts, tag))
		return err_set(err, ERR_NOT_FOUND, "image '%s' has no tag '%s'", i.name, tag);
	if ((!remove && add_tag(&s, &i, tag, err) < 0) ||
		store_set_facts(&s, &i, &i.facts, err) < 0)
		return -1;
	*ret = image_json(&s, &i);
	return 0;
}

/* ---- by their names ---------------------------------------------------------------------------------- */

static const struct image_change changes[] = {
	{"roost-image-import", image_import, true},
	{"roost-image-rm", image_rm, true},
	{"roost-image-tag", image_tag, true},
	{"roost-image-gc", image_gc, true},
	{"roost-image-verify", image_verify, false},
};

const struct image_change *image_change_find(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (str_eq(changes[i].command, command))
			return &changes[i];
	return NULL;
}
