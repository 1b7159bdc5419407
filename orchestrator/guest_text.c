#include "orchestrator/guest_text.h"

#include <string.h>

enum { TEXT_MAX = 4096 };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

size_t utf8_next(const char *p, size_t len, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = len ? (unsigned char)p[0] : 0xff;
	size_t count = first < 0x80             ? 1
		       : (first & 0xe0) == 0xc0 ? 2
		       : (first & 0xf0) == 0xe0 ? 3
		       : (first & 0xf8) == 0xf0 ? 4
						: 0;
	if (!count || count > len)
		return 0;
	uint32_t c = count == 1 ? first : first & (0x7fU >> count);
	for (size_t i = 1; i < count; i++) {
		if (((unsigned char)p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((unsigned char)p[i] & 0x3f);
	}
	if (c < least[count] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*code = c;
	return count;
}

char *text_utf8(const char *data, size_t len)
{
	struct buf out = {0};
	for (size_t i = 0; i < len;) {
		uint32_t code = 0;
		size_t n = utf8_next(data + i, len - i, &code);
		if (n && code)
			buf_add(&out, data + i, n);
		else
			buf_str(&out, replacement);
		i += n ? n : 1;
	}
	return buf_steal(&out);
}

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

char *text_line(const char *data, size_t len, size_t max)
{
	struct buf out = {0};
	for (size_t i = 0; i < len;) {
		uint32_t code = 0;
		size_t n = utf8_next(data + i, len - i, &code);
		if (out.len >= max) {
			buf_str(&out, "...");
			break;
		}
		if (!n)
			buf_fmt(&out, "\\x%02x", (unsigned char)data[i]);
		else if (code == '\n')
			buf_str(&out, "\\n");
		else if (code == '\t')
			buf_str(&out, "\\t");
		else if (is_control(code))
			buf_fmt(&out, "\\x%02x", code);
		else
			buf_add(&out, data + i, n);
		i += n ? n : 1;
	}
	return buf_steal(&out);
}

static void line_of(json_t *text)
{
	_cleanup_free_ char *line =
		text_line(json_string_value(text), json_string_length(text), TEXT_MAX);
	json_string_set(text, line);
}

void text_lines(json_t *value)
{
	const char *key;
	size_t i;
	json_t *one;
	if (json_is_string(value))
		line_of(value);
	json_array_foreach (value, i, one)
		text_lines(one);
	json_object_foreach (value, key, one)
		text_lines(one);
}

/* What stands for a character that may not stand there as it is; NULL: it may. */
static const char *xml_entity(uint32_t code, bool attribute)
{
	switch (code) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;"; /* needed in "]]>" only */
	case '\r':
		return "&#13;"; /* else a parser makes a new line of it */
	case '"':
		return attribute ? "&quot;" : NULL;
	case '\n':
		return attribute ? "&#10;" : NULL;
	case '\t':
		return attribute ? "&#9;" : NULL;
	case 0xfffe:
	case 0xffff:
		return replacement;
	default:
		return NULL;
	}
}

static void xml_add(struct buf *out, const char *data, size_t len, bool attribute)
{
	for (size_t i = 0; i < len;) {
		uint32_t code = 0;
		size_t n = utf8_next(data + i, len - i, &code);
		const char *entity = n ? xml_entity(code, attribute) : replacement;
		if (entity)
			buf_str(out, entity);
		else if (code < 0x20 && code != '\n' && code != '\t')
			buf_fmt(out, "\\x%02x", code);
		else
			buf_add(out, data + i, n);
		i += n ? n : 1;
	}
}

void xml_content(struct buf *out, const char *data, size_t len)
{
	xml_add(out, data, len, false);
}

void xml_attribute(struct buf *out, const char *data, size_t len)
{
	xml_add(out, data, len, true);
}
