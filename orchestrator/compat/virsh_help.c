/* virsh's help: from the rows of the commands, and what their options mean. */
#include "orchestrator/compat/virsh.h"

#include <stdio.h>
#include <string.h>

/*
 * The first row with the option's name counts whose commands (a list with spaces between, each perhaps with a * at its
 * end; NULL: all) are of it.
 */
static const struct {
	const char *option, *commands, *doc;
} docs[] = {
	{"domain", NULL, "a guest, by name, Id or UUID"},
	{"network", NULL, "a network, by name or UUID"},
	{"config", "vcpucount desc", "as it is from its next start on"},
	{"live", "vcpucount desc", "as it is while it runs"},
	{"current", "vcpucount desc", "as it is at this moment"},
	{"current", "snapshot-*", "the one that it goes on from"},
	{"live", "snapshot-*", "while it runs"},
	{"config", NULL, "from its next start on"},
	{"live", NULL, "while it runs"},
	{"current", NULL, "the one that runs, else its next start"},
	{"persistent", "list net-list", "those that have a definition"},
	{"persistent", NULL, "from its next start on, too"},
	/* lists */
	{"all", "list net-list", "those that are not active, too"},
	{"all", "domdisplay", "of each display"},
	{"all", "domblkinfo", "of each disk"},
	{"all", "freecell", "of each NUMA cell"},
	{"all", "event", "of every kind"},
	{"inactive", "list net-list", "those alone that are not active"},
	{"inactive", NULL, "as it is defined, not as it runs"},
	{"transient", NULL, "those that have no definition"},
	{"autostart", NULL, "those that start with the host"},
	{"no-autostart", NULL, "those that do not"},
	{"with-snapshot", NULL, "those that have snapshots"},
	{"without-snapshot", NULL, "those that have none"},
	{"with-checkpoint", NULL, "none: there are no checkpoints"},
	{"without-checkpoint", NULL, "all: there are no checkpoints"},
	{"state-running", NULL, "those that run"},
	{"state-paused", NULL, "those that are paused"},
	{"state-shutoff", NULL, "those that are shut off"},
	{"state-other", NULL, "those in any other state"},
	{"with-managed-save", NULL, "those that were saved by managedsave"},
	{"without-managed-save", NULL, "those that were not"},
	{"managed-save", "list", "says 'saved' of what was saved by managedsave"},
	{"managed-save", "undefine", "gives up what managedsave has saved"},
	{"uuid", NULL, "UUIDs alone"},
	{"name", "list net-list snapshot-list snapshot-current", "names alone"},
	{"name", "snapshot-create-as", "what it is called; default: the time"},
	{"id", NULL, "Ids alone"},
	{"table", NULL, "a table, as without it"},
	{"title", "list", "with titles"},
	{"title", "desc", "the title, not the description"},
	{"new-desc", NULL, "the words; none: it is shown"},
	/* life */
	{"console", NULL, "looks at its console from the start on"},
	{"paused", "save managedsave", "paused when it is restored"},
	{"paused", "restore snapshot-revert", "paused afterwards"},
	{"paused", NULL, "paused, until it is resumed"},
	{"running", NULL, "running afterwards"},
	{"force-boot", NULL, "boots, and gives up what managedsave has saved"},
	{"graceful", NULL, "QEMU is asked to end, not killed"},
	{"mode", "attach-disk", "readonly, or shareable"},
	{"mode", NULL, "acpi, agent; several with commas between"},
	{"devname", NULL, "console0 or serial0, which are one"},
	{"force", "console", "as without it: many may look"},
	{"force", "change-media", "although the guest has locked the drive"},
	{"force", "snapshot-revert", "whatever is given up for it"},
	{"safe", NULL, "as without it: nobody disturbs another"},
	{"remove-all-storage", NULL, "with the disks that are its own"},
	{"snapshots-metadata", NULL, "forgets its snapshots, too"},
	{"checkpoints-metadata", NULL, "nothing: there are no checkpoints"},
	{"nvram", NULL, "with the variables of its UEFI"},
	{"keep-nvram", NULL, "the variables of its UEFI stay"},
	{"tpm", NULL, "with the state of its TPM"},
	{"keep-tpm", NULL, "the state of its TPM stays"},
	{"new-name", NULL, "what it is called from now on"},
	{"disable", "autostart net-autostart", "no longer"},
	{"disable", "guestvcpus", "takes them out of use"},
	{"enable", NULL, "puts them to use"},
	{"cpulist", NULL, "which ones, as in 0-2,4"},
	{"file", "save", "where it is saved to"},
	{"file", "restore", "what it was saved to"},
	{"file", "screenshot", "where the picture is written; default: a name with the time"},
	{"file", NULL, "XML, or a definition in YAML"},
	{"validate", NULL, "as without it: what is not known is refused"},
	{"verbose", NULL, "tells how far it is"},
	{"target", "dompmsuspend", "mem, disk or hybrid"},
	{"target", NULL, "what it is in the guest: vdb"},
	/* sizes */
	{"size", "blockresize", "the new size; a bare number is KiB"},
	{"size", NULL, "how much; a bare number is KiB"},
	{"count", NULL, "how many"},
	{"maximum", "vcpucount", "the most that it may have"},
	{"maximum", NULL, "the most that it may have from its next start on"},
	{"active", "vcpucount", "what it has"},
	{"guest", "vcpucount", "what the guest uses, by its agent"},
	{"guest", NULL, "has the guest use so many, by its agent"},
	{"hotpluggable", NULL, "as without it: they can be unplugged"},
	/* looking */
	{"reason", NULL, "with the reason"},
	{"total", NULL, "all CPUs together"},
	{"period", NULL, "every so many seconds the guest tells"},
	{"state", "domstats", "its state"},
	{"cpu-total", NULL, "the time that its CPUs took"},
	{"balloon", NULL, "its memory"},
	{"vcpu", NULL, "each of its CPUs"},
	{"interface", "domstats guestinfo", "its interfaces"},
	{"interface", NULL, "by the tap's name, or the MAC address"},
	{"block", "domstats", "its disks"},
	{"block", NULL, "however long it takes"},
	{"list-active", NULL, "those that are active"},
	{"list-inactive", NULL, "those that are not"},
	{"list-running", NULL, "those that run"},
	{"list-paused", NULL, "those that are paused"},
	{"list-shutoff", NULL, "those that are shut off"},
	{"list-other", NULL, "those in any other state"},
	{"raw", NULL, "numbers as they are"},
	{"nowait", NULL, "what can be told at once"},
	{"include-password", NULL, "as without it: no password is told"},
	{"type", "attach-interface detach-interface", "network or bridge"},
	{"type", "attach-disk", "disk or cdrom"},
	{"type", "domdisplay", "of that kind: vnc"},
	{"type", NULL, "which hypervisor: qemu"},
	{"pretty", "vcpuinfo nodecpumap", "CPUs as a list"},
	{"pretty", "domtime", "as a date"},
	{"pretty", NULL, "JSON with ends of lines"},
	{"device", NULL, "a disk, by its target or its file"},
	{"human", NULL, "with units, or in words"},
	{"details", NULL, "with type and device"},
	{"full", NULL, "names and MAC addresses in each row"},
	/* disks and media */
	{"source", "domifaddr", "lease, agent or arp"},
	{"source", "attach-interface", "the network, or the bridge"},
	{"source", NULL, "the file, or the device"},
	{"path", NULL, "a disk, by its target or its file"},
	{"targetbus", NULL, "virtio, scsi, sata"},
	{"driver", NULL, "qemu"},
	{"subdriver", NULL, "the format: raw, qcow2"},
	{"cache", NULL, "how the host caches: none, writeback, ..."},
	{"serial", NULL, "the serial number that the guest sees"},
	{"eject", NULL, "takes it out"},
	{"insert", NULL, "puts it into an empty drive"},
	{"update", NULL, "in place of the one that is in it"},
	{"bandwidth", NULL, "at most so many MiB a second"},
	{"bytes", NULL, "the bandwidth is in bytes a second"},
	{"base", "blockpull", "the layer that stays below it; default: none"},
	{"base", NULL, "the layer to commit into; default: the lowest"},
	{"shallow", NULL, "into the layer just below"},
	{"active", NULL, "the layer that the guest writes to"},
	{"delete", NULL, "removes what was committed"},
	{"pivot", NULL, "goes on with what was committed into"},
	{"wait", NULL, "until it is done"},
	/* interfaces */
	{"mac", NULL, "by its MAC address"},
	{"model", NULL, "virtio, e1000e, ..."},
	{"state", NULL, "up or down"},
	/* snapshots */
	{"snapshotname", NULL, "a snapshot, by its name"},
	{"description", NULL, "some words on it"},
	{"disk-only", NULL, "of the disks, not of the RAM"},
	{"quiesce", NULL, "has the agent freeze file systems meanwhile"},
	{"atomic", NULL, "as without it: all of it or nothing"},
	{"parent", NULL, "with what it stands on"},
	{"roots", NULL, "those that stand on none"},
	{"leaves", NULL, "those that none stands on"},
	{"tree", NULL, "as a tree"},
	{"children", NULL, "and all that stand on it"},
	{"children-only", NULL, "what stands on it, not itself"},
	/* the guest's inside */
	{"codeset", NULL, "whose names they are: linux, qnum, ..."},
	{"holdtime", NULL, "held for so many milliseconds"},
	{"keycode", NULL, "a key; several are pressed together"},
	{"mountpoint", NULL, "of those alone"},
	{"minimum", NULL, "leaves pieces of fewer bytes alone"},
	{"now", NULL, "the host's time"},
	{"sync", NULL, "the time of its clock, the RTC"},
	{"time", NULL, "seconds since 1970"},
	{"user", "guestinfo", "who is logged in"},
	{"user", NULL, "whose password it is"},
	{"password", NULL, "the new one"},
	{"encrypted", NULL, "it is a hash, as in /etc/shadow"},
	{"os", NULL, "which system it is"},
	{"timezone", NULL, "its time zone"},
	{"hostname", NULL, "its name"},
	{"filesystem", NULL, "what is mounted"},
	{"cmd", NULL, "a command as JSON"},
	{"timeout", NULL, "for so many seconds at most"},
	/* the network's, the host's, and virsh's own */
	{"command", "net-update", "add, modify or delete"},
	{"command", NULL, "of that one alone"},
	{"section", NULL, "ip-dhcp-host"},
	{"xml", NULL, "the element itself, or a file with it"},
	{"parent-index", NULL, "as without it: there is one subnet"},
	{"cpu", NULL, "of that CPU alone"},
	{"percent", NULL, "in one second, as percentages"},
	{"cell", NULL, "of that NUMA cell alone"},
	{"cellno", NULL, "of that NUMA cell alone"},
	{"event", NULL, "lifecycle"},
	{"loop", NULL, "until it is interrupted"},
	{"list", NULL, "the kinds that there are"},
	{"timestamp", NULL, "with the time"},
	{"daemon", NULL, "with roost's own"},
	{"shell", NULL, "quoted for a shell"},
	{"string", NULL, "the words"},
	{"dir", NULL, "where to; default: home"},
};

static const char *doc_of(const char *command, const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(docs); i++)
		if (str_eq(docs[i].option, option) &&
			(!docs[i].commands || virsh_is_among(docs[i].commands, command)))
			return docs[i].doc;
	return "";
}

/* How an option is written: in the line of its command, and in the list below. */
static const struct {
	const char *line, *list;
} forms[] = {
	[V_FLAG] = {"[--%s]", "--%s"},
	[V_NEED] = {"<%s>", "[--%s] <string>"},
	[V_NEED_INT] = {"<%s>", "[--%s] <number>"},
	[V_TEXT] = {"[--%s <string>]", "--%s <string>"},
	[V_INT] = {"[--%s <number>]", "--%s <number>"},
	[V_NAMED] = {"[--%s <string>]", "--%s <string>"},
	[V_NAMED_INT] = {"[--%s <number>]", "--%s <number>"},
	[V_MANY] = {"[[--%s] <string>]...", "[--%s] <string>"},
	[V_REST] = {"[<%s>]...", "<%s>"},
	[V_WORDS] = {"{[--%s] <string>}...", "[--%s] <string>"},
};

/* The form with the name for its '%s'; freed by the caller. */
static char *written(const char *form, const char *name)
{
	const char *at = strchr(form, '%');
	return str_fmt("%.*s%s%s", (int)(at - form), form, name, at + 2);
}

static void print_command(const struct virsh_command *c)
{
	printf("  NAME\n    %s - %s\n\n  SYNOPSIS\n    %s", c->name, c->doc, c->name);
	for (int i = 0; i < VIRSH_OPTIONS_MAX && c->options[i].name; i++) {
		_cleanup_free_ char *text =
			written(forms[c->options[i].kind].line, c->options[i].name);
		printf(" %s", text);
	}
	puts("\n");
	if (c->options[0].name)
		puts("  OPTIONS");
	for (int i = 0; i < VIRSH_OPTIONS_MAX && c->options[i].name; i++) {
		_cleanup_free_ char *text =
			written(forms[c->options[i].kind].list, c->options[i].name);
		printf("    %-15s  %s\n", text, doc_of(c->name, c->options[i].name));
	}
	if (c->options[0].name)
		putchar('\n');
}

int virsh_help(const struct virsh *v)
{
	const char *name = virsh_text(v, "command");
	if (!name) {
		for (size_t i = 0; virsh_row(i); i++)
			printf("    %-30s %s\n", virsh_row(i)->name, virsh_row(i)->doc);
		return 0;
	}
	const struct virsh_command *c = virsh_find(name);
	const char *refusal = virsh_refusal(name);
	if (c) {
		print_command(c);
		return 0;
	}
	return refusal ? virsh_error("%s", refusal)
		       : virsh_error("command or command group '%s' doesn't exist", name);
}
