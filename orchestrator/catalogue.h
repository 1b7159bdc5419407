/*
 * The catalogue: names of images, and where their publishers have them. images/catalogue.yaml tells
 * what an entry holds. Later files win, name by name:
 *
 *	PREFIX/share/roost/catalogue.yaml	ours
 *	/etc/roost/catalogue.yaml		the host's
 *	$XDG_CONFIG_HOME/roost/catalogue.yaml	the user's (~/.config)
 *	$STATE/catalogue.yaml			the instance's
 *
 * Needs libyaml: linked by `roost` alone, and by tests.
 */
#ifndef ORCHESTRATOR_CATALOGUE_H
#define ORCHESTRATOR_CATALOGUE_H

#include "base/json.h"

enum { CATALOGUE_MIRRORS_MAX = 16 };

enum catalogue_firmware { CATALOGUE_ANY, CATALOGUE_BIOS, CATALOGUE_UEFI };

struct catalogue_image {
	char *name, *os;
	char *url;
	char *mirrors[CATALOGUE_MIRRORS_MAX];
	size_t mirror_count;
	char *checksum; /* NULL: the publisher has none */
	char *user;
	enum catalogue_firmware firmware;
	uint64_t min_memory; /* bytes; 0: not known */
	bool fetched;
	char *origin; /* the file that it stands in */
};

struct catalogue {
	struct catalogue_image *images; /* sorted by name */
	size_t count;
};

/* Adds a file's text. An error names the line, and adds nothing. */
int catalogue_add(
	struct catalogue *c, const char *text, size_t len, const char *file, struct err *err);
/* All files that are there. */
int catalogue_load(struct catalogue *c, struct err *err);
void catalogue_free(struct catalogue *c);
#define _cleanup_catalogue_ _cleanup_(catalogue_free)

/* ERR_NOT_FOUND, with the nearest name as a hint. */
const struct catalogue_image *catalogue_find(
	const struct catalogue *c, const char *name, struct err *err);
json_t *catalogue_to_json(const struct catalogue_image *i);
/* "bios", "uefi", "any" */
const char *catalogue_firmware_name(enum catalogue_firmware firmware);
/* Does it begin as an address does that is fetched? */
bool catalogue_is_address(const char *text);

#endif
