/*
 * What libvirt's virsh has and this one has not: whole commands, and options of those that are there, each with the
 * sentence that names what to use. Whoever knows libvirt's shall never hear "unknown".
 */
#include "orchestrator/compat/virsh.h"

#include <string.h>

/* Is `word` one of the words of `list`, of which "vol-*" stands for all that begin so? */
bool virsh_is_among(const char *list, const char *word)
{
	for (const char *p = list; *p; p += strspn(p, " ")) {
		size_t len = strcspn(p, " ");
		bool begins = p[len - 1] == '*';
		size_t compared = begins ? len - 1 : len;
		if (strncmp(p, word, compared) == 0 && (begins || !word[compared]))
			return true;
		p += len;
	}
	return false;
}

/* ---- commands -------------------------------------------------------------------------------------------- */

static const struct {
	const char *commands, *sentence;
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
	{"detach-device detach-device-alias",
		"devices in XML are not taken: use detach-disk, detach-interface, or `roost edit`"},
	{"update-device",
		"devices in XML are not taken: use change-media, domif-setlink, or `roost edit`"},
	{"update-memory-device",
		"memory is not plugged by the device: setmem gives and takes what setmaxmem allows"},
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
	{"net-create",
		"a network that is gone after its run is not made from a file: use net-define and "
		"net-start"},
	{"net-port-*", "a network's ports are not there by themselves: domiflist tells of them"},
	{"snapshot-edit", "a snapshot is not edited: use snapshot-delete and snapshot-create-as"},
	{"snapshot-dumpxml", "a snapshot has no XML here: use snapshot-info"},
	{"domxml-from-native", "a command line of QEMU is not taken: write XML, and use define"},
	{"domxml-to-native", "use `roost dominfo --argv NAME`"},
	{"cpu-* hypervisor-cpu-* domcapabilities capabilities",
		"what QEMU and this host can do is told by `roost domcapabilities` and `roost validate`"},
	{"lxc-enter-namespace send-process-signal", "roost runs QEMU, no containers"},
	{"dump", "a core dump of a guest is not there: save writes its RAM"},
	{"iothread*", "I/O threads are chosen by roost itself"},
	{"numatune", "use numactl or the guest's cgroup: roost does not pin memory"},
	{"vcpupin",
		"use taskset on the threads that `roost vcpuinfo` names: roost does not pin vCPUs"},
	{"emulatorpin", "use taskset on the pid that `roost dominfo` names"},
	{"blkiotune", "roost does not weigh guests' disks against each other"},
	{"blkdeviotune", "roost does not throttle guests' disks"},
	{"domiftune", "roost does not throttle guests' interfaces"},
	{"memtune", "roost sets no limits on guests' memory beside its size: setmem, setmaxmem"},
	{"schedinfo", "use nice or a cgroup on the pid that `roost dominfo` names"},
	{"setvcpu", "which vCPU it is, is not chosen: setvcpus changes how many there are"},
	{"qemu-monitor-event", "use `roost events NAME`"},
	{"qemu-attach", "a QEMU that roost has not started is not taken: use define"},
	{"dom-fd-associate", "roost opens a guest's files itself: name them in the definition"},
	{"domblkthreshold", "roost has no thresholds: domblkinfo tells how far a disk has grown"},
	{"domdirtyrate-calc", "roost does not migrate, and measures no dirty rate"},
	{"domlaunchsecinfo domsetlaunchsecstate nodesevinfo",
		"roost starts no encrypted guests (SEV)"},
	{"blockcopy",
		"a disk is not copied while the guest runs: `roost backup` makes a copy, `roost clone` "
		"another guest"},
	{"blockjob",
		"blockpull and blockcommit return when they are done; `roost cancel NAME` ends one"},
	{"save-image-*", "what was saved is not changed: restore it, or start with --force-boot"},
	{"managedsave-edit managedsave-define managedsave-dumpxml",
		"what was saved is not changed: start it, or managedsave-remove it"},
	{"metadata", "roost keeps no XML of others: desc sets a title and a description"},
	{"set-lifecycle-action", "use `roost edit NAME`: on_reboot, on_crash"},
	{"set-user-sshkeys get-user-sshkeys", "use `roost ssh-copy-id NAME`"},
	{"ttyconsole", "a console is no terminal of the host: use console, or `roost logs NAME`"},
	{"guest-agent-timeout", "say it with the command: qemu-agent-command --timeout"},
	{"connect", "say it at the start: virsh -c URI"},
	{"net-event", "use `roost events`"},
	{"perf", "use perf on the pid that `roost dominfo` names"},
	{"allocpages freepages", "use the host's /sys/kernel/mm/hugepages"},
	{"node-memory-tune", "use the host's /sys/kernel/mm/ksm"},
	{"nodesuspend", "use systemctl suspend"},
	{"sysinfo", "use dmidecode"},
};

const char *virsh_refusal(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (virsh_is_among(refused[i].commands, command))
			return refused[i].sentence;
	return NULL;
}

/* ---- options --------------------------------------------------------------------------------------------- */

static const struct {
	const char *commands, *options, *why;
} refused_options[] = {
	{"attach-disk", "iothread io rawio wwn alias address multifunction",
		"roost chooses it; --targetbus, --cache and --serial are there"},
	{"attach-disk",
		"sourcetype source-protocol source-host-name source-host-transport source-host-socket",
		"a disk is a file or a block device of this host, by its path"},
	{"attach-disk detach-disk attach-interface detach-interface change-media domif-setlink "
	 "snapshot-create-as",
		"print-xml", "nothing is done by XML here; dumpxml shows what a guest is"},
	{"attach-disk", "shareable", "a disk is of one guest, or --mode readonly"},
	{"attach-interface", "target",
		"roost names the interface in the network's namespace: domiflist tells"},
	{"attach-interface", "script", "roost runs no scripts for interfaces"},
	{"attach-interface", "alias managed source-mode", "host devices are not passed"},
	{"attach-interface", "inbound outbound", "roost does not throttle guests' interfaces"},
	{"blockcommit", "top", "it is the newest layer, down to --base"},
	{"blockcommit", "keep-overlay", "the disk goes over to its base: --pivot"},
	{"blockcommit blockpull", "timeout async", "`roost cancel NAME` ends it from elsewhere"},
	{"blockcommit blockpull", "keep-relative", "backing files are named as they are found"},
	{"change-media", "block", "the medium is a file or a device, by its path"},
	{"desc", "edit", "say the text: desc NAME --new-desc TEXT"},
	{"destroy", "remove-logs", "what it said stays until it is undefined: `roost logs NAME`"},
	{"domhostname", "source", "the agent is asked"},
	{"domjobabort", "postcopy", "roost does not migrate"},
	{"domjobinfo", "completed keep-completed anystats rawstats",
		"`roost events NAME` tells of what has ended"},
	{"cpu-stats", "start count", "the time is of all CPUs together"},
	{"domstats", "perf iothread memory dirtyrate vm enforce",
		"there are --state, --cpu-total, --balloon, --vcpu, --interface, --block"},
	{"domstats", "backing", "`roost image chain` tells of what a disk stands on"},
	{"domstats", "list-persistent list-transient",
		"there are --list-active, --list-running and others: `virsh list --transient`"},
	{"dompmsuspend", "duration", "it sleeps until dompmwakeup"},
	{"dumpxml", "security-info update-cpu migratable", "dumpxml is of the definition"},
	{"dumpxml net-dumpxml", "xpath wrap", "use xmllint --xpath on what is printed"},
	{"edit", "skip-validate", "a definition is always checked"},
	{"echo", "xml split err", "there is --shell"},
	{"guestinfo", "disk", "there is --filesystem; domblklist tells of the disks"},
	{"domfstrim", "mountpoint", "all file systems are trimmed"},
	{"managedsave save restore start", "bypass-cache",
		"RAM goes through the host's cache, which gives it back when it is needed"},
	{"managedsave save", "running paused",
		"say it when it goes on: start --paused, restore --running or --paused"},
	{"save restore", "xml", "it goes on as it was saved"},
	{"create start", "autodestroy", "a guest never stops because a client does: use destroy"},
	{"create start", "pass-fds", "roost opens a guest's files itself"},
	{"create start restore snapshot-revert", "reset-nvram",
		"`roost undefine` and define give a guest new variables of UEFI"},
	{"qemu-monitor-command", "pass-fds return-value",
		"the answer is as QEMU gives it; --pretty is there"},
	{"qemu-monitor-command", "hmp",
		"QEMU's human monitor could open any file: QMP alone is passed"},
	{"qemu-agent-command", "async", "it waits for the answer: --timeout"},
	{"screenshot", "screen", "a guest has one screen"},
	{"snapshot-create snapshot-create-as", "no-metadata",
		"a snapshot is known until snapshot-delete"},
	{"snapshot-create snapshot-create-as", "halt", "use shutdown or destroy"},
	{"snapshot-create snapshot-create-as", "reuse-external diskspec",
		"all disks are kept, in files that roost makes"},
	{"snapshot-create-as", "memspec", "RAM is kept of a guest that runs, unless --disk-only"},
	{"snapshot-create snapshot-create-as", "live validate", "it is so, as far as it can be"},
	{"snapshot-create", "xmlfile redefine current",
		"a snapshot is not made from XML: snapshot-create-as takes a name and a description"},
	{"snapshot-current", "security-info snapshotname", "use --name, and snapshot-info"},
	{"snapshot-delete", "metadata",
		"what it keeps goes with it; undefine --snapshots-metadata"},
	{"snapshot-list",
		"no-leaves metadata no-metadata inactive active disk-only internal external",
		"all are listed, with their state; --roots, --leaves, --tree are there"},
	{"snapshot-list", "from current descendants topological", "use --tree, or snapshot-info"},
	{"undefine", "storage", "--remove-all-storage removes the disks that are the guest's own"},
	{"undefine", "wipe-storage", "use shred on the file before"},
	{"undefine", "delete-storage-volume-snapshots delete-snapshots", "roost has no volumes"},
};

const char *virsh_option_refusal(const char *command, const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_options); i++)
		if (virsh_is_among(refused_options[i].commands, command) &&
			virsh_is_among(refused_options[i].options, option))
			return refused_options[i].why;
	return NULL;
}
