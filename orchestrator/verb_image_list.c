/* image list, image tree: what is in the store, and who stands on it. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "orchestrator/image_users.h"
#include "orchestrator/store_open.h"
#include "orchestrator/table.h"

/* The store's, if there is one: *there says so. */
static int open_store(struct store *s, bool *there, struct err *err)
{
	*there = store_open(s, err) == 0;
	return *there || err->kind == ERR_NOT_FOUND ? 0 : -1;
}

/* ---- list ----------------------------------------------------------------------------------------- */

static char *tags_text(const struct store_facts *f)
{
	struct buf text = {0};
	for (size_t t = 0; t < f->tag_count; t++)
		buf_fmt(&text, "%s%s", t ? ", " : "", f->tags[t]);
	return buf_steal(&text);
}

static uint64_t bytes_on_disk(const struct store *s, const struct store_image *i)
{
	struct stat st;
	_cleanup_free_ char *path = store_image_path(s, i);
	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void add_image(
	const struct store *s, const struct store_image *i, json_t *rows, json_t *list)
{
	uint64_t bytes = bytes_on_disk(s, i);
	_cleanup_free_ char *path = store_image_path(s, i), *tags = tags_text(&i->facts);
	json_t *o = store_image_to_json(i);
	json_object_del(o, "roost");
	json_object_update_new(o, json_pack("{s:s, s:s, s:I}", "name", i->name, "path", path,
					  "allocation", (json_int_t)bytes));
	struct err why = ERR_INIT;
	bool sound = store_check(s, i, &why) == 0;
	if (!sound)
		json_object_set_new(o, "broken", json_string(why.message));
	json_array_append_new(list, o);
	table_row(rows, i->name,
		!sound     ? "broken"
		: i->qcow2 ? "qcow2"
			   : "raw",
		str_size(i->virtual_size), str_size(bytes), i->facts.os ? i->facts.os : "-",
		tags[0] ? tags : "-");
}

static int run_list(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_names_ char **names = NULL;
	_cleanup_json_ json_t *rows = json_array(), *list = json_array();
	bool there;
	if (open_store(&s, &there, err) < 0 || (there && store_names(&s, &names, NULL, err) < 0))
		return -1;
	table_row(rows, "Name", "Format", "Size", "On disk", "OS", "Tags");
	for (char **name = names; name && *name; name++) {
		_cleanup_store_image_ struct store_image i = {0};
		struct err why = ERR_INIT;
		if (store_look(&s, *name, &i, &why) == 0) {
			add_image(&s, &i, rows, list);
			continue;
		}
		if (why.kind == ERR_NOT_FOUND) /* just removed */
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:s}", "name", *name, "broken", why.message));
		table_row(rows, *name, "broken", "-", "-", "-", "-");
	}
	if (cli->json)
		cli_print_json(json_incref(list));
	else
		table_print(rows);
	return 0;
}

/* ---- tree ----------------------------------------------------------------------------------------- */

/* What stands on an image, or on a base. Each was there before the one on it, so this ends. */
static json_t *branch(const json_t *users, const char *image, const char *base)
{
	json_t *children = json_array(), *user;
	size_t i;
	json_array_foreach (users, i, user) {
		const char *on = json_get_str(user, "base", NULL);
		if (!str_eq(on, base) ||
			(!base && !str_eq(json_get_str(user, "image", NULL), image)))
			continue;
		json_t *child = json_copy(user);
		const char *name = json_get_str(user, "name", "");
		json_object_del(child, "image");
		json_object_del(child, "base");
		if (str_eq(json_get_str(user, "kind", ""), "image"))
			json_object_set_new(child, "children", branch(users, name, NULL));
		if (str_eq(json_get_str(user, "kind", ""), "base"))
			json_object_set_new(child, "children", branch(users, NULL, name));
		json_array_append_new(children, child);
	}
	return children;
}

static void print_branch(const json_t *children, const char *indent)
{
	json_t *child;
	size_t i;
	json_array_foreach (children, i, child) {
		bool last = i + 1 == json_array_size(children);
		const char *through = json_get_str(child, "through", NULL);
		printf("%s+- %s %s%s%s%s\n", indent, json_get_str(child, "kind", ""),
			json_get_str(child, "name", ""), through ? " (" : "",
			through ? through : "", through ? ")" : "");
		_cleanup_free_ char *deeper = str_fmt("%s%s  ", indent, last ? " " : "|");
		print_branch(json_object_get(child, "children"), deeper);
	}
}

static int add_root(const struct store *s, const char *name, bool asked, const json_t *users,
	json_t *roots, struct err *err)
{
	_cleanup_store_image_ struct store_image i = {0};
	struct err why = ERR_INIT;
	if (asked && store_look(s, name, &i, err) < 0 &&
		(err->kind != ERR_NOT_FOUND || store_find(s, name, &i, err) < 0))
		return -1;
	if (asked)
		name = i.name;
	else
		store_look(s, name, &i, &why);
	if (asked || !i.base)
		json_array_append_new(roots, json_pack("{s:s, s:o}", "name", name, "children",
						     branch(users, name, NULL)));
	return 0;
}

/* What was cloned of guests whose disks stand on no image. */
static void add_bases(const json_t *users, json_t *roots)
{
	_cleanup_json_ json_t *bases = branch(users, "", NULL);
	json_t *base;
	size_t i;
	json_array_foreach (bases, i, base) {
		_cleanup_free_ char *name = str_fmt("base %s", json_get_str(base, "name", ""));
		json_object_set_new(base, "name", json_string(name));
		json_array_append(roots, base);
	}
}

static int run_tree(const struct cli *cli, struct err *err)
{
	_cleanup_store_ struct store s = STORE_NONE;
	_cleanup_names_ char **names = NULL;
	_cleanup_json_ json_t *users = NULL, *roots = json_array();
	json_t *root;
	size_t i;
	bool there;
	if (open_store(&s, &there, err) < 0)
		return -1;
	if (!there && cli->count)
		return store_has_none(cli->operands[0], err);
	if (there && (!(users = image_users(&s, err)) || store_names(&s, &names, NULL, err) < 0))
		return -1;
	if (cli->count && add_root(&s, cli->operands[0], true, users, roots, err) < 0)
		return -1;
	for (char **name = names; !cli->count && there && *name; name++)
		add_root(&s, *name, false, users, roots, err);
	if (!cli->count)
		add_bases(users, roots);
	if (cli->json) {
		cli_print_json(json_incref(roots));
		return 0;
	}
	json_array_foreach (roots, i, root) {
		puts(json_get_str(root, "name", ""));
		print_branch(json_object_get(root, "children"), "");
	}
	return 0;
}

const struct verb verb_image_list = {"image list", "", "Lists the images in the store.", 0, 0,
	false, {{0}}, run_list, "roost image list", GROUP_IMAGES, GUESTS_ALL};
const struct verb verb_image_tree = {"image tree", "[IMAGE-NAME]",
	"Shows which guests, images and kept disks stand on an image, or on each.", 0, 1, false,
	{{0}}, run_tree, "roost image tree debian-12", GROUP_IMAGES, GUESTS_ALL};
