/*
 * libvirt's XML for those who are not linked with libxml2: roost-xml is asked (libvirt_xml.h), and what it
 * answers is checked as anybody's definition is.
 */
#ifndef ORCHESTRATOR_LIBVIRT_ASK_H
#define ORCHESTRATOR_LIBVIRT_ASK_H

#include "base/str.h"
#include "orchestrator/definition.h"
#include "orchestrator/network.h"

/* Is it XML? By its first letter, not by its file's name. */
bool libvirt_is_xml(const struct buf *text);
/* As libvirt_read() has it. */
json_t *libvirt_ask(const struct buf *text, const char *file, struct err *err);
/* "line 12: devices/sound: has no equivalent"; freed by the caller. */
char *libvirt_note_text(const json_t *note);
/* ERR_REFUSED with the first note that stops, if one does. */
int libvirt_check_notes(const json_t *answer, const char *file, struct err *err);

/*
 * The answer's definition, checked, its files looked at. `old` is what a guest of that name is now, or NULL: what
 * libvirt's XML cannot say of it stays as it is, and so do its disks that roost has made.
 */
struct definition *libvirt_definition(
	const json_t *answer, const char *file, const struct definition *old, struct err *err);
int libvirt_network(const json_t *answer, const char *file, struct network *out, struct err *err);

/* The other way, freed by the caller. */
char *libvirt_domain_xml(const struct definition *d, struct err *err);
char *libvirt_network_xml(const struct network *n, struct err *err);

#endif
