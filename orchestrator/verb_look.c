/* Verbs that only look: list, domstate, dominfo. They read files and wake nobody. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/connect.h"
#include "orchestrator/look_net.h"
#include "orchestrator/paths.h"
#include "orchestrator/publish.h"
#include "orchestrator/record.h"
#include "orchestrator/table.h"
#include "orchestrator/usage.h"
#include "orchestrator/saved.h"

/* ---- list ----------------------------------------------------------------------------------------- */

struct row {
	struct status status;
	char state[200];    /* with the reason where it matters */
	char *uuid, *title; /* NULL unless asked for: they are in the guest's record */
	bool saved;         /* by managedsave */
	bool template;      /* it never runs */
};

static int by_number(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return x->status.number < y->status.number ? -1 : x->status.number > y->status.number;
}

static void name_state(struct row *r)
{
	bool telling = r->status.state == GUEST_IO_ERROR || r->status.state == GUEST_CRASHED ||
		       r->status.state == GUEST_BROKEN;
	if (telling && r->status.reason[0])
		snprintf(r->state, sizeof(r->state), "%s (%s)", guest_state_name(r->status.state),
			r->status.reason);
	else
		snprintf(r->state, sizeof(r->state), "%s", guest_state_name(r->status.state));
}

static struct row *new_row(struct row **rows, size_t *count)
{
	if ((*count & (*count - 1)) == 0) /* grows at each power of two */
		*rows = xrealloc(*rows, (*count ? *count * 2 : 1) * sizeof(**rows));
	struct row *r = &(*rows)[(*count)++];
	*r = (struct row){0};
	return r;
}

static void list_running(struct row **rows, size_t *count)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int all = runs_open(&ignored);
	if (all < 0 || dir_names(all, &ids, NULL, &ignored) < 0)
		return;
	for (char **id = ids; *id; id++) {
		struct status s;
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		if (status_look(all, file, &s, &ignored) < 0)
			continue;
		struct row *r = new_row(rows, count);
		r->status = s;
		name_state(r);
	}
	if (*count)
		qsort(*rows, *count, sizeof(**rows), by_number);
}

static bool is_running(const struct row *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(rows[i].status.name, name))
			return true;
	return false;
}

static void list_stopped(struct row **rows, size_t *count)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(&ignored);
	size_t running = *count;
	if (guests < 0 || dir_names(guests, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++) {
		if (is_running(*rows, running, *name) || record_is_transient(guests, *name))
			continue;
		struct row *r = new_row(rows, count);
		char crashed[96];
		snprintf(crashed, sizeof(crashed), "%s/crashed", *name);
		if (!record_looks_sound(guests, *name, &r->template)) {
			r->status.state = GUEST_BROKEN;
			snprintf(r->status.reason, sizeof(r->status.reason),
				"its record cannot be read");
		} else if (faccessat(guests, crashed, F_OK, 0) < 0 ||
			   status_read(guests, crashed, &r->status, &ignored) < 0) {
			r->status.state = GUEST_SHUT_OFF;
		}
		r->status.number = 0;
		snprintf(r->status.name, sizeof(r->status.name), "%s", *name);
		name_state(r);
		if (r->template)
			snprintf(r->state, sizeof(r->state), "template");
	}
}

/* The words of --state-*; a state without a word of its own is `other`. None given: all. */
static bool has_wanted_state(const struct cli *cli, enum guest_state state)
{
	const char *word = state == GUEST_RUNNING    ? "state-running"
			   : state == GUEST_PAUSED   ? "state-paused"
			   : state == GUEST_SHUT_OFF ? "state-shutoff"
						     : "state-other";
	bool any = cli_flag(cli, "state-running") || cli_flag(cli, "state-paused") ||
		   cli_flag(cli, "state-shutoff") || cli_flag(cli, "state-other");
	return !any || cli_flag(cli, word);
}

/* Of both of these nothing is left out, as with virsh. */
static bool has_wanted_autostart(const struct cli *cli, int guests, const char *name)
{
	bool yes = cli_flag(cli, "autostart"), no = cli_flag(cli, "no-autostart");
	return yes == no || record_autostarts(guests, name) == yes;
}

static bool has_wanted_save(const struct cli *cli, struct row *r)
{
	bool with = cli_flag(cli, "with-managed-save"),
	     without = cli_flag(cli, "without-managed-save");
	bool asked = with || without || cli_flag(cli, "managed-save") || cli->json;
	/* a look at a file for each of a thousand guests is not for nothing */
	r->saved = asked && !r->status.number && saved_exists(r->status.name);
	if (r->saved && cli_flag(cli, "managed-save") && r->status.state == GUEST_SHUT_OFF)
		snprintf(r->state, sizeof(r->state), "saved");
	return with == without || r->saved == with;
}

static void free_row(struct row *r)
{
	status_free(&r->status);
	free(r->uuid);
	free(r->title);
}

/* Records are read for a filter only that is in them. */
static void filter(const struct cli *cli, struct row *rows, size_t *count)
{
	struct err ignored = ERR_INIT;
	size_t kept = 0;
	_cleanup_close_ int guests = guests_open(&ignored);
	for (size_t i = 0; i < *count; i++) {
		struct status *s = &rows[i].status;
		if (has_wanted_state(cli, s->state) && has_wanted_autostart(cli, guests, s->name) &&
			has_wanted_save(cli, &rows[i]))
			rows[kept++] = rows[i];
		else
			free_row(&rows[i]);
	}
	*count = kept;
}

static void drop_first(struct row *rows, size_t *count, size_t dropped)
{
	for (size_t i = 0; i < dropped; i++)
		free_row(&rows[i]);
	*count -= dropped;
	if (*count)
		memmove(rows, rows + dropped, *count * sizeof(*rows));
}

static void read_records(struct row *rows, size_t count)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&ignored);
	for (size_t i = 0; guests >= 0 && i < count; i++) {
		_cleanup_free_ char *file = str_fmt("%s/guest.json", rows[i].status.name);
		_cleanup_json_ json_t *record = json_file_read(guests, file, &ignored);
		rows[i].uuid = xstrdup(json_get_str(record, "uuid", NULL));
		rows[i].title = xstrdup(json_get_str(record, "title", NULL));
	}
}

static void print_json(const struct cli *cli, const struct row *rows, size_t count)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&ignored);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct status *s = &rows[i].status;
		json_t *o = json_pack("{s:s, s:s, s:s}", "name", s->name, "state",
			guest_state_name(s->state), "reason", s->reason);
		if (s->number) {
			json_object_set_new(o, "id", json_integer(s->number));
			json_object_set_new(o, "accel", json_string(s->accel));
			json_object_set_new(o, "vcpus", json_integer(s->vcpus));
			json_object_set_new(o, "memory", json_integer(s->memory));
			json_object_set_new(o, "busy", json_string(s->busy));
			if (record_is_transient(guests, s->name))
				json_object_set_new(o, "transient", json_true());
		}
		if (rows[i].saved)
			json_object_set_new(o, "managed_save", json_true());
		if (rows[i].template)
			json_object_set_new(o, "template", json_true());
		if (rows[i].uuid && cli_flag(cli, "uuid"))
			json_object_set_new(o, "uuid", json_string(rows[i].uuid));
		if (cli_flag(cli, "title"))
			json_object_set_new(
				o, "title", json_string(rows[i].title ? rows[i].title : ""));
		json_array_append_new(list, o);
	}
	cli_print_json(list);
}

struct line {
	const char *cells[COLUMNS_MAX];
	size_t count;
	char number[24], vcpus[24];
};

/* `r` NULL: the head. */
static void fill_line(struct line *l, const struct cli *cli, const struct row *r)
{
	bool runs = r && r->status.number;
	snprintf(l->number, sizeof(l->number), "-");
	snprintf(l->vcpus, sizeof(l->vcpus), "-");
	if (runs) {
		snprintf(l->number, sizeof(l->number), "%lld", (long long)r->status.number);
		snprintf(l->vcpus, sizeof(l->vcpus), "%lld", (long long)r->status.vcpus);
	}
	l->count = 0;
	l->cells[l->count++] = r ? l->number : "Id";
	l->cells[l->count++] = r ? r->status.name : "Name";
	l->cells[l->count++] = r ? r->state : "State";
	if (cli_flag(cli, "wide")) {
		l->cells[l->count++] = !r ? "Accel" : runs ? r->status.accel : "-";
		l->cells[l->count++] = r ? l->vcpus : "vCPUs";
		l->cells[l->count++] = !r     ? "Memory"
				       : runs ? str_size((uint64_t)r->status.memory)
					      : "-";
	}
	if (cli_flag(cli, "title"))
		l->cells[l->count++] = !r ? "Title" : r->title ? r->title : "";
}

static void print_line(const struct line *l, const size_t *width)
{
	for (size_t j = 0; j < l->count; j++)
		printf("%s%-*s", j ? "   " : " ", j + 1 < l->count ? (int)width[j] : 0,
			l->cells[j]);
	putchar('\n');
}

/* As table_print() would, but there may be a thousand of them, and the answer is wanted at once. */
static void print_table(const struct cli *cli, const struct row *rows, size_t count)
{
	size_t width[COLUMNS_MAX] = {0}, total = 0;
	struct line line;
	for (size_t i = 0; i <= count; i++) {
		fill_line(&line, cli, i ? &rows[i - 1] : NULL);
		for (size_t j = 0; j < line.count; j++) {
			size_t len = strlen(line.cells[j]);
			width[j] = len > width[j] ? len : width[j];
		}
	}
	for (size_t j = 0; j < line.count; j++)
		total += width[j] + 3;
	for (size_t i = 0; i <= count; i++) {
		fill_line(&line, cli, i ? &rows[i - 1] : NULL);
		print_line(&line, width);
		for (size_t j = 0; i == 0 && j < total; j++)
			putchar('-');
		if (i == 0)
			putchar('\n');
	}
}

/* For scripts: the columns asked for, always in this order. A broken guest has no UUID to tell. */
static bool print_columns(const struct cli *cli, const struct row *rows, size_t count)
{
	bool number = cli_flag(cli, "id"), uuid = cli_flag(cli, "uuid"),
	     name = cli_flag(cli, "name");
	for (size_t i = 0; (number || uuid || name) && i < count; i++) {
		const struct row *r = &rows[i];
		if (number && r->status.number)
			printf("%lld", (long long)r->status.number);
		else if (number)
			putchar('-');
		if (uuid)
			printf("%s%s", number ? " " : "", r->uuid ? r->uuid : "-");
		if (name)
			printf("%s%s", number || uuid ? " " : "", r->status.name);
		putchar('\n');
	}
	return number || uuid || name;
}

/* To standard error, for it is no guest: who looks in the wrong place finds the right one. */
static void tell_of_other_instance(void)
{
	struct err ignored = ERR_INIT;
	const char *word;
	size_t count = 0;
	_cleanup_names_ char **names = NULL;
	_cleanup_free_ char *path = paths_of_other_guests(&word);
	_cleanup_close_ int guests = path ? dir_open(AT_FDCWD, path, &ignored) : -1;
	if (guests < 0 || dir_names(guests, &names, &count, &ignored) < 0 || !count)
		return;
	fflush(stdout);
	fprintf(stderr, "roost: the %s instance has %zu guest%s: `roost -c %s list --all`\n", word,
		count, count == 1 ? "" : "s", word);
}

static int run_list(const struct cli *cli, struct err *err)
{
	struct row *rows = NULL;
	size_t count = 0;
	if (!paths_state(err) || !paths_run(err))
		return -1;
	if (orphans_exist())
		orphans_adopt(err); /* what it cannot do shows as `unresponsive` */
	bool all = cli_flag(cli, "all"), inactive = cli_flag(cli, "inactive");
	/* what runs is found in any case: all others do not */
	list_running(&rows, &count);
	size_t running = count;
	if (all || inactive || cli_flag(cli, "state-shutoff"))
		list_stopped(&rows, &count);
	if (inactive && !all)
		drop_first(rows, &count, running);
	filter(cli, rows, &count);
	if (cli_flag(cli, "uuid") || cli_flag(cli, "title"))
		read_records(rows, count);
	if (cli->json)
		print_json(cli, rows, count);
	else if (!print_columns(cli, rows, count)) {
		print_table(cli, rows, count);
		tell_of_other_instance();
	}
	drop_first(rows, &count, count);
	free(rows);
	return 0;
}

/* ---- domstate, dominfo ------------------------------------------------------------------------------ */

/* Also takes over guests that were left without a keeper, so that what is told is true. */
static int look(const struct cli *cli, struct found *f, struct status *s, struct err *err)
{
	if (orphans_exist())
		orphans_adopt(err);
	return guest_find(cli->operands[0], f, err) < 0 ? -1 : guest_look(f, s, err);
}

static int run_domstate(const struct cli *cli, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	struct found f;
	if (look(cli, &f, &s, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack(
			"{s:s, s:s}", "state", guest_state_name(s.state), "reason", s.reason));
	else if (cli_flag(cli, "reason") && s.reason[0])
		printf("%s (%s)\n", guest_state_name(s.state), s.reason);
	else
		printf("%s\n", guest_state_name(s.state));
	return 0;
}

/* As one would type it: words with anything unusual in single quotes. */
static void print_argv(const json_t *argv)
{
	size_t i;
	json_t *word;
	json_array_foreach (argv, i, word) {
		_cleanup_free_ char *text = shell_word(json_string_value(word));
		printf("%s%s", !i ? "" : text[0] == '-' ? " \\\n  " : " ", text);
	}
	putchar('\n');
}

static int tell_argv(const struct cli *cli, const struct found *f, struct err *err)
{
	_cleanup_close_ int run = f->id[0] ? run_dir_open(f->id, err) : -1;
	_cleanup_buf_ struct buf text = {0};
	if (run < 0 || file_read(run, "argv", 1024 * 1024, &text, err) < 0)
		return err_set(err, ERR_REFUSED,
			"guest '%s' is not running: it has no command line yet", f->name);
	json_t *argv = json_text_parse(text.data, text.len, err);
	if (!argv)
		return -1;
	if (cli->json) {
		cli_print_json(argv);
	} else {
		print_argv(argv);
		json_decref(argv);
	}
	return 0;
}

/* The host's ports that lead into it now. */
static void print_forwards(const char *name)
{
	_cleanup_look_ struct look l = LOOK_NONE;
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *nics =
		look_at(&l, name, &ignored) == 0 ? look_nics(&l, &ignored) : NULL;
	const char *label = "Ports:";
	size_t i, k;
	json_t *nic, *f;
	json_array_foreach (nics, i, nic)
		json_array_foreach (json_object_get(nic, "forwards"), k, f) {
			printf("%-16s%s -> %lld/%s\n", label,
				publish_host_text(json_get_str(f, "address", ""),
					(unsigned)json_get_int(f, "port", 0)),
				(long long)json_get_int(f, "guest_port", 0),
				json_get_str(f, "protocol", ""));
			label = "";
		}
}

static int run_dominfo(const struct cli *cli, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	struct found f;
	if (look(cli, &f, &s, err) < 0)
		return -1;
	if (cli_flag(cli, "argv"))
		return tell_argv(cli, &f, err);
	_cleanup_definition_ struct definition *d = record_read(f.name, err);
	if (!d)
		return -1;
	bool running = s.number != 0;
	/* `d` is what it will be at its next start */
	_cleanup_definition_ struct definition *runs_by = running ? look_definition(&f, err) : NULL;
	const struct definition *now = runs_by ? runs_by : d;
	_cleanup_close_ int guests = guests_open(err);
	bool transient = record_is_transient(guests, d->name);
	if (cli->json) {
		json_t *o = definition_to_json(d);
		json_object_set_new(o, "state", json_string(guest_state_name(s.state)));
		json_object_set_new(o, "reason", json_string(s.reason));
		if (transient)
			json_object_set_new(o, "transient", json_true());
		if (running && s.tpm_pid)
			json_object_set_new(o, "tpm_gone", json_string(s.tpm_gone));
		json_object_set_new(
			o, "managed_save", json_boolean(!running && saved_exists(d->name)));
		if (running)
			json_object_update_new(
				o, json_pack("{s:I, s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:I}",
					   "number", (json_int_t)s.number, "accelerator", s.accel,
					   "current_memory", (json_int_t)s.memory, "current_vcpus",
					   (json_int_t)s.vcpus, "current_max_memory",
					   (json_int_t)now->max_memory, "current_max_vcpus",
					   (int)now->max_vcpus, "qemu_pid", (int)s.qemu_pid,
					   "keeper_pid", (int)s.keeper_pid, "cpu_time",
					   (json_int_t)cpu_time_ns(s.qemu_pid)));
		cli_print_json(o);
		return 0;
	}
	char number[24] = "-";
	if (running)
		snprintf(number, sizeof(number), "%lld", (long long)s.number);
	printf("%-16s%s\n%-16s%s\n%-16s%s\n%-16shvm\n", "Id:", number, "Name:", d->name,
		"UUID:", d->uuid, "OS Type:");
	printf("%-16s%s%s%s%s\n", "State:", guest_state_name(s.state), s.reason[0] ? " (" : "",
		s.reason, s.reason[0] ? ")" : "");
	printf("%-16s%lld of %u\n", "CPU(s):", running ? (long long)s.vcpus : d->vcpus,
		now->max_vcpus);
	int64_t used = running ? cpu_time_ns(s.qemu_pid) : -1;
	if (used >= 0)
		printf("%-16s%.1fs\n", "CPU time:", (double)used / 1e9);
	printf("%-16s%s\n", "Max memory:", str_size(now->max_memory));
	printf("%-16s%s\n", "Used memory:", str_size(running ? (uint64_t)s.memory : d->memory));
	if (running)
		printf("%-16s%s\n%-16s%d\n", "Accelerator:", s.accel,
			"QEMU's pid:", (int)s.qemu_pid);
	if (running)
		print_forwards(f.name);
	if (running && s.tpm_pid)
		printf("%-16s%s\n", "TPM:", s.tpm_gone[0] ? s.tpm_gone : "2.0");
	_cleanup_free_ char *vnc =
		running && d->vnc.enabled ? run_path(f.id, "vnc.sock", err) : NULL;
	if (vnc)
		printf("%-16s%s\n", "VNC:", vnc);
	printf("%-16s%s\n", "Persistent:", transient ? "no" : "yes");
	printf("%-16s%s\n", "Autostart:", d->autostart && !transient ? "enable" : "disable");
	if (d->issued.template)
		printf("%-16s%s\n", "Template:", "yes");
	printf("%-16s%s\n", "Managed save:", !running && saved_exists(d->name) ? "yes" : "no");
	return 0;
}

const struct verb verb_list = {"list", "", "Lists guests: those that run, or all.", 0, 0, false,
	{{"all", NULL, 'a', "also those that do not run"},
		{"name", NULL, 0, "names only, one a line"},
		{"wide", NULL, 'w', "with accelerator, vCPUs and memory"},
		{"autostart", NULL, 0, "only those that start when the host boots"},
		{"no-autostart", NULL, 0, "only those that do not"},
		{"uuid", NULL, 0, "UUIDs, one a line; with --name before the names"},
		{"id", NULL, 0, "Ids, one a line"}, {"title", NULL, 0, "also their titles"},
		{"inactive", NULL, 0, "only those that do not run"},
		{"managed-save", NULL, 0, "say `saved` of those that managedsave has saved"},
		{"with-managed-save", NULL, 0, "only those that managedsave has saved"},
		{"without-managed-save", NULL, 0, "only those that it has not"},
		{"state-running", NULL, 0, "only those in that state; with others of these, any"},
		{"state-paused", NULL, 0, "those whose CPUs somebody stopped"},
		{"state-shutoff", NULL, 0, "those that are shut off"},
		{"state-other", NULL, 0, "those in any other state"}},
	run_list, "roost list --all --wide", GROUP_LOOK, GUESTS_ALL};
const struct verb verb_domstate = {"domstate", "NAME", "Tells a guest's state.", 1, 1, false,
	{{"reason", NULL, 0, "and why it is in it"}}, run_domstate, "roost domstate web1 --reason",
	GROUP_LOOK, GUESTS_ALL};
const struct verb verb_dominfo = {"dominfo", "NAME", "Tells what a guest is.", 1, 1, false,
	{{"argv", NULL, 0, "the command line of its QEMU"}}, run_dominfo,
	"roost dominfo web1 --argv", GROUP_LOOK, GUESTS_ALL};
