/*
 * A suite's file becomes a plan: tests, each with its definition and its steps.
 *
 * For each test the tree of what was written is copied, the values of its matrix are put into the
 * texts, and only then it is read as definitions are. So a value may stand anywhere, what it makes of
 * a key is checked like what a person wrote, and the error has the line.
 */
#include "orchestrator/smoke.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/definition_yaml.h"

enum {
	FILE_MAX = 1024 * 1024,
	SUITE_MS = 3600000,
	TEST_MS = 600000,
	STEP_MS = 60000,
};

struct head {
	char *name;
	int64_t timeout_ms, test_ms, step_ms;
};

struct guest_entry {
	char *name, *file, *image;
	int64_t timeout_ms;
};

/* One value of each row of a matrix. */
struct values {
	const struct node *rows; /* the mapping; NULL: no matrix */
	size_t chosen[MATRIX_MAX];
	const char *test; /* the test's name, as ${{test}} has it */
};

/* ---- keys ------------------------------------------------------------------------------------- */

static int look_list(const struct node *n, void *base, struct err *err)
{
	(void)base;
	return n->kind == NODE_LIST ? 0 : node_wrong(n, "a list", err);
}

static int look_map(const struct node *n, void *base, struct err *err)
{
	(void)base;
	return n->kind == NODE_MAP ? 0 : node_wrong(n, "a mapping", err);
}

#define AT(member) .offset = offsetof(struct head, member)
static const struct key head_rows[] = {
	{"name", KEY_TEXT, AT(name), .doc = "of the suite; default the file's"},
	{"timeout", KEY_DURATION, AT(timeout_ms), .doc = "for the whole suite"},
	{"test_timeout", KEY_DURATION, AT(test_ms), .doc = "for one test, its boot included"},
	{"step_timeout", KEY_DURATION, AT(step_ms), .doc = "for one step"},
	{"guests", KEY_OWN, KEY_REQUIRED, .read = look_list, .doc = "what is tried"},
	{"steps", KEY_OWN, .read = look_list, .doc = "what all guests go through"},
};
#undef AT

static void head_defaults(void *thing)
{
	struct head *h = thing;
	h->timeout_ms = SUITE_MS;
	h->test_ms = TEST_MS;
	h->step_ms = STEP_MS;
}

#define AT(member) .offset = offsetof(struct guest_entry, member)
static const struct key guest_rows[] = {
	{"name", KEY_TEXT, KEY_REQUIRED, AT(name), .check = check_name, .doc = "of the test"},
	{"file", KEY_FILE, AT(file), .doc = "its definition"},
	{"image", KEY_TEXT, AT(image), .check = check_image, .doc = "its first disk's"},
	{"definition", KEY_OWN, .read = look_map, .doc = "keys of a definition"},
	{"matrix", KEY_OWN, .read = look_map, .doc = "values to try it with"},
	{"timeout", KEY_DURATION, AT(timeout_ms), .doc = "for the test"},
	{"steps", KEY_OWN, .read = look_list, .doc = "what it goes through then"},
};
#undef AT

static int check_guest(void *thing, const struct node *map, struct err *err)
{
	const struct guest_entry *g = thing;
	if (g->file && g->image)
		return node_error(
			node_get(map, "image"), err, "'file' and 'image' exclude one another");
	if (g->file || g->image || node_get(map, "definition"))
		return 0;
	return node_error(map, err, "there is neither 'file' nor 'image' nor 'definition'");
}

static const struct keys head_keys = {head_rows, ARRAY_SIZE(head_rows), head_defaults, NULL};
static const struct keys guest_keys = {guest_rows, ARRAY_SIZE(guest_rows), NULL, check_guest};

/* ---- the matrix ------------------------------------------------------------------------------- */

static int check_row(const struct node *row, struct err *err)
{
	const char *key = row->key;
	if (!isalpha((unsigned char)key[0]) ||
		key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")])
		return node_error(
			row, err, "the name of a row is a letter, then letters, digits and '_'");
	if (str_eq(key, "test"))
		return node_error(row, err, "${{test}} stands for the test's name");
	if (row->kind != NODE_LIST)
		return node_wrong(row, "a list of values", err);
	if (!row->count)
		return node_error(row, err, "there are no values");
	for (size_t i = 0; i < row->count; i++) {
		if (row->children[i]->kind != NODE_TEXT)
			return node_wrong(row->children[i], "a value", err);
		for (size_t k = 0; k < i; k++)
			if (str_eq(row->children[i]->text, row->children[k]->text))
				return node_error(row->children[i], err,
					"'%.40s' stands there twice", row->children[i]->text);
	}
	return 0;
}

static int check_matrix(const struct node *rows, size_t *count, struct err *err)
{
	*count = 1;
	if (rows && rows->count > MATRIX_MAX)
		return node_error(rows, err, "%zu rows, %d are allowed", rows->count, MATRIX_MAX);
	for (size_t i = 0; rows && i < rows->count; i++) {
		if (check_row(rows->children[i], err) < 0)
			return -1;
		*count *= rows->children[i]->count;
		if (*count > TESTS_MAX)
			return node_error(rows, err, "more than %d tests", TESTS_MAX);
	}
	return 0;
}

/* The combination number `n`: the last row turns fastest. */
static struct values choose(const struct node *rows, size_t n)
{
	struct values v = {.rows = rows};
	for (size_t i = rows ? rows->count : 0; i-- > 0;) {
		v.chosen[i] = n % rows->children[i]->count;
		n /= rows->children[i]->count;
	}
	return v;
}

static const char *chosen_text(const struct values *v, size_t row)
{
	return v->rows->children[row]->children[v->chosen[row]]->text;
}

static char *name_of(const char *guest, const struct values *v)
{
	struct buf out = {0};
	buf_str(&out, guest);
	for (size_t i = 0; v->rows && i < v->rows->count; i++)
		buf_fmt(&out, "/%s=%s", v->rows->children[i]->key, chosen_text(v, i));
	return buf_steal(&out);
}

static const char *value_of(const struct values *v, const char *name)
{
	for (size_t i = 0; v->rows && i < v->rows->count; i++)
		if (str_eq(v->rows->children[i]->key, name))
			return chosen_text(v, i);
	return str_eq(name, "test") ? v->test : NULL;
}

static int unknown_value(
	const struct values *v, const struct node *n, const char *name, struct err *err)
{
	const char *known[MATRIX_MAX + 2] = {"test"};
	for (size_t i = 0; v->rows && i < v->rows->count; i++)
		known[i + 1] = v->rows->children[i]->key;
	node_error(n, err, "the matrix of the guest has no row '%.40s'", name);
	const char *near = str_nearest(name, known);
	return near ? err_hint(err, "did you mean ${{%s}}?", near)
		    : err_hint(
			      err, "add the row to `matrix`, or write ${%s} for the shell's", name);
}

/* ${{name}} in one text. */
static int put_values_in(struct node *n, const struct values *v, struct err *err)
{
	_cleanup_buf_ struct buf out = {0};
	const char *rest = n->text, *open;
	while ((open = strstr(rest, "${{"))) {
		const char *name = open + 3 + strspn(open + 3, " "), *close = strstr(name, "}}");
		if (!close)
			return node_error(n, err, "'${{' without '}}'");
		size_t len = (size_t)(close - name);
		while (len && name[len - 1] == ' ')
			len--;
		_cleanup_free_ char *word = strndup(name, len);
		const char *value = value_of(v, word);
		if (!value)
			return unknown_value(v, n, word, err);
		buf_add(&out, rest, (size_t)(open - rest));
		buf_str(&out, value);
		rest = close + 2;
	}
	if (rest == n->text)
		return 0;
	buf_str(&out, rest);
	free(n->text);
	n->text = buf_steal(&out);
	return 0;
}

static int put_values(struct node *n, const struct values *v, struct err *err)
{
	if (n->kind == NODE_TEXT)
		return put_values_in(n, v, err);
	for (size_t i = 0; i < n->count; i++)
		if (put_values(n->children[i], v, err) < 0)
			return -1;
	return 0;
}

/* ---- trees ------------------------------------------------------------------------------------ */

static struct node *copy_node(const struct node *n)
{
	struct node *copy = node_new(n->kind, n->origin, n->line);
	copy->key = xstrdup(n->key);
	copy->text = xstrdup(n->text);
	copy->number = n->number;
	copy->children = n->count ? xcalloc(n->count, sizeof(*copy->children)) : NULL;
	for (copy->count = 0; copy->count < n->count; copy->count++) {
		struct node *child = copy_node(n->children[copy->count]);
		child->parent = copy;
		copy->children[copy->count] = child;
	}
	return copy;
}

/* The key's index in a mapping, or its count. */
static size_t index_of(const struct node *map, const char *key)
{
	size_t i = 0;
	while (i < map->count && !str_eq(map->children[i]->key, key))
		i++;
	return i;
}

static void drop_key(struct node *map, const char *key)
{
	size_t i = index_of(map, key);
	if (i == map->count)
		return;
	node_free(map->children[i]);
	map->count--;
	memmove(map->children + i, map->children + i + 1,
		(map->count - i) * sizeof(*map->children));
}

/* Takes `child` over; what has that key goes. */
static int put_key(struct node *map, const char *key, struct node *child, struct err *err)
{
	drop_key(map, key);
	free(TAKE(child->key));
	return node_add(map, key, child, err);
}

static struct node *text_node(const struct node *place, const char *text)
{
	struct node *n = node_new(NODE_TEXT, place->origin, place->line);
	n->text = xstrdup(text);
	return n;
}

/* ---- a definition ----------------------------------------------------------------------------- */

/* What `file` holds, or an empty mapping. */
static struct node *base_tree(const struct guest_entry *g, const struct node *entry,
	const struct origin *origin, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (!g->file)
		return node_new(NODE_MAP, entry->origin, entry->line);
	if (file_read(AT_FDCWD, g->file, FILE_MAX, &text, err) < 0) {
		node_locate(node_get(entry, "file"), err);
		return NULL;
	}
	struct node *root = node_from_yaml(text.data ? text.data : "", text.len, origin, err);
	if (root && root->kind != NODE_MAP) {
		node_wrong(root, "a mapping", err);
		node_free(root);
		return NULL;
	}
	return root;
}

/* `image` becomes the first of the disks. */
static int put_image(struct node *root, const struct node *image, struct err *err)
{
	size_t at = index_of(root, "disks");
	if (at == root->count &&
		node_add(root, "disks", node_new(NODE_LIST, image->origin, image->line), err) < 0)
		return -1;
	struct node *disks = root->children[at];
	if (disks->kind != NODE_LIST)
		return node_wrong(disks, "a list", err);
	struct node *disk = node_new(NODE_MAP, image->origin, image->line);
	if (node_add(disk, "image", text_node(image, image->text), err) < 0 ||
		node_add(disks, NULL, disk, err) < 0)
		return -1;
	memmove(disks->children + 1, disks->children, (disks->count - 1) * sizeof(disk));
	disks->children[0] = disk;
	if (node_get(root, "cloud_init"))
		return 0;
	return node_add(root, "cloud_init", text_node(image, "true"), err);
}

/* What the suite says goes over what the file says; the guest's name is not theirs to choose. */
static int adapt(
	struct node *root, const struct guest_entry *g, const struct node *entry, struct err *err)
{
	const struct node *over = node_get(entry, "definition"), *image = node_get(entry, "image");
	for (size_t i = 0; over && i < over->count; i++)
		if (put_key(root, over->children[i]->key, copy_node(over->children[i]), err) < 0)
			return -1;
	drop_key(root, "uuid");
	drop_key(root, "autostart");
	/* it stays in the tree: cloud_init's hostname comes from it */
	if (!node_get(root, "name") &&
		node_add(root, "name", text_node(node_get(entry, "name"), g->name), err) < 0)
		return -1;
	return image ? put_image(root, image, err) : 0;
}

/* Disks that the guest would write to become overlays of themselves. True if there were any. */
static bool make_overlays(struct node *root, const struct definition *d)
{
	size_t at = index_of(root, "disks");
	bool any = false;
	for (size_t i = 0; at < root->count && i < root->children[at]->count; i++) {
		struct node *map = root->children[at]->children[i];
		size_t path = index_of(map, "path");
		if (d->disks[i].source != DISK_PATH || d->disks[i].readonly || path == map->count)
			continue;
		struct node *n = map->children[path];
		free(n->key);
		free(n->text);
		n->key = xstrdup("image");
		n->text = xstrdup(d->disks[i].path);
		any = true;
	}
	return any;
}

static void free_ports(struct definition *d)
{
	for (size_t i = 0; i < d->nic_count; i++)
		for (size_t k = 0; k < d->nics[i].forward_count; k++)
			d->nics[i].forwards[k].host_port = 0;
}

static struct definition *definition_of(const struct guest_entry *g, const struct node *entry,
	const struct values *v, struct err *err)
{
	const char *slash = g->file ? strrchr(g->file, '/') : NULL;
	_cleanup_free_ char *folder = !slash ? NULL
				      : slash == g->file
					      ? xstrdup("/")
					      : strndup(g->file, (size_t)(slash - g->file));
	struct origin origin = {.file = g->file, .folder = folder};
	_cleanup_node_ struct node *root = base_tree(g, entry, &origin, err);
	if (!root || put_values(root, v, err) < 0 || adapt(root, g, entry, err) < 0)
		return NULL;
	_cleanup_definition_ struct definition *d = definition_from_node(root, err);
	if (!d || definition_files(d, root, err) < 0)
		return NULL;
	if (make_overlays(root, d)) {
		definition_free(d);
		d = definition_from_node(root, err);
		if (!d || definition_files(d, root, err) < 0)
			return NULL;
	}
	free_ports(d);
	return TAKE(d);
}

/* ---- tests ------------------------------------------------------------------------------------ */

/* The test's name as a file's name. */
static char *slug_of(const char *name)
{
	char *slug = xstrdup(name);
	for (char *p = slug; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			*p = '-';
	return slug;
}

static int fill_test(struct test *t, const struct head *h, const struct node *entry,
	const struct node *steps, const struct values *v, struct err *err)
{
	struct guest_entry g = {0};
	int result = keys_read(&guest_keys, entry, &g, err);
	t->def = result < 0 ? NULL : definition_of(&g, entry, v, err);
	t->timeout_ms = g.timeout_ms ? g.timeout_ms : h->test_ms;
	keys_drop(&guest_keys, &g);
	if (!t->def)
		return -1;
	const struct node *own = node_get(entry, "steps");
	if (steps && steps_read(t, steps, h->step_ms, err) < 0)
		return -1;
	return own ? steps_read(t, own, h->step_ms, err) : 0;
}

/* "..., in test 'debian/cpus=4'": which of a matrix it was, the line does not say. */
static int in_test(const struct test *t, struct err *err)
{
	struct err old = *err;
	err_set(err, old.kind, "%.600s (in test '%.100s')", old.message, t->name);
	return old.hint[0] ? err_hint(err, "%s", old.hint) : -1;
}

static int add_test(struct suite *s, const struct head *h, const struct node *root, size_t guest,
	size_t number, struct err *err)
{
	_cleanup_node_ struct node *tree = copy_node(root);
	struct node *entry = tree->children[index_of(tree, "guests")]->children[guest];
	size_t at = index_of(tree, "steps");
	struct node *steps = at < tree->count ? tree->children[at] : NULL;
	struct values v = choose(
		node_get(root->children[index_of(root, "guests")]->children[guest], "matrix"),
		number);
	struct test *t = &s->tests[s->test_count++];
	*t = (struct test){.name = name_of(node_get(entry, "name")->text, &v)};
	_cleanup_free_ char *slug = slug_of(t->name);
	v.test = slug;
	drop_key(entry, "matrix");
	if (put_values(entry, &v, err) < 0 || (steps && put_values(steps, &v, err) < 0) ||
		fill_test(t, h, entry, steps, &v, err) < 0)
		return v.rows ? in_test(t, err) : -1;
	return 0;
}

/* What must be known of a guest before its values are put in. */
static int check_entry(const struct node *list, size_t i, size_t *count, struct err *err)
{
	const struct node *entry = list->children[i], *name = node_get(entry, "name"),
			  *matrix = node_get(entry, "matrix");
	if (entry->kind != NODE_MAP)
		return node_wrong(entry, "a mapping", err);
	if (!name)
		return node_error(entry, err, "the key 'name' is missing");
	if (name->kind != NODE_TEXT)
		return node_wrong(name, "a name", err);
	if (check_name(name->text, name, err) < 0)
		return -1;
	for (size_t k = 0; k < i; k++)
		if (str_eq(node_get(list->children[k], "name")->text, name->text))
			return node_error(name, err, "another guest is called '%s'", name->text);
	if (matrix && matrix->kind != NODE_MAP)
		return node_wrong(matrix, "a mapping", err);
	return check_matrix(matrix, count, err);
}

static int add_guests(
	struct suite *s, const struct head *h, const struct node *root, struct err *err)
{
	const struct node *list = node_get(root, "guests");
	if (!list->count)
		return node_error(list, err, "there are no guests");
	for (size_t i = 0; i < list->count; i++) {
		size_t count = 0;
		if (check_entry(list, i, &count, err) < 0)
			return -1;
		if (s->test_count + count > TESTS_MAX)
			return node_error(list->children[i], err, "more than %d tests", TESTS_MAX);
		s->tests = xrealloc(s->tests, (s->test_count + count) * sizeof(*s->tests));
		for (size_t n = 0; n < count; n++)
			if (add_test(s, h, root, i, n, err) < 0)
				return -1;
	}
	return 0;
}

/* "web" of "/srv/web.yaml". */
static char *name_of_file(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *name = xstrdup(slash ? slash + 1 : file), *dot = strrchr(name, '.');
	if (dot && (str_eq(dot, ".yaml") || str_eq(dot, ".yml") || str_eq(dot, ".json")))
		*dot = '\0';
	return name;
}

struct suite *suite_parse(
	const char *text, size_t len, const char *file, const char *folder, struct err *err)
{
	struct origin origin = {.file = file, .folder = folder};
	_cleanup_node_ struct node *root = node_from_yaml(text, len, &origin, err);
	_cleanup_suite_ struct suite *s = xcalloc(1, sizeof(*s));
	struct head h = {0};
	if (!root)
		return NULL;
	if (root->kind != NODE_MAP) {
		node_wrong(root, "a mapping", err);
		return NULL;
	}
	int result = keys_read(&head_keys, root, &h, err);
	s->name = h.name ? xstrdup(h.name) : name_of_file(file);
	s->timeout_ms = h.timeout_ms;
	if (result == 0)
		result = add_guests(s, &h, root, err);
	keys_drop(&head_keys, &h);
	return result < 0 ? NULL : TAKE(s);
}

struct suite *suite_read(const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	if (written_read(file, &text, &folder, err) < 0)
		return NULL;
	return suite_parse(text.data ? text.data : "", text.len,
		str_eq(file, "-") ? "<stdin>" : file, folder, err);
}

void suite_free(struct suite *s)
{
	for (size_t i = 0; s && i < s->test_count; i++) {
		struct test *t = &s->tests[i];
		for (size_t k = 0; k < t->step_count; k++)
			step_free(&t->steps[k]);
		free(t->steps);
		free(t->name);
		definition_free(t->def);
	}
	if (s) {
		free(s->tests);
		free(s->name);
	}
	free(s);
}
