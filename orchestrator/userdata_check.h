/*
 * A look at user-data before a guest boots with it, for cloud-init only warns in a log that nobody reads.
 *
 * Its first line must say what it is, as cloud-init wants it. Of a #cloud-config the YAML must be
 * well-formed, its top a mapping, no key there twice; a key that is nearly one that cloud-init knows is
 * taken for a typing mistake, and a known one must have a mapping, a list, a text and so on where that is
 * wanted, as tests/e2e/t_userdata.sh holds against cloud-init itself. Keys and kinds: the JSON schema
 * schema-cloud-config-v1 of cloud-init 22.4, and what later releases
 * added (https://docs.cloud-init.io/en/latest/reference/modules.html). Of MIME and of a #cloud-config-archive each
 * part is looked at so (userdata_parts.c); what is rendered first (jinja), compressed, or a script is taken as it is.
 */
#ifndef ORCHESTRATOR_USERDATA_CHECK_H
#define ORCHESTRATOR_USERDATA_CHECK_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum { USERDATA_STRANGERS_MAX = 8 };

/* Keys that no cloud-init we know of reads, and that are like none of its own: perhaps a later one's. */
struct userdata_strangers {
	char names[USERDATA_STRANGERS_MAX][40];
	unsigned lines[USERDATA_STRANGERS_MAX];
	size_t count;
};

/* `what` names the text, which ends with a NUL, in errors: "FILE:LINE: ...", ERR_USAGE. Empty user-data is none, and right. */
int userdata_check(const char *what, const char *text, size_t len, struct userdata_strangers *out,
	struct err *err);

/*
 * A part of user-data, told as `what`, where its first line is the one after `above` lines. `line`, unless 0: the one that
 * strangers are told at instead, as the part's own lines are none of the file.
 */
struct userdata_part {
	const char *what;
	unsigned above, line;
	const char *text;
	size_t len;
};
int userdata_check_config(
	const struct userdata_part *p, struct userdata_strangers *out, struct err *err);
/* Parts by themselves; 0: all that say what they are, are right. */
int userdata_check_mime(const char *what, const char *text, size_t len,
	struct userdata_strangers *out, struct err *err);
int userdata_check_archive(const char *what, const char *text, size_t len,
	struct userdata_strangers *out, struct err *err);

/* By how it begins, as cloud-init looks at it. FORM_UNKNOWN: it would pass that over. */
enum userdata_form { FORM_CONFIG, FORM_ARCHIVE, FORM_MIME, FORM_OTHER, FORM_UNKNOWN };
enum userdata_form userdata_form_of(const char *text, size_t len);

/* The same, of user-data or of vendor-data, which has its form, with a line on standard error for each stranger. */
int userdata_look(const char *file, const struct buf *text, struct err *err);

/* Of meta-data or a network-config: well-formed YAML (or JSON), a mapping if there is anything. */
int userdata_check_map(const char *what, const char *text, size_t len, struct err *err);

#endif
