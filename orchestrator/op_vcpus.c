/*
 * vCPUs of a running guest: more by plugging, fewer by unplugging or, under TCG, by the agent.
 *
 * Under TCG device_del of a vCPU kills QEMU 7.2, so there a vCPU that is not wanted stays plugged
 * and is taken offline inside the guest.
 */
#include "orchestrator/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/attached.h"
#include "orchestrator/journal.h"
#include "qmp/agent.h"

enum { AGENT_MS = 5000, UNPLUG_MS = 30000 };

static int plugged_cpus(struct guest *g, json_t **slots, unsigned *count, struct err *err)
{
	size_t i;
	json_t *slot, *list = NULL;
	if (guest_qmp(g, "query-hotpluggable-cpus", NULL, QMP_BLOCK_MS, &list, err) < 0)
		return -1;
	*count = 0;
	json_array_foreach (list, i, slot)
		*count += json_object_get(slot, "qom-path") != NULL;
	*slots = list;
	return 0;
}

static int64_t socket_of(const json_t *slot)
{
	return json_get_int(json_object_get(slot, "props"), "socket-id", 0);
}

/* The free slot with the lowest number: the guest numbers its CPUs by it. */
static json_t *next_free(json_t *slots)
{
	size_t i;
	json_t *slot, *best = NULL;
	json_array_foreach (slots, i, slot)
		if (!json_object_get(slot, "qom-path") &&
			(!best || socket_of(slot) < socket_of(best)))
			best = slot;
	return best;
}

static int plug_one(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *slots = NULL;
	unsigned count;
	if (plugged_cpus(g, &slots, &count, err) < 0)
		return -1;
	json_t *slot = next_free(slots);
	if (!slot)
		return err_set(err, ERR_REFUSED, "there is no place for one more vCPU");
	_cleanup_free_ char *id = str_fmt("vcpu%lld", (long long)socket_of(slot));
	json_t *args = json_deep_copy(json_object_get(slot, "props"));
	json_object_set_new(args, "driver", json_string(json_get_str(slot, "type", "")));
	json_object_set_new(args, "id", json_string(id));
	return guest_qmp(g, "device_add", args, QMP_BLOCK_MS, NULL, err);
}

/* Brings exactly `count` online inside the guest, if its agent is there to do it. */
static int set_online(struct guest *g, unsigned count, struct err *err)
{
	unsigned now = 0;
	struct agent *a = guest_agent(g, err);
	int result = a ? agent_set_vcpus(a, count, &now, deadline_in(AGENT_MS), err) : -1;
	agent_close(a);
	if (result == 0 && now != count)
		return err_set(err, ERR_QEMU, "the guest has %u vCPUs online, not %u", now, count);
	return result;
}

static int unplug_one(struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *slots = NULL;
	unsigned count;
	size_t i;
	json_t *slot, *last = NULL;
	if (plugged_cpus(g, &slots, &count, err) < 0)
		return -1;
	json_array_foreach (slots, i, slot) {
		const char *path = json_get_str(slot, "qom-path", "");
		if (strstr(path, "/peripheral/") && (!last || socket_of(slot) > socket_of(last)))
			last = slot;
	}
	if (!last)
		return err_set(err, ERR_REFUSED,
			"guest '%s': the vCPUs it booted with cannot be unplugged", g->def->name);
	const char *id = strrchr(json_get_str(last, "qom-path", ""), '/') + 1;
	struct event_match match = {.name = "DEVICE_DELETED", .key = "device", .value = id};
	struct wait w = WAIT_FOR(.deadline = deadline_in(UNPLUG_MS), .wants = event_matches,
		.about = &match);
	if (guest_qmp(g, "device_del", json_pack("{s:s}", "id", id), QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	if (!device_exists(g, id))
		return 0; /* its event came before the reply */
	enum wake wake = guest_wait(g, &w);
	json_decref(w.event);
	if (wake == WAKE_CANCEL)
		return guest_cancelled(g, err);
	if (wake != WAKE_EVENT)
		return err_set(err, ERR_TIMEOUT,
			"the guest has not answered in %d s: it keeps its vCPU", UNPLUG_MS / 1000);
	return 0;
}

static int take_away(struct guest *g, unsigned have, unsigned count, struct err *err)
{
	bool tcg = str_eq(g->status.accel, "tcg");
	struct err agent_said = ERR_INIT;
	bool taken = set_online(g, count, &agent_said) == 0;
	if (tcg && !taken) {
		err_set(err, ERR_REFUSED,
			"guest '%s' runs under TCG, where unplugging a vCPU kills QEMU, and its agent cannot take one offline: %.200s",
			g->def->name, agent_said.message);
		return err_hint(err,
			"install qemu-guest-agent in the guest, or change it for its next start with --config");
	}
	for (unsigned n = have; !tcg && n > count; n--)
		if (unplug_one(g, err) < 0)
			return -1;
	return 0;
}

int op_setvcpus(struct guest *g, unsigned count, struct err *err)
{
	_cleanup_json_ json_t *slots = NULL;
	struct err ignored = ERR_INIT;
	unsigned have;
	if (count < 1 || count > g->def->max_vcpus) {
		err_set(err, count ? ERR_REFUSED : ERR_USAGE,
			"guest '%s' may have 1 to %u vCPUs, not %u", g->def->name,
			g->def->max_vcpus, count);
		return err_hint(
			err, "max_vcpus in its definition is the limit, for its next start");
	}
	if (plugged_cpus(g, &slots, &have, err) < 0)
		return -1;
	if (journal_begin(g, "setvcpus", json_pack("{s:i}", "to", (int)count), err) < 0)
		return -1;
	failpoint("setvcpus-begin");
	int result = 0;
	for (unsigned n = have; n < count && result == 0; n++) {
		result = plug_one(g, err);
		failpoint("setvcpus-after-plug");
	}
	if (result == 0 && count < have)
		result = take_away(g, have, count, err);
	else if (result == 0)
		set_online(g, count, &ignored); /* most guests do so themselves */
	failpoint("setvcpus-before-end");
	journal_end(g);
	if (result == 0) {
		g->status.vcpus = count;
		guest_tell_status(g);
	}
	return result;
}

/* Forwards: a vCPU that was plugged cannot be taken back everywhere. */
int recover_setvcpus(struct guest *g, const json_t *journal, struct err *err)
{
	struct err why = ERR_INIT;
	(void)err;
	op_setvcpus(g, (unsigned)json_get_int(journal, "to", g->status.vcpus), &why);
	return 0;
}
