/* doctor: networks' holders, taps, addresses, and what they have on the host. */
#include "orchestrator/doctor.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/network_address.h"
#include "orchestrator/network_call.h"
#include "orchestrator/network_up.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/status.h"

/* ---- guests' taps ------------------------------------------------------------------------------------- */

static bool guest_runs(const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	_cleanup_definition_ struct definition *d = record_read(name, &ignored);
	_cleanup_close_ int run = d ? run_dir_open(d->issued.id, &ignored) : -1;
	return run >= 0 && status_read(run, "status", &s, &ignored) == 0 &&
	       status_of_this_boot(&s) && proc_lives(s.qemu_pid, s.qemu_start);
}

/* A tap is its guest's; while that is just being started, of who has asked for it. */
static void look_at_tap(struct doctor *d, const struct network *n, const json_t *tap)
{
	struct err err = ERR_INIT;
	const char *name = json_get_str(tap, "tap", "?"), *guest = json_get_str(tap, "guest", "?");
	d->looked++;
	if (guest_runs(guest) || proc_lives((pid_t)json_get_int(tap, "pid", 0),
					 (uint64_t)json_get_int(tap, "start", 0)))
		return;
	_cleanup_free_ char *why =
		str_fmt("it is on network '%s' for guest '%s', which does not run", n->name, guest);
	if (doctor_unowned(d, "tap", name, why))
		doctor_removed(d,
			network_call(n, "net-untap", json_pack("{s:s}", "tap", name), NULL, 0, NULL,
				NULL, NULL, NETWORK_CALL_MS, &err),
			&err);
}

/* ---- the network itself ------------------------------------------------------------------------------- */

/* What the kernel has of it, against what its holder has made. */
static void look_inside(struct doctor *d, const struct network *n)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *differs = NULL;
	_cleanup_free_ char *remedy = str_fmt(
		"`roost net-destroy %s && roost net-start %s` makes it anew; guests that run are on it again",
		n->name, n->name);
	size_t i;
	json_t *one;
	if (network_call(
		    n, "net-check", NULL, NULL, 0, &differs, NULL, NULL, NETWORK_CALL_MS, &err) < 0)
		doctor_tell(d, "network", n->name, err.message, remedy);
	json_array_foreach (differs, i, one) {
		_cleanup_free_ char *name =
			str_fmt("%s, %s", n->name, json_get_str(one, "name", "?"));
		doctor_tell(d, json_get_str(one, "kind", "?"), name, json_get_str(one, "why", "?"),
			remedy);
	}
}

static void look_at_active(struct doctor *d, const struct network *n)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *status = NULL;
	size_t i;
	json_t *tap;
	if (network_call(n, "net-status", NULL, NULL, 0, &status, NULL, NULL, NETWORK_CALL_MS,
		    &err) < 0) {
		doctor_tell(d, "network", n->name, err.message,
			"`roost net-destroy` and `roost net-start` make it anew; its guests go on");
		return;
	}
	const json_t *uplink = json_object_get(status, "uplink");
	const char *problem = json_get_str(uplink, "problem", NULL);
	if (problem)
		doctor_tell(d, "uplink", n->name, problem, json_get_str(uplink, "hint", ""));
	if (str_eq(json_get_str(uplink, "kind", ""), "veth") &&
		setting_is("/proc/sys/net/ipv4/ip_forward", '0'))
		doctor_tell(d, "uplink", n->name,
			"somebody has switched forwarding of IPv4 off on this host: guests do not reach the world",
			"`sysctl net.ipv4.ip_forward=1`");
	if (n->mode != NETWORK_BRIDGE && !json_get_int(status, "dnsmasq", 0))
		doctor_tell(d, "dnsmasq", n->name, "it does not run: nobody gets an address",
			"its holder starts it again; `roost net-info` tells why it does not");
	look_inside(d, n);
	json_array_foreach (json_object_get(status, "taps"), i, tap)
		look_at_tap(d, n, tap);
}

/* A file `holder` that nobody has locked: it was killed. What else is left of a network roostd removes by itself. */
static bool look_at_killed(struct doctor *d, const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = network_run_path(n, "holder", &ignored);
	bool killed = path && access(path, F_OK) == 0;
	if (killed)
		doctor_tell(d, "network", n->name, "its holder was killed",
			"roostd starts it again by itself, within a second or two");
	return killed;
}

static void look_at_addresses(struct doctor *d, const struct network *n)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *files = network_addresses(n, &err);
	size_t i;
	json_t *file;
	json_array_foreach (files, i, file) {
		const char *address = json_get_str(file, "address", "?");
		d->looked++;
		if (!network_address_is_void(file))
			continue;
		_cleanup_free_ char *why =
			str_fmt("network '%s' issued it to guest '%s', which does not have it",
				n->name, json_get_str(file, "guest", "?"));
		if (!doctor_unowned(d, "address", address, why))
			continue;
		network_address_drop(n, address, json_get_str(file, "mac", ""));
		doctor_removed(d, 0, &err);
	}
}

/* ---- what a network has issued that is no more ------------------------------------------------------------ */

static void look_at_issued(struct doctor *d, int folder, const char *name)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *record =
		str_fmt("%.*s.json", (int)(strlen(name) - strlen(".addresses")), name);
	_cleanup_free_ char *path = str_fmt("%s/networks/%s", paths_state(&err), name);
	_cleanup_close_ int lock = networks_lock(&err);
	if (lock < 0 || str_eq(name, NETWORK_DEFAULT ".addresses") ||
		faccessat(folder, record, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	if (doctor_unowned(d, "addresses", path, "the network that issued them is no more"))
		doctor_removed(d, dir_remove(folder, name, &err), &err);
}

static void look_at_all_issued(struct doctor *d)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_free_ char *path = str_fmt("%s/networks", paths_state(&ignored));
	_cleanup_close_ int folder = dir_open(AT_FDCWD, path, &ignored);
	if (folder < 0 || dir_names(folder, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		if (str_ends(*name, ".addresses"))
			look_at_issued(d, folder, *name);
}

/* ---- on the host -------------------------------------------------------------------------------------- */

/* As long as the link is there, somebody lives in the network's namespace: a guest, perhaps. */
static void tell_link(struct doctor *d, const char *id)
{
	_cleanup_free_ char *link = str_fmt("rn-%s", id);
	_cleanup_free_ char *remedy = str_fmt("`%s --sweep %s`", libexec_path("roost-net"), id);
	doctor_tell(d, "link", link,
		"it is the uplink of a network that is not active, and something still lives there",
		remedy);
}

static void look_at_rules(struct doctor *d, const char *id)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *mark = str_fmt("roost-%s", id);
	if (!doctor_unowned(d, "firewall", mark,
		    "the host's firewall has rules with this comment, of a network that is not active"))
		return;
	_cleanup_json_ json_t *done = network_ask_host("--sweep", id);
	if (!done)
		err_set(&err, ERR_SYSTEM, "`%s --sweep %s` says why", libexec_path("roost-net"),
			id);
	doctor_removed(d, done ? 0 : -1, &err);
}

/* Other instances' networks, too, if they are not active either; a user has nothing there. */
static void look_at_traces(struct doctor *d, const json_t *known)
{
	size_t i;
	json_t *trace;
	_cleanup_json_ json_t *traces =
		paths_are_system() ? network_ask_host("--traces", NULL) : NULL;
	json_array_foreach (traces, i, trace) {
		const char *id = json_get_str(trace, "id", "");
		d->looked++;
		if (json_object_get(known, id) || json_get_bool(trace, "alive", false))
			continue;
		if (json_get_bool(trace, "link", false))
			tell_link(d, id);
		else
			look_at_rules(d, id);
	}
}

/* `known`: the IDs of those that are active, or will be in a moment */
static void look_at(struct doctor *d, const char *name, json_t *known)
{
	struct err err = ERR_INIT;
	struct network n;
	d->looked++;
	if (network_load(name, &n, &err) < 0) {
		doctor_tell(d, "network", name, err.message, err.hint);
		return;
	}
	if (network_active(&n)) {
		json_object_set_new(known, n.id, json_true());
		look_at_active(d, &n);
	} else if (look_at_killed(d, &n)) {
		json_object_set_new(known, n.id, json_true());
	}
	look_at_addresses(d, &n);
}

/* Those of bridges that the host has: they have no record, so it is their holders that tell of them. */
static void look_at_bridges(struct doctor *d, json_t *known)
{
	size_t i;
	json_t *holder;
	_cleanup_json_ json_t *holders = doctor_holders();
	json_array_foreach (holders, i, holder) {
		const char *name = json_get_str(holder, "name", "");
		if (str_starts(name, NETWORK_OF_BRIDGE))
			look_at(d, name, known);
	}
}

/* ---- guests' interfaces --------------------------------------------------------------------------------- */

/* A guest that runs, and whose other end of the cable is nowhere. */
static void look_at_nic(
	struct doctor *d, const json_t *known, const struct nic_def *n, const struct nic_of *of)
{
	struct err ignored = ERR_INIT;
	struct network network;
	char tap[NIC_TAP_MAX];
	if (n->kind == NIC_USER || nic_network(n, &network, &ignored) < 0)
		return;
	nic_tap_name(of, tap);
	d->looked++;
	bool active = network_active(&network);
	_cleanup_free_ char *file = str_fmt("ports/%s", tap);
	_cleanup_free_ char *path = network_run_path(&network, file, &ignored);
	if (active ? access(path, F_OK) == 0 : json_object_get(known, network.id) != NULL)
		return;
	_cleanup_free_ char *name = str_fmt("%s, nic%zu", of->guest, of->index);
	_cleanup_free_ char *why = str_fmt(active ? "it is cut off: its tap is not on network '%s'"
						  : "it is cut off: its network '%s' is not active",
		network.name);
	_cleanup_free_ char *remedy =
		active ? str_fmt("`roost shutdown %s`, `roost start %s`", of->guest, of->guest)
		       : str_fmt("`roost net-start %s`", network.name);
	doctor_tell(d, "interface", name, why, remedy);
}

static void look_at_nics(struct doctor *d, const json_t *known, const char *id, int run)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	_cleanup_definition_ struct definition *def = record_read_running(run, &ignored);
	_cleanup_json_ json_t *plugged = json_file_read(run, "attached", &ignored);
	size_t i;
	json_t *entry;
	if (!def || status_read(run, "status", &s, &ignored) < 0 || !status_of_this_boot(&s) ||
		s.state == GUEST_STARTING || !proc_lives(s.qemu_pid, s.qemu_start))
		return;
	for (i = 0; i < def->nic_count; i++)
		look_at_nic(d, known, &def->nics[i],
			&(struct nic_of){.guest = s.name, .id = id, .index = i});
	json_array_foreach (json_object_get(plugged, "attached"), i, entry) {
		struct nic_def n = {0};
		if (str_eq(json_get_str(entry, "kind", ""), "interface") &&
			nic_from_json(json_object_get(entry, "interface"), &n, &ignored) == 0)
			look_at_nic(d, known, &n,
				&(struct nic_of){.guest = s.name,
					.id = id,
					.index = NIC_PLUGGED +
						 (size_t)json_get_int(entry, "port", 0)});
	}
}

static void look_at_guests(struct doctor *d, const json_t *known)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	if (runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return;
	for (char **id = ids; *id; id++) {
		_cleanup_close_ int run = dir_open(runs, *id, &ignored);
		if (run >= 0)
			look_at_nics(d, known, *id, run);
	}
}

void doctor_networks(struct doctor *d)
{
	struct err err = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_json_ json_t *known = json_object();
	if (network_names(&names, NULL, &err) < 0) {
		doctor_tell(d, "check", "networks", err.message, err.hint);
		return;
	}
	for (char **name = names; *name; name++)
		look_at(d, *name, known);
	look_at_bridges(d, known);
	look_at_guests(d, known);
	look_at_all_issued(d);
	look_at_traces(d, known);
}
