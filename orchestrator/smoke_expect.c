/* Is what a guest said what its step expects? If not, the error says both. */
#include "orchestrator/smoke_steps.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/guest_text.h"

enum { SHOWN = 200 };

/* ---- texts ------------------------------------------------------------------------- */

bool pattern_found(const char *pattern, const char *data, size_t len)
{
	regex_t re;
	regmatch_t where = {.rm_so = 0, .rm_eo = (regoff_t)len};
	if (regcomp(&re, pattern, SMOKE_REGEX) != 0)
		return false;
	bool found = regexec(&re, data, 1, &where, REG_STARTEND) == 0;
	regfree(&re);
	return found;
}

static size_t without_last_lines(const char *data, size_t len)
{
	while (len && data[len - 1] == '\n')
		len--;
	return len;
}

static int differs(const char *how, const char *wanted, const char *what, const struct buf *data,
	size_t len, struct err *err)
{
	_cleanup_free_ char *expected = text_line(wanted, strlen(wanted), SHOWN);
	_cleanup_free_ char *got = text_line(data->data, len, SHOWN);
	return err_set(err, ERR_QEMU, "expected %s %s '%s', got '%s'", what, how, expected, got);
}

int step_expect(const struct step *s, const char *what, const struct buf *data, struct err *err)
{
	const char *text = data->data ? data->data : "";
	size_t len = without_last_lines(text, data->len);
	if (s->equals) {
		size_t wanted = without_last_lines(s->equals, strlen(s->equals));
		if (len != wanted || memcmp(text, s->equals, len) != 0)
			return differs("equal to", s->equals, what, data, len, err);
	}
	if (s->contains && !memmem(text, data->len, s->contains, strlen(s->contains)))
		return differs("with", s->contains, what, data, len, err);
	if (s->matches && !pattern_found(s->matches, text, len))
		return differs("that matches", s->matches, what, data, len, err);
	return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static int json_differs(const json_t *wanted, const json_t *got, const char *where, struct err *err)
{
	_cleanup_free_ char *a = json_dumps(wanted, JSON_COMPACT | JSON_ENCODE_ANY);
	_cleanup_free_ char *b = got ? json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	_cleanup_free_ char *expected = text_line(a ? a : "", a ? strlen(a) : 0, SHOWN);
	_cleanup_free_ char *found = text_line(b ? b : "nothing", b ? strlen(b) : 7, SHOWN);
	return err_set(err, ERR_QEMU, "expected %s to be %s, got %s", where, expected, found);
}

/* A text stands for the number or the word that is written so. */
static bool scalar_holds(const json_t *wanted, const json_t *got)
{
	if (!json_is_string(wanted) || json_is_string(got))
		return json_equal((json_t *)wanted, (json_t *)got);
	_cleanup_free_ char *text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
	return !json_is_object(got) && !json_is_array(got) &&
	       str_eq(json_string_value(wanted), text);
}

static int list_holds(const json_t *wanted, const json_t *got, const char *where, struct err *err)
{
	struct err ignored = ERR_INIT;
	size_t i, k;
	json_t *item, *other;
	if (!json_is_array(got))
		return json_differs(wanted, got, where, err);
	json_array_foreach ((json_t *)wanted, i, item) {
		bool found = false;
		json_array_foreach ((json_t *)got, k, other)
			found = found || json_holds(item, other, where, &ignored) == 0;
		if (!found) {
			_cleanup_free_ char *at = str_fmt("an item of %s", where);
			return json_differs(item, got, at, err);
		}
	}
	return 0;
}

int json_holds(const json_t *wanted, const json_t *got, const char *where, struct err *err)
{
	if (json_is_array(wanted))
		return list_holds(wanted, got, where, err);
	if (!json_is_object(wanted))
		return scalar_holds(wanted, got) ? 0 : json_differs(wanted, got, where, err);
	if (!json_is_object(got))
		return json_differs(wanted, got, where, err);
	json_t *o = (json_t *)wanted;
	for (void *i = json_object_iter(o); i; i = json_object_iter_next(o, i)) {
		const char *key = json_object_iter_key(i);
		_cleanup_free_ char *at = str_fmt("%.100s.%.60s", where, key);
		if (json_holds(json_object_iter_value(i), json_object_get(got, key), at, err) < 0)
			return -1;
	}
	return 0;
}
