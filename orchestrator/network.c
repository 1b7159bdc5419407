#include "orchestrator/network.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_keys.h"
#include "orchestrator/paths.h"

static int folder_open(struct err *err)
{
	const char *state = paths_state(err);
	_cleanup_free_ char *path = state ? str_fmt("%s/networks", state) : NULL;
	return path ? dir_open(AT_FDCWD, path, err) : -1;
}

/* ---- forms ------------------------------------------------------------------------------------ */

int network_from_node(const struct node *root, struct network *out, struct err *err)
{
	struct network n = {0};
	if (root->kind != NODE_MAP)
		return node_wrong(root, "a mapping", err);
	if (keys_read(&network_keys, root, &n, err) < 0)
		return -1;
	*out = n;
	return 0;
}

int network_from_json(const json_t *json, struct network *out, struct err *err)
{
	static const struct origin record = {0};
	_cleanup_node_ struct node *root = node_from_json(json, &record, err);
	return root ? network_from_node(root, out, err) : -1;
}

json_t *network_to_json(const struct network *n)
{
	return keys_write(&network_keys, n);
}

json_t *network_dump(const struct network *n)
{
	struct network plain = {.mode = NETWORK_NAT};
	char own[48];
	json_t *o = network_to_json(n);
	snprintf(plain.domain, sizeof(plain.domain), "%s.internal", n->name);
	network_derive_address6(n, own);
	if (n->mode == plain.mode)
		json_object_del(o, "mode");
	if (strcasecmp(n->domain, plain.domain) == 0)
		json_object_del(o, "domain");
	if (str_eq(n->address6, own))
		json_object_del(o, "address6");
	if (n->dns || n->mode == NETWORK_BRIDGE)
		json_object_del(o, "dns");
	if (!n->autostart)
		json_object_del(o, "autostart");
	return o;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int no_such_network(const char *name, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "there is no network '%s'", name);
	return err_hint(err, "`roost net-list --all` shows the networks that are defined");
}

static int broken(const char *name, struct err *err)
{
	struct err why = *err;
	err_set(err, ERR_REFUSED, "network '%s' is broken: its record: %s", name, why.message);
	return err_hint(err, "mend or remove %s/networks/%s.json", paths_state(&why), name);
}

static int read_record(json_t *o, const char *name, struct network *out, struct err *err)
{
	struct network n;
	int64_t version = json_get_int(o, "roost", 0);
	if (version != NETWORK_RECORD_VERSION)
		return err_set(err, ERR_REFUSED, "its version is %lld, this roost knows %d",
			(long long)version, NETWORK_RECORD_VERSION);
	json_object_del(o, "roost");
	if (network_from_json(o, &n, err) < 0)
		return -1;
	if (!str_eq(n.name, name))
		return err_set(err, ERR_REFUSED, "it names another network, '%s'", n.name);
	if (!n.uuid[0] || (n.mode != NETWORK_BRIDGE && !n.address[0]))
		return err_set(err, ERR_REFUSED, "it has no %s", n.uuid[0] ? "address" : "UUID");
	*out = n;
	return 0;
}

int network_load_recorded(const char *name, struct network *out, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_free_ char *file = str_fmt("%s.json", name);
	_cleanup_close_ int dir = folder_open(&why);
	_cleanup_json_ json_t *o = dir < 0 ? NULL : json_file_read(dir, file, &why);
	if (o ? read_record(o, name, out, &why) == 0 : why.kind == ERR_NOT_FOUND)
		return o ? 0 : 1;
	*err = why;
	/* no JSON at all, or none of a network's */
	return o || why.kind == ERR_USAGE ? broken(name, err)
					  : err_prefix(err, "network '%s'", name);
}

static int make_default(struct network *out, struct err *err)
{
	_cleanup_json_ json_t *o = json_pack("{s:s}", "name", NETWORK_DEFAULT);
	struct network n;
	if (network_from_json(o, &n, err) < 0)
		return -1;
	network_derive_uuid(&n, n.uuid);
	n.implicit = true;
	if (network_choose(&n, err) < 0)
		return -1;
	*out = n;
	return 0;
}

int network_of_bridge(const char *bridge, struct network *out, struct err *err)
{
	/* checked as a key is, under a name that is any network's */
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s}", "name", "any", "bridge", bridge);
	struct network n;
	if (network_from_json(o, &n, err) < 0)
		return -1;
	snprintf(n.name, sizeof(n.name), NETWORK_OF_BRIDGE "%s", n.bridge);
	network_identify(&n);
	network_derive_uuid(&n, n.uuid);
	n.implicit = true;
	*out = n;
	return 0;
}

int network_load(const char *name, struct network *out, struct err *err)
{
	if (name_check(name, "network", err) < 0)
		return -1;
	int none = network_load_recorded(name, out, err);
	if (none <= 0)
		return none;
	if (str_eq(name, NETWORK_DEFAULT))
		return make_default(out, err);
	if (str_starts(name, NETWORK_OF_BRIDGE))
		return network_of_bridge(name + strlen(NETWORK_OF_BRIDGE), out, err);
	return no_such_network(name, err);
}

int network_find(const char *word, struct network *out, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (network_load(word, out, err) == 0)
		return 0;
	if (err->kind != ERR_NOT_FOUND || network_names(&names, NULL, &ignored) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct network n;
		if (network_load(*name, &n, &ignored) < 0 || strcasecmp(n.uuid, word) != 0)
			continue;
		*out = n;
		*err = (struct err)ERR_INIT;
		return 0;
	}
	return -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int network_names(char ***names, size_t *count, struct err *err)
{
	struct err why = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_close_ int dir = folder_open(&why);
	size_t total = 0, n = 0;
	if (dir < 0 ? why.kind != ERR_NOT_FOUND : dir_names(dir, &files, &total, &why) < 0) {
		*err = why;
		return -1;
	}
	char **found = xcalloc(total + 2, sizeof(*found));
	found[n++] = xstrdup(NETWORK_DEFAULT);
	for (char **f = files; f && *f; f++) {
		if (!str_ends(*f, ".json") || str_eq(*f, NETWORK_DEFAULT ".json"))
			continue;
		found[n] = xstrdup(*f);
		found[n++][strlen(*f) - strlen(".json")] = '\0';
	}
	qsort(found, n, sizeof(*found), by_name);
	*names = found;
	if (count)
		*count = n;
	return 0;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static json_t *to_record(const struct network *n)
{
	json_t *o = network_to_json(n);
	json_object_set_new(o, "roost", json_integer(NETWORK_RECORD_VERSION));
	return o;
}

int network_save(const struct network *n, struct err *err)
{
	_cleanup_free_ char *file = str_fmt("%s.json", n->name);
	_cleanup_json_ json_t *o = to_record(n);
	_cleanup_close_ int dir = folder_open(err);
	return dir < 0 ? -1 : json_file_write(dir, file, o, true, err);
}

int networks_lock(struct err *err)
{
	_cleanup_close_ int dir = folder_open(err);
	return dir < 0 ? -1 : file_lock_wait(dir, ".lock", err);
}

int network_remove(const struct network *n, struct err *err)
{
	_cleanup_free_ char *file = str_fmt("%s.json", n->name);
	_cleanup_close_ int dir = folder_open(err);
	if (dir < 0)
		return -1;
	if (unlinkat(dir, file, 0) < 0 || fsync(dir) < 0)
		return err_errno(err, "cannot remove the record of network '%s'", n->name);
	return 0;
}

/* Two that settle it at the same moment: the second one finds the record of the first. */
int network_settle(struct network *n, struct err *err)
{
	if (!n->implicit || n->mode == NETWORK_BRIDGE)
		return 0;
	_cleanup_close_ int lock = networks_lock(err);
	if (lock < 0)
		return -1;
	int none = network_load_recorded(n->name, n, err);
	if (none <= 0)
		return none;
	if (network_save(n, err) < 0)
		return -1;
	n->implicit = false;
	return 0;
}

/* ---- running ---------------------------------------------------------------------------------- */

char *network_run_path(const struct network *n, const char *file, struct err *err)
{
	const char *run = paths_run(err);
	if (!run)
		return NULL;
	return file ? str_fmt("%s/n/%s/%s", run, n->id, file) : str_fmt("%s/n/%s", run, n->id);
}

bool network_active(const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *lock = network_run_path(n, "holder", &ignored);
	return lock && file_locked(AT_FDCWD, lock);
}
