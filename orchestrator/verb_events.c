/* events: what happens to one guest or to all; qmp: one command to a guest's keeper. */
#include "orchestrator/verbs.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"

enum { SOURCES_MAX = 1024 };

/* ---- events --------------------------------------------------------------------------------------- */

struct source {
	struct qmp *qmp;
	struct found guest; /* name "" for roostd */
};

static void print_event(const struct source *from, json_t *event, bool json)
{
	json_t *data = json_object_get(event, "data");
	const char *guest = json_get_str(data, "guest", from->guest.name);
	char stamp[32];
	if (json) {
		json_object_set_new(event, "guest", json_string(guest));
		_cleanup_free_ char *line = json_line(event);
		puts(line);
	} else {
		_cleanup_json_ json_t *rest = json_copy(data);
		json_object_del(rest, "guest");
		_cleanup_free_ char *line = json_object_size(rest) ? json_line(rest) : NULL;
		printf("%s %s %s%s%s\n", clock_stamp(stamp), guest,
			json_get_str(event, "event", "?"), line ? " " : "", line ? line : "");
	}
	fflush(stdout);
}

static void add_source(struct source *sources, size_t *count, const struct found *f)
{
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < *count; i++)
		if (str_eq(sources[i].guest.name, f->name))
			return;
	_cleanup_free_ char *path = run_path(f->id, "guest.sock", &ignored);
	struct qmp *q =
		*count < SOURCES_MAX ? qmp_connect(path, deadline_in(CONNECT_MS), &ignored) : NULL;
	if (q)
		sources[(*count)++] = (struct source){.qmp = q, .guest = *f};
}

static void add_all_running(struct source *sources, size_t *count)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int all = runs_open(&ignored);
	if (all < 0 || dir_names(all, &ids, NULL, &ignored) < 0)
		return;
	for (char **id = ids; *id; id++) {
		struct status s;
		struct found f;
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		if (status_read(all, file, &s, &ignored) < 0)
			continue;
		snprintf(f.name, sizeof(f.name), "%s", s.name);
		snprintf(f.id, sizeof(f.id), "%s", s.id);
		status_free(&s);
		add_source(sources, count, &f);
	}
}

/* True when the source has more to tell in the future. */
static bool take_events(struct source *s, bool json, const char *only, uint64_t *left)
{
	struct err ignored = ERR_INIT;
	json_t *event;
	qmp_pump(s->qmp, &ignored);
	while (*left && (event = qmp_next_event(s->qmp))) {
		const char *name = json_get_str(event, "event", "");
		/* roostd repeats what keepers told it: from it only what no keeper can tell counts */
		bool wanted = s->guest.name[0] && (!only || str_eq(name, only));
		if (wanted && !str_eq(name, "QMP_GONE")) {
			print_event(s, event, json);
			(*left)--;
		}
		json_decref(event);
	}
	return !qmp_gone(s->qmp);
}

static int follow(
	struct source *sources, size_t count, const struct cli *cli, bool all, uint64_t left)
{
	int64_t deadline = DEADLINE_NONE;
	struct pollfd *fds = xcalloc(SOURCES_MAX, sizeof(*fds));
	while (count && left && deadline_left(deadline)) {
		for (size_t i = 0; i < count; i++)
			fds[i] = (struct pollfd){
				.fd = qmp_fd(sources[i].qmp), .events = qmp_events(sources[i].qmp)};
		/* a second is how long a guest that starts meanwhile may go unseen */
		poll(fds, count, all ? 1000 : -1);
		for (size_t i = count; i-- > 0;) {
			if (take_events(
				    &sources[i], cli->json, cli_value(cli, "event", NULL), &left))
				continue;
			qmp_close(sources[i].qmp);
			sources[i] = sources[--count];
		}
		if (all)
			add_all_running(sources, &count);
	}
	for (size_t i = 0; i < count; i++)
		qmp_close(sources[i].qmp);
	free(fds);
	return 0;
}

static int run_events(const struct cli *cli, struct err *err)
{
	uint64_t left = UINT64_MAX;
	const char *most = cli_value(cli, "count", NULL);
	if (most && str_parse_u64(most, 1, UINT64_MAX - 1, "--count", &left, err) < 0)
		return -1;
	struct source *sources = xcalloc(SOURCES_MAX, sizeof(*sources));
	size_t count = 0;
	int result = 0;
	if (cli->count) {
		struct found f;
		struct qmp *q =
			guest_find(cli->operands[0], &f, err) < 0 ? NULL : guest_connect(&f, err);
		if (q)
			sources[count++] = (struct source){.qmp = q, .guest = f};
		result = q ? 0 : -1;
	} else {
		/* roostd stands for the guests that are to come; while it lives, so do we */
		struct qmp *q = supervisor_connect(err);
		if (q)
			sources[count++] = (struct source){.qmp = q};
		result = q ? 0 : -1;
		add_all_running(sources, &count);
	}
	if (result == 0)
		result = follow(sources, count, cli, !cli->count, left);
	free(sources);
	return result;
}

/* ---- qmp ------------------------------------------------------------------------------------------ */

static int run_qmp(const struct cli *cli, struct err *err)
{
	const char *text = cli->operands[1];
	_cleanup_json_ json_t *command = NULL;
	json_t *reply = NULL, *args = NULL;
	const char *name = text;
	if (text[0] == '{') {
		command = json_text_parse(text, strlen(text), err);
		if (!command || json_str(command, "execute", &name, err) < 0)
			return -1;
		args = json_incref(json_object_get(command, "arguments"));
	} else if (cli->count > 2) {
		args = json_text_parse(cli->operands[2], strlen(cli->operands[2]), err);
		if (!args)
			return err_prefix(err, "the arguments");
	}
	if (args && !json_is_object(args)) {
		json_decref(args);
		return err_set(err, ERR_USAGE, "the arguments of '%s' are no JSON object", name);
	}
	if (guest_call(cli->operands[0], name, args, &reply, err) < 0)
		return -1;
	cli_print_json(reply);
	return 0;
}

const struct verb verb_events = {"events", "[NAME]",
	"Shows what happens to a guest, or to all, as it happens.", 0, 1, false,
	{{"follow", NULL, 'f', "until interrupted (which is what it does anyway)"},
		{"count", "N", 'n', "end after so many"},
		{"event", "EVENT", 0, "only events of that name"}},
	run_events, "roost events web1", GROUP_LOOK, GUESTS_RUNNING};
const struct verb verb_qmp = {"qmp", "NAME COMMAND [ARGUMENTS]",
	"Sends one QMP command to a guest and prints the answer; COMMAND is a name or a whole JSON object.",
	2, 3, false, {{0}}, run_qmp, "roost qmp web1 query-status", GROUP_ACCESS, GUESTS_RUNNING};
