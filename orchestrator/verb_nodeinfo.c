/* nodeinfo: the host's CPUs and memory, as the kernel tells them in /proc and /sys. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fs.h"

#define CPUS  "/sys/devices/system/cpu"
#define NODES "/sys/devices/system/node"

/* A small file of the kernel's as text; NULL if it cannot be read. Freed by the caller. */
static char *kernel_text(const char *path)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (file_read(AT_FDCWD, path, 4 * 1024 * 1024, &text, &ignored) < 0)
		return NULL;
	return buf_steal(&text);
}

/* The number behind KEY and ':' in such a text; -1. */
static double number_after(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;
	at = at ? strchr(at, ':') : NULL;
	return at ? strtod(at + 1, NULL) : -1;
}

static int64_t kib_after(const char *text, const char *key)
{
	double kib = number_after(text, key);
	return kib < 0 ? -1 : (int64_t)kib * 1024;
}

/* ---- CPUs ----------------------------------------------------------------------------------------- */

struct topology {
	long cpus;      /* online */
	size_t sockets; /* in the whole host */
	size_t cores;   /* per socket */
	size_t threads; /* per core */
};

static long topology_number(long cpu, const char *what)
{
	_cleanup_free_ char *path = str_fmt(CPUS "/cpu%ld/topology/%s", cpu, what);
	_cleanup_free_ char *text = kernel_text(path);
	return text ? strtol(text, NULL, 10) : -1;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct place {
	long socket, core;
};

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	long d = x->socket != y->socket ? x->socket - y->socket : x->core - y->core;
	return (d > 0) - (d < 0);
}

/* Where each CPU sits, sorted, so that neighbours share a core or a socket. */
static struct place *read_places(size_t *count)
{
	long configured = sysconf(_SC_NPROCESSORS_CONF);
	struct place *places = xcalloc((size_t)configured, sizeof(*places));
	size_t n = 0;
	for (long cpu = 0; cpu < configured; cpu++) {
		places[n] = (struct place){topology_number(cpu, "physical_package_id"),
			topology_number(cpu, "core_id")};
		n += places[n].socket >= 0; /* one that is offline has no topology */
	}
	qsort(places, n, sizeof(*places), by_place);
	*count = n;
	return places;
}

static struct topology read_topology(void)
{
	struct topology t = {sysconf(_SC_NPROCESSORS_ONLN), 1, 1, 1};
	size_t count, cores = 1, threads = 1;
	_cleanup_free_ struct place *p = read_places(&count);
	for (size_t i = 1; i < count; i++) {
		bool same_socket = p[i].socket == p[i - 1].socket;
		bool same_core = same_socket && p[i].core == p[i - 1].core;
		t.sockets += !same_socket;
		cores = !same_socket ? 1 : cores + !same_core;
		threads = same_core ? threads + 1 : 1;
		t.cores = most(t.cores, cores);
		t.threads = most(t.threads, threads);
	}
	return t;
}

/* ---- memory --------------------------------------------------------------------------------------- */

static void add_cell(json_t *cells, const char *name)
{
	_cleanup_free_ char *cpus_path = str_fmt(NODES "/%s/cpulist", name);
	_cleanup_free_ char *memory_path = str_fmt(NODES "/%s/meminfo", name);
	_cleanup_free_ char *cpus = kernel_text(cpus_path), *memory = kernel_text(memory_path);
	if (!cpus || !memory)
		return;
	cpus[strcspn(cpus, "\n")] = '\0';
	json_array_append_new(
		cells, json_pack("{s:i, s:s, s:I, s:I}", "id", atoi(name + strlen("node")), "cpus",
			       cpus, "memory", (json_int_t)kib_after(memory, "MemTotal"),
			       "memory_free", (json_int_t)kib_after(memory, "MemFree")));
}

/* A kernel without NUMA has no such folder: then all of it is one cell. */
static json_t *read_cells(const struct topology *t, const char *meminfo)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int dir = dir_open(AT_FDCWD, NODES, &ignored);
	json_t *cells = json_array();
	if (dir >= 0 && dir_names(dir, &names, NULL, &ignored) == 0)
		for (char **name = names; *name; name++)
			if (str_starts(*name, "node") && strspn(*name + 4, "0123456789"))
				add_cell(cells, *name);
	if (json_array_size(cells))
		return cells;
	_cleanup_free_ char *all = str_fmt(t->cpus > 1 ? "0-%ld" : "%ld", t->cpus - 1);
	json_array_append_new(
		cells, json_pack("{s:i, s:s, s:I, s:I}", "id", 0, "cpus", all, "memory",
			       (json_int_t)kib_after(meminfo, "MemTotal"), "memory_free",
			       (json_int_t)kib_after(meminfo, "MemFree")));
	return cells;
}

static json_t *node_info(void)
{
	struct utsname name = {0};
	_cleanup_free_ char *meminfo = kernel_text("/proc/meminfo");
	_cleanup_free_ char *cpuinfo = kernel_text("/proc/cpuinfo");
	struct topology t = read_topology();
	json_t *cells = read_cells(&t, meminfo);
	size_t per_cell = t.sockets / json_array_size(cells);
	uname(&name);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "cpu_model",
		name.machine, "cpus", (json_int_t)t.cpus, "cpu_mhz",
		(json_int_t)number_after(cpuinfo, "cpu MHz"), "sockets",
		(json_int_t)most(per_cell, 1), "cores", (json_int_t)t.cores, "threads",
		(json_int_t)t.threads, "memory", (json_int_t)kib_after(meminfo, "MemTotal"),
		"memory_free", (json_int_t)kib_after(meminfo, "MemFree"), "memory_available",
		(json_int_t)kib_after(meminfo, "MemAvailable"), "cells", cells);
}

static int run_nodeinfo(const struct cli *cli, struct err *err)
{
	static const struct {
		const char *key, *text;
	} lines[] = {{"cpus", "CPU(s):"}, {"cpu_mhz", "CPU frequency:"},
		{"sockets", "CPU socket(s):"}, {"cores", "Core(s) per socket:"},
		{"threads", "Thread(s) per core:"}};
	_cleanup_json_ json_t *o = node_info();
	(void)err;
	if (cli->json) {
		cli_print_json(json_incref(o));
		return 0;
	}
	printf("%-21s%s\n", "CPU model:", json_get_str(o, "cpu_model", ""));
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		long long value = json_get_int(o, lines[i].key, 0);
		bool mhz = str_eq(lines[i].key, "cpu_mhz");
		if (!mhz || value > 0)
			printf("%-21s%lld%s\n", lines[i].text, value, mhz ? " MHz" : "");
	}
	printf("%-21s%zu\n", "NUMA cell(s):", json_array_size(json_object_get(o, "cells")));
	printf("%-21s%lld KiB\n", "Memory size:", (long long)json_get_int(o, "memory", 0) / 1024);
	return 0;
}

const struct verb verb_nodeinfo = {"nodeinfo", "",
	"Tells the host's CPUs and memory; with --json also what is free, by NUMA cell.", 0, 0,
	false, {{0}}, run_nodeinfo, "roost nodeinfo --json", GROUP_HOST, GUESTS_ALL};
