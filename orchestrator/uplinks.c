#include "orchestrator/uplinks.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/str.h"
#include "orchestrator/network_up.h"
#include "orchestrator/record.h"

void start_tell(const json_t *answer)
{
	static const char *const keys[] = {"accel-said", "identity-said"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_get_str(answer, keys[i], "")[0])
			fprintf(stderr, "roost: %s\n", json_get_str(answer, keys[i], ""));
}

void uplink_tell(const json_t *uplink, const char *who, bool changes)
{
	size_t i;
	json_t *note;
	const char *problem = json_get_str(uplink, "problem", NULL);
	if (problem)
		fprintf(stderr, "roost: %s%s; %s\n", who, problem,
			json_get_str(uplink, "hint", ""));
	if (changes)
		json_array_foreach (json_object_get(uplink, "notes"), i, note)
			fprintf(stderr, "roost: %s\n", json_string_value(note));
}

/* Has it begun since we have? */
static bool is_new(const struct network *n)
{
	struct err ignored = ERR_INIT;
	struct proc self = PROC_NONE;
	_cleanup_free_ char *path = network_run_path(n, "holder", &ignored);
	_cleanup_json_ json_t *holder = path ? json_file_read(AT_FDCWD, path, &ignored) : NULL;
	bool begun = holder && proc_open(getpid(), &self, &ignored) == 0 &&
		     (uint64_t)json_get_int(holder, "start", 0) >= self.start;
	proc_close(&self);
	return begun;
}

static void tell(const char *name)
{
	struct err ignored = ERR_INIT;
	struct network n;
	if (network_load(name, &n, &ignored) < 0)
		return;
	_cleanup_json_ json_t *uplink = network_uplink(&n);
	_cleanup_free_ char *who = str_fmt("network '%s': ", name);
	uplink_tell(uplink, who, is_new(&n));
}

void uplinks_tell(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(f->name, &ignored);
	for (size_t i = 0; d && i < d->nic_count; i++) {
		bool again = d->nics[i].kind != NIC_NETWORK;
		for (size_t k = 0; k < i; k++)
			again = again || (d->nics[k].kind == NIC_NETWORK &&
						 str_eq(d->nics[k].network, d->nics[i].network));
		if (!again)
			tell(d->nics[i].network);
	}
}
