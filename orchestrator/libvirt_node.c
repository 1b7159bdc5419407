#include "orchestrator/libvirt_node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* What _private of an element or attribute points to. */
static char known, passed;

static bool is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && str_eq((const char *)n->name, name);
}

static xmlNode *from_here(xmlNode *n, const char *name)
{
	for (; n; n = n->next)
		if (is(n, name)) {
			if (!n->_private)
				n->_private = &known;
			return n;
		}
	return NULL;
}

xmlNode *x_child(const xmlNode *parent, const char *name)
{
	return parent ? from_here(parent->children, name) : NULL;
}

xmlNode *x_next(const xmlNode *n)
{
	return from_here(n->next, (const char *)n->name);
}

static xmlAttr *find_attr(const xmlNode *n, const char *name)
{
	for (xmlAttr *a = n ? n->properties : NULL; a; a = a->next)
		if (str_eq((const char *)a->name, name))
			return a;
	return NULL;
}

const char *x_attr(const xmlNode *n, const char *name)
{
	xmlAttr *a = find_attr(n, name);
	if (!a)
		return NULL;
	a->_private = &known;
	/* without a document type there are no entities: the value is one text, or empty */
	return a->children && a->children->content ? (const char *)a->children->content : "";
}

bool x_attr_is(const xmlNode *n, const char *name, const char *value)
{
	return str_eq(x_attr(n, name), value);
}

char *x_text(const xmlNode *n)
{
	static const char white[] = " \t\r\n";
	struct buf text = {0};
	if (!n)
		return NULL;
	for (const xmlNode *c = n->children; c; c = c->next)
		if ((c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE) && c->content)
			buf_str(&text, (const char *)c->content);
	char *whole = buf_steal(&text), *from = whole + strspn(whole, white);
	size_t len = strlen(from);
	while (len && strchr(white, from[len - 1]))
		len--;
	memmove(whole, from, len);
	whole[len] = '\0';
	return whole;
}

char *x_child_text(const xmlNode *parent, const char *name)
{
	return x_text(x_child(parent, name));
}

void x_pass(xmlNode *n)
{
	if (n)
		n->_private = &passed;
}

void x_pass_children(const xmlNode *parent, const char *name)
{
	for (xmlNode *n = x_child(parent, name); n; n = x_next(n))
		x_pass(n);
}

unsigned x_number(const xmlNode *n, const char *attr, unsigned otherwise)
{
	const char *text = x_attr(n, attr);
	char *end;
	if (!text)
		return otherwise;
	unsigned long value = strtoul(text, &end, 0);
	return end == text || *end || value > UINT32_MAX ? otherwise : (unsigned)value;
}

char *lower_hex(const char *text)
{
	char *lower = xstrdup(text);
	for (char *p = lower; p && *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'F' ? *p + 'a' - 'A' : *p);
	return lower;
}

/* ---- notes ------------------------------------------------------------------------------------------ */

/* "devices/disk[2]": counted where there are several. */
static void add_path(const xmlNode *n, struct buf *out)
{
	unsigned before = 0, all = 0;
	if (!n->parent || n->parent->type != XML_ELEMENT_NODE) {
		return; /* <domain> itself */
	}
	add_path(n->parent, out);
	for (const xmlNode *s = n->parent->children; s; s = s->next) {
		if (!is(s, (const char *)n->name))
			continue;
		all++;
		before += s == n ? all : 0;
	}
	buf_fmt(out, "%s%s%s%.60s", out->len ? "/" : "",
		n->ns && n->ns->prefix ? (const char *)n->ns->prefix : "",
		n->ns && n->ns->prefix ? ":" : "", (const char *)n->name);
	if (all > 1)
		buf_fmt(out, "[%u]", before);
}

/* An answer has its bounds; what does not fit it is not passed over. */
static bool too_many(struct reading *r)
{
	enum { NOTES_MAX = 500 };
	size_t count = json_array_size(r->notes);
	if (count == NOTES_MAX)
		json_array_append_new(
			r->notes, json_pack("{s:s, s:i, s:b, s:s}", "path", "", "line", 1, "stops",
					  1, "what", "there is still more that has no equivalent"));
	return count >= NOTES_MAX;
}

/* It was cut, perhaps within a letter, of which jansson would make nothing. */
static void put_text(json_t *o, const char *key, const char *text)
{
	json_t *whole = json_string(text);
	for (size_t len = strlen(text); !whole && len; len--)
		whole = json_stringn(text, len);
	json_object_set_new(o, key, whole ? whole : json_string(""));
}

static void note(struct reading *r, const xmlNode *n, const char *attr, bool stops, const char *fmt,
	va_list list)
{
	char what[400];
	_cleanup_buf_ struct buf path = {0};
	if (too_many(r))
		return;
	vsnprintf(what, sizeof(what), fmt, list);
	add_path(n, &path);
	if (attr)
		buf_fmt(&path, "%s@%.60s", path.len ? "/" : "", attr);
	json_t *o = json_pack("{s:I, s:b}", "line", (json_int_t)xmlGetLineNo(n), "stops", stops);
	put_text(o, "path", path.len ? path.data : "");
	put_text(o, "what", what);
	json_array_append_new(r->notes, o);
}

void x_note(struct reading *r, xmlNode *n, bool stops, const char *fmt, ...)
{
	va_list list;
	va_start(list, fmt);
	note(r, n, NULL, stops, fmt, list);
	va_end(list);
	x_pass(n);
}

void x_remark(struct reading *r, const xmlNode *n, const char *fmt, ...)
{
	va_list list;
	va_start(list, fmt);
	note(r, n, NULL, false, fmt, list);
	va_end(list);
}

void x_note_attr(struct reading *r, xmlNode *n, const char *attr, bool stops, const char *fmt, ...)
{
	va_list list;
	va_start(list, fmt);
	note(r, n, attr, stops, fmt, list);
	va_end(list);
	x_attr(n, attr);
}

static void tell_attrs(struct reading *r, xmlNode *n)
{
	for (xmlAttr *a = n->properties; a; a = a->next)
		if (!a->_private)
			x_note_attr(r, n, (const char *)a->name, false, "has no equivalent");
}

void x_tell_rest(struct reading *r, xmlNode *root)
{
	tell_attrs(r, root);
	for (xmlNode *n = root->children; n; n = n->next) {
		if (n->type != XML_ELEMENT_NODE || n->_private == &passed)
			continue;
		if (n->_private)
			x_tell_rest(r, n);
		else
			x_note(r, n, false, "has no equivalent");
	}
}
