/*
 * What people write, YAML or JSON, as a tree of nodes.
 *
 * Of YAML a definition needs mappings, lists and scalars. What else there is (anchors and aliases,
 * which make a small text a huge tree; tags; several documents) is refused, as are duplicate keys,
 * which YAML forbids and libyaml lets pass. Bounds: 1 MiB, 64 levels, NODE_CHILDREN_MAX.
 * Scalars stay texts, but for a plain nothing, `~` or `null`.
 */
#include "orchestrator/definition_yaml.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/definition_check.h"

enum { TEXT_MAX = 1024 * 1024, DEPTH_MAX = 64 };

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one */
	const struct origin *origin;
	const char *text;
	size_t len;
};

struct key_text {
	char *text;
	unsigned line;
};

static void key_free(struct key_text *key)
{
	free(key->text);
}

static unsigned line_of(const yaml_event_t *e)
{
	return (unsigned)e->start_mark.line + 1;
}

static int text_error(const struct reader *r, unsigned line, const char *what, struct err *err)
{
	return err_set(err, ERR_USAGE, "%s:%u: %s", r->origin->file, line, what);
}

/* libyaml counts lines in all errors but those of the encoding, where it has an offset. */
static int parser_error(const struct reader *r, struct err *err)
{
	const yaml_parser_t *p = &r->parser;
	unsigned line = (unsigned)p->problem_mark.line + 1;
	if (p->error == YAML_READER_ERROR) {
		line = 1;
		for (size_t i = 0; i < p->problem_offset && i < r->len; i++)
			line += r->text[i] == '\n';
	}
	_cleanup_free_ char *what =
		str_fmt("not valid YAML: %s", p->problem ? p->problem : "libyaml failed");
	return text_error(r, line, what, err);
}

/* The next event takes the place of the current one. */
static int next(struct reader *r, struct err *err)
{
	yaml_event_delete(&r->event);
	return yaml_parser_parse(&r->parser, &r->event) ? 0 : parser_error(r, err);
}

static int refuse_extras(const struct reader *r, struct err *err)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;
	if (e->type == YAML_ALIAS_EVENT)
		return text_error(r, line_of(e), "an alias ('*') is not understood here", err);
	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		if (memchr(e->data.scalar.value, '\0', e->data.scalar.length))
			return text_error(r, line_of(e), "a text contains the character NUL", err);
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	}
	if (anchor)
		return text_error(r, line_of(e), "an anchor ('&') is not understood here", err);
	if (tag)
		return text_error(r, line_of(e), "a tag ('!') is not understood here", err);
	return 0;
}

static bool is_null(const yaml_event_t *e)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
			str_eq((const char *)e->data.scalar.value, words[i]))
			return true;
	return false;
}

/* An empty node of the current event's kind, hung into the tree before its children are read. */
static struct node *add_node(
	struct reader *r, struct node *parent, const struct key_text *key, struct err *err)
{
	const yaml_event_t *e = &r->event;
	enum node_kind kind = e->type == YAML_MAPPING_START_EVENT    ? NODE_MAP
			      : e->type == YAML_SEQUENCE_START_EVENT ? NODE_LIST
			      : is_null(e)                           ? NODE_NULL
								     : NODE_TEXT;
	struct node *n = node_new(kind, r->origin, key ? key->line : line_of(e));
	if (kind == NODE_TEXT)
		n->text = xstrdup((const char *)e->data.scalar.value);
	if (parent && node_add(parent, key ? key->text : NULL, n, err) < 0)
		return NULL;
	return n;
}

static int read_key(struct reader *r, struct key_text *out, struct err *err)
{
	const yaml_event_t *e = &r->event;
	if (refuse_extras(r, err) < 0)
		return -1;
	if (e->type != YAML_SCALAR_EVENT || is_null(e))
		return text_error(r, line_of(e), "a key must be a text", err);
	free(out->text);
	out->text = xstrdup((const char *)e->data.scalar.value);
	out->line = line_of(e);
	return next(r, err);
}

static struct node *read_node(struct reader *r, struct node *parent, const struct key_text *key,
	int depth, struct err *err);

/* The current event opened a list or a mapping; reads up to the one that closes it. */
static int read_children(struct reader *r, struct node *n, int depth, struct err *err)
{
	bool map = n->kind == NODE_MAP;
	_cleanup_(key_free) struct key_text key = {0};
	while (next(r, err) == 0) {
		if (r->event.type == (map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT))
			return 0;
		if (map && read_key(r, &key, err) < 0)
			return -1;
		if (!read_node(r, n, map ? &key : NULL, depth + 1, err))
			return -1;
	}
	return -1;
}

/* The node is its parent's; the root, which has none, is the caller's. */
static struct node *read_node(struct reader *r, struct node *parent, const struct key_text *key,
	int depth, struct err *err)
{
	if (refuse_extras(r, err) < 0)
		return NULL;
	bool scalar = r->event.type == YAML_SCALAR_EVENT;
	if (!scalar && depth > DEPTH_MAX) {
		_cleanup_free_ char *what = str_fmt("nested deeper than %d levels", DEPTH_MAX);
		text_error(r, line_of(&r->event), what, err);
		return NULL;
	}
	struct node *n = add_node(r, parent, key, err);
	if (!n || scalar || read_children(r, n, depth, err) == 0)
		return n;
	if (!parent)
		node_free(n);
	return NULL;
}

/* Stream start, document start, the root, document end, stream end. */
static struct node *read_stream(struct reader *r, struct err *err)
{
	if (next(r, err) < 0 || next(r, err) < 0)
		return NULL;
	if (r->event.type == YAML_STREAM_END_EVENT) {
		text_error(r, 1, "there is nothing but white space and comments", err);
		return NULL;
	}
	if (next(r, err) < 0)
		return NULL;
	_cleanup_node_ struct node *root = read_node(r, NULL, NULL, 1, err);
	if (!root || next(r, err) < 0 || next(r, err) < 0)
		return NULL;
	if (r->event.type != YAML_STREAM_END_EVENT) {
		text_error(r, line_of(&r->event), "a second document begins", err);
		err_hint(err, "one file is one definition");
		return NULL;
	}
	return TAKE(root);
}

struct node *node_from_yaml(
	const char *text, size_t len, const struct origin *origin, struct err *err)
{
	struct reader r = {.origin = origin, .text = text, .len = len};
	if (len > TEXT_MAX) {
		err_set(err, ERR_USAGE, "%s: larger than %s", origin->file, str_size(TEXT_MAX));
		return NULL;
	}
	if (!yaml_parser_initialize(&r.parser)) {
		err_set(err, ERR_SYSTEM, "%s: libyaml could not be initialised", origin->file);
		return NULL;
	}
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* the mark of Windows' editors */
		r.text = text += 3;
		r.len = len -= 3;
	}
	/* said, for libyaml would take UTF-16 too, in which our lines and bounds are not counted */
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	struct node *root = read_stream(&r, err);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return root;
}

struct definition *definition_parse(
	const char *text, size_t len, const char *file, const char *folder, struct err *err)
{
	struct origin origin = {.file = file, .folder = folder};
	_cleanup_node_ struct node *root = node_from_yaml(text, len, &origin, err);
	_cleanup_definition_ struct definition *d = root ? definition_from_node(root, err) : NULL;
	if (!d || definition_files(d, root, err) < 0)
		return NULL;
	return TAKE(d);
}

/* The folder that a file's relative paths are taken from, absolute. */
static char *folder_of(const char *file, struct err *err)
{
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *given =
		!slash ? xstrdup(".") : strndup(file, (size_t)(slash - file) + 1);
	char *folder = realpath(given, NULL);
	if (!folder)
		err_errno(err, "cannot find the folder of '%s'", file);
	_cleanup_json_ json_t *utf8 = folder ? json_string(folder) : json_null();
	if (utf8)
		return folder;
	err_set(err, ERR_USAGE, "the folder of '%s' has a name that is not UTF-8", file);
	free(folder);
	return NULL;
}

int written_fd(const char *file)
{
	int fd = -1, end = 0;
	if (str_eq(file, "-") || str_eq(file, "/dev/stdin"))
		return STDIN_FILENO;
	bool is_fd = sscanf(file, "/dev/fd/%9d%n", &fd, &end) == 1 ||
		     sscanf(file, "/proc/self/fd/%9d%n", &fd, &end) == 1;
	return is_fd && !file[end] && fcntl(fd, F_GETFD) >= 0 ? fd : -1;
}

static int read_input(int fd, struct buf *out, struct err *err)
{
	for (;;) {
		buf_reserve(out, 4096);
		ssize_t n = read(fd, out->data + out->len, 4096);
		if (n < 0)
			return fd == STDIN_FILENO ? err_errno(err, "cannot read the standard input")
						  : err_errno(err, "cannot read '/dev/fd/%d'", fd);
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (n == 0 || out->len > TEXT_MAX)
			return 0;
	}
}

int written_read(const char *file, struct buf *text, char **folder, struct err *err)
{
	int fd = written_fd(file);
	bool is_nothing = str_eq(file, "/dev/null");
	_cleanup_free_ char *found = folder_of(fd >= 0 || is_nothing ? "-" : file, err);
	if (!found)
		return -1;
	buf_reserve(text, 1); /* of nothing, too */
	if (!is_nothing && (fd >= 0 ? read_input(fd, text, err)
				    : file_read(AT_FDCWD, file, TEXT_MAX, text, err)) < 0)
		return -1;
	*folder = TAKE(found);
	return 0;
}

struct definition *definition_read(const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	if (written_read(file, &text, &folder, err) < 0)
		return NULL;
	return definition_parse(
		text.data, text.len, str_eq(file, "-") ? "<stdin>" : file, folder, err);
}
