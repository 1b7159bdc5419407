#include "orchestrator/catalogue.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/definition_keys.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/paths.h"

enum { FILE_MAX = 1 << 20 };

static const char *const firmware_names[] = {
	[CATALOGUE_ANY] = "any", [CATALOGUE_BIOS] = "bios", [CATALOGUE_UEFI] = "uefi"};
static const struct words firmware_words = WORDS(firmware_names);

const char *catalogue_firmware_name(enum catalogue_firmware firmware)
{
	return firmware_names[firmware];
}

bool catalogue_is_address(const char *text)
{
	return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0 ||
	       strncasecmp(text, "file:///", 8) == 0;
}

static int check_address(const char *text, const struct node *n, struct err *err)
{
	return catalogue_is_address(text) ? 0
					  : node_wrong(n, "an address (https, http, file)", err);
}

static int check_image_name(const char *text, const struct node *n, struct err *err)
{
	return name_check(text, "image", err) < 0 ? node_locate(n, err) : 0;
}

static const struct key mirror_item = {.type = KEY_TEXT, .check = check_address};

#define AT(member) .offset = offsetof(struct catalogue_image, member)
static const struct key image_rows[] = {
	{"name", KEY_TEXT, KEY_REQUIRED, AT(name), .check = check_image_name,
		.doc = "as which it enters the store"},
	{"os", KEY_TEXT, AT(os), .doc = "for people"},
	{"url", KEY_TEXT, KEY_REQUIRED, AT(url), .check = check_address, .doc = "of the image"},
	{"mirrors", KEY_LIST, AT(mirrors), .aux = offsetof(struct catalogue_image, mirror_count),
		.max = CATALOGUE_MIRRORS_MAX, .item = &mirror_item, .size = sizeof(char *),
		.doc = "the same elsewhere"},
	{"checksum", KEY_TEXT, AT(checksum), .check = check_address,
		.doc = "the publisher's list of digests"},
	{"user", KEY_TEXT, AT(user), .check = check_user, .doc = "whom its cloud-init makes"},
	{"firmware", KEY_WORD, AT(firmware), .words = &firmware_words, .doc = "that it boots with"},
	{"min_memory", KEY_SIZE, AT(min_memory), .min = 1 << 20, .max = 1ULL << 40,
		.doc = "that it needs"},
	{"fetched", KEY_BOOL, AT(fetched), .doc = "has it been tried with this entry?"},
};
#undef AT
static const struct keys image_keys = {image_rows, ARRAY_SIZE(image_rows), NULL, NULL};

static int look_list(const struct node *n, void *base, struct err *err)
{
	(void)base;
	return n->kind == NODE_LIST ? 0 : node_wrong(n, "a list", err);
}

static const struct key file_rows[] = {
	{"images", KEY_OWN, KEY_REQUIRED, .read = look_list, .doc = "the entries"},
};
static const struct keys file_keys = {file_rows, ARRAY_SIZE(file_rows), NULL, NULL};

/* ---- reading --------------------------------------------------------------------------------------- */

static void image_drop(struct catalogue_image *i)
{
	free(i->origin);
	keys_drop(&image_keys, i);
}

static struct catalogue_image *find(const struct catalogue *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (str_eq(c->images[i].name, name))
			return &c->images[i];
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct catalogue_image *left = a, *right = b;
	return strverscmp(left->name, right->name);
}

static int read_image(struct catalogue *c, const struct node *n, struct err *err)
{
	struct catalogue_image image = {0};
	if (n->kind != NODE_MAP)
		return node_wrong(n, "a mapping", err);
	int result = keys_read(&image_keys, n, &image, err);
	if (result == 0 && find(c, image.name))
		result =
			node_error(node_get(n, "name"), err, "'%s' stands there twice", image.name);
	if (result < 0) {
		keys_drop(&image_keys, &image);
		return -1;
	}
	c->images = xrealloc(c->images, (c->count + 1) * sizeof(image));
	c->images[c->count++] = image;
	return 0;
}

static int read_file(struct catalogue *c, const struct node *root, struct err *err)
{
	if (root->kind != NODE_MAP)
		return node_wrong(root, "a mapping", err);
	if (keys_read(&file_keys, root, NULL, err) < 0)
		return -1;
	const struct node *list = node_get(root, "images");
	for (size_t i = 0; i < list->count; i++)
		if (read_image(c, list->children[i], err) < 0)
			return -1;
	return 0;
}

/* Takes the entries out of `from`. */
static void merge(struct catalogue *c, struct catalogue *from, const char *file)
{
	for (size_t i = 0; i < from->count; i++) {
		struct catalogue_image *there = find(c, from->images[i].name);
		from->images[i].origin = xstrdup(file);
		if (there) {
			image_drop(there);
		} else {
			c->images = xrealloc(c->images, (c->count + 1) * sizeof(*c->images));
			there = &c->images[c->count++];
		}
		*there = from->images[i];
	}
	qsort(c->images, c->count, sizeof(*c->images), by_name);
	free(from->images);
	*from = (struct catalogue){0};
}

int catalogue_add(
	struct catalogue *c, const char *text, size_t len, const char *file, struct err *err)
{
	struct origin origin = {.file = file, .folder = "/"};
	_cleanup_catalogue_ struct catalogue read = {0};
	_cleanup_node_ struct node *root = node_from_yaml(text, len, &origin, err);
	if (!root || read_file(&read, root, err) < 0)
		return -1;
	merge(c, &read, file);
	return 0;
}

static int add_file(struct catalogue *c, const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	struct err reading = ERR_INIT;
	if (file_read(AT_FDCWD, file, FILE_MAX, &text, &reading) == 0)
		return catalogue_add(c, text.data ? text.data : "", text.len, file, err);
	if (reading.kind == ERR_NOT_FOUND)
		return 0;
	*err = reading;
	return -1;
}

static char *users_file(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (config && config[0] == '/')
		return str_fmt("%s/roost/catalogue.yaml", config);
	return home && home[0] == '/' ? str_fmt("%s/.config/roost/catalogue.yaml", home) : NULL;
}

int catalogue_load(struct catalogue *c, struct err *err)
{
	const char *state = paths_state(err);
	if (!state)
		return -1;
	_cleanup_free_ char *ours = realpath(
				    libexec_path("../../share/roost/catalogue.yaml"), NULL),
			    *users = users_file(), *own = str_fmt("%s/catalogue.yaml", state);
	const char *files[] = {ours, "/etc/roost/catalogue.yaml", users, own};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i] && add_file(c, files[i], err) < 0)
			return -1;
	return 0;
}

void catalogue_free(struct catalogue *c)
{
	for (size_t i = 0; i < c->count; i++)
		image_drop(&c->images[i]);
	free(c->images);
	*c = (struct catalogue){0};
}

/* ---- looking --------------------------------------------------------------------------------------- */

const struct catalogue_image *catalogue_find(
	const struct catalogue *c, const char *name, struct err *err)
{
	const struct catalogue_image *found = find(c, name);
	if (found)
		return found;
	_cleanup_free_ const char **names = xcalloc(c->count + 1, sizeof(*names));
	for (size_t i = 0; i < c->count; i++)
		names[i] = c->images[i].name;
	const char *near = str_nearest(name, names);
	err_set(err, ERR_NOT_FOUND, "the catalogue has no image '%s'", name);
	if (near)
		err_hint(err, "did you mean %s?", near);
	else
		err_hint(err,
			"`roost image catalogue` lists what it has; an address is fetched, too");
	return NULL;
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

json_t *catalogue_to_json(const struct catalogue_image *i)
{
	json_t *o = json_object(), *mirrors = json_array();
	for (size_t k = 0; k < i->mirror_count; k++)
		json_array_append_new(mirrors, json_string(i->mirrors[k]));
	set_text(o, "name", i->name);
	set_text(o, "os", i->os);
	set_text(o, "url", i->url);
	json_object_set_new(o, "mirrors", mirrors);
	set_text(o, "checksum", i->checksum);
	set_text(o, "user", i->user);
	set_text(o, "firmware", firmware_names[i->firmware]);
	if (i->min_memory)
		json_object_set_new(o, "min-memory", json_integer((json_int_t)i->min_memory));
	json_object_set_new(o, "fetched", json_boolean(i->fetched));
	set_text(o, "file", i->origin);
	return o;
}
