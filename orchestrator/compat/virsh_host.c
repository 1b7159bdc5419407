/* virsh's commands that look at the host's CPUs and memory. */
#include "orchestrator/compat/virsh.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/definition.h"

enum { CELLS_MAX = 1024, TEXT_MAX = 1 << 20 };

static int run_maxvcpus(struct virsh *v)
{
	(void)v;
	printf("%d\n", VCPUS_MAX);
	return 0;
}

/* ---- CPUs ---------------------------------------------------------------------------------------------------- */

static int run_nodecpumap(struct virsh *v)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf online = {0};
	long present = sysconf(_SC_NPROCESSORS_CONF), count = 0;
	_cleanup_free_ bool *in = xcalloc((size_t)present + 1, sizeof(*in));
	if (file_read(AT_FDCWD, "/sys/devices/system/cpu/online", TEXT_MAX, &online, &err) < 0)
		return virsh_error("Unable to get cpu map"), virsh_reason(&err);
	for (const char *p = online.data; *p >= '0' && *p <= '9'; p += *p == ',') { /* "0-3,5" */
		char *end;
		long first = strtol(p, &end, 10),
		     last = *end == '-' ? strtol(end + 1, &end, 10) : first;
		for (long i = first; i <= last && i < present; i++, count++)
			in[i] = true;
		p = end;
	}
	printf("%-15s %ld\n%-15s %ld\n%-15s ", "CPUs present:", present, "CPUs online:", count,
		"CPU map:");
	virsh_print_cpus(in, (size_t)present, virsh_flag(v, "pretty"));
	putchar('\n');
	return 0;
}

struct ticks {
	unsigned long long user, nice, system, idle, iowait, irq, softirq;
};

/* Of all CPUs, or of one; in the kernel's ticks. */
static int read_ticks(int64_t cpu, struct ticks *t)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *name = cpu < 0 ? xstrdup("cpu ") : str_fmt("cpu%" PRId64 " ", cpu);
	if (file_read(AT_FDCWD, "/proc/stat", TEXT_MAX, &text, &err) < 0)
		return virsh_error("Unable to get node cpu stats"), virsh_reason(&err);
	const char *at = strstr(text.data, name);
	if (at && sscanf(at + strlen(name), "%llu %llu %llu %llu %llu %llu %llu", &t->user,
			  &t->nice, &t->system, &t->idle, &t->iowait, &t->irq, &t->softirq) == 7)
		return 0;
	virsh_error("Unable to get number of cpu stats");
	return virsh_error("invalid argument: Invalid cpuNum in virHostCPUGetStatsLinux");
}

static unsigned long long user_of(const struct ticks *t)
{
	return t->user + t->nice;
}

static unsigned long long system_of(const struct ticks *t)
{
	return t->system + t->irq + t->softirq;
}

static int percent(int64_t cpu, const struct ticks *before)
{
	struct ticks now;
	poll(NULL, 0, 1000); /* what is used within a second */
	if (read_ticks(cpu, &now) < 0)
		return -1;
	double user = (double)(user_of(&now) - user_of(before)),
	       system = (double)(system_of(&now) - system_of(before)),
	       idle = (double)(now.idle - before->idle),
	       iowait = (double)(now.iowait - before->iowait), all = user + system + idle + iowait;
	const struct {
		const char *name;
		double value;
	} rows[] = {{"usage:", user + system}, {"user:", user}, {"system:", system},
		{"idle:", idle}, {"iowait:", iowait}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		printf("%-15s %5.1lf%%\n", rows[i].name, all > 0 ? rows[i].value * 100 / all : 0);
	return 0;
}

static int run_nodecpustats(struct virsh *v)
{
	struct ticks t;
	int64_t cpu = -1;
	if (virsh_number(v, "cpu", 0, INT32_MAX, &cpu) < 0 || read_ticks(cpu, &t) < 0)
		return -1;
	if (virsh_flag(v, "percent"))
		return percent(cpu, &t);
	unsigned long long ns = 1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK);
	printf("%-15s %20llu\n%-15s %20llu\n%-15s %20llu\n%-15s %20llu\n",
		"user:", user_of(&t) * ns, "system:", system_of(&t) * ns, "idle:", t.idle * ns,
		"iowait:", t.iowait * ns);
	return 0;
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

/* KiB of "Node 0 MemFree:  123 kB"; 0 if the text has none. */
static unsigned long long kib_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static int read_cell(int64_t cell, struct buf *text, struct err *err)
{
	_cleanup_free_ char *path =
		cell < 0 ? xstrdup("/proc/meminfo")
			 : str_fmt("/sys/devices/system/node/node%" PRId64 "/meminfo", cell);
	return file_read(AT_FDCWD, path, TEXT_MAX, text, err);
}

static int run_nodememstats(struct virsh *v)
{
	static const char *const rows[][2] = {{"total", "MemTotal:"}, {"free", "MemFree:"},
		{"buffers", "Buffers:"}, {"cached", "\nCached:"}};
	struct err err = ERR_INIT;
	int64_t cell = -1;
	_cleanup_buf_ struct buf text = {0};
	if (virsh_number(v, "cell", -1, CELLS_MAX, &cell) < 0)
		return -1;
	if (read_cell(cell, &text, &err) < 0) {
		virsh_error("Unable to get number of memory stats");
		return virsh_error("invalid argument: Invalid cell number");
	}
	for (size_t i = 0; i < (cell < 0 ? ARRAY_SIZE(rows) : 2);
		i++) /* a cell has the first two */
		printf("%-7s: %20llu KiB\n", rows[i][0], kib_of(text.data, rows[i][1]));
	return 0;
}

static int all_cells(void)
{
	unsigned long long total = 0;
	for (int64_t cell = 0; cell < CELLS_MAX; cell++) {
		struct err none = ERR_INIT;
		_cleanup_buf_ struct buf text = {0};
		if (read_cell(cell, &text, &none) < 0)
			continue;
		unsigned long long kib = kib_of(text.data, "MemFree:");
		printf("%5" PRId64 ": %10llu KiB\n", cell, kib);
		total += kib;
	}
	printf("--------------------\n%5s: %10llu KiB\n", "Total", total);
	return 0;
}

static int run_freecell(struct virsh *v)
{
	struct err err = ERR_INIT;
	int64_t cell = -1;
	_cleanup_buf_ struct buf text = {0};
	if (virsh_flag(v, "all") && virsh_flag(v, "cellno"))
		return virsh_error("Options --all and --cellno are mutually exclusive");
	if (virsh_flag(v, "all"))
		return all_cells();
	if (virsh_number(v, "cellno", 0, INT32_MAX, &cell) < 0)
		return -1;
	if (read_cell(cell, &text, &err) < 0)
		return virsh_error("invalid argument: Range exceeds available cells");
	if (cell < 0)
		printf("Total: %llu KiB\n", kib_of(text.data, "MemFree:"));
	else
		printf("%" PRId64 ": %llu KiB\n", cell, kib_of(text.data, "MemFree:"));
	return 0;
}

const struct virsh_command virsh_hosts[] = {
	{"maxvcpus", {{"type", V_TEXT}}, run_maxvcpus, "connection vcpu maximum", NULL, false},
	{"nodecpumap", {{"pretty", V_FLAG}}, run_nodecpumap, "node cpu map", NULL, false},
	{"nodecpustats", {{"cpu", V_INT}, {"percent", V_FLAG}}, run_nodecpustats,
		"Prints cpu stats of the node.", NULL, false},
	{"nodememstats", {{"cell", V_INT}}, run_nodememstats, "Prints memory stats of the node.",
		NULL, false},
	{"freecell", {{"cellno", V_INT}, {"all", V_FLAG}}, run_freecell, "NUMA free memory", NULL,
		false},
	{0},
};
