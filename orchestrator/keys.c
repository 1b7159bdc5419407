#include "orchestrator/keys.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* QKeyCode of QEMU's schema. Most Linux names are "KEY_" and the same in capitals. */
static const char *const codes[] = {"shift", "shift_r", "alt", "alt_r", "ctrl", "ctrl_r", "menu",
	"esc", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "minus", "equal", "backspace",
	"tab", "q", "w", "e", "r", "t", "y", "u", "i", "o", "p", "bracket_left", "bracket_right",
	"ret", "a", "s", "d", "f", "g", "h", "j", "k", "l", "semicolon", "apostrophe",
	"grave_accent", "backslash", "z", "x", "c", "v", "b", "n", "m", "comma", "dot", "slash",
	"asterisk", "spc", "caps_lock", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10",
	"num_lock", "scroll_lock", "kp_divide", "kp_multiply", "kp_subtract", "kp_add", "kp_enter",
	"kp_decimal", "sysrq", "kp_0", "kp_1", "kp_2", "kp_3", "kp_4", "kp_5", "kp_6", "kp_7",
	"kp_8", "kp_9", "less", "f11", "f12", "print", "home", "pgup", "pgdn", "end", "left", "up",
	"down", "right", "insert", "delete", "stop", "again", "props", "undo", "front", "copy",
	"open", "paste", "find", "cut", "lf", "help", "meta_l", "meta_r", "compose", "pause", "ro",
	"hiragana", "henkan", "yen", "muhenkan", "katakanahiragana", "kp_comma", "kp_equals",
	"power", "sleep", "wake", "audionext", "audioprev", "audiostop", "audioplay", "audiomute",
	"volumeup", "volumedown", "mediaselect", "mail", "calculator", "computer", "ac_home",
	"ac_back", "ac_forward", "ac_refresh", "ac_bookmarks", "lang1", "lang2", NULL};

/* Where Linux (input-event-codes.h) says it otherwise, without its "KEY_". */
static const struct {
	const char *theirs, *code;
} others[] = {
	{"LEFTBRACE", "bracket_left"},
	{"RIGHTBRACE", "bracket_right"},
	{"ENTER", "ret"},
	{"LEFTCTRL", "ctrl"},
	{"RIGHTCTRL", "ctrl_r"},
	{"LEFTSHIFT", "shift"},
	{"RIGHTSHIFT", "shift_r"},
	{"LEFTALT", "alt"},
	{"RIGHTALT", "alt_r"},
	{"LEFTMETA", "meta_l"},
	{"RIGHTMETA", "meta_r"},
	{"GRAVE", "grave_accent"},
	{"SPACE", "spc"},
	{"102ND", "less"},
	{"CAPSLOCK", "caps_lock"},
	{"NUMLOCK", "num_lock"},
	{"SCROLLLOCK", "scroll_lock"},
	{"PAGEUP", "pgup"},
	{"PAGEDOWN", "pgdn"},
	{"LINEFEED", "lf"},
	{"KP0", "kp_0"},
	{"KP1", "kp_1"},
	{"KP2", "kp_2"},
	{"KP3", "kp_3"},
	{"KP4", "kp_4"},
	{"KP5", "kp_5"},
	{"KP6", "kp_6"},
	{"KP7", "kp_7"},
	{"KP8", "kp_8"},
	{"KP9", "kp_9"},
	{"KPASTERISK", "kp_multiply"},
	{"KPMINUS", "kp_subtract"},
	{"KPPLUS", "kp_add"},
	{"KPDOT", "kp_decimal"},
	{"KPENTER", "kp_enter"},
	{"KPSLASH", "kp_divide"},
	{"KPEQUAL", "kp_equals"},
	{"KPCOMMA", "kp_comma"},
	{"HANGEUL", "lang1"},
	{"HANJA", "lang2"},
	{"WAKEUP", "wake"},
	{"MUTE", "audiomute"},
	{"NEXTSONG", "audionext"},
	{"PREVIOUSSONG", "audioprev"},
	{"PLAYPAUSE", "audioplay"},
	{"STOPCD", "audiostop"},
	{"MEDIA", "mediaselect"},
	{"CALC", "calculator"},
	{"HOMEPAGE", "ac_home"},
	{"BACK", "ac_back"},
	{"FORWARD", "ac_forward"},
	{"REFRESH", "ac_refresh"},
	{"BOOKMARKS", "ac_bookmarks"},
};

static const char *of_qemu(const char *word)
{
	for (size_t i = 0; codes[i]; i++)
		if (str_eq(word, codes[i]))
			return codes[i];
	return NULL;
}

static const char *of_linux(const char *name)
{
	char lower[32] = "";
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (str_eq(name, others[i].theirs))
			return others[i].code;
	for (size_t i = 0; name[i] && i + 1 < sizeof(lower); i++) {
		if (islower((unsigned char)name[i]))
			return NULL;
		lower[i] = (char)tolower((unsigned char)name[i]);
	}
	return of_qemu(lower);
}

const char *key_code(const char *word, struct err *err)
{
	bool theirs = str_starts(word, "KEY_");
	const char *code = theirs ? of_linux(word + strlen("KEY_")) : of_qemu(word);
	if (code)
		return code;
	err_set(err, ERR_USAGE, "there is no key '%.40s'", word);
	const char *nearest = theirs ? NULL : str_nearest(word, codes);
	if (nearest)
		err_hint(err, "did you mean '%s'?", nearest);
	else
		err_hint(err,
			"names are QEMU's, such as ctrl, ret, f2, or Linux's, such as KEY_ENTER");
	return NULL;
}
