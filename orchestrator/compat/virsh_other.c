/* virsh's commands about the host and itself. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/paths.h"

static int run_help(struct virsh *v)
{
	return virsh_help(v);
}

static int run_version(struct virsh *v)
{
	_cleanup_json_ json_t *qemu = NULL;
	struct err err = ERR_INIT;
	if (compat_ask("domcapabilities", NULL, &qemu, &err) < 0)
		return virsh_error("failed to get hypervisor version"), virsh_reason(&err);
	printf("Compiled against library: libvirt " LIBVIRT_VERSION "\n"
	       "Using library: libvirt " LIBVIRT_VERSION "\n"
	       "Using API: QEMU " LIBVIRT_VERSION "\nRunning hypervisor: QEMU %s\n",
		json_get_str(qemu, "version", ""));
	if (virsh_flag(v, "daemon"))
		puts("Running against daemon: roost " ROOST_VERSION);
	return 0;
}

static int run_uri(struct virsh *v)
{
	(void)v;
	puts(paths_are_system() ? "qemu:///system" : "qemu:///session");
	return 0;
}

static int run_hostname(struct virsh *v)
{
	char name[256] = "";
	(void)v;
	if (gethostname(name, sizeof(name) - 1) < 0)
		return virsh_error("failed to get hostname: %m");
	puts(name);
	return 0;
}

/* Its cells' together, as libvirt counts: without what was plugged in since. */
static long long memory_of(const json_t *cells)
{
	long long sum = 0;
	size_t i;
	json_t *cell;
	json_array_foreach (cells, i, cell)
		sum += json_get_int(cell, "memory", 0);
	return sum;
}

static int run_nodeinfo(struct virsh *v)
{
	_cleanup_json_ json_t *node = NULL;
	struct err err = ERR_INIT;
	(void)v;
	if (compat_ask("nodeinfo", NULL, &node, &err) < 0)
		return virsh_error("failed to get node information"), virsh_reason(&err);
	virsh_fact(21, "CPU model:", "%s", json_get_str(node, "cpu_model", ""));
	virsh_fact(21, "CPU(s):", "%lld", (long long)json_get_int(node, "cpus", 0));
	virsh_fact(21, "CPU frequency:", "%lld MHz", (long long)json_get_int(node, "cpu_mhz", 0));
	virsh_fact(21, "CPU socket(s):", "%lld", (long long)json_get_int(node, "sockets", 0));
	virsh_fact(21, "Core(s) per socket:", "%lld", (long long)json_get_int(node, "cores", 0));
	virsh_fact(21, "Thread(s) per core:", "%lld", (long long)json_get_int(node, "threads", 0));
	virsh_fact(21, "NUMA cell(s):", "%zu", json_array_size(json_object_get(node, "cells")));
	virsh_fact(
		21, "Memory size:", "%lld KiB", memory_of(json_object_get(node, "cells")) / 1024);
	return 0;
}

static int run_echo(struct virsh *v)
{
	for (size_t i = 0; i < v->many_count; i++) {
		_cleanup_free_ char *word =
			virsh_flag(v, "shell") ? shell_word(v->many[i]) : xstrdup(v->many[i]);
		printf("%s%s", i ? " " : "", word);
	}
	return 0;
}

static int run_cd(struct virsh *v)
{
	const char *to = virsh_text(v, "dir") ? virsh_text(v, "dir") : getenv("HOME");
	if (!v->interactive)
		return virsh_error("cd: command valid only in interactive mode");
	return chdir(to ? to : "/") < 0 ? virsh_error("cd: %m: %s", to) : 0;
}

static int run_pwd(struct virsh *v)
{
	_cleanup_free_ char *here = getcwd(NULL, 0);
	(void)v;
	if (!here)
		return virsh_error("pwd: cannot get current directory: %m");
	puts(here);
	return 0;
}

/* Among others it ends them (virsh.c). */
static int run_quit(struct virsh *v)
{
	(void)v;
	return 0;
}

const struct virsh_command virsh_others[] = {
	{"version", {{"daemon", V_FLAG}}, run_version, "show version", NULL, false},
	{"uri", {{0}}, run_uri, "print the hypervisor canonical URI", NULL, false},
	{"hostname", {{0}}, run_hostname, "print the hypervisor hostname", NULL, false},
	{"nodeinfo", {{0}}, run_nodeinfo, "node information", NULL, false},
	{"echo", {{"shell", V_FLAG}, {"string", V_REST}}, run_echo, "echo arguments", NULL, false},
	{"cd", {{"dir", V_TEXT}}, run_cd, "change the current directory", NULL, false},
	{"pwd", {{0}}, run_pwd, "print the current directory", NULL, false},
	{"quit", {{0}}, run_quit, "quit this interactive terminal", NULL, false},
	{"exit", {{0}}, run_quit, "quit this interactive terminal", NULL, false},
	{"help", {{"command", V_TEXT}}, run_help, "print help", NULL, false},
	{0},
};
