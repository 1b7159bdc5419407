/*
 * Reading XML so that nothing is passed over in silence: whatever element or attribute nobody has asked for is
 * told in the end, by its path. For the files of libvirt_xml.h.
 */
#ifndef ORCHESTRATOR_LIBVIRT_NODE_H
#define ORCHESTRATOR_LIBVIRT_NODE_H

#include <libxml/tree.h>
#include <stdbool.h>

#include "base/json.h"

struct reading {
	json_t *out; /* the definition */
	json_t *notes;
	json_t *more; /* what else libvirt_read() returns */
};

/* The first child of that name, and the next sibling of the same; NULL. Both are taken for known. */
xmlNode *x_child(const xmlNode *parent, const char *name);
xmlNode *x_next(const xmlNode *n);
/* An attribute's value, borrowed; NULL: none. Those of NULL are none. */
const char *x_attr(const xmlNode *n, const char *name);
bool x_attr_is(const xmlNode *n, const char *name, const char *value);
/* An element's text without white space around it; freed by the caller. NULL of NULL. */
char *x_text(const xmlNode *n);
char *x_child_text(const xmlNode *parent, const char *name);
/* Known, with all that is in it: nothing of it is told. NULL is nothing. */
void x_pass(xmlNode *n);
void x_pass_children(const xmlNode *parent, const char *name);

/* Told of the element, with what is in it. `stops`: the guest cannot be taken. */
void x_note(struct reading *r, xmlNode *n, bool stops, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, but what is in it is still to be known or told; it does not stop. */
void x_remark(struct reading *r, const xmlNode *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same of one of its attributes. */
void x_note_attr(struct reading *r, xmlNode *n, const char *attr, bool stops, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* What nobody has asked for, in and below it. */
void x_tell_rest(struct reading *r, xmlNode *root);

/* UUIDs and MAC addresses are in lower case here; freed by the caller. NULL of NULL. */
char *lower_hex(const char *text);
/* A number, "0x1f" as well; `otherwise` if the attribute is none. */
unsigned x_number(const xmlNode *n, const char *attr, unsigned otherwise);

#endif
