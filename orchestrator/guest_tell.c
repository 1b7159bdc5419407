/* What a keeper tells the world: the status file, events to clients, events.jsonl. */
#include "orchestrator/guest.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "orchestrator/event_log.h"

void guest_event(struct guest *g, const char *name, json_t *data)
{
	json_t *event = event_new(name, data ? data : json_object());
	json_object_set_new(json_object_get(event, "data"), "guest", json_string(g->def->name));
	event_log_append(g->dir, event);
	server_event(g->server, event);
}

void guest_pass_event(struct guest *g, const json_t *event)
{
	event_log_append(g->dir, event);
	server_event(g->server, json_deep_copy(event));
}

void guest_tell_command(struct guest *g, const char *command, json_t *who)
{
	guest_event(g, "ROOST_COMMAND", event_command(g->def->name, command, who));
}

void guest_tell_starter(struct guest *g)
{
	if (g->starter)
		guest_tell_command(g, "roost-start", TAKE(g->starter));
}

void guest_progress(struct guest *g, const char *step, int64_t done, int64_t total)
{
	/* to the clients only: progress is no news for a log */
	server_event(g->server,
		event_new("ROOST_PROGRESS",
			json_pack("{s:s, s:s, s:s, s:I, s:I}", "guest", g->def->name, "operation",
				g->operation ? g->operation->name : "", "step", step, "done",
				(json_int_t)done, "total", (json_int_t)total)));
	snprintf(g->status.busy, sizeof(g->status.busy), "%s: %s",
		g->operation ? g->operation->name : "", step);
}

void guest_tell_status(struct guest *g)
{
	struct err ignored = ERR_INIT;
	/* how it ended is told by `last`; who sees that may start it again at once */
	if (!g->qemu_ended)
		status_write(g->run, &g->status, &ignored);
}

void guest_tell(struct guest *g, enum guest_state state, const char *reason_fmt, ...)
{
	char reason[sizeof(g->status.reason)];
	va_list ap;
	va_start(ap, reason_fmt);
	vsnprintf(reason, sizeof(reason), reason_fmt, ap);
	va_end(ap);
	bool changed = state != g->status.state;
	if (!changed && str_eq(reason, g->status.reason))
		return;
	g->status.state = state;
	memcpy(g->status.reason, reason, sizeof(reason));
	guest_tell_status(g);
	if (changed)
		guest_event(g, "ROOST_STATE",
			json_pack(
				"{s:s, s:s}", "state", guest_state_name(state), "reason", reason));
}

int guest_note_rung(struct guest *g, const char *rung, int64_t ms, struct err *err)
{
	if (!g->status.timeline)
		g->status.timeline = json_object();
	if (json_object_get(g->status.timeline, rung))
		return 0; /* the first time counts */
	if (json_object_size(g->status.timeline) >= TIMELINE_MAX)
		return err_set(
			err, ERR_REFUSED, "the timeline of guest '%s' is full", g->def->name);
	json_object_set_new(g->status.timeline, rung, json_integer(ms));
	guest_event(g, "ROOST_RUNG", json_pack("{s:s, s:I}", "rung", rung, "ms", (json_int_t)ms));
	guest_tell_status(g);
	return 0;
}
