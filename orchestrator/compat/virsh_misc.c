/* virsh's commands that press keys, take pictures, and cancel. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <strings.h>

/* Linux's KEY_LEFTCTRL, and libvirt's own names of code sets, as QEMU's "ctrl". */
static void add_key(struct words *w, const char *key)
{
	static const struct {
		const char *theirs, *ours;
	} names[] = {{"KEY_LEFTCTRL", "ctrl"}, {"KEY_LEFTALT", "alt"}, {"KEY_LEFTSHIFT", "shift"},
		{"KEY_RIGHTCTRL", "ctrl_r"}, {"KEY_RIGHTALT", "alt_r"},
		{"KEY_RIGHTSHIFT", "shift_r"}, {"KEY_LEFTMETA", "meta_l"},
		{"KEY_RIGHTMETA", "meta_r"}, {"KEY_ENTER", "ret"}, {"KEY_ESC", "esc"},
		{"KEY_SPACE", "spc"}, {"KEY_PAGEUP", "pgup"}, {"KEY_PAGEDOWN", "pgdn"},
		{"KEY_SYSRQ", "sysrq"}, {"KEY_CAPSLOCK", "caps_lock"}, {"KEY_SLASH", "slash"}};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(names[i].theirs, key) == 0) {
			words_text(w, names[i].ours);
			return;
		}
	if (strncasecmp(key, "KEY_", 4) != 0) {
		words_text(w, key);
		return;
	}
	_cleanup_free_ char *small = xstrdup(key + 4);
	for (char *p = small; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	words_text(w, small);
}

static int run_send_key(struct virsh *v)
{
	struct found f;
	int64_t held = 0;
	_cleanup_words_ struct words w = {0};
	const char *set = virsh_text(v, "codeset");
	if (virsh_running(v, &f) < 0 || virsh_number(v, "holdtime", 1, 60000, &held) < 0)
		return -1;
	if (set && !str_eq(set, "linux") && !str_eq(set, "qnum"))
		return virsh_error(
			"codeset %s is not there: say keys as KEY_... or by QEMU's names", set);
	if (held)
		words_fmt(&w, "--holdtime=%lldms", (long long)held);
	words_add(&w, f.name);
	for (size_t i = 0; i < v->many_count; i++)
		add_key(&w, v->many[i]);
	return virsh_ask(v, NULL, &w, "send-key", NULL);
}

static int run_inject_nmi(struct virsh *v)
{
	struct found f;
	_cleanup_words_ struct words w = {0};
	if (virsh_running(v, &f) < 0)
		return -1;
	words_add(&w, f.name);
	return virsh_ask(v, NULL, &w, "inject-nmi", NULL);
}

static int run_screenshot(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_words_ struct words w = {0};
	_cleanup_free_ char *made = NULL;
	const char *file = virsh_text(v, "file");
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!guest_runs(&f))
		return virsh_error("could not take a screenshot of %s", f.name),
		       virsh_error("Requested operation is not valid: domain is not running");
	if (!file) {
		char when[32];
		compat_time(when, 0, true);
		file = made = str_fmt("%s-%s.png", f.name, when);
	}
	words_add(&w, f.name);
	words_text(&w, file);
	if (words_ask(&w, "screenshot", NULL, &err) < 0)
		return virsh_error("could not take a screenshot of %s", f.name), virsh_reason(&err);
	virsh_say_last(v, "Screenshot saved to %s, with type of image/png", file);
	return 0;
}

static int run_domjobabort(struct virsh *v)
{
	struct found f;
	struct err err = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	_cleanup_words_ struct words w = {0};
	if (virsh_domain(v, &f) < 0)
		return -1;
	if (!guest_runs(&f))
		return virsh_error("Requested operation is not valid: domain is not running");
	words_add(&w, f.name);
	if (words_ask(&w, "cancel", NULL, &err) == 0)
		return 0;
	if (err.kind == ERR_REFUSED && guest_look(&f, &s, &err) == 0 && !s.busy[0])
		return virsh_error(
			"Requested operation is not valid: no job is active on the domain");
	return virsh_reason(&err);
}

const struct virsh_command virsh_misc[] = {
	{"send-key",
		{V_DOMAIN, {"codeset", V_NAMED}, {"holdtime", V_NAMED_INT}, {"keycode", V_WORDS}},
		run_send_key, "Send keycodes to the guest", NULL, true},
	{"inject-nmi", {V_DOMAIN}, run_inject_nmi, "Inject NMI to the guest", NULL, true},
	{"screenshot", {V_DOMAIN, {"file", V_TEXT}}, run_screenshot,
		"take a screenshot of a current domain console and store it into a file", NULL,
		true},
	{"domjobabort", {V_DOMAIN}, run_domjobabort, "abort active domain job", NULL, true},
	{0},
};
