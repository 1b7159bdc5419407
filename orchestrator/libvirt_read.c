#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/libvirt_part.h"
#include "orchestrator/libvirt_xml.h"

/* A document type could declare entities, which make a book of a line or name files: nothing of libvirt's has one. */
static int check_text(const char *text, size_t len, const char *file, struct err *err)
{
	static const char type[] = "<!DOCTYPE";
	if (len > LIBVIRT_XML_MAX)
		return err_set(err, ERR_REFUSED, "'%s' is larger than %s", file,
			str_size(LIBVIRT_XML_MAX));
	if (memchr(text, '\0', len))
		return err_set(err, ERR_USAGE, "'%s' is no XML in UTF-8", file);
	if (memmem(text, len, type, strlen(type)))
		return err_set(
			err, ERR_REFUSED, "'%s' has a document type, which is not read", file);
	return 0;
}

/* libxml2's words end with a line. */
static int not_xml(const char *file, struct err *err)
{
	const xmlError *why = xmlGetLastError();
	if (!why || !why->message)
		return err_set(err, ERR_USAGE, "'%s' is no XML", file);
	return err_set(err, ERR_USAGE, "%s:%d: it is no XML: %.*s", file, why->line,
		(int)strcspn(why->message, "\r\n"), why->message);
}

static void quiet(void *context, const char *format, ...)
{
	(void)context;
	(void)format;
}

static json_t *read_root(xmlNode *root, const char *file, struct err *err)
{
	struct reading r = {.out = json_object(), .notes = json_array(), .more = json_object()};
	static const struct {
		const char *name;
		void (*read)(struct reading *r, xmlNode *root);
	} kinds[] = {{"domain", libvirt_read_domain}, {"network", libvirt_read_network},
		{"host", libvirt_read_host}};
	const char *kind = (const char *)root->name;
	size_t i = 0;
	while (i < ARRAY_SIZE(kinds) && !str_eq(kinds[i].name, kind))
		i++;
	if (i < ARRAY_SIZE(kinds)) {
		kinds[i].read(&r, root);
	} else {
		err_set(err, ERR_USAGE, "'%s' is of a <%.40s>, not of a <domain> or a <network>",
			file, kind);
		json_decref(r.out);
		json_decref(r.notes);
		json_decref(r.more);
		return NULL;
	}
	json_object_update_new(r.more,
		json_pack("{s:s, s:o, s:o}", "kind", kind, "definition", r.out, "notes", r.notes));
	return r.more;
}

json_t *libvirt_read(const char *text, size_t len, const char *file, struct err *err)
{
	json_t *read = NULL;
	if (check_text(text, len, file, err) < 0)
		return NULL;
	xmlResetLastError();
	xmlSetGenericErrorFunc(NULL, quiet);
	/* whatever its first line says: in another encoding what was looked for could hide */
	xmlDoc *doc = xmlReadMemory(text, (int)len, NULL, "UTF-8",
		XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!root || doc->intSubset)
		not_xml(file, err);
	else
		read = read_root(root, file, err);
	xmlFreeDoc(doc);
	return read;
}
