#include "orchestrator/ssh_terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool is_raw;

void terminal_restore(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	is_raw = false;
}

void terminal_raw(void)
{
	struct termios raw;
	static bool at_exit;
	if (is_raw || tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	if (!at_exit)
		atexit(terminal_restore);
	at_exit = true;
	raw = before;
	cfmakeraw(&raw);
	is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void terminal_size(int *columns, int *rows)
{
	*columns = 80;
	*rows = 24;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		struct winsize w;
		if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
			*columns = w.ws_col;
			*rows = w.ws_row;
			return;
		}
	}
}

bool escape_filter(enum escape *state, const char *typed, size_t len, char *out, size_t *out_len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = typed[i];
		if (*state == ESCAPE_LINE_START && c == '~') {
			*state = ESCAPE_TILDE;
			continue;
		}
		if (*state == ESCAPE_TILDE && c == '.')
			return true;
		if (*state == ESCAPE_TILDE && c != '~')
			out[n++] = '~';
		out[n++] = c;
		*state = c == '\r' || c == '\n' ? ESCAPE_LINE_START : ESCAPE_IN_LINE;
	}
	*out_len = n;
	return false;
}
