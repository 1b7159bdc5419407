#include "orchestrator/tool_told.h"

#include <stdio.h>
#include <unistd.h>

static void show_progress(void *about, const char *step, int64_t done, int64_t total)
{
	(void)about;
	fprintf(stderr, "\r%s: %lld %%\033[K", step, (long long)(total ? done * 100 / total : 0));
}

struct tool_run tool_told(const struct cli *cli, const char *const *argv)
{
	bool shown = !cli->json && isatty(STDERR_FILENO);
	return (struct tool_run){.argv = argv, .told = shown ? show_progress : NULL};
}

void tool_told_end(const struct tool_run *run)
{
	if (run->told)
		fputs("\r\033[K", stderr);
}
