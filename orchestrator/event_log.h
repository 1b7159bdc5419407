/*
 * events.jsonl: what happened, one JSON object a line, with `time`. A guest's is in its folder and is
 * its keeper's; the instance's own, $STATE/events.jsonl, tells what roostd was asked for, so also
 * who has undefined a guest. Bounded: at 1 MiB it becomes events.jsonl.1, which replaces the one
 * before.
 */
#ifndef ORCHESTRATOR_EVENT_LOG_H
#define ORCHESTRATOR_EVENT_LOG_H

#include "base/json.h"
#include "base/sock.h"

void event_log_append(int dir, const json_t *event);
/* The same by root, in a folder that is a keeper's. */
void event_log_append_as(int dir, uid_t keeper, const json_t *event);

/*
 * {"uid","user","pid"} of who is at the other end, as the kernel knows it. `user` is missing if
 * /etc/passwd does not have it: a name service may take long, and neither roostd nor a keeper
 * waits for one.
 */
json_t *event_who(const struct sock_peer *peer);
/* {"guest","command","uid","user","pid"}, the data of the event ROOST_COMMAND; `who` stolen. */
json_t *event_command(const char *guest, const char *command, json_t *who);
/* The same about an image of the store, or about all of it: NULL. */
json_t *event_image(const char *image, const char *command, json_t *who);
/* The same about a network. */
json_t *event_network(const char *network, const char *command, json_t *who);

#endif
