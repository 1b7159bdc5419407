#include "orchestrator/look_cpu.h"

#include <sched.h>
#include <stdlib.h>

#include "orchestrator/usage.h"

static json_t *affinity(pid_t tid)
{
	json_t *list = json_array();
	cpu_set_t set;
	if (sched_getaffinity(tid, sizeof(set), &set) < 0)
		return list;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			json_array_append_new(list, json_integer(cpu));
	return list;
}

static int by_number(const void *a, const void *b)
{
	int64_t x = json_get_int(*(json_t *const *)a, "vcpu", 0),
		y = json_get_int(*(json_t *const *)b, "vcpu", 0);
	return (x > y) - (x < y);
}

/* QEMU lists them in the order in which they were plugged. */
static json_t *sorted(const json_t *list)
{
	size_t count = json_array_size(list);
	_cleanup_free_ json_t **all = xcalloc(count ? count : 1, sizeof(json_t *));
	json_t *out = json_array();
	for (size_t i = 0; i < count; i++)
		all[i] = json_array_get(list, i);
	qsort(all, count, sizeof(json_t *), by_number);
	for (size_t i = 0; i < count; i++)
		json_array_append(out, all[i]);
	return out;
}

int look_vcpus(struct look *l, json_t **out, struct err *err)
{
	_cleanup_json_ json_t *cpus = NULL, *list = json_array();
	size_t i;
	json_t *cpu;
	if (look_ask(l, "query-cpus-fast", NULL, &cpus, err) < 0)
		return -1;
	json_array_foreach (cpus, i, cpu) {
		pid_t tid = (pid_t)json_get_int(cpu, "thread-id", 0);
		struct cpu_time t;
		if (cpu_time_read(l->s.qemu_pid, tid, &t, err) < 0)
			return err_prefix(err, "guest '%s'", l->f.name);
		json_array_append_new(list,
			json_pack("{s:I, s:i, s:s, s:I, s:i, s:o}", "vcpu",
				(json_int_t)json_get_int(cpu, "cpu-index", 0), "cpu", t.processor,
				"state", "running", "time", (json_int_t)(t.user_ns + t.system_ns),
				"thread", (int)tid, "affinity", affinity(tid)));
	}
	*out = sorted(list);
	return 0;
}
