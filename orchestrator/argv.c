#include "orchestrator/argv.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "orchestrator/accel.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

enum device { VGA, BALLOON, VIRTIO_MEM, WATCHDOG, SERIAL, RNG, SCSI, DEVICE_MAX };
static const struct slot {
	unsigned slot, function;
} slots_of_q35[DEVICE_MAX] = {[VGA] = {1, 0},
	[BALLOON] = {3, 0},
	[VIRTIO_MEM] = {3, 1},
	[WATCHDOG] = {3, 2},
	[SERIAL] = {4, 0},
	[RNG] = {5, 0},
	[SCSI] = {6, 0}},
  slots_of_pc[DEVICE_MAX] = {[VGA] = {2, 0},
	  [BALLOON] = {0xf, 0},
	  [VIRTIO_MEM] = {0xf, 1},
	  [WATCHDOG] = {0xf, 2},
	  [SERIAL] = {0xf, 3},
	  [RNG] = {0xf, 4},
	  [SCSI] = {0xf, 5}};
enum { SLOT_PORTS = 2, SLOT_MORE_PORTS = 3, FIRST_OF_MORE = 3, FUNCTIONS = 8 };
#define MIB        ((uint64_t)1 << 20)
#define PLUG_BLOCK (2 * MIB)

void opened_close(struct opened *o)
{
	int *const fds[] = {&o->qmp, &o->qmp_log, &o->agent, &o->kernel, &o->initrd, &o->tpm,
		&o->firmware.code, &o->firmware.vars};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close(fds[i]);
	for (size_t i = 0; i < CONSOLES_MAX; i++) {
		cleanup_close(&o->consoles[i].log);
		cleanup_close(&o->consoles[i].in[0]);
		cleanup_close(&o->consoles[i].in[1]);
	}
	for (size_t i = 0; i < NICS_MAX; i++)
		nic_tap_close(&o->nics[i]);
	for (size_t i = 0; i < DISKS_MAX; i++)
		disk_files_close(&o->disks[i]);
	disk_files_close(&o->vars);
}

static void set_address(
	json_t *device, const struct definition *d, unsigned slot, unsigned function)
{
	char text[16];
	snprintf(text, sizeof(text), "0x%x.0x%x", slot, function);
	json_object_set_new(device, "bus", json_string(pci_old(d->machine) ? "pci.0" : "pcie.0"));
	json_object_set_new(device, "addr", json_string(text));
}

static void add_device(struct launch *l, json_t *device)
{
	launch_arg(l, "-device");
	launch_arg_json(l, device);
}

static void add_pci(struct launch *l, const struct definition *d, json_t *device, enum device which)
{
	const struct slot *at = pci_old(d->machine) ? &slots_of_pc[which] : &slots_of_q35[which];
	set_address(device, d, at->slot, at->function);
	add_device(l, device);
}

/* -add-fd of an fd that is to be closed here; `what` is what query-fdsets will say of it. */
static void add_fd(struct launch *l, int *fd, int set, const char *what)
{
	launch_arg(l, "-add-fd");
	launch_arg(l, "fd=%d,set=%d,opaque=%s", launch_fd(l, TAKE_FD(*fd)), set, what);
}

static void add_machine(struct launch *l, const struct definition *d, enum accel accel, bool proven)
{
	bool uefi = d->firmware == FIRMWARE_UEFI;
	launch_arg(l, "-machine");
	launch_arg(l,
		"%s,memory-backend=pc.ram,hpet=off,vmport=off,usb=off,dump-guest-core=off%s%s",
		d->machine ? d->machine : "q35", uefi ? ",pflash0=code,pflash1=vars" : "",
		d->secure_boot ? ",smm=on" : "");
	if (d->boot_menu.enabled &&
		!definition_has_display(d)) { /* SeaBIOS then uses the serial line */
		launch_arg(l, "-machine");
		launch_arg(l, "graphics=off");
	}
	if (d->secure_boot) { /* else the guest's kernel could write the keys past the firmware */
		launch_arg(l, "-global");
		launch_arg(l, "driver=cfi.pflash01,property=secure,value=on");
	}
	launch_arg(l, "-accel");
	launch_arg(l, "%s",
		accel == ACCEL_KVM                            ? "kvm"
		: accel_tcg_threads(d->machine, d->max_vcpus) ? "tcg,thread=multi"
							      : "tcg,thread=single");
	launch_arg(l, "-cpu");
	/* `host` aborts QEMU where KVM only claims to run */
	launch_arg(l, "%s",
		d->cpu               ? d->cpu
		: accel == ACCEL_TCG ? "max"
		: proven             ? "host"
				     : "qemu64");
	launch_arg(l, "-smp");
	launch_arg(l, "cpus=%u,maxcpus=%u,sockets=%u,cores=1,threads=1", d->vcpus, d->max_vcpus,
		d->max_vcpus);
}

static void add_memory(struct launch *l, const struct definition *d)
{
	launch_arg(l, "-m");
	if (d->max_memory > d->memory)
		launch_arg(l, "size=%lluM,maxmem=%lluM", (unsigned long long)(d->memory / MIB),
			(unsigned long long)(d->max_memory / MIB));
	else
		launch_arg(l, "size=%lluM", (unsigned long long)(d->memory / MIB));
	/* always named pc.ram: RAM saved under another name does not load (facts of QEMU 7.2) */
	launch_arg(l, "-object");
	launch_arg_json(l, json_pack("{s:s, s:s, s:I}", "qom-type", "memory-backend-ram", "id",
				   "pc.ram", "size", (json_int_t)d->memory));
	add_pci(l, d,
		json_pack("{s:s, s:s, s:b, s:b, s:b}", "driver", "virtio-balloon-pci", "id",
			"balloon0", "free-page-reporting", 1, "deflate-on-oom", 1, "multifunction",
			1),
		BALLOON);
	/* virtio-mem comes in blocks: what is less than one more cannot be had */
	uint64_t plugged = (d->max_memory - d->memory) / PLUG_BLOCK * PLUG_BLOCK;
	if (!plugged)
		return;
	launch_arg(l, "-object");
	launch_arg_json(l, json_pack("{s:s, s:s, s:I, s:b}", "qom-type", "memory-backend-ram", "id",
				   "plugged", "size", (json_int_t)plugged, "reserve", 0));
	add_pci(l, d,
		json_pack("{s:s, s:s, s:s, s:i}", "driver", "virtio-mem-pci", "id", "memory1",
			"memdev", "plugged", "requested-size", 0),
		VIRTIO_MEM);
}

static void add_monitor(struct launch *l, struct opened *o)
{
	add_fd(l, &o->qmp_log, SET_QMP_LOG, "qmp-log");
	launch_arg(l, "-chardev");
	launch_arg(l, "socket,id=qmp0,fd=%d,server=on,wait=off,logfile=/dev/fdset/%d,logappend=on",
		launch_fd(l, TAKE_FD(o->qmp)), SET_QMP_LOG);
	launch_arg(l, "-mon");
	launch_arg(l, "chardev=qmp0,mode=control");
}

/* Born with a null chardev: 7.2's -chardev file takes no input; start_finish() changes it. */
/* A virtio one is plugged with its files by consoles_connect(): QEMU 7.2 cannot change its chardev. */
static void add_console(
	struct launch *l, const struct definition *d, size_t index, struct opened_console *c)
{
	char name[16];
	console_name(d, index, name);
	add_fd(l, &c->log, console_set(index), "console");
	add_fd(l, &c->in[0], console_set(index) + 1, "console-in");
	add_fd(l, &c->in[1], console_set(index) + 1, "console-in");
	if (d->consoles[index] != CONSOLE_SERIAL)
		return;
	launch_arg(l, "-chardev");
	launch_arg(l, "null,id=console%zu", index);
	launch_arg(l, "-device");
	launch_arg(l, "isa-serial,id=%s,chardev=console%zu", name, index);
}

/* What the agent's port and virtio consoles hang on. */
static void add_virtio_serial(struct launch *l, const struct definition *d)
{
	bool wanted = d->agent;
	for (size_t i = 0; i < d->console_count; i++)
		wanted = wanted || d->consoles[i] == CONSOLE_VIRTIO;
	if (wanted)
		add_pci(l, d,
			json_pack("{s:s, s:s}", "driver", "virtio-serial-pci", "id", "vserial0"),
			SERIAL);
}

static void add_agent(struct launch *l, struct opened *o)
{
	if (o->agent < 0)
		return;
	launch_arg(l, "-chardev");
	launch_arg(l, "socket,id=agent0,fd=%d,server=on,wait=off", launch_fd(l, TAKE_FD(o->agent)));
	add_device(l, json_pack("{s:s, s:s, s:s, s:s, s:s}", "driver", "virtserialport", "id",
			      "agentport0", "bus", "vserial0.0", "chardev", "agent0", "name",
			      "org.qemu.guest_agent.0"));
}

static void add_blockdev(struct launch *l, json_t *node)
{
	launch_arg(l, "-blockdev");
	launch_arg_json(l, node);
}

static void add_flash_file(struct launch *l, int *fd, const char *node, bool readonly, int *set)
{
	_cleanup_free_ char *path = str_fmt("/dev/fdset/%d", *set);
	add_fd(l, fd, (*set)++, node);
	add_blockdev(l, json_pack("{s:s, s:s, s:s, s:b}", "driver", "file", "node-name", node,
				"filename", path, "read-only", readonly));
}

void argv_add_layers(
	struct launch *l, const struct disk_def *disk, struct disk_files *files, int *set)
{
	for (size_t layer = files->count; layer-- > 0; (*set)++) {
		_cleanup_free_ char *name = disk_node(disk->target, layer, true);
		json_t *file = disk_file_node(disk, files, layer, *set);
		add_fd(l, &files->layers[layer].fd, *set, name);
		launch_arg(l, "-blockdev");
		launch_arg_json(l, file);
		launch_arg(l, "-blockdev");
		launch_arg_json(l, disk_format_node(disk, files, layer));
	}
}

static void add_firmware(struct launch *l, struct opened *o, int *set)
{
	if (o->firmware.code < 0)
		return;
	bool qcow2 = o->firmware.vars_qcow2;
	add_flash_file(l, &o->firmware.code, "code", true, set);
	if (o->vars.count) {
		argv_add_layers(l, &(struct disk_def){.target = SNAPSHOT_VARS}, &o->vars, set);
		return;
	}
	add_flash_file(l, &o->firmware.vars, qcow2 ? "vars-file" : "vars", false, set);
	if (qcow2)
		add_blockdev(l, json_pack("{s:s, s:s, s:s, s:n}", "driver", "qcow2", "node-name",
					"vars", "file", "vars-file", "backing"));
}

/* 0: does not boot from it; the first device of the first kind in `boot` gets 1. */
static int boot_index(const struct definition *d, enum boot_device device, size_t nth)
{
	static const enum boot_device usual[] = {BOOT_DISK, BOOT_CDROM};
	const enum boot_device *order = d->boot_count ? d->boot : usual;
	size_t count = d->boot_count ? d->boot_count : ARRAY_SIZE(usual);
	for (size_t i = 0; i < count; i++)
		if (order[i] == device)
			return (int)(i * DISKS_MAX + nth) + 1;
	return 0;
}

int argv_boot_index(const struct definition *d, const char *target)
{
	size_t disks = 0, cdroms = 0;
	for (size_t i = 0; i < d->disk_count; i++) {
		bool cdrom = d->disks[i].cdrom;
		size_t nth = cdrom ? cdroms++ : disks++;
		if (str_eq(d->disks[i].target, target))
			return boot_index(d, cdrom ? BOOT_CDROM : BOOT_DISK, nth);
	}
	return 0;
}

static void set_boot_index(json_t *device, int index)
{
	if (index)
		json_object_set_new(device, "bootindex", json_integer(index));
}

static void add_disk(struct launch *l, const struct definition *d, size_t index, struct opened *o,
	int *set, size_t *sata)
{
	const struct disk_def *disk = &d->disks[index];
	struct disk_files *files = &o->disks[index];
	argv_add_layers(l, disk, files, set);
	json_t *device = disk_device(disk);
	if (!files->count) /* a drive without a medium */
		json_object_del(device, "drive");
	/* a kernel given to QEMU has the first index */
	if (!d->install.kernel && str_eq(disk->target, d->install.drive))
		json_object_set_new(device, "bootindex", json_integer(0));
	else
		set_boot_index(device, argv_boot_index(d, disk->target));
	if (disk->bus == BUS_VIRTIO && !disk->cdrom) {
		set_address(device, d, pci_disk_slot(d->machine, index), 0);
	} else if (disk->bus != BUS_SCSI) {
		bool old = pci_old(d->machine); /* two drives a cable */
		_cleanup_free_ char *bus = str_fmt("ide.%zu", old ? *sata / 2 : *sata);
		json_object_set_new(device, "bus", json_string(bus));
		if (old)
			json_object_set_new(device, "unit", json_integer((json_int_t)*sata % 2));
		(*sata)++;
	}
	add_device(l, device);
}

static void add_disks(struct launch *l, const struct definition *d, struct opened *o, int *set)
{
	size_t sata = 0;
	bool scsi = false;
	for (size_t i = 0; i < d->disk_count; i++)
		scsi = scsi || d->disks[i].bus == BUS_SCSI;
	if (scsi)
		add_pci(l, d, json_pack("{s:s, s:s}", "driver", "virtio-scsi-pci", "id", "scsi0"),
			SCSI);
	for (size_t i = 0; i < d->disk_count; i++)
		add_disk(l, d, i, o, set, &sata);
}

static json_t *tap_netdev(const char *id, const char *fds, const char *vhosts)
{
	bool many = strchr(fds, ':');
	json_t *o = json_pack("{s:s, s:s, s:s, s:b}", "type", "tap", "id", id, many ? "fds" : "fd",
		fds, "vhost", vhosts != NULL);
	if (vhosts)
		json_object_set_new(o, many ? "vhostfds" : "vhostfd", json_string(vhosts));
	return o;
}

json_t *nic_netdev(const struct nic_def *n, size_t index, const json_t *forwards, const char *fds,
	const char *vhosts)
{
	_cleanup_free_ char *id = str_fmt("net%zu", index);
	if (n->kind != NIC_USER)
		return tap_netdev(id, fds, vhosts);
	json_t *list = json_array(), *f;
	size_t i;
	json_array_foreach (forwards, i, f) {
		if (json_get_int(f, "nic", 0) != (json_int_t)index)
			continue;
		_cleanup_free_ char *text =
			str_fmt("%s:%s:%lld-:%lld", json_get_bool(f, "udp", false) ? "udp" : "tcp",
				json_get_str(f, "host", ""), (long long)json_get_int(f, "port", 0),
				(long long)json_get_int(f, "guest_port", 0));
		json_array_append_new(list, json_pack("{s:s}", "str", text));
	}
	/* a subnet each: two interfaces with one address would confuse any guest */
	_cleanup_free_ char *net = str_fmt("10.0.%zu.0/24", 2 + index);
	return json_pack("{s:s, s:s, s:b, s:s, s:o}", "type", "user", "id", id, "restrict",
		n->restricted, "net", net, "hostfwd", list);
}

json_t *nic_device(const struct nic_def *n, size_t index)
{
	static const char *const drivers[] = {
		[NIC_VIRTIO] = "virtio-net-pci", [NIC_E1000E] = "e1000e", [NIC_E1000] = "e1000"};
	_cleanup_free_ char *id = str_fmt("nic%zu", index), *net = str_fmt("net%zu", index);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "driver", drivers[n->model], "id", id,
		"netdev", net, "mac", n->mac);
	if (n->queues > 1) {
		json_object_set_new(o, "mq", json_true());
		/* two for each queue, one for the configuration, one for control: virtio 1.2, 5.1 */
		json_object_set_new(o, "vectors", json_integer(2 * (json_int_t)n->queues + 2));
	}
	if (n->mtu && n->model == NIC_VIRTIO)
		json_object_set_new(o, "host_mtu", json_integer(n->mtu));
	return o;
}

static void add_nics(
	struct launch *l, const struct definition *d, const json_t *forwards, struct opened *o)
{
	for (size_t i = 0; i < d->nic_count; i++) {
		struct nic_tap *t = &o->nics[i];
		_cleanup_free_ char *fds = launch_fds(l, t->queues, &t->count);
		_cleanup_free_ char *vhosts = launch_fds(l, t->vhosts, &t->vhost_count);
		launch_arg(l, "-netdev");
		launch_arg_json(l, nic_netdev(&d->nics[i], i, forwards, fds, vhosts));
		json_t *device = nic_device(&d->nics[i], i);
		int index = boot_index(d, BOOT_NETWORK, i);
		set_boot_index(device, index);
		if (!index) /* no boot ROM to load for a NIC that nothing boots from */
			json_object_set_new(device, "romfile", json_string(""));
		const struct pci_place at = pci_place(d, i);
		if (at.bus) {
			_cleanup_free_ char *port = str_fmt("rp%u", at.bus - 1);
			json_object_set_new(device, "bus", json_string(port));
		} else {
			set_address(device, d, at.slot, 0);
		}
		add_device(l, device);
	}
}

/* Firmware numbers buses as it meets the ports: rp0 leads to bus 1, rp8, in the next slot, to bus 9. */
static void add_root_ports(struct launch *l, const struct definition *d)
{
	unsigned count = pci_old(d->machine) ? 0 : ROOT_PORTS;
	for (size_t i = 0; i < d->nic_count; i++)
		count = pci_place(d, i).bus > count ? pci_place(d, i).bus : count;
	for (unsigned i = 0; i < count; i++) {
		bool more = i >= FUNCTIONS;
		_cleanup_free_ char *id = str_fmt("rp%u", i);
		json_t *port = json_pack("{s:s, s:s, s:i, s:i}", "driver", "pcie-root-port", "id",
			id, "chassis", (int)i + 1, "port", (int)i);
		if (i == 0)
			json_object_set_new(port, "multifunction", json_true());
		set_address(port, d, more ? SLOT_MORE_PORTS : SLOT_PORTS,
			more ? i - FUNCTIONS + FIRST_OF_MORE : i);
		add_device(l, port);
	}
}

static void add_watchdog(struct launch *l, const struct definition *d)
{
	if (!d->watchdog.enabled)
		return;
	if (d->watchdog.model == WATCHDOG_I6300ESB) {
		add_pci(l, d, json_pack("{s:s, s:s}", "driver", "i6300esb", "id", "watchdog0"),
			WATCHDOG);
	} else { /* the chipset has it, and is strapped so that it resets nothing */
		launch_arg(l, "-global");
		launch_arg(l, "ICH9-LPC.noreboot=off");
	}
}

static void add_small_devices(struct launch *l, const struct definition *d)
{
	if (d->rng) {
		launch_arg(l, "-object");
		launch_arg(l, "rng-random,id=random0,filename=/dev/urandom");
		add_pci(l, d,
			json_pack("{s:s, s:s, s:s}", "driver", "virtio-rng-pci", "id", "rng0",
				"rng", "random0"),
			RNG);
	}
	add_device(l, json_pack("{s:s, s:s}", "driver", "pvpanic", "id", "panic0"));
	add_device(l, json_pack("{s:s, s:s, s:s}", "driver", "vmgenid", "id", "generation0", "guid",
			      "auto"));
	if (definition_has_display(d))
		add_pci(l, d, json_pack("{s:s, s:s}", "driver", "VGA", "id", "video0"), VGA);
}

static void add_tpm(struct launch *l, const struct definition *d, struct opened *o)
{
	static const char *const drivers[] = {[TPM_CRB] = "tpm-crb", [TPM_TIS] = "tpm-tis"};
	if (o->tpm < 0)
		return;
	launch_arg(l, "-chardev");
	launch_arg(l, "socket,id=tpmchar0,fd=%d", launch_fd(l, TAKE_FD(o->tpm)));
	launch_arg(l, "-tpmdev");
	launch_arg(l, "emulator,id=tpmdev0,chardev=tpmchar0");
	add_device(l, json_pack("{s:s, s:s, s:s}", "driver", drivers[d->tpm.model], "id", "tpm0",
			      "tpmdev", "tpmdev0"));
}

static void add_kernel(struct launch *l, const struct definition *d, struct opened *o)
{
	if (o->kernel < 0)
		return;
	launch_arg(l, "-kernel");
	launch_arg(l, "/proc/self/fd/%d", launch_fd(l, TAKE_FD(o->kernel)));
	if (o->initrd >= 0) {
		launch_arg(l, "-initrd");
		launch_arg(l, "/proc/self/fd/%d", launch_fd(l, TAKE_FD(o->initrd)));
	}
	if (d->cmdline) {
		launch_arg(l, "-append");
		launch_arg(l, "%s", d->cmdline);
	}
}

static void add_boot(struct launch *l, const struct definition *d)
{
	launch_arg(l, "-boot");
	if (d->boot_menu.enabled && d->boot_menu.timeout_ms)
		launch_arg(l, "strict=on,menu=on,splash-time=%lld",
			(long long)d->boot_menu.timeout_ms);
	else
		launch_arg(l, "strict=on%s", d->boot_menu.enabled ? ",menu=on" : "");
}

void argv_build(const struct definition *d, enum accel accel, bool proven, const json_t *forwards,
	struct opened *o, struct launch *l)
{
	int set = SET_DISKS;
	l->kvm = accel == ACCEL_KVM;
	launch_arg(l, "%s", qemu_path());
	launch_arg(l, "-name");
	launch_arg(l, "guest=%s", d->name);
	launch_arg(l, "-uuid");
	launch_arg(l, "%s", d->uuid);
	launch_arg(l, "-nodefaults");
	launch_arg(l, "-no-user-config");
	launch_arg(l, "-display");
	launch_arg(l, "none");
	launch_arg(l, "-S");
	launch_arg(l, "-action");
	launch_arg(l, "shutdown=pause,panic=pause,reboot=%s,watchdog=%s",
		d->install.enabled ? "shutdown" : "reset",
		watchdog_action_name(d->watchdog.action));
	launch_arg(l, "-sandbox");
	launch_arg(l, QEMU_SANDBOX);
	add_boot(l, d);
	add_machine(l, d, accel, proven);
	add_memory(l, d);
	add_monitor(l, o);
	add_virtio_serial(l, d);
	add_agent(l, o);
	for (size_t i = 0; i < d->console_count; i++)
		add_console(l, d, i, &o->consoles[i]);
	add_root_ports(l, d);
	add_firmware(l, o, &set);
	add_disks(l, d, o, &set);
	add_nics(l, d, forwards, o);
	add_small_devices(l, d);
	add_watchdog(l, d);
	add_tpm(l, d, o);
	add_kernel(l, d, o);
	if (d->vnc.enabled) {
		/* listens nowhere: the keeper hands it connections of a unix socket of its own */
		launch_arg(l, "-vnc");
		launch_arg(l, "none%s", d->vnc.password ? ",password=on" : "");
	}
	for (size_t i = 0; i < d->qemu_arg_count; i++)
		launch_arg(l, "%s", d->qemu_args[i]);
}
