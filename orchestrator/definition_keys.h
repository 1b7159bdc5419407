/*
 * Keys as data. A key of a definition is written once, as a row that says its type, its place in
 * its struct, its limits and a sentence of help; reading, writing, freeing, unknown keys and help
 * all come from the rows.
 *
 * A row serves two forms. What people write: texts, sizes with a suffix, durations, relative paths.
 * guest.json's: numbers of bytes and milliseconds, true and false, absolute paths.
 */
#ifndef ORCHESTRATOR_DEFINITION_KEYS_H
#define ORCHESTRATOR_DEFINITION_KEYS_H

#include "orchestrator/definition_node.h"

enum key_type {
	KEY_TEXT, /* char *: one line */
	KEY_CHARS, /* char [max + 1]: the same, in place, lower case but with KEY_CASE; "" is absent */
	KEY_FILE,     /* char *: an absolute path */
	KEY_BOOL,     /* bool */
	KEY_NUMBER,   /* unsigned, within min and max */
	KEY_SIZE,     /* uint64_t, bytes, within min and max */
	KEY_DURATION, /* int64_t, milliseconds */
	KEY_WORD,     /* an enum, by its `words` */
	KEY_MAP,      /* a struct by its `keys` */
	KEY_LIST,     /* an array of `item`, at most max; its size_t count is at `aux` */
	KEY_OWN,      /* by the row's own functions */
	KEY_TYPE_MAX
};

enum key_flags {
	KEY_REQUIRED = 1 << 0,
	KEY_PEOPLE = 1 << 1, /* only in what people write */
	KEY_RECORD = 1 << 2, /* only in guest.json */
	KEY_SPARSE = 1 << 3, /* not written when zero, false or empty */
	KEY_LINES = 1 << 4,  /* a text that may have several lines */
	KEY_SWITCH =
		1 << 5,    /* a mapping, or true, or false; the bool at `aux` says if it is there */
	KEY_BARE = 1 << 6, /* a mapping that may be left empty */
	KEY_PLAIN = 1 << 7, /* a KEY_SWITCH that is always written: false, true, or what differs */
	KEY_HEAP = 1 << 8,  /* a KEY_LIST whose array is allocated; `offset` is its pointer's */
	KEY_CASE = 1 << 9,  /* of a KEY_CHARS upper case stays */
};

/* The words of an enum; NULL stands for a value that nobody writes. */
struct words {
	const char *const *names;
	unsigned count;
};
#define WORDS(array)                                                                               \
	{                                                                                          \
		array, ARRAY_SIZE(array)                                                           \
	}

struct keys;

struct key {
	const char *name; /* NULL in a list's item */
	enum key_type type;
	unsigned flags;
	size_t offset;             /* of the value in its struct */
	size_t aux;                /* KEY_LIST, KEY_SWITCH */
	uint64_t min, max;         /* KEY_NUMBER, KEY_SIZE; KEY_LIST, KEY_CHARS: only max */
	const struct words *words; /* KEY_WORD */
	const struct keys *keys;   /* KEY_MAP */
	const struct key *item;    /* KEY_LIST; its values are `size` bytes apart */
	size_t size;               /* of an item */
	const char *doc;
	/* a further look at a KEY_TEXT, KEY_CHARS, or KEY_FILE */
	int (*check)(const char *text, const struct node *n, struct err *err);
	/* is it written? NULL: yes; `base` is the struct that `offset` is in */
	bool (*there)(const void *base);
	/* KEY_OWN */
	int (*read)(const struct node *n, void *base, struct err *err);
	json_t *(*write)(const void *base);
	void (*drop)(void *base);
	json_t *(*dump)(const void *base); /* in people's form; NULL: as `write` */
};

struct keys {
	const struct key *rows;
	size_t count;
	void (*defaults)(void *thing);
	/* after reading: what one key alone cannot tell; may fill what was left out */
	int (*check)(void *thing, const struct node *map, struct err *err);
};

/* Reads a mapping into `thing`, all zero before. keys_drop() also after a failure. */
int keys_read(const struct keys *keys, const struct node *map, void *thing, struct err *err);
json_t *keys_write(const struct keys *keys, const void *thing);
void keys_drop(const struct keys *keys, void *thing);

/* For functions of rows: the parts of reading. */
int node_text(const struct node *n, bool lines, const char **out, struct err *err);
int node_duration(const struct node *n, int64_t *out, struct err *err);
/* A path made absolute; freed by the caller. */
char *node_file(const struct node *n, struct err *err);
/* In people's form: "90s". */
json_t *duration_text(int64_t ms);
/* 1, 0, or -1 for what is neither true nor false. */
int node_truth(const struct node *n);
int node_word(const struct node *n, const struct words *words, unsigned *out, struct err *err);

#endif
