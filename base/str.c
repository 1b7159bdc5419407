#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

void buf_reserve(struct buf *b, size_t len)
{
	size_t need = b->len + len + 1;
	if (need <= b->cap)
		return;
	size_t cap = b->cap ? b->cap : 128;
	while (cap < need)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static void buf_vfmt(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	if (len > 0) {
		buf_reserve(b, (size_t)len);
		vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
	}
	va_end(again);
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vfmt(b, fmt, ap);
	va_end(ap);
}

void buf_drop(struct buf *b, size_t len)
{
	if (len >= b->len)
		len = b->len;
	b->len -= len;
	if (b->data)
		memmove(b->data, b->data + len, b->len + 1);
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

char *buf_steal(struct buf *b)
{
	char *text = b->data ? b->data : xstrdup("");
	*b = (struct buf){0};
	return text;
}

char *str_fmt(const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;
	va_start(ap, fmt);
	buf_vfmt(&b, fmt, ap);
	va_end(ap);
	return buf_steal(&b);
}

bool str_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t ls = strlen(s), lx = strlen(suffix);
	return ls >= lx && strcmp(s + ls - lx, suffix) == 0;
}

int str_parse_u64(const char *text, uint64_t min, uint64_t max, const char *what, uint64_t *out,
	struct err *err)
{
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end)
		return err_set(err, ERR_USAGE, "%s: '%.40s' is not a whole number", what, text);
	if (errno || v < min || v > max)
		return err_set(err, ERR_USAGE, "%s: %.40s is not between %llu and %llu", what, text,
			(unsigned long long)min, (unsigned long long)max);
	*out = v;
	return 0;
}

/* 0 for a suffix that does not exist. */
static uint64_t size_unit(const char *suffix)
{
	static const char letters[] = "KMGTPE";
	const char *at = *suffix ? strchr(letters, toupper((unsigned char)*suffix)) : NULL;
	if (!at)
		return strcasecmp(suffix, "b") == 0 ? 1 : 0;
	uint64_t base;
	if (!suffix[1] || strcasecmp(suffix + 1, "ib") == 0)
		base = 1024;
	else if (strcasecmp(suffix + 1, "b") == 0)
		base = 1000;
	else
		return 0;
	uint64_t unit = 1;
	for (const char *p = letters; p <= at; p++)
		unit *= base;
	return unit;
}

int str_parse_size(
	const char *text, uint64_t bare, const char *what, uint64_t *bytes, struct err *err)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || errno)
		return err_set(err, ERR_USAGE, "%s: '%.40s' is not a size", what, text),
		       err_hint(err, "write a number with a suffix, such as 512M or 20G");
	while (*end == ' ')
		end++;
	uint64_t unit = *end ? size_unit(end) : bare;
	if (*end == '.')
		return err_set(err, ERR_USAGE, "%s: '%.40s' has a fraction", what, text),
		       err_hint(err, "write it in a smaller unit: 1536M for one and a half G");
	if (!*end && !bare)
		return err_set(err, ERR_USAGE, "%s: '%.40s' has no unit", what, text),
		       err_hint(err, "add a suffix: %.40sM or %.40sG", text, text);
	if (!unit)
		return err_set(err, ERR_USAGE, "%s: '%.40s' has an unknown unit", what, text),
		       err_hint(
			       err, "the suffixes are K, M, G, T (1024) and KB, MB, GB, TB (1000)");
	if (__builtin_mul_overflow((uint64_t)n, unit, bytes))
		return err_set(err, ERR_USAGE, "%s: %.40s is too large", what, text);
	return 0;
}

int str_parse_duration(const char *text, const char *what, int64_t *ms, struct err *err)
{
	static const struct {
		const char *suffix;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	char *end;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!isdigit((unsigned char)text[0]) || !str_eq(end, units[i].suffix))
			continue;
		int64_t product;
		if (errno || n == 0 || __builtin_mul_overflow((int64_t)n, units[i].ms, &product))
			return err_set(err, ERR_USAGE, "%s: %.40s is %s", what, text,
				n ? "too long" : "no time at all");
		*ms = product;
		return 0;
	}
	err_set(err, ERR_USAGE, "%s: '%.40s' is not a duration", what, text);
	return err_hint(err, "write a number with ms, s, m or h, such as 90s or 3m");
}

const char *str_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	static char ring[8][32];
	static unsigned next;
	char *out = ring[next++ % 8];
	unsigned u = 0;
	uint64_t whole = bytes, rest = 0;
	while (whole >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		rest = whole % 1024;
		whole /= 1024;
		u++;
	}
	if (rest * 10 / 1024)
		snprintf(out, sizeof(ring[0]), "%llu.%llu %s", (unsigned long long)whole,
			(unsigned long long)(rest * 10 / 1024), units[u]);
	else
		snprintf(out, sizeof(ring[0]), "%llu %s", (unsigned long long)whole, units[u]);
	return out;
}

/* Damerau-Levenshtein distance without the transposition table: words here are short. */
static unsigned distance(const char *a, const char *b)
{
	enum { MAX = 63 };
	size_t la = strlen(a), lb = strlen(b);
	unsigned char two[MAX + 2] = {0}, one[MAX + 2] = {0}, row[MAX + 2] = {0};
	if (la > MAX || lb > MAX)
		return 2 * MAX;
	for (size_t j = 0; j <= lb; j++)
		one[j] = (unsigned char)j;
	for (size_t i = 1; i <= la; i++) {
		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = one[j - 1] + (a[i - 1] != b[j - 1] ? 1U : 0U);
			if (one[j] + 1U < best)
				best = one[j] + 1U;
			if (row[j - 1] + 1U < best)
				best = row[j - 1] + 1U;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				two[j - 2] + 1U < best)
				best = two[j - 2] + 1U;
			row[j] = (unsigned char)best;
		}
		memcpy(two, one, sizeof(two));
		memcpy(one, row, sizeof(one));
	}
	return one[lb];
}

const char *str_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned limit = 1 + (unsigned)strlen(word) / 3;
	for (; *names; names++) {
		unsigned d = distance(word, *names);
		bool begins = str_starts(*names, word); /* a word that was cut short */
		if (d < limit || (d == limit && (!best || (begins && !str_starts(best, word))))) {
			best = *names;
			limit = d;
		}
	}
	return best;
}

int name_check(const char *name, const char *what, struct err *err)
{
	size_t len = strlen(name), digits = 0;
	if (len == 0)
		return err_set(err, ERR_USAGE, "%s: the name is empty", what);
	if (len > 63)
		return err_set(err, ERR_USAGE,
			"%s '%.20s...': the name has %zu characters, 63 are allowed", what, name,
			len);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];
		bool alnum = c < 128 && isalnum(c);
		if (!alnum && (i == 0 || !strchr("._-", c))) {
			err_set(err, ERR_USAGE, "%s '%.63s': the name may not %s '%c'", what, name,
				i ? "contain" : "begin with", c < 128 && isprint(c) ? c : '?');
			return err_hint(err,
				"names are letters, digits, '.', '_' and '-', and begin with a letter or digit");
		}
		digits += c < 128 && isdigit(c);
	}
	if (digits == len)
		return err_set(err, ERR_USAGE,
			"%s '%s': the name is all digits, which would be an Id", what, name);
	if (strstr(name, ".."))
		return err_set(
			err, ERR_USAGE, "%s '%s': the name may not contain '..'", what, name);
	return 0;
}

char *shell_word(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./+=:,@%";
	if (text[0] && text[strspn(text, plain)] == '\0')
		return xstrdup(text);
	struct buf b = {0};
	buf_str(&b, "'");
	for (const char *p = text; *p; p++)
		*p == '\'' ? buf_str(&b, "'\\''") : buf_add(&b, p, 1);
	buf_str(&b, "'");
	return buf_steal(&b);
}
