/*
 * libvirt's XML of domains and networks, read into definitions of roost's, and written from them.
 * https://libvirt.org/formatdomain.html and formatnetwork.html have the form; what of it roost has is
 * what the tables in libvirt_*.c take.
 *
 * Only roost-xml is linked with these, and with libxml2: the text may be anybody's, and is parsed in a
 * process that can do nothing else. Others ask it: libvirt_ask.h.
 */
#ifndef ORCHESTRATOR_LIBVIRT_XML_H
#define ORCHESTRATOR_LIBVIRT_XML_H

#include "base/json.h"

enum { LIBVIRT_XML_MAX = 1 << 20 };

/*
 * {"kind": "domain"|"network"|"host", "definition": in guest.json's form (of a network in its record's, of a network's
 * <host> as below), with what the XML says and no more, not checked; "notes": [{"path": "devices/sound", "line": 12, "what": "has no equivalent",
 * "stops": false}]; and where they are told "nvram": PATH, "hosts": [{"mac", "name", "address"}], "bridge"}. With a
 * note that stops, the definition is not what the XML means, and must not be taken. ERR_USAGE for what is neither,
 * or no XML; `file` names it.
 */
json_t *libvirt_read(const char *text, size_t len, const char *file, struct err *err);

/*
 * XML that libvirt's schema knows, of a definition in guest.json's form; freed by the caller. "folder": of the
 * guest, where its own disks are. What libvirt's XML cannot say is left out.
 */
char *libvirt_write_domain(const json_t *request, struct err *err);
/* The same of a network's record; "hosts" as above. */
char *libvirt_write_network(const json_t *request, struct err *err);

#endif
