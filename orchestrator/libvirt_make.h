/* Making XML. For the files of libvirt_xml.h. */
#ifndef ORCHESTRATOR_LIBVIRT_MAKE_H
#define ORCHESTRATOR_LIBVIRT_MAKE_H

#include <libxml/tree.h>

#include "base/json.h"

/* A child with that text, or NULL, as it stands: what must be escaped is. */
xmlNode *m_add(xmlNode *parent, const char *name, const char *text);
/* NULL is no attribute. */
void m_set(xmlNode *n, const char *attr, const char *value);
void m_number(xmlNode *n, const char *attr, json_int_t value);
/* The text of a document with that root, which `fill` fills; freed by the caller. */
char *m_text(const char *root_name, void (*fill)(xmlNode *root, const json_t *request),
	const json_t *request);

#endif
