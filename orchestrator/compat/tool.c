#include "orchestrator/compat/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/paths.h"

static const char *nearest(const char *word, const struct option *options)
{
	const char *names[128];
	size_t count = 0;
	_cleanup_free_ char *bare = strndup(word + 2, strcspn(word + 2, "="));
	for (; options->name && count + 1 < ARRAY_SIZE(names); options++)
		names[count++] = options->name;
	names[count] = NULL;
	return str_nearest(bare, names);
}

int tool_bad_option(const char *tool, char **argv, const struct option *options, int letter)
{
	const char *word = argv[optind - 1];
	if (letter == ':')
		fprintf(stderr, "%s: option '%s' requires an argument\n", tool, word);
	else if (!str_starts(word, "--"))
		fprintf(stderr, "%s: invalid option -- '%c'\n", tool, optopt);
	else if (nearest(word, options))
		fprintf(stderr, "%s: unrecognized option '%s'; did you mean --%s?\n", tool, word,
			nearest(word, options));
	else
		fprintf(stderr, "%s: unrecognized option '%s'\n", tool, word);
	return 1;
}

int tool_refuse(const char *tool, const char *option, const char *why)
{
	fprintf(stderr, "%s: option '%s' is not there: %s\n", tool, option, why);
	return 1;
}

char *tool_option_word(const struct option *options, int letter)
{
	while (options->name && options->val != letter)
		options++;
	return str_fmt("--%s", options->name ? options->name : "");
}

int tool_connect(const char *uri, struct err *err)
{
	const char *usual = getenv("LIBVIRT_DEFAULT_URI");
	if (paths_connect(uri ? uri : usual, err) < 0)
		return -1;
	return paths_state(err) && paths_run(err) ? 0 : -1;
}

char *tool_reason(const struct err *err)
{
	return err->hint[0] ? str_fmt("%s; %s", err->message, err->hint) : xstrdup(err->message);
}

int tool_fail(const char *head, const char *fmt, ...)
{
	va_list args;
	fflush(stdout);
	fputs(head, stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return -1;
}

int tool_fail_for(const char *head, const struct err *err)
{
	_cleanup_free_ char *why = tool_reason(err);
	return tool_fail(head, "%s", why);
}

bool tool_lacks_guest(const char *guest, const struct err *err)
{
	struct err ignored = ERR_INIT;
	return err->kind == ERR_NOT_FOUND && compat_ask("domid", guest, NULL, &ignored) < 0;
}

int tool_fail_guest(const char *head, const char *guest, const struct err *err)
{
	if (!tool_lacks_guest(guest, err))
		return tool_fail_for(head, err);
	return tool_fail(head,
		"no libvirt domain called ‘%s’: Domain not found: no domain with matching name '%s'",
		guest, guest);
}
