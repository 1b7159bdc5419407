/* virsh's commands about the host and itself, and what is refused by name. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/paths.h"

static int run_help(struct virsh *v)
{
	static const char *const places[] = {[V_FLAG] = "[--%s]",
		[V_NEED] = "<%s>",
		[V_NEED_INT] = "<%s>",
		[V_TEXT] = "[--%s <string>]",
		[V_INT] = "[--%s <number>]",
		[V_NAMED] = "[--%s <string>]",
		[V_MANY] = "[[--%s] <string>]..."};
	const char *name = virsh_text(v, "command");
	if (!name) {
		for (size_t i = 0; virsh_row(i); i++)
			printf("    %-30s %s\n", virsh_row(i)->name, virsh_row(i)->doc);
		return 0;
	}
	const struct virsh_command *c = virsh_find(name);
	const char *refusal = virsh_refusal(name);
	if (!c)
		return refusal ? virsh_error("%s", refusal)
			       : virsh_error("command '%s' doesn't exist", name);
	printf("  NAME\n    %s - %s\n\n  SYNOPSIS\n    %s", c->name, c->doc, c->name);
	for (int i = 0; i < VIRSH_OPTIONS_MAX && c->options[i].name; i++) {
		const char *form = places[c->options[i].kind], *at = strchr(form, '%');
		printf(" %.*s%s%s", (int)(at - form), form, c->options[i].name, at + 2);
	}
	puts("\n");
	return 0;
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
	virsh_fact(21, "Memory size:", "%lld KiB",
		(long long)(json_get_int(node, "memory", 0) / 1024));
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
	return chdir(to ? to : "/") < 0 ? virsh_error("cd: %s: %m", to) : 0;
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

const struct virsh_command virsh_others[] = {
	{"version", {{"daemon", V_FLAG}}, run_version, "show version", NULL, false},
	{"uri", {{0}}, run_uri, "print the hypervisor canonical URI", NULL, false},
	{"hostname", {{0}}, run_hostname, "print the hypervisor hostname", NULL, false},
	{"nodeinfo", {{0}}, run_nodeinfo, "node information", NULL, false},
	{"echo", {{"shell", V_FLAG}, {"string", V_MANY}}, run_echo, "echo arguments", NULL, false},
	{"cd", {{"dir", V_TEXT}}, run_cd, "change the current directory", NULL, false},
	{"pwd", {{0}}, run_pwd, "print the current directory", NULL, false},
	{"help", {{"command", V_TEXT}}, run_help, "print help", NULL, false},
	{0},
};

/* ---- what there is not -------------------------------------------------------------------------------------- */

const char *virsh_refusal(const char *command)
{
	static const struct {
		const char *prefix, *sentence; /* prefix with '*' at its end: all that begin so */
	} refused[] = {
		{"pool-*",
			"roost has no storage pools: images are in its store (`roost image list`), disks wherever "
			"their path leads"},
		{"find-storage-pool*",
			"roost has no storage pools: `roost image list` tells what is in its store"},
		{"vol-*",
			"roost has no volumes: `roost image create|info|resize|rm` work on image files and on its "
			"store"},
		{"attach-device",
			"devices in XML are not taken: use attach-disk, attach-interface, or `roost edit`"},
		{"detach-device*",
			"devices in XML are not taken: use detach-disk, detach-interface, or `roost edit`"},
		{"update-device",
			"devices in XML are not taken: use change-media, domif-setlink, or `roost edit`"},
		{"secret-*", "roost keeps no secrets: encrypted disks are not there"},
		{"nwfilter-*",
			"roost has no filters to be written: its guards are always on, see `roost net-guard`"},
		{"iface-*",
			"roost does not configure the host's interfaces: use ip, netplan, NetworkManager or "
			"systemd-networkd"},
		{"nodedev-*", "roost passes no host devices to guests"},
		{"migrate*",
			"roost does not migrate guests between hosts: `roost backup` and `roost restore` move one"},
		{"checkpoint-*", "roost has no checkpoints: `roost backup` makes a full backup"},
		{"backup-*", "backups are made by `roost backup NAME FILE`"},
		{"create",
			"a guest that is gone after its run is not made from a file: use define and start"},
		{"net-create",
			"a network that is gone after its run is not made from a file: use net-define and "
			"net-start"},
		{"snapshot-create", "use snapshot-create-as NAME SNAPSHOT"},
		{"snapshot-edit",
			"a snapshot is not edited: use snapshot-delete and snapshot-create-as"},
		{"domxml-*", "use `roost adopt FILE.xml`, and dumpxml for the way back"},
		{"cpu-*", "use `roost domcapabilities`"},
		{"lxc-*", "roost runs QEMU, no containers"},
		{"dump", "a core dump of a guest is not there: `roost save` writes its RAM"},
		{"iothread*", "I/O threads are chosen by roost itself"},
		{"numatune", "use numactl or the guest's cgroup: roost does not pin memory"},
		{"vcpupin",
			"use taskset on the threads that `roost vcpuinfo` names: roost does not pin vCPUs"},
		{"emulatorpin", "use taskset on the pid that `roost dominfo` names"},
		{"blkiotune", "roost does not weigh guests' disks against each other"},
		{"blkdeviotune", "roost does not throttle guests' disks"},
		{"domiftune", "roost does not throttle guests' interfaces"},
		{"memtune",
			"roost sets no limits on guests' memory beside its size: setmem, setmaxmem"},
		{"schedinfo", "use nice or a cgroup on the pid that `roost dominfo` names"},
		{"qemu-monitor-command", "use `roost qmp NAME COMMAND`"},
		{"qemu-monitor-event", "use `roost events NAME`"},
		{"qemu-agent-command", "use `roost agent NAME JSON`"},
		{"event", "use `roost events`"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const char *prefix = refused[i].prefix;
		size_t len = strcspn(prefix, "*");
		if (strncmp(command, prefix, len) == 0 && (prefix[len] || !command[len]))
			return refused[i].sentence;
	}
	return NULL;
}
