#include "netsetup/uplink.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"
#include "netsetup/legacy_firewall.h"
#include "netsetup/uplink_parts.h"

enum {
	CALM_MS = 1000, /* between two looks at a firewall that changes and changes */
	SILENT_MS =
		10000, /* between two looks at one that does not say when it changes, and between two tries */
	UNPROVEN_MS = 5000,
};

void uplink_note(struct uplink *u, const char *fmt, ...)
{
	va_list ap;
	char text[512];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < u->note_count; i++)
		if (strcmp(u->notes[i], text) == 0)
			return;
	if (u->note_count < UPLINK_NOTES_MAX)
		u->notes[u->note_count++] = xstrdup(text);
}

struct uplink *uplink_open(const struct uplink_plan *plan, struct err *err)
{
	if (plan->mode == UPLINK_BRIDGED && geteuid() != 0) {
		err_set(err, ERR_REFUSED, "only root's networks are on a bridge that the host has");
		return err_hint(err, "`mode: nat` works for everybody"), NULL;
	}
	struct uplink *u = xcalloc(1, sizeof(*u));
	snprintf(u->network, sizeof(u->network), "%s", plan->network);
	snprintf(u->id, sizeof(u->id), "%s", plan->id);
	snprintf(u->bridge, sizeof(u->bridge), "%s", plan->bridge ? plan->bridge : "");
	snprintf(u->host, sizeof(u->host), "rn-%s", plan->id);
	u->mode = plan->mode;
	u->again = plan->again;
	u->mtu = plan->mtu ? plan->mtu : 1500;
	u->address = plan->address ? *plan->address : u->address;
	u->address6 = plan->address6 ? *plan->address6 : u->address6;
	u->look_at = DEADLINE_NONE;
	if (u->mode == UPLINK_NONE || u->mode == UPLINK_BRIDGED)
		return u;
	u->veth = geteuid() == 0;
	/* a host without IPv6 lets no interface of its own have such an address */
	if (u->veth && !setting_is("/proc/sys/net/ipv6/conf/default/disable_ipv6", '0'))
		u->address6.family = 0;
	u->inside.interface = "up0";
	if (uplink_plan(u, err) == 0)
		return u;
	uplink_down(u);
	return NULL;
}

const struct uplink_inside *uplink_inside(const struct uplink *u)
{
	return &u->inside;
}

/* ---- up and down ---------------------------------------------------------------------------------- */

/* A network without a way out is one yet: that slirp4netns does not start is a problem, no error. */
static void start_slirp(struct uplink *u)
{
	const struct slirp_plan plan = {.inner = u->inner,
		.interface = "up0",
		.net = u->slirp_net,
		.ipv6 = u->inside.leads6};
	u->problem = (struct err)ERR_INIT;
	u->slirp = slirp_start(&plan, &u->problem);
	u->works = u->slirp != NULL;
	if (u->works)
		return;
	err_prefix(&u->problem, "it does not lead to the world");
	u->look_at = deadline_in(SILENT_MS);
}

static void plan_look(struct uplink *u)
{
	u->look_at = u->veth && !u->proven ? deadline_in(UNPROVEN_MS)
		     : legacy_is_used()    ? deadline_in(SILENT_MS)
					   : DEADLINE_NONE;
	u->calm_until = deadline_in(CALM_MS);
	u->changed = false;
}

int uplink_up(struct uplink *u, pid_t inner, struct err *err)
{
	u->inner = inner;
	if (u->mode == UPLINK_NONE)
		return 0;
	if (u->mode != UPLINK_BRIDGED && !u->veth) {
		start_slirp(u);
		return 0;
	}
	if ((u->veth ? uplink_veth_up(u, err) : uplink_bridged_up(u, err)) < 0) {
		uplink_veth_down(u);
		return -1;
	}
	u->works = u->problem.kind == ERR_NONE;
	plan_look(u);
	return 0;
}

void uplink_down(struct uplink *u)
{
	if (!u)
		return;
	uplink_veth_down(u);
	slirp_stop(u->slirp);
	for (size_t i = 0; i < u->note_count; i++)
		free(u->notes[i]);
	free(u);
}

/* ---- while it is up ------------------------------------------------------------------------------- */

size_t uplink_poll_fds(const struct uplink *u, struct pollfd *fds)
{
	if (u->slirp)
		return slirp_poll_fds(u->slirp, fds);
	if (!u->firewall || u->changed)
		return 0;
	fds[0] = (struct pollfd){.fd = host_firewall_fd(u->firewall), .events = POLLIN};
	return 1;
}

int64_t uplink_deadline(const struct uplink *u)
{
	int64_t slirp = u->slirp ? slirp_deadline(u->slirp) : DEADLINE_NONE;
	int64_t changed = u->changed ? u->calm_until : DEADLINE_NONE;
	int64_t first = slirp < changed ? slirp : changed;
	return first < u->look_at ? first : u->look_at;
}

static bool look_at_slirp(struct uplink *u)
{
	bool changed = slirp_look(u->slirp);
	u->works = slirp_pid(u->slirp) > 0;
	if (u->works)
		u->problem = (struct err)ERR_INIT;
	else
		err_set(&u->problem, ERR_SYSTEM,
			"it does not lead to the world: slirp4netns ended: %s",
			slirp_said(u->slirp));
	return changed;
}

static bool look_at_firewall(struct uplink *u)
{
	struct err err = ERR_INIT;
	size_t notes = u->note_count;
	bool worked = u->works;
	if (host_firewall_changed(u->firewall))
		u->changed = true;
	if (clock_ms() < (u->changed ? u->calm_until : u->look_at))
		return false;
	u->works = uplink_veth_check(u, &err) == 0;
	if (!u->works)
		u->proven = false;
	bool same = strcmp(u->problem.message, err.message) == 0;
	u->problem = err;
	plan_look(u);
	return !same || u->works != worked || u->note_count != notes;
}

bool uplink_look(struct uplink *u)
{
	if (u->slirp)
		return look_at_slirp(u);
	if (u->firewall)
		return look_at_firewall(u);
	if (u->inner && u->look_at != DEADLINE_NONE && clock_ms() >= u->look_at) {
		u->look_at = DEADLINE_NONE;
		start_slirp(u);
		return u->works;
	}
	return false;
}

json_t *uplink_status(const struct uplink *u)
{
	bool none = u->mode == UPLINK_NONE, bridged = u->mode == UPLINK_BRIDGED;
	json_t *notes = json_array();
	json_t *out = json_pack("{s:s, s:b}", "kind",
		none      ? "none"
		: bridged ? "bridge"
		: u->veth ? "veth"
			  : "slirp4netns",
		"works", u->works);
	for (size_t i = 0; i < u->note_count; i++)
		json_array_append_new(notes, json_string(u->notes[i]));
	json_object_set_new(out, "notes", notes);
	if (u->inside.interface)
		json_object_set_new(out, "interface", json_string(u->inside.interface));
	if (u->veth)
		json_object_set_new(out, "host", json_string(u->host));
	if (u->slirp && slirp_pid(u->slirp) > 0)
		json_object_set_new(out, "pid", json_integer(slirp_pid(u->slirp)));
	if (u->problem.kind != ERR_NONE) {
		json_object_set_new(out, "problem", json_string(u->problem.message));
		json_object_set_new(out, "hint", json_string(u->problem.hint));
	}
	return out;
}
