#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int exit_code;
} kinds[] = {
	[ERR_NONE] = {"none", 0},
	[ERR_USAGE] = {"usage", 2},
	[ERR_NOT_FOUND] = {"not-found", 3},
	[ERR_BUSY] = {"busy", 4},
	[ERR_REFUSED] = {"refused", 5},
	[ERR_QEMU] = {"qemu", 6},
	[ERR_SYSTEM] = {"system", 7},
	[ERR_TIMEOUT] = {"timeout", 8},
	[ERR_GONE] = {"gone", 9},
};
static_assert(sizeof(kinds) / sizeof(kinds[0]) == ERR_KIND_MAX, "a kind lacks its row");

/* A message is one line whatever a peer or a file put into it. */
static void one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			*text = ' ';
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
	char text[sizeof(err->message)]; /* the arguments may point into *err */
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	one_line(text);
	err->kind = kind;
	memcpy(err->message, text, sizeof(text));
	err->hint[0] = '\0';
	return -1;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int number = errno;
	char text[sizeof(err->message)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(err, number == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "%s: %s", text,
		strerror(number));
	errno = number;
	return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char old[sizeof(err->message)], prefix[sizeof(err->message)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	one_line(prefix);
	memcpy(old, err->message, sizeof(old));
	if ((size_t)snprintf(err->message, sizeof(err->message), "%s: %s", prefix, old) >=
		sizeof(err->message))
		memcpy(err->message + sizeof(err->message) - 4, "...", 4);
	return -1;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	one_line(err->hint);
	return -1;
}

const char *err_kind_name(enum err_kind kind)
{
	return kind < ERR_KIND_MAX ? kinds[kind].name : "system";
}

enum err_kind err_kind_of(const char *name)
{
	for (enum err_kind kind = ERR_NONE; kind < ERR_KIND_MAX; kind++)
		if (strcmp(kinds[kind].name, name) == 0)
			return kind;
	return ERR_QEMU;
}

int err_exit_code(enum err_kind kind)
{
	return kind < ERR_KIND_MAX ? kinds[kind].exit_code : kinds[ERR_SYSTEM].exit_code;
}
