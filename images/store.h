/*
 * The store: $STATE/images/NAME/{disk.qcow2 or disk.raw, image.json}, images that guests' overlays
 * stand on. What is in it is whole, has been checked, and is never written to again.
 *
 * There is one way in, for whoever has the bytes (import, pull, template):
 *
 *	struct store_entry e = STORE_ENTRY_NONE;
 *	store_begin(&s, "debian-12", false, &e, err);	an empty file, e.fd, in .new-debian-12
 *	... write into e.fd ...
 *	store_enter(&s, &e, &wish, err);		checked, hashed, flushed, there by one rename
 *	store_entry_end(&e);				in any case, for _cleanup_store_entry_
 *
 * Before the rename nothing of it is seen, and a process that is killed leaves the hidden folder,
 * without its lock: the next store_begin() of that name takes it over; one of another name removes it,
 * as `image gc` does, unless it is the part of a pull. Two who enter one name at the same time: the
 * second hears ERR_BUSY.
 */
#ifndef IMAGES_STORE_H
#define IMAGES_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

enum {
	STORE_TAGS_MAX = 16,
	STORE_DIGEST_SIZE = sizeof("sha512:") + 128, /* the longest, as text, with its NUL */
};

struct store {
	int dir;              /* $STATE/images */
	const char *path;     /* the same, absolute */
	const char *digester; /* the program roost-digest: orchestrator/paths.h, libexec_path() */
	const char
		*reader; /* roost-disk likewise; where it was not built, tables are not looked at */
	/*
	 * Where it stands, may be NULL: while "copy" and "digest" are at work with bytes done of total,
	 * else, with neither, when that step is about to be taken.
	 */
	void (*told)(void *about, const char *step, int64_t done, int64_t total);
	void *about;
};

/* What is known of an image besides its bytes. NULL and 0: not known. */
struct store_facts {
	char *source;        /* the path or the address that it came from */
	char *os;            /* "debian 12" */
	char *user;          /* whom its cloud-init makes by default */
	char *firmware;      /* "bios" or "uefi", if it needs that one */
	uint64_t min_memory; /* bytes */
	char *tags[STORE_TAGS_MAX];
	size_t tag_count;
};

/* An image of the store, as image.json tells. */
struct store_image {
	char name[64];
	struct store_facts facts;
	char *base;                     /* the image that it stands on; NULL: it stands alone */
	char digest[STORE_DIGEST_SIZE]; /* "sha256:HEX" of the file, taken when it entered */
	bool qcow2;                     /* else raw */
	uint64_t virtual_size, size;
	ino_t inode;
	int64_t mtime_ns;
	int64_t entered; /* seconds since 1970 */
};

/* An image on its way in. */
struct store_entry {
	char name[64];
	int folder; /* .new-NAME: the caller may keep files of its own in it, which never enter */
	int lock;
	int fd; /* the file that is to enter, O_RDWR; "disk" in that folder */
};
#define STORE_ENTRY_NONE                                                                           \
	(struct store_entry)                                                                       \
	{                                                                                          \
		.folder = -1, .lock = -1, .fd = -1                                                 \
	}

enum store_format { STORE_BY_CONTENT, STORE_QCOW2, STORE_RAW };

struct store_wish {
	enum store_format format; /* raw takes any content as it is */
	const char *digest; /* "sha256:HEX", "sha512:HEX" or a bare HEX: must hold; NULL: any */
	const char *base;   /* the store's image that its backing file must be; NULL: none */
	const struct store_facts *facts;
};

/*
 * The hidden folder and the file in it, empty; `resume` leaves what a former try has left in both.
 * ERR_REFUSED: there is an image of that name. ERR_BUSY: it is just being entered.
 */
int store_begin(const struct store *s, const char *name, bool resume, struct store_entry *out,
	struct err *err);
/* ERR_REFUSED: there is an image of that name. */
int store_check_free(const struct store *s, const char *name, struct err *err);
/* The bytes of a regular file into the entry's, holes stay holes; told as "copy". */
int store_copy(const struct store *s, const struct store_entry *e, int from, struct err *err);
/*
 * Lets it in or refuses: what has no place in the store, what is no image, and a qcow2 image whose
 * tables lead beyond the end of its file, unless a digest tells that it is as it was meant to be. If it
 * is refused, the hidden folder is removed, and nothing has changed. On success `out`, which may be
 * NULL, is the image.
 */
int store_enter(const struct store *s, struct store_entry *e, const struct store_wish *wish,
	struct store_image *out, struct err *err);
/* Gives it up, unless it has entered: nothing is left of it. */
void store_drop(const struct store *s, struct store_entry *e);
/* Closes; of what has not entered the folder stays, for a later try to go on from. */
void store_entry_end(struct store_entry *e);
#define _cleanup_store_entry_ _cleanup_(store_entry_end)

/* The image by its name. ERR_NOT_FOUND; ERR_REFUSED if its record cannot be believed. */
int store_look(const struct store *s, const char *name, struct store_image *out, struct err *err);
/* The error of a name that no image has. Returns -1. */
int store_has_none(const char *name, struct err *err);
void store_image_free(struct store_image *i);
void store_facts_free(struct store_facts *f);
#define _cleanup_store_image_ _cleanup_(store_image_free)
/* What image.json holds; it has no name in it. */
json_t *store_image_to_json(const struct store_image *i);
/* The facts in it, whatever else is there; on failure, too, freed by the caller. */
int store_facts_from_json(const json_t *o, struct store_facts *out, struct err *err);
/* "$STATE/images/NAME/disk.qcow2"; freed by the caller. */
char *store_image_path(const struct store *s, const struct store_image *i);
/* Is it the path of an image's file? Then its name is in name[]. */
bool store_name_of_path(const struct store *s, const char *path, char name[64]);
/* By its name or one of its tags, which no other has. As store_look(). */
int store_find(const struct store *s, const char *word, struct store_image *out, struct err *err);
/* The names of all, sorted; freed by names_free(). */
int store_names(const struct store *s, char ***out, size_t *count, struct err *err);
/* Is its file still the one that entered, by size, inode and time? Cheap. ERR_REFUSED: no. */
int store_check(const struct store *s, const struct store_image *i, struct err *err);
/*
 * Does its content still have the digest? If it does, and only inode or time are others (it was
 * restored from a backup), those are recorded anew. ERR_REFUSED: no.
 */
int store_verify(const struct store *s, const struct store_image *i, struct err *err);
/* Writes its facts anew. */
int store_set_facts(const struct store *s, struct store_image *i, const struct store_facts *facts,
	struct err *err);
/* Out of sight by one rename, then removed; under store_claim(). Who stands on it the caller knows. */
int store_remove(const struct store *s, const char *name, struct err *err);
/*
 * Who makes something that is to stand on an image holds that until there is a record that tells of it, from
 * before he looks what stands there: nobody removes it meanwhile. Waits for who is about to.
 * ERR_NOT_FOUND: he has. Released by closing.
 */
int store_hold(const struct store *s, const char *name, struct err *err);
/* For who removes it, before he looks who stands on it. ERR_BUSY: somebody holds it. Released by closing. */
int store_claim(const struct store *s, const char *name, struct err *err);
/* What writes a record takes it by itself. Released by closing. */
int store_lock(const struct store *s, struct err *err);
/*
 * Removes what they left who were killed while they let an image in or removed one; not the part of a pull, for the
 * next one goes on from there, nor the hidden folder `except`. store_begin() does so.
 */
void store_sweep(const struct store *s, const char *except);
/*
 * Removes what was left by those who were killed; calls `removed`, if not NULL, with each name. `look`: only tells what it
 * would remove.
 */
int store_clean(const struct store *s, bool look, void (*removed)(void *about, const char *name),
	void *about, struct err *err);

/*
 * The digest of an open file in a child, told as "digest". `like`: a digest whose algorithm is
 * wanted, too, and must hold (see store_wish); NULL: none. `out` is "sha256:HEX".
 */
int store_digest(const struct store *s, int fd, const char *like, char out[STORE_DIGEST_SIZE],
	struct err *err);
/* Is it a digest as store_wish has it? ERR_USAGE. */
int store_digest_check(const char *digest, struct err *err);

#endif
