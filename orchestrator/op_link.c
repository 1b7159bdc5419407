/*
 * The cable of an interface: pulled, or plugged in again. QEMU does not tell which it is, so it is kept in $RUN/g/ID/attached:
 * {"kind":"link", "of":"nic0", "down":true}, for what differs from the definition or was plugged.
 */
#include "base/str.h"
#include "orchestrator/attached.h"

static json_t *find(struct guest *g, const char *nic)
{
	size_t i;
	json_t *entry;
	json_array_foreach (g->attached, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "link") &&
			str_eq(json_get_str(entry, "of", ""), nic))
			return entry;
	return NULL;
}

/* By its name or its MAC; freed by the caller. */
static char *name_of(struct guest *g, const char *word, struct err *err)
{
	for (size_t i = 0; i < g->def->nic_count; i++) {
		_cleanup_free_ char *name = str_fmt("nic%zu", i);
		if (str_eq(name, word) || str_eq(g->def->nics[i].mac, word))
			return TAKE(name);
	}
	json_t *entry = attached_find(g, "mac", word);
	entry = entry ? entry : attached_find(g, "device", word);
	if (entry && str_eq(json_get_str(entry, "kind", ""), "interface"))
		return xstrdup(json_get_str(entry, "device", ""));
	err_set(err, ERR_NOT_FOUND, "guest '%s' has no interface '%s'", g->def->name, word);
	err_hint(err, "`roost domiflist %s` lists them", g->def->name);
	return NULL;
}

int link_set(struct guest *g, const char *nic, bool up, struct err *err)
{
	return guest_qmp(g, "set_link", json_pack("{s:s, s:b}", "name", nic, "up", up),
		QMP_BLOCK_MS, NULL, err);
}

int op_set_link(struct guest *g, const char *word, bool up, struct err *err)
{
	_cleanup_free_ char *nic = name_of(g, word, err);
	if (!nic || link_set(g, nic, up, err) < 0)
		return -1;
	json_t *entry = find(g, nic);
	if (entry) {
		json_object_set_new(entry, "down", json_boolean(!up));
		return attached_save(g, err);
	}
	return attached_add(
		g, json_pack("{s:s, s:s, s:b}", "kind", "link", "of", nic, "down", !up), err);
}

int links_begin(struct guest *g, struct err *err)
{
	size_t i;
	json_t *entry;
	for (i = 0; i < g->def->nic_count; i++) {
		_cleanup_free_ char *nic = str_fmt("nic%zu", i);
		if (g->def->nics[i].link_down && !find(g, nic) && link_set(g, nic, false, err) < 0)
			return -1;
	}
	/* of a guest that is restored */
	json_array_foreach (g->attached, i, entry)
		if (str_eq(json_get_str(entry, "kind", ""), "link") &&
			json_get_bool(entry, "down", false) &&
			link_set(g, json_get_str(entry, "of", ""), false, err) < 0)
			return -1;
	return 0;
}

void link_forget(struct guest *g, const char *nic)
{
	json_t *entry = find(g, nic);
	if (entry)
		attached_remove(g, entry);
}
