#include "orchestrator/journal.h"

#include <unistd.h>

int journal_begin(struct guest *g, const char *operation, json_t *facts, struct err *err)
{
	_cleanup_json_ json_t *o = facts ? facts : json_object();
	json_object_set_new(o, "operation", json_string(operation));
	return json_file_write(g->dir, "journal", o, true, err);
}

int journal_note(struct guest *g, const char *key, json_t *value, struct err *err)
{
	_cleanup_json_ json_t *o = journal_found(g);
	if (!o) {
		json_decref(value);
		return err_set(err, ERR_SYSTEM, "guest '%s': its journal is gone", g->def->name);
	}
	json_object_set_new(o, key, value);
	return json_file_write(g->dir, "journal", o, true, err);
}

void journal_end(struct guest *g)
{
	unlinkat(g->dir, "journal", 0);
}

json_t *journal_found(struct guest *g)
{
	struct err ignored = ERR_INIT;
	return json_file_read(g->dir, "journal", &ignored);
}
