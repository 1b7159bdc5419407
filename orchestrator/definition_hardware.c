#include "orchestrator/definition_hardware.h"

#include <assert.h>
#include <stdio.h>

#include "base/str.h"

static const char *const tpm_names[] = {
	[TPM_CRB] = "crb",
	[TPM_TIS] = "tis",
};
static const char *const watchdog_names[] = {
	[WATCHDOG_I6300ESB] = "i6300esb",
	[WATCHDOG_ITCO] = "itco",
};
static const char *const action_names[] = {
	[WATCHDOG_RESET] = "reset",
	[WATCHDOG_POWEROFF] = "poweroff",
	[WATCHDOG_PAUSE] = "pause",
	[WATCHDOG_NONE] = "none",
};
static const char *const console_names[] = {
	[CONSOLE_SERIAL] = "serial",
	[CONSOLE_VIRTIO] = "virtio",
};
static_assert(ARRAY_SIZE(tpm_names) == TPM_MODEL_MAX, "a word is missing");
static_assert(ARRAY_SIZE(watchdog_names) == WATCHDOG_MODEL_MAX, "a word is missing");
static_assert(ARRAY_SIZE(action_names) == WATCHDOG_ACTION_MAX, "a word is missing");
static_assert(ARRAY_SIZE(console_names) == CONSOLE_KIND_MAX, "a word is missing");

static const struct words tpm_words = WORDS(tpm_names), watchdog_words = WORDS(watchdog_names),
			  action_words = WORDS(action_names), console_words = WORDS(console_names);

const char *watchdog_action_name(enum watchdog_action action)
{
	return action_names[action];
}

/* ---- mappings -------------------------------------------------------------------------------- */

static const struct key tpm_rows[] = {
	{"model", KEY_WORD, .offset = offsetof(struct tpm_def, model), .words = &tpm_words,
		.doc = "what the guest sees: crb, or tis for those that know only that"},
};
const struct keys tpm_keys = {tpm_rows, ARRAY_SIZE(tpm_rows), NULL, NULL};

#define AT(member) .offset = offsetof(struct watchdog_def, member)
static const struct key watchdog_rows[] = {
	{"model", KEY_WORD, AT(model), .words = &watchdog_words,
		.doc = "a PCI card, or the one in q35's chipset"},
	{"action", KEY_WORD, AT(action), .words = &action_words,
		.doc = "what follows when the guest has not fed it in time"},
};
#undef AT
const struct keys watchdog_keys = {watchdog_rows, ARRAY_SIZE(watchdog_rows), NULL, NULL};

static const struct key vnc_rows[] = {
	{"password", KEY_BOOL, KEY_SPARSE, .offset = offsetof(struct vnc_def, password),
		.doc = "nobody gets in without the one that `roost set-vnc-password` sets"},
};
const struct keys vnc_keys = {vnc_rows, ARRAY_SIZE(vnc_rows), NULL, NULL};

static int check_boot_menu(void *thing, const struct node *map, struct err *err)
{
	const struct boot_menu_def *b = thing;
	if (b->timeout_ms <= BOOT_MENU_MS_MAX)
		return 0;
	return node_error(node_place(map, "timeout"), err,
		"%lld ms are more than the %d that the firmware can wait", (long long)b->timeout_ms,
		BOOT_MENU_MS_MAX);
}

static const struct key boot_menu_rows[] = {
	{"timeout", KEY_DURATION, KEY_SPARSE, .offset = offsetof(struct boot_menu_def, timeout_ms),
		.doc = "how long the firmware waits for a key, at most 65535ms; default: its own"},
};
const struct keys boot_menu_keys = {
	boot_menu_rows, ARRAY_SIZE(boot_menu_rows), NULL, check_boot_menu};

/* ---- consoles -------------------------------------------------------------------------------- */

static int read_kinds(const struct node *n, struct definition *d, struct err *err)
{
	if (n->count == 0 || n->count > CONSOLES_MAX)
		return node_error(
			n, err, "%zu consoles, 1 to %d are possible", n->count, CONSOLES_MAX);
	d->console_count = 0;
	for (size_t i = 0; i < n->count; i++) {
		unsigned kind;
		if (node_word(n->children[i], &console_words, &kind, err) < 0)
			return -1;
		d->consoles[d->console_count++] = (enum console_kind)kind;
	}
	if (d->consoles[0] == CONSOLE_SERIAL)
		return 0;
	node_error(n->children[0], err, "the first console must be a serial one");
	return err_hint(err, "firmware and boot loaders speak there");
}

int console_read(const struct node *n, void *definition, struct err *err)
{
	struct definition *d = definition;
	if (n->kind == NODE_LIST)
		return read_kinds(n, d, err);
	int value = node_truth(n);
	if (value < 0)
		return node_wrong(n, "true, false or a list of serial and virtio", err);
	d->console_count = value ? 1 : 0;
	d->consoles[0] = CONSOLE_SERIAL;
	return 0;
}

json_t *console_write(const void *definition)
{
	const struct definition *d = definition;
	if (d->console_count < 2)
		return json_boolean(d->console_count);
	json_t *list = json_array();
	for (size_t i = 0; i < d->console_count; i++)
		json_array_append_new(list, json_string(console_names[d->consoles[i]]));
	return list;
}

json_t *console_dump(const void *definition)
{
	const struct definition *d = definition;
	return d->console_count == 1 ? NULL : console_write(d);
}

void console_name(const struct definition *d, size_t index, char out[16])
{
	unsigned before = 0;
	for (size_t i = 0; i < index; i++)
		before += d->consoles[i] == d->consoles[index];
	snprintf(out, 16, "%s%u", d->consoles[index] == CONSOLE_VIRTIO ? "hvc" : "serial", before);
}

void console_file(const struct definition *d, size_t index, const char *suffix, char out[24])
{
	char name[16] = "console";
	if (index)
		console_name(d, index, name);
	snprintf(out, 24, "%s.%s", name, suffix);
}
