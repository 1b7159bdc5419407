#include "images/checksums.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* What a line says; its parts lie in the text. */
struct entry {
	const char *algorithm; /* "sha256", "sha512" */
	const char *hex;
	size_t hex_len;
	const char *name; /* NULL: a bare digest */
	size_t name_len;
};

static const struct {
	const char *name;
	size_t hex_len;
} algorithms[] = {{"sha256", 64}, {"sha512", 128}};

static size_t hex_run(const char *text, const char *end)
{
	size_t n = 0;
	while (text + n < end && isxdigit((unsigned char)text[n]))
		n++;
	return n;
}

static const char *by_length(size_t hex_len)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (algorithms[i].hex_len == hex_len)
			return algorithms[i].name;
	return NULL;
}

/* "SHA256 (FILE) = HEX"; openssl's "SHA2-256(FILE)= HEX" is the same with other blanks. */
static bool read_bsd(const char *line, const char *end, struct entry *e)
{
	static const struct {
		const char *word, *algorithm;
	} words[] = {{"SHA256", "sha256"}, {"SHA512", "sha512"}, {"SHA2-256", "sha256"},
		{"SHA2-512", "sha512"}};
	const char *at = memchr(line, '(', (size_t)(end - line));
	size_t word_len = at ? (size_t)(at - line) : 0;
	while (word_len && line[word_len - 1] == ' ')
		word_len--;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (word_len == strlen(words[i].word) && !memcmp(line, words[i].word, word_len))
			e->algorithm = words[i].algorithm;
	if (!e->algorithm)
		return false;
	/* a name may hold brackets itself: the last one closes */
	const char *close = memrchr(at, ')', (size_t)(end - at));
	if (!close)
		return false;
	e->name = at + 1;
	e->name_len = (size_t)(close - at) - 1;
	for (at = close + 1; at < end && (*at == ' ' || *at == '='); at++)
		;
	e->hex = at;
	e->hex_len = hex_run(at, end);
	return at + e->hex_len == end && str_eq(by_length(e->hex_len), e->algorithm);
}

/* "HEX  FILE", "HEX *FILE", or "HEX" alone. */
static bool read_coreutils(const char *line, const char *end, struct entry *e)
{
	e->hex = line;
	e->hex_len = hex_run(line, end);
	e->algorithm = by_length(e->hex_len);
	const char *at = line + e->hex_len;
	if (!e->algorithm || at == end)
		return e->algorithm != NULL;
	if (end - at < 3 || at[0] != ' ' || (at[1] != ' ' && at[1] != '*'))
		return false;
	e->name = at + 2;
	e->name_len = (size_t)(end - e->name);
	return true;
}

static bool read_line(const char *line, const char *end, struct entry *e)
{
	*e = (struct entry){0};
	while (end > line && isspace((unsigned char)end[-1]))
		end--;
	if (end - line > 2 && line[0] == '-' && line[1] == ' ') /* PGP's escape */
		line += 2;
	if (!read_bsd(line, end, e)) {
		*e = (struct entry){0};
		if (!read_coreutils(line, end, e))
			return false;
	}
	if (e->name_len > 2 && !memcmp(e->name, "./", 2)) {
		e->name += 2;
		e->name_len -= 2;
	}
	return true;
}

/* Between these lines stands a signature, which no line of ours is in. */
static bool in_signature(const char *line, const char *end, bool *inside)
{
	static const char begins[] = "-----BEGIN PGP SIGNATURE-----",
			  ends[] = "-----END PGP SIGNATURE-----";
	size_t len = (size_t)(end - line);
	bool was = *inside;
	if (len >= strlen(begins) && !memcmp(line, begins, strlen(begins)))
		*inside = true;
	if (len >= strlen(ends) && !memcmp(line, ends, strlen(ends)))
		*inside = false;
	return was || *inside;
}

struct search {
	const char *file;
	bool own;
	struct entry found[ARRAY_SIZE(algorithms)]; /* by algorithm; hex NULL: none yet */
	bool differ;
};

static void take(struct search *s, const struct entry *e)
{
	bool named =
		e->name && e->name_len == strlen(s->file) && !memcmp(e->name, s->file, e->name_len);
	if (!named && !s->own)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		struct entry *f = &s->found[i];
		if (!str_eq(algorithms[i].name, e->algorithm))
			continue;
		if (f->hex && strncasecmp(f->hex, e->hex, e->hex_len) != 0)
			s->differ = true;
		*f = *e;
	}
}

int checksums_find(const char *text, size_t len, const char *file, bool own,
	char out[CHECKSUM_SIZE], struct err *err)
{
	struct search s = {.file = file, .own = own};
	struct entry e;
	bool inside = false;
	const char *best = NULL, *stop = text + len;
	for (const char *line = text, *end; line < stop; line = end + 1) {
		end = memchr(line, '\n', (size_t)(stop - line));
		end = end ? end : stop;
		if (!in_signature(line, end, &inside) && read_line(line, end, &e))
			take(&s, &e);
	}
	if (s.differ)
		return err_set(err, ERR_REFUSED, "two different digests of '%s' stand there", file);
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
		if (!s.found[i].hex)
			continue;
		best = s.found[i].hex;
		snprintf(out, CHECKSUM_SIZE, "%s:%.*s", algorithms[i].name,
			(int)algorithms[i].hex_len, best);
		for (char *c = out; *c; c++)
			*c = (char)tolower((unsigned char)*c);
	}
	return best ? 0
		    : err_set(err, ERR_NOT_FOUND, "no SHA-256 or SHA-512 of '%s' stands there",
			      file);
}
