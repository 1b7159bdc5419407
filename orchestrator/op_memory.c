/*
 * A running guest's memory: below the boot size by balloon, above it by plugged memory
 * (virtio-mem). Both only ask the guest; what it has done is what QEMU says afterwards.
 */
#include "orchestrator/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/usage.h"

#define MIB         ((uint64_t)1 << 20)
#define MEMORY_QOM  "/machine/peripheral/memory1"
#define BALLOON_QOM "/machine/peripheral/balloon0"
enum {
	LEAST_MIB = 16,      /* below that no guest lives, and virsh refuses, too */
	LOOK_AGAIN_MS = 200, /* the balloon's event is sent once a second at most */
	STATS_MS = 5000,
};

static int64_t asked_of_qom(struct guest *g, const char *path, const char *property)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *value = NULL;
	if (guest_qmp(g, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property),
		    QMP_BLOCK_MS, &value, &ignored) < 0)
		return 0;
	return json_integer_value(value);
}

static int64_t balloon_actual(struct guest *g)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *value = NULL;
	if (guest_qmp(g, "query-balloon", NULL, QMP_BLOCK_MS, &value, &ignored) < 0)
		return 0;
	return json_get_int(value, "actual", 0);
}

static bool can_plug(const struct guest *g)
{
	return g->def->max_memory > g->def->memory;
}

int64_t memory_now(struct guest *g)
{
	int64_t balloon = balloon_actual(g);
	return balloon ? balloon + (can_plug(g) ? asked_of_qom(g, MEMORY_QOM, "size") : 0) : 0;
}

static int ask(struct guest *g, uint64_t balloon, uint64_t plugged, struct err *err)
{
	if (can_plug(g) && guest_qmp(g, "qom-set",
				   json_pack("{s:s, s:s, s:I}", "path", MEMORY_QOM, "property",
					   "requested-size", "value", (json_int_t)plugged),
				   QMP_BLOCK_MS, NULL, err) < 0)
		return -1;
	return guest_qmp(g, "balloon", json_pack("{s:I}", "value", (json_int_t)balloon),
		QMP_BLOCK_MS, NULL, err);
}

static bool size_changed(const json_t *event, const void *unused)
{
	(void)unused;
	const char *name = json_get_str(event, "event", "");
	return str_eq(name, "BALLOON_CHANGE") || str_eq(name, "MEMORY_DEVICE_SIZE_CHANGE");
}

/* The guest has what it was asked to have: QEMU says so, whatever events came or did not. */
static int await(struct guest *g, uint64_t bytes, int64_t deadline, struct err *err)
{
	while ((uint64_t)memory_now(g) != bytes) {
		int64_t next = deadline_in(LOOK_AGAIN_MS);
		struct wait w = WAIT_FOR(.deadline = next < deadline ? next : deadline,
			.wants = size_changed);
		enum wake wake = guest_wait(g, &w);
		json_decref(w.event);
		if (wake == WAKE_GONE)
			return err_set(err, ERR_GONE, "guest '%s' has ended", g->def->name);
		if (wake == WAKE_CANCEL)
			return guest_cancelled(g, err);
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT,
				"the guest has not answered: it still has %s, not %s",
				str_size((uint64_t)memory_now(g)), str_size(bytes));
	}
	return 0;
}

int op_setmem(struct guest *g, uint64_t bytes, int64_t timeout_ms, struct err *err)
{
	const struct definition *d = g->def;
	uint64_t boot = d->memory;
	if (bytes < LEAST_MIB * MIB)
		return err_set(err, ERR_USAGE, "%s is less than the %d MiB that a guest needs",
			str_size(bytes), LEAST_MIB);
	if (bytes > d->max_memory) {
		err_set(err, ERR_REFUSED, "%s is more than guest '%s' may have: %s",
			str_size(bytes), d->name, str_size(d->max_memory));
		return err_hint(
			err, "`roost setmaxmem %s SIZE` changes that for its next start", d->name);
	}
	if (bytes > boot && (bytes - boot) % (2 * MIB))
		return err_set(err, ERR_USAGE,
			"memory above the boot size of %s comes in steps of 2 MiB", str_size(boot));
	uint64_t balloon = bytes < boot ? bytes : boot, plugged = bytes - balloon;
	int64_t before = memory_now(g);
	if (ask(g, balloon, plugged, err) < 0)
		return -1;
	if (await(g, bytes, deadline_in(timeout_ms), err) < 0) {
		struct err ignored = ERR_INIT;
		uint64_t old = (uint64_t)before, old_balloon = old < boot ? old : boot;
		if (g->qemu_ended)
			return -1;
		/* no wish is left behind that the guest might grant at a time nobody expects */
		ask(g, old_balloon, old - old_balloon, &ignored);
		g->status.memory = memory_now(g);
		guest_tell_status(g);
		if (err->kind != ERR_TIMEOUT)
			return -1;
		return err_hint(err,
			"a guest needs the virtio_balloon driver, and virtio_mem above its boot size");
	}
	g->status.memory = (int64_t)bytes;
	guest_tell_status(g);
	return 0;
}

/* ---- statistics ------------------------------------------------------------------------------------ */

static int set_polling(struct guest *g, int seconds, struct err *err)
{
	return guest_qmp(g, "qom-set",
		json_pack("{s:s, s:s, s:i}", "path", BALLOON_QOM, "property",
			"guest-stats-polling-interval", "value", seconds),
		QMP_BLOCK_MS, NULL, err);
}

/* In KiB, in virsh's words. */
static void add_kib(json_t *to, const char *key, int64_t bytes)
{
	if (bytes >= 0)
		json_object_set_new(to, key, json_integer(bytes / 1024));
}

json_t *op_memstat(struct guest *g, struct err *err)
{
	static const struct {
		const char *theirs, *ours;
		bool bytes;
	} stats[] = {
		{"stat-swap-in", "swap_in", true},
		{"stat-swap-out", "swap_out", true},
		{"stat-major-faults", "major_fault", false},
		{"stat-minor-faults", "minor_fault", false},
		{"stat-free-memory", "unused", true},
		{"stat-total-memory", "available", true},
		{"stat-available-memory", "usable", true},
		{"stat-disk-caches", "disk_caches", true},
		{"stat-htlb-pgalloc", "hugetlb_pgalloc", false},
		{"stat-htlb-pgfail", "hugetlb_pgfail", false},
	};
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	json_t *out = json_object();
	add_kib(out, "actual", balloon_actual(g));
	int64_t before = clock_ms();
	/* asked only while somebody looks: polling wakes an idle guest */
	if (set_polling(g, 1, err) < 0) {
		json_decref(out);
		return NULL;
	}
	for (int64_t deadline = deadline_in(STATS_MS); deadline_left(deadline);) {
		json_decref(answer);
		answer = NULL;
		if (guest_qmp(g, "qom-get",
			    json_pack("{s:s, s:s}", "path", BALLOON_QOM, "property", "guest-stats"),
			    QMP_BLOCK_MS, &answer, &ignored) < 0)
			break;
		if (json_get_int(answer, "last-update", 0) > 0 && clock_ms() - before > 1200)
			break;
		struct wait w = WAIT_FOR(.deadline = deadline_in(LOOK_AGAIN_MS));
		if (guest_wait(g, &w) == WAKE_GONE)
			break;
	}
	set_polling(g, 0, &ignored);
	const json_t *values = json_object_get(answer, "stats");
	for (size_t i = 0; i < ARRAY_SIZE(stats); i++) {
		int64_t value = json_get_int(values, stats[i].theirs, -1);
		if (stats[i].bytes)
			add_kib(out, stats[i].ours, value);
		else if (value >= 0)
			json_object_set_new(out, stats[i].ours, json_integer(value));
	}
	int64_t updated = json_get_int(answer, "last-update", 0);
	if (updated)
		json_object_set_new(out, "last_update", json_integer(updated));
	add_kib(out, "rss", resident_bytes(g->qemu.pid));
	return out;
}
