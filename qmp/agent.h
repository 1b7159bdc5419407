/*
 * The QEMU guest agent, over its unix socket, on the same codec (QEMU docs/interop/qemu-ga-ref).
 *
 * The agent has no greeting, no ids and no events, and may be absent, slow, or lie. So every
 * connection begins with guest-sync-delimited and a random number, everything before its answer is
 * dropped, every call has a deadline, and every answer is type-checked and bounded. A timed-out
 * call leaves the agent "unsynced": the next one synchronises first. An answer is at most
 * AGENT_ANSWER_MAX bytes; texts that come from the guest hold nothing a terminal would obey.
 *
 * Blocking on its own fd; for use in a keeper there is agent_set_wait(): a function that is called
 * instead of poll() whenever the agent client would sleep.
 */
#ifndef QMP_AGENT_H
#define QMP_AGENT_H

#include "qmp/wire.h"

struct agent;

#define AGENT_ANSWER_MAX ((size_t)4 * 1024 * 1024)

/* Waits until `fd` has `events` or the deadline passes: >0 ready, 0 deadline, -1 give up (err). */
typedef int agent_wait_fn(void *self, int fd, short events, int64_t deadline, struct err *err);

/* Connects only; no guest needs to listen yet. */
struct agent *agent_connect(const char *path, struct err *err);
struct agent *agent_open(int fd); /* takes the socket */
void agent_close(struct agent *a);
void agent_set_wait(struct agent *a, agent_wait_fn *wait, void *self);

/* A raw call; `args` stolen; *reply is the "return" value. */
int agent_call(struct agent *a, const char *command, json_t *args, int64_t deadline, json_t **reply,
	struct err *err);
/*
 * The same without waiting, for a process that looks after many things: agent_ask() says what is
 * wanted (once per connection), then agent_fd() is polled for agent_events(), and agent_take() called
 * until it tells. 1: *reply is the "return" value, owned; 0: not yet; -1: an error, or the end. Who
 * gives up closes the connection.
 */
int agent_ask(struct agent *a, const char *command, json_t *args, struct err *err);
int agent_take(struct agent *a, json_t **reply, struct err *err);
int agent_fd(const struct agent *a);
short agent_events(const struct agent *a);
/*
 * For guest-shutdown and the like, which answer nothing on success. A synchronisation follows, and
 * its answer without an error before it, the guest's going, or the deadline mean success.
 */
int agent_call_silent(
	struct agent *a, const char *command, json_t *args, int64_t deadline, struct err *err);

int agent_ping(struct agent *a, int64_t deadline, struct err *err);
enum agent_shutdown_mode { AGENT_POWERDOWN, AGENT_REBOOT, AGENT_HALT };
int agent_shutdown(
	struct agent *a, enum agent_shutdown_mode mode, int64_t deadline, struct err *err);
/* nanoseconds since 1970 UTC */
int agent_set_time(struct agent *a, int64_t ns, int64_t deadline, struct err *err);
/*
 * Sets exactly `online` vCPUs online, lowest ids first; those that cannot go offline stay. *now is
 * what the guest says after.
 */
int agent_set_vcpus(
	struct agent *a, unsigned online, unsigned *now, int64_t deadline, struct err *err);
int agent_count_vcpus(struct agent *a, unsigned *online, int64_t deadline, struct err *err);
/* Returns how many file systems were frozen / thawed. */
int agent_fsfreeze(struct agent *a, int64_t deadline, unsigned *count, struct err *err);
int agent_fsthaw(struct agent *a, int64_t deadline, unsigned *count, struct err *err);

/*
 * What guest-network-get-interfaces has answered, as far as it can be believed: values that are no
 * addresses and no counters are left out, and so is what goes beyond these numbers.
 *
 *	[{"name":"eth0", "mac":"52:54:00:...", "addresses":[{"type":"ipv4", "address":"10.0.2.15",
 *	"prefix":24}], "statistics":{"rx_bytes":N, "rx_packets":N, "rx_errs":N, "rx_drop":N, "tx_...":N}}]
 *
 * What is not of [A-Za-z0-9 ._:@+-] in a name is '_'. "mac" and "statistics" may be missing.
 */
enum { AGENT_INTERFACES_MAX = 256, AGENT_ADDRESSES_MAX = 256 /* of all interfaces together */ };
json_t *agent_interfaces(const json_t *answer, struct err *err);
/* guest-get-vcpus: {"vcpus":N, "online":N}, what the guest sees and what it uses. */
json_t *agent_vcpus(const json_t *answer, struct err *err);

#endif
