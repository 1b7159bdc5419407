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
	look_at_traces(d, known);
}
