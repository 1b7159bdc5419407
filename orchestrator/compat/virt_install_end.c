/*
 * virt-install from the start to the end of the installation, and all that it says. Where virtinst would wait for ever, as
 * with an installer's screen on a server without a viewer, it is told how one looks, and that is all.
 */
#include "orchestrator/compat/virt_install.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "orchestrator/failpoint.h"
#include "orchestrator/installing.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"

enum { PASSWORD_MS = 10000, LOOK_MS = 500, SEEN_MS = 2000 };

/* ---- what is said ------------------------------------------------------------------------------------------ */

void tell(const struct install_ask *a, const char *fmt, ...)
{
	va_list args;
	if (a->quiet)
		return;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
}

void warn(const struct install_ask *a, const char *fmt, ...)
{
	va_list args;
	if (a->quiet)
		return;
	fflush(stdout);
	fputs("WARNING  ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

void install_complain(const char *text)
{
	fflush(stdout);
	fprintf(stderr, "ERROR    %s\n", text);
}

int install_fail(const struct err *err)
{
	if (err->message[0])
		install_complain(err->message);
	if (err->hint[0])
		fprintf(stderr, "         %s\n", err->hint);
	return 1;
}

static const char *uri_of(const struct install_ask *a)
{
	return a->session ? "qemu:///session" : "qemu:///system";
}

static int fail_late(const struct install_ask *a, const struct err *err)
{
	install_fail(err);
	fprintf(stderr,
		"Domain installation does not appear to have been successful.\n"
		"If it was, you can restart your domain by running:\n"
		"  virsh --connect %s start %s\n"
		"otherwise, please restart your installation.\n",
		uri_of(a), a->name);
	return 1;
}

static void tell_how_to_start(const struct install_ask *a)
{
	tell(a, "You can restart your domain by running:\n  virsh --connect %s start %s\n",
		uri_of(a), a->name);
}

/* Told even to who wants to hear nothing: it is nowhere else. At a terminal there is time to write it down. */
static void tell_password(const struct install_ask *a)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	if (!a->root_password)
		return;
	printf("Password for first root login is: %s\n", a->root_password);
	if (isatty(STDIN_FILENO)) {
		fputs("Installation will continue in 10 seconds (press Enter to skip)...", stdout);
		fflush(stdout);
		poll(&in, 1, PASSWORD_MS);
	}
	fflush(stdout);
}

/* ---- its start --------------------------------------------------------------------------------------------- */

static int check_networks(const struct install_ask *a, struct err *err)
{
	size_t i;
	json_t *nic;
	json_array_foreach (a->nics, i, nic) {
		struct network n;
		const char *name = json_get_str(nic, "network", NULL);
		if (!name)
			continue;
		if (network_load(name, &n, err) < 0)
			return err->kind != ERR_NOT_FOUND
				       ? -1
				       : err_set(err, ERR_NOT_FOUND,
						 "Network not found: no network with matching name '%s'",
						 name);
		if (!a->define_only && !network_active(&n)) {
			err_set(err, ERR_REFUSED,
				"Requested operation is not valid: network '%s' is not active",
				name);
			return err_hint(err, "virsh net-start %s", name);
		}
	}
	return 0;
}

static int start(const struct install_ask *a, bool fresh, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (installing_start(a->name, &a->how, fresh, &reply, err) < 0)
		return -1;
	const char *said = json_get_str(reply, "accel-said", "");
	if (said[0])
		warn(a, "%s", said);
	return a->vnc_password ? guest_call(a->name, "roost-set-vnc-password",
					 json_pack("{s:s}", "password", a->vnc_password), NULL, err)
			       : 0;
}

/* It goes on, and is gone when it ends. */
static int make_transient(const struct install_ask *a, struct err *err)
{
	return verb_ask("undefine", (const char *const[]){a->name, "--running", NULL}, NULL, err);
}

static int create(struct install_ask *a, struct err *err)
{
	if (guest_is_there(a->name))
		return err_set(err, ERR_REFUSED, "Guest name '%s' is already in use.", a->name);
	if (check_networks(a, err) < 0 || disks_make(a, err) < 0)
		return -1;
	failpoint("virt-install-disks");
	_cleanup_definition_ struct definition *d = ask_definition(a, true, err);
	tell(a, "\r%-60s|    0 B  00:00     \n", "Creating domain...");
	if (!d || installing_define(d, err) < 0)
		return -1;
	if (a->define_only)
		return 0;
	if (start(a, true, err) < 0)
		return -1;
	return a->transient && make_transient(a, err) < 0 ? -1 : 0;
}

/* One that there is keeps its definition. */
static int begin(struct install_ask *a, struct err *err)
{
	if (!a->reinstall)
		return create(a, err);
	tell(a, "\r%-60s|    0 B  00:00     \n", "Creating domain...");
	return start(a, false, err);
}

/* ---- what is seen of it ------------------------------------------------------------------------------------ */

enum view { VIEW_NONE, VIEW_TEXT, VIEW_SCREEN };

static int choose_view(
	const struct install_ask *a, const struct command *c, enum view *out, struct err *err)
{
	static const char *const modes[] = {
		[VIEW_NONE] = "none", [VIEW_TEXT] = "text", [VIEW_SCREEN] = "graphical"};
	const char *mode = c->texts[TEXT_NOAUTOCONSOLE] ? "none" : c->texts[TEXT_AUTOCONSOLE];
	bool cloud = json_object_get(a->definition, "cloud_init");
	*out = cloud || !a->vnc ? VIEW_TEXT : VIEW_SCREEN;
	if (!mode || str_eq(mode, "default"))
		return 0;
	for (enum view v = VIEW_NONE; v <= VIEW_SCREEN; v++)
		if (str_eq(mode, modes[v])) {
			*out = v;
			return 0;
		}
	return err_set(err, ERR_USAGE, "Unknown autoconsole type '%s'", mode);
}

static void tell_how_to_look(const struct install_ask *a)
{
	warn(a, "There is no %s to show it on: look at it with `virsh --connect %s console %s`%s%s%s",
		a->vnc ? "display" : "terminal", uri_of(a), a->name,
		a->vnc ? ", `roost viewer " : "", a->vnc ? a->name : "",
		a->vnc ? "`, or `roost screenshot`" : "");
}

/* Its screen or its console, where there is somebody to see it; *seen when he has left it. */
static int show(const struct install_ask *a, enum view view, bool *seen)
{
	struct err err = ERR_INIT;
	const char *display = getenv("DISPLAY");
	const char *text[] = {a->name, "--replay", NULL}, *screen[] = {a->name, NULL};
	fflush(stdout);
	if (view == VIEW_TEXT && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
		tell(a, "Running text console command: virsh --connect %s console %s\n", uri_of(a),
			a->name);
		fflush(stdout);
		*seen = true;
		return verb_call("console", text, &err) < 0 ? install_fail(&err) : 0;
	}
	*seen = view == VIEW_SCREEN && display && display[0] &&
		verb_call("viewer", screen, &err) >= 0;
	if (*seen)
		return 0;
	if (view != VIEW_NONE)
		tell_how_to_look(a);
	return 0;
}

/* ---- its end --------------------------------------------------------------------------------------------- */

/* How it is with a guest that was started here. */
struct course {
	bool off, crashed, destroyed;
	int64_t run;    /* its Id, one more at each start */
	bool restarted; /* after its installation, by roostd */
};

static int look(
	const struct install_ask *a, const struct found *f, struct course *out, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_look(f, &s, err) < 0) {
		*out = (struct course){.off = true};
		return a->transient && err->kind == ERR_NOT_FOUND ? 0 : -1;
	}
	*out = (struct course){.off = !s.number,
		.run = s.number,
		.crashed = s.state == GUEST_CRASHED,
		.destroyed = strstr(s.reason, "destroy") && s.state == GUEST_SHUT_OFF};
	return 0;
}

/* One without an installer is waited for until it is off, as virtinst does it. */
static int wait_until_off(const struct install_ask *a, const struct found *f, int64_t deadline,
	struct course *out, struct err *err)
{
	while (deadline_left(deadline)) {
		if (look(a, f, out, err) < 0)
			return -1;
		if (out->off || out->crashed)
			return 0;
		poll(NULL, 0, LOOK_MS); /* the status file tells without a word */
	}
	return err_set(err, ERR_TIMEOUT, "guest '%s' still runs", f->name);
}

static int wait_for_course(const struct install_ask *a, const struct found *f, int64_t deadline,
	struct course *out, struct err *err)
{
	enum installed how;
	if (!a->how.facts || a->transient)
		return wait_until_off(a, f, deadline, out, err);
	if (installing_wait(f, deadline, &how, err) < 0 || look(a, f, out, err) < 0)
		return -1;
	out->restarted = how == INSTALLED_RUNS;
	return 0;
}

/* Or somebody else was quicker: roostd, after an installer with a kernel. Before that is done it has no console. */
static bool others_have_started(const char *name)
{
	struct found f;
	struct err ignored = ERR_INIT;
	return guest_find(name, &f, &ignored) == 0 && guest_runs(&f) &&
	       guest_attend(&f, OPERATION_MS, &ignored) == 0;
}

/* What comes after the first run: an installed guest is started from its disk, also if it powered off. */
static int finish(const struct install_ask *a, const struct command *c, const struct course *how,
	enum view view)
{
	struct err err = ERR_INIT;
	tell(a, "Domain creation completed.\n");
	if (a->transient)
		return 0;
	if (how->restarted) {
		tell(a, "Restarting guest.\n");
		others_have_started(a->name);
	} else if (how->off && (c->texts[TEXT_NOREBOOT] || !a->how.facts)) {
		tell_how_to_start(a);
		return 0;
	} else if (how->off && how->destroyed) {
		tell(a, "User stopped the VM. Not rebooting.\n");
		return 0;
	} else if (how->off) {
		tell(a, "Restarting guest.\n");
		if (supervisor_start(a->name, false, NULL, &err) < 0 &&
			!others_have_started(a->name))
			return fail_late(a, &err);
	} else {
		return 0;
	}
	bool seen;
	return view == VIEW_TEXT && isatty(STDIN_FILENO) ? show(a, view, &seen) : 0;
}

static int wait_for_end(const struct install_ask *a, const struct command *c, enum view view)
{
	struct err err = ERR_INIT;
	struct found f;
	struct course how = {0};
	const char *word = c->texts[TEXT_WAIT];
	long minutes = word[0] ? strtol(word, NULL, 10) : -1;
	if (view != VIEW_NONE)
		tell_how_to_look(a);
	tell(a, "\nDomain is still running. Installation may be in progress.\n");
	if (minutes < 0)
		tell(a, "Waiting for the installation to complete.\n");
	else
		tell(a, "Waiting %ld minute%s for the installation to complete.\n", minutes,
			minutes == 1 ? "" : "s");
	fflush(stdout);
	int64_t deadline = minutes < 0 ? DEADLINE_NONE : deadline_in((int64_t)minutes * 60000);
	if (guest_find(a->name, &f, &err) < 0)
		return install_fail(&err);
	if (wait_for_course(a, &f, deadline, &how, &err) < 0) {
		if (err.kind != ERR_TIMEOUT)
			return install_fail(&err);
		tell(a, "Installation has exceeded specified time limit. Exiting application.\n");
		return 1;
	}
	if (how.crashed) {
		err_set(&err, ERR_REFUSED, "Domain has crashed.");
		return install_fail(&err);
	}
	tell(a, "Domain has shutdown. Continuing.\n");
	return finish(a, c, &how, VIEW_NONE);
}

/* Nobody waits, unless there is a console to sit at. */
static int follow(const struct install_ask *a, const struct command *c, enum view view)
{
	struct err err = ERR_INIT;
	struct found f;
	struct course how = {0};
	bool seen = false;
	if (a->define_only) {
		tell(a, "Domain creation completed.\n");
		tell_how_to_start(a);
		return 0;
	}
	if (c->texts[TEXT_WAIT])
		return wait_for_end(a, c, view);
	if (guest_find(a->name, &f, &err) < 0 || look(a, &f, &how, &err) < 0)
		return install_fail(&err);
	int64_t first = how.run;
	int shown = show(a, view, &seen);
	if (shown)
		return shown;
	if (look(a, &f, &how, &err) < 0 ||
		(seen && a->how.facts &&
			wait_for_course(a, &f, deadline_in(SEEN_MS), &how, &err) < 0 &&
			err.kind != ERR_TIMEOUT))
		return install_fail(&err);
	if (a->how.facts && !how.off && !how.restarted) {
		tell(a, "\nDomain is still running. Installation may be in progress.\n");
		tell(a, "You can reconnect to the console to complete the installation process.\n");
		return 0;
	}
	/* he who has left a console is not led back to it, as he is whose guest had gone */
	return finish(a, c, &how, how.run == first ? VIEW_NONE : view);
}

int install(struct install_ask *a, const struct command *c)
{
	struct err err = ERR_INIT;
	enum view view;
	if (choose_view(a, c, &view, &err) < 0)
		return install_fail(&err);
	if (!a->reinstall) { /* before anything is made */
		_cleanup_definition_ struct definition *d = ask_definition(a, false, &err);
		if (!d)
			return install_fail(&err);
	}
	if (view == VIEW_TEXT && installer_has_medium(&a->how) &&
		!json_get_bool(a->how.facts, "kernel", false))
		warn(a, "CDROM media does not print to the text console by default, so you likely will not see text install output. You might want to use --location. See the man page for examples of using --location with CDROM media");
	tell(a, "\nStarting install...\n");
	tell_password(a);
	if (begin(a, &err) < 0) {
		disks_take_back(a);
		return fail_late(a, &err);
	}
	return follow(a, c, view);
}
