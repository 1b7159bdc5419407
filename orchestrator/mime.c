#include "orchestrator/mime.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

enum { DEPTH_MAX = 8, PARTS_MAX = 1000 };

/* What is left of the message, or of a part. */
struct span {
	const char *at, *end;
	unsigned line; /* that `at` is the beginning of */
};

struct head {
	char type[80], boundary[80], encoding[32], name[80];
};

struct walk {
	const char *what;
	mime_part_fn *fn;
	void *about;
	unsigned count;
};

/* The next line without its end; false: there is none. */
static bool next_line(struct span *s, const char **line, size_t *len)
{
	if (s->at >= s->end)
		return false;
	const char *newline = memchr(s->at, '\n', (size_t)(s->end - s->at));
	const char *stop = newline ? newline : s->end;
	*line = s->at;
	*len = (size_t)(stop - s->at);
	if (*len && (*line)[*len - 1] == '\r')
		--*len;
	s->at = newline ? newline + 1 : s->end;
	s->line++;
	return true;
}

/* ---- headers ------------------------------------------------------------------------------------------- */

/* A token or a quoted text, up to a ';'; returns what comes after it. */
static const char *take_value(const char *p, char *out, size_t room)
{
	size_t len = 0;
	bool quoted = *p == '"';
	for (p += quoted; *p && (quoted ? *p != '"' : *p != ';' && !isspace((unsigned char)*p));
		p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		if (len + 1 < room)
			out[len++] = *p;
	}
	out[len] = '\0';
	return *p ? p + 1 : p;
}

/* The value of `; KEY=` in a header's value; "" without. */
static void parameter(const char *value, const char *key, char *out, size_t room)
{
	char other[8] = "";
	size_t len = strlen(key);
	out[0] = '\0';
	for (const char *p = strchr(value, ';'); p && *p;) {
		p += strspn(p, "; \t");
		const char *equals = p + strcspn(p, "=;");
		bool is_it = (size_t)(equals - p) == len && strncasecmp(p, key, len) == 0;
		if (*equals != '=') {
			p = equals;
			continue;
		}
		p = take_value(equals + 1, is_it ? out : other, is_it ? room : sizeof(other));
		if (is_it)
			return;
		p = p[-1] == ';' ? p - 1 : p;
	}
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

static void take_header(struct head *h, const char *name, const char *value)
{
	value += strspn(value, " \t");
	if (strcasecmp(name, "Content-Type") == 0) {
		snprintf(h->type, sizeof(h->type), "%.*s", (int)strcspn(value, "; \t"), value);
		lower(h->type);
		parameter(value, "boundary", h->boundary, sizeof(h->boundary));
		if (!h->name[0])
			parameter(value, "name", h->name, sizeof(h->name));
	}
	if (strcasecmp(name, "Content-Disposition") == 0)
		parameter(value, "filename", h->name, sizeof(h->name));
	if (strcasecmp(name, "Content-Transfer-Encoding") == 0) {
		snprintf(h->encoding, sizeof(h->encoding), "%.*s", (int)strcspn(value, "; \t"),
			value);
		lower(h->encoding);
	}
}

/* "Name: value", lines that begin with a blank joined to it. */
static int split_header(
	const struct walk *w, struct head *h, struct buf *header, unsigned line, struct err *err)
{
	if (!header->len)
		return 0;
	char *colon = strchr(header->data, ':');
	if (!colon || colon == header->data ||
		strcspn(header->data, " \t") < (size_t)(colon - header->data))
		return err_set(err, ERR_USAGE,
			"%s:%u: a MIME header is 'Name: value', and an empty line ends them",
			w->what, line);
	*colon = '\0';
	take_header(h, header->data, colon + 1);
	buf_drop(header, header->len);
	return 0;
}

/* Up to the empty line, which is passed. */
static int read_head(const struct walk *w, struct span *s, struct head *h, struct err *err)
{
	_cleanup_buf_ struct buf header = {0};
	const char *line;
	size_t len;
	unsigned began = s->line;
	*h = (struct head){.type = "text/plain"};
	while (next_line(s, &line, &len) && len) {
		if (line[0] == ' ' || line[0] == '\t') {
			buf_add(&header, line, len);
			continue;
		}
		if (split_header(w, h, &header, began, err) < 0)
			return -1;
		began = s->line - 1;
		if (began > 1 || strncmp(line, "From ", 5) != 0) /* as a mailbox has it */
			buf_add(&header, line, len);
	}
	for (char *p = h->name; *p; p++) /* it goes to a terminal */
		*p = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p;
	return split_header(w, h, &header, began, err);
}

/* ---- encodings ------------------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* False: it is none. */
static bool decode_base64(const struct span *s, struct buf *out)
{
	uint32_t bits = 0;
	unsigned count = 0, pads = 0;
	for (const char *p = s->at; p < s->end; p++) {
		if (isspace((unsigned char)*p))
			continue;
		int digit = base64_digit(*p);
		pads += *p == '=';
		if ((digit < 0 && *p != '=') || (digit >= 0 && pads) || pads > 2)
			return false;
		bits = bits << 6 | (uint32_t)(digit < 0 ? 0 : digit);
		if (++count % 4)
			continue;
		const char bytes[] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
		buf_add(out, bytes, 3 - pads);
	}
	return count % 4 == 0;
}

static bool decode_quoted(const struct span *s, struct buf *out)
{
	for (const char *p = s->at; p < s->end; p++) {
		unsigned byte;
		size_t left = (size_t)(s->end - p);
		if (*p != '=') {
			buf_add(out, p, 1);
		} else if (left > 1 && p[1] == '\n') {
			p++;
		} else if (left > 2 && p[1] == '\r' && p[2] == '\n') {
			p += 2;
		} else if (left > 2 && isxdigit((unsigned char)p[1]) &&
			   sscanf(p + 1, "%2x", &byte) == 1) {
			buf_add(out, &(char){(char)byte}, 1);
			p += 2;
		} else {
			return false;
		}
	}
	return true;
}

/* *encoded: it was. */
static int decode(const struct walk *w, const struct head *h, const struct span *s, struct buf *out,
	bool *encoded, struct err *err)
{
	bool base64 = str_eq(h->encoding, "base64"),
	     quoted = str_eq(h->encoding, "quoted-printable");
	*encoded = base64 || quoted;
	if (*encoded) {
		if (base64 ? decode_base64(s, out) : decode_quoted(s, out))
			return 0;
		return err_set(err, ERR_USAGE, "%s:%u: the part that begins here is not %s",
			w->what, s->line, h->encoding);
	}
	if (h->encoding[0] && !str_eq(h->encoding, "7bit") && !str_eq(h->encoding, "8bit") &&
		!str_eq(h->encoding, "binary"))
		return err_set(err, ERR_USAGE,
			"%s:%u: the part that begins here has the unknown Content-Transfer-Encoding '%s'",
			w->what, s->line, h->encoding);
	buf_add(out, s->at, (size_t)(s->end - s->at));
	return 0;
}

/* ---- parts ------------------------------------------------------------------------------------------------- */

static int leaf(struct walk *w, const struct head *h, const struct span *s, struct err *err)
{
	char number[16];
	_cleanup_secret_ struct buf text = {0};
	struct mime_part p = {.type = h->type, .line = s->line};
	if (++w->count > PARTS_MAX)
		return err_set(err, ERR_USAGE, "%s:%u: it has more than %d parts", w->what, s->line,
			PARTS_MAX);
	if (decode(w, h, s, &text, &p.encoded, err) < 0)
		return -1;
	buf_add(&text, "", 0);
	snprintf(number, sizeof(number), "part-%03u", w->count);
	p.name = h->name[0] ? h->name : number;
	p.text = text.data ? text.data : "";
	p.len = text.len;
	return w->fn(w->about, &p, err);
}

/* A line that is "--BOUNDARY", or the last one: "--BOUNDARY--". */
static bool is_boundary(const char *line, size_t len, const char *boundary, bool *last)
{
	size_t of = strlen(boundary);
	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	if (len < of + 2 || strncmp(line, "--", 2) != 0 || strncmp(line + 2, boundary, of) != 0)
		return false;
	*last = len == of + 4 && strncmp(line + 2 + of, "--", 2) == 0;
	return *last || len == of + 2;
}

static int entity(struct walk *w, struct span s, int depth, struct err *err);

/* `s` is what comes before the next boundary, whose line's end is not its own. */
static int part(struct walk *w, struct span s, int depth, struct err *err)
{
	if (s.end > s.at && s.end[-1] == '\n')
		s.end--;
	if (s.end > s.at && s.end[-1] == '\r')
		s.end--;
	return entity(w, s, depth + 1, err);
}

static int multipart(
	struct walk *w, const struct head *h, struct span s, int depth, struct err *err)
{
	unsigned began = s.line;
	struct span in = {.at = NULL};
	const char *line;
	size_t len;
	bool last = false;
	if (!h->boundary[0])
		return err_set(err, ERR_USAGE,
			"%s:%u: the multipart that begins here names no boundary", w->what, began);
	if (depth == DEPTH_MAX)
		return err_set(err, ERR_USAGE, "%s:%u: multiparts are more than %d deep", w->what,
			began, DEPTH_MAX);
	while (!last && next_line(&s, &line, &len)) {
		if (!is_boundary(line, len, h->boundary, &last))
			continue;
		in.end = line;
		if (in.at && part(w, in, depth, err) < 0)
			return -1;
		in = (struct span){.at = s.at, .line = s.line};
	}
	if (!in.at)
		return err_set(err, ERR_USAGE, "%s:%u: there is no part: no line is '--%s'",
			w->what, began, h->boundary);
	return last ? 0
		    : err_set(err, ERR_USAGE,
			      "%s:%u: it is cut off: its last line, '--%s--', is missing", w->what,
			      s.line - 1, h->boundary);
}

static int entity(struct walk *w, struct span s, int depth, struct err *err)
{
	struct head h;
	if (read_head(w, &s, &h, err) < 0)
		return -1;
	return str_starts(h.type, "multipart/") ? multipart(w, &h, s, depth, err)
						: leaf(w, &h, &s, err);
}

int mime_parts(const char *what, const char *text, size_t len, mime_part_fn *fn, void *about,
	struct err *err)
{
	struct walk w = {.what = what, .fn = fn, .about = about};
	return entity(&w, (struct span){.at = text, .end = text + len, .line = 1}, 0, err);
}
