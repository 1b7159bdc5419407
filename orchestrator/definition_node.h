/*
 * What a definition was written as: a tree of texts, numbers, lists and mappings that knows its
 * lines. What people write and guest.json both become one, so that one code reads both, and every
 * error names its key, and its line where there are lines.
 *
 * In what people write every scalar is a text, quoted or not; its key says what it must be. In
 * guest.json's form a number is a number. A key's line is its node's line.
 */
#ifndef ORCHESTRATOR_DEFINITION_NODE_H
#define ORCHESTRATOR_DEFINITION_NODE_H

#include "base/json.h"

/* A list or a mapping longer than this is refused; no key needs as many. */
enum { NODE_CHILDREN_MAX = 256 };

enum node_kind {
	NODE_NULL,
	NODE_BOOL,
	NODE_NUMBER,
	NODE_FRACTION, /* nothing wants one */
	NODE_TEXT,
	NODE_LIST,
	NODE_MAP,
	NODE_KIND_MAX
};

/* Where a tree comes from; outlives it. */
struct origin {
	const char *file;   /* what people wrote, named in errors; NULL: guest.json's form */
	const char *folder; /* absolute; relative paths are taken from it */
};

struct node {
	enum node_kind kind;
	const struct origin *origin;
	const struct node *parent; /* NULL: the root */
	unsigned line;
	char *key;      /* in a mapping */
	char *text;     /* NODE_TEXT */
	int64_t number; /* NODE_NUMBER, NODE_BOOL */
	struct node **children;
	size_t count;
};

struct node *node_new(enum node_kind kind, const struct origin *origin, unsigned line);
/* Takes `child` over, also on failure; `key` is NULL in a list. */
int node_add(struct node *parent, const char *key, struct node *child, struct err *err);
void node_free(struct node *n);
static inline void node_cleanup(struct node **n)
{
	node_free(*n);
}
#define _cleanup_node_ _cleanup_(node_cleanup)

struct node *node_from_json(const json_t *json, const struct origin *origin, struct err *err);

static inline bool node_by_people(const struct node *n)
{
	return n->origin->file;
}
/* NULL: no such key. */
const struct node *node_get(const struct node *map, const char *key);
/* The place of an error about `key`: the key's, or where it is absent the mapping's. */
const struct node *node_place(const struct node *map, const char *key);
/* "disks[1].size", "" for the root; freed by the caller. */
char *node_path(const struct node *n);
/* "FILE:LINE: disks[1].size: TEXT", of kind ERR_USAGE. Returns -1. */
int node_error(const struct node *n, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same: "CONTENT, where WANTED is wanted". */
int node_wrong(const struct node *n, const char *wanted, struct err *err);
/* "FILE:LINE: " before an error that names its object already. Returns -1. */
int node_locate(const struct node *n, struct err *err);

#endif
