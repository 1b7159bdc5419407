/*
 * vncdisplay, domdisplay, set-vnc-password: a guest's screen, from elsewhere. VNC listens on a unix
 * socket alone, so the way to it from another machine is ssh.
 */
#include "orchestrator/verbs.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ask.h"
#include "orchestrator/access.h"
#include "orchestrator/display.h"
#include "orchestrator/look.h"
#include "orchestrator/paths.h"

enum { PASSWORD_MAX = 256 };

char *display_socket(const char *word, struct err *err)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	if (look_running(&l, word, err) < 0)
		return NULL;
	_cleanup_definition_ struct definition *d = look_definition(&l.f, err);
	if (!d)
		return NULL;
	if (d->vnc.enabled)
		return run_path(l.f.id, "vnc.sock", err);
	err_set(err, ERR_REFUSED, "guest '%s' has no VNC", l.f.name);
	err_hint(err, "add `vnc: true` to its definition and start it again");
	return NULL;
}

static bool is_member(const char *user)
{
	const struct group *group = user ? getgrnam(ACCESS_GROUP) : NULL;
	for (char **member = group ? group->gr_mem : NULL; member && *member; member++)
		if (str_eq(*member, user))
			return true;
	return false;
}

/* Who can open the socket. Root can seldom log in: who has called sudo may, if he is in the group. */
static const char *tunnel_user(void)
{
	const char *sudo = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *self = getpwuid(geteuid());
	return is_member(sudo) ? sudo : self ? self->pw_name : "you";
}

char *display_tunnel(const char *socket)
{
	char host[256] = "this-host";
	gethostname(host, sizeof(host) - 1);
	return str_fmt("ssh -N -L %d:%s %s@%s", VIEWER_PORT, socket, tunnel_user(), host);
}

static int run_display(const struct cli *cli, struct err *err)
{
	bool as_uri = str_eq(cli->verb->name, "domdisplay");
	_cleanup_free_ char *path = display_socket(cli->operands[0], err);
	if (!path)
		return -1;
	_cleanup_free_ char *tunnel = display_tunnel(path);
	_cleanup_free_ char *uri = str_fmt("vnc+unix://%s", path);
	if (cli->json)
		cli_print_json(
			json_pack("{s:s, s:s, s:s}", "socket", path, "uri", uri, "tunnel", tunnel));
	else
		printf("%s\nfrom another machine: %s, then a viewer to localhost:%d\n",
			as_uri ? uri : path, tunnel, VIEWER_PORT);
	return 0;
}

/* One line of standard input, without its end; never from the command line, which all can read. */
static int read_password(char out[PASSWORD_MAX], struct err *err)
{
	if (isatty(STDIN_FILENO))
		return ask_line("VNC password: ", true, out, PASSWORD_MAX, err);
	if (!fgets(out, PASSWORD_MAX, stdin))
		return err_set(err, ERR_USAGE, "there is no password on standard input");
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}

static int run_set_vnc_password(const struct cli *cli, struct err *err)
{
	char password[PASSWORD_MAX];
	if (read_password(password, err) < 0)
		return -1;
	int result = guest_call(cli->operands[0], "roost-set-vnc-password",
		json_pack("{s:s}", "password", password), NULL, err);
	explicit_bzero(password, sizeof(password));
	if (result < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_object());
	else
		printf("VNC of guest '%s' asks for the new password\n", cli->operands[0]);
	return 0;
}

const struct verb verb_vncdisplay = {"vncdisplay", "NAME",
	"Tells the socket of a guest's VNC, and the way to it from elsewhere.", 1, 1, false, {{0}},
	run_display, "roost vncdisplay web1", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_domdisplay = {"domdisplay", "NAME", "The same, as a URI.", 1, 1, false,
	{{0}}, run_display, "roost domdisplay web1", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_set_vnc_password = {"set-vnc-password", "NAME",
	"Sets the password that a guest's VNC asks for: a line of standard input, 1 to 8 bytes.", 1,
	1, false, {{0}}, run_set_vnc_password, "echo secret | roost set-vnc-password web1",
	GROUP_ACCESS, GUESTS_RUNNING};
