/* virsh: its own options, its loop over commands, and what the commands share. */
#include "orchestrator/compat/virsh.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"

/* ---- rows --------------------------------------------------------------------------------------------- */

const struct virsh_command *virsh_row(size_t i)
{
	static const struct virsh_command *const groups[] = {virsh_life, virsh_lists, virsh_looks,
		virsh_sizes, virsh_disks, virsh_nics, virsh_snapshots, virsh_misc, virsh_agents,
		virsh_guestinfos, virsh_networks, virsh_net_updates, virsh_hosts, virsh_events,
		virsh_others};
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct virsh_command *c = groups[g]; c->name; c++)
			if (i-- == 0)
				return c;
	return NULL;
}

const struct virsh_command *virsh_find(const char *name)
{
	for (size_t i = 0; virsh_row(i); i++)
		if (str_eq(virsh_row(i)->name, name))
			return virsh_row(i);
	return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------- */

const char *virsh_text(const struct virsh *v, const char *name)
{
	for (int i = 0; i < VIRSH_OPTIONS_MAX && v->command->options[i].name; i++)
		if (str_eq(v->command->options[i].name, name))
			return v->values[i];
	return NULL;
}

bool virsh_flag(const struct virsh *v, const char *name)
{
	return virsh_text(v, name) != NULL;
}

int virsh_number(const struct virsh *v, const char *name, int64_t min, int64_t max, int64_t *out)
{
	const char *text = virsh_text(v, name);
	char *end;
	if (!text)
		return 0;
	long long value = strtoll(text, &end, 10);
	if (end == text || *end || value < min || value > max)
		return virsh_error(
			"Numeric value '%s' for <%s> option is malformed or out of range", text,
			name);
	*out = value;
	return 0;
}

int virsh_scaled(const struct virsh *v, const char *name, uint64_t unit, uint64_t *out)
{
	static const char suffixes[] = "KMGTPE";
	const char *text = virsh_text(v, name);
	char *end;
	if (!text)
		return 0;
	unsigned long long value = strtoull(text, &end, 10);
	bool malformed = end == text || text[0] == '-';
	uint64_t scale = unit;
	const char *at =
		*end ? strchr(suffixes, *end >= 'a' && *end <= 'z' ? *end - 32 : *end) : NULL;
	if (at) {
		const char *rest = end + 1;
		bool decimal = (*rest == 'B' || *rest == 'b') && !rest[1];
		malformed = malformed || (*rest && !decimal && strcasecmp(rest, "iB") != 0);
		scale = 1;
		for (const char *s = suffixes; s <= at; s++)
			scale *= decimal ? 1000 : 1024;
	} else if (strcasecmp(end, "b") == 0 || strcasecmp(end, "bytes") == 0) {
		scale = 1;
	} else if (*end) {
		malformed = true;
	}
	if (!malformed && value <= UINT64_MAX / scale) {
		*out = value * scale;
		return 0;
	}
	virsh_error("Scaled numeric value '%s' for <%s> option is malformed or out of range", text,
		name);
	return *end && end != text ? virsh_error("invalid argument: unknown suffix '%s'", end) : -1;
}

/* ---- what is said ------------------------------------------------------------------------------------- */

int virsh_error(const char *fmt, ...)
{
	va_list args;
	fflush(stdout);
	fputs("error: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return -1;
}

void virsh_say(const struct virsh *v, const char *fmt, ...)
{
	va_list args;
	if (v->quiet)
		return;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void virsh_say_last(struct virsh *v, const char *fmt, ...)
{
	va_list args;
	if (v->quiet)
		return;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
}

int virsh_reason(const struct err *err)
{
	return err->hint[0] ? virsh_error("%s; %s", err->message, err->hint)
			    : virsh_error("%s", err->message);
}

int virsh_failed(const struct virsh *v, const char *name, const struct err *err)
{
	if (v->command->doing && name)
		virsh_error("Failed to %s domain '%s'", v->command->doing, name);
	return virsh_reason(err);
}

void virsh_fact(int width, const char *key, const char *fmt, ...)
{
	va_list args;
	printf("%-*s", width, key);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void virsh_table(const struct virsh *v, const json_t *rows)
{
	compat_table(rows, v->quiet);
}

/* ---- guests, networks, verbs ---------------------------------------------------------------------------- */

/* What a row's errors begin with when there is no definition to change. */
static const char *head_of(const struct virsh *v)
{
	static const struct {
		const char *command, *head;
	} heads[] = {
		{"attach-disk", "Failed to attach disk"},
		{"detach-disk", "Failed to detach disk"},
		{"setmaxmem", "Unable to change MaxMemorySize"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (str_eq(heads[i].command, v->command->name))
			return heads[i].head;
	return NULL;
}

/* A guest that was undefined goes on without a definition, which an option may want to change. */
static int check_definition(const struct virsh *v, const struct found *f)
{
	bool wanted = virsh_flag(v, "config") || virsh_flag(v, "persistent");
	if (!v->command->changes || !wanted || !virsh_transient(f))
		return 0;
	if (head_of(v))
		virsh_error("%s", head_of(v));
	return virsh_error(
		"Requested operation is not valid: transient domains do not have any persistent config");
}

bool virsh_transient(const struct found *f)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int guests = guests_open(&ignored);
	return guests >= 0 && record_is_transient(guests, f->name);
}

int virsh_domain(const struct virsh *v, struct found *f)
{
	struct err err = ERR_INIT;
	const char *name = virsh_text(v, "domain");
	if (!name[0])
		return virsh_error("Failed to get option 'domain': Option argument is empty");
	if (guest_find(name, f, &err) == 0)
		return check_definition(v, f);
	return err.kind == ERR_NOT_FOUND || err.kind == ERR_USAGE
		       ? virsh_error("failed to get domain '%s'", name)
		       : virsh_reason(&err);
}

int virsh_running(const struct virsh *v, struct found *f)
{
	if (virsh_domain(v, f) < 0)
		return -1;
	if (guest_runs(f))
		return 0;
	if (v->command->doing)
		virsh_error("Failed to %s domain '%s'", v->command->doing, f->name);
	return virsh_error("Requested operation is not valid: domain is not running");
}

int virsh_disks_of(const struct found *f, json_t **list)
{
	struct err err = ERR_INIT;
	return compat_ask("domblklist", f->name, list, &err) < 0 ? virsh_reason(&err) : 0;
}

int virsh_network(const struct virsh *v, json_t **facts)
{
	struct err err = ERR_INIT;
	const char *name = virsh_text(v, "network");
	if (!name[0])
		return virsh_error("Failed to get option 'network': Option argument is empty");
	if (compat_ask("net-info", name, facts, &err) == 0)
		return 0;
	if (err.kind != ERR_NOT_FOUND && err.kind != ERR_USAGE)
		return virsh_reason(&err);
	return virsh_error("failed to get network '%s'", name),
	       virsh_error("Network not found: no network with matching name '%s'", name);
}

int virsh_ask(const struct virsh *v, const char *name, const struct words *w, const char *verb,
	json_t **answer)
{
	struct err err = ERR_INIT;
	return words_ask(w, verb, answer, &err) < 0 ? virsh_failed(v, name, &err) : 0;
}

int virsh_do(struct virsh *v, const struct found *f, const struct words *w, const char *verb,
	const char *said)
{
	if (virsh_ask(v, f->name, w, verb, NULL) < 0)
		return -1;
	_cleanup_free_ char *text = xstrdup(said);
	char *at = strstr(text, "%s");
	if (at)
		*at = '\0';
	virsh_say(v, "%s%s%s", text, at ? f->name : "", at ? at + 2 : "");
	return 0;
}

/* ---- commands, one after the other ---------------------------------------------------------------------- */

/* --current is either of the two, whichever is the case. */
static int check_when(const struct virsh *v)
{
	static const char *const others[] = {"live", "config"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (virsh_flag(v, "current") && virsh_flag(v, others[i]))
			return virsh_error(
				"Options --current and --%s are mutually exclusive", others[i]);
	return 0;
}

/* 0 or -1; what comes of the command is printed, and the blank line behind it. */
static int run(const struct virsh *as, const char *const *words, size_t count)
{
	struct virsh v = *as;
	int64_t since = clock_us();
	if (virsh_parse(&v, words, count) < 0)
		return -1;
	if (v.readonly && v.command->changes) {
		virsh_error("operation forbidden: read only access prevents %s", v.command->name);
		return -1;
	}
	int result = check_when(&v) < 0 ? -1 : v.command->run(&v);
	if (v.timing)
		printf("\n(Time: %.3f ms)\n", (double)(clock_us() - since) / 1000);
	if (!v.quiet)
		putchar('\n');
	return result;
}

static bool is_end(const struct words *w)
{
	return w->count && (str_eq(w->list[0], "quit") || str_eq(w->list[0], "exit"));
}

/* Are all commands of a text such that can be run? None is if one is not. */
static int check_text(const struct virsh *as, const char *text)
{
	while (*text) {
		struct virsh v = {.quiet = as->quiet};
		_cleanup_words_ struct words w = {0};
		if (virsh_split(&text, &w) < 0)
			return -1;
		if (w.count && !is_end(&w) &&
			virsh_parse(&v, (const char *const *)w.list, w.count) < 0)
			return -1;
	}
	return 0;
}

/* All commands of a text, one after the other, whatever comes of each: the last one's 0 or -1. *end: it was `quit`. */
static int run_text(const struct virsh *v, const char *text, bool *end)
{
	int result = 0;
	if (check_text(v, text) < 0)
		return -1;
	while (*text && !*end) {
		_cleanup_words_ struct words w = {0};
		virsh_split(&text, &w);
		*end = is_end(&w);
		if (w.count)
			result = *end ? 0 : run(v, (const char *const *)w.list, w.count);
	}
	return result;
}

static int run_lines(const struct virsh *v)
{
	bool end = false;
	const char *prompt = v->readonly ? "virsh > " : "virsh # ";
	if (!v->quiet)
		fputs("Welcome to virsh, the virtualization interactive terminal.\n\n"
		      "Type:  'help' for help with commands\n       'quit' to quit\n\n",
			stdout);
	while (!end) {
		_cleanup_free_ char *line = virsh_line(prompt);
		if (!line)
			break;
		line[strcspn(line, "\n")] = '\0';
		if (!isatty(STDIN_FILENO)) /* what a terminal shows; readline shows it, too */
			puts(line);
		fflush(stdout);
		run_text(v, line, &end); /* its failure is told, and one goes on */
	}
	putchar('\n');
	return 0;
}

/* ---- the program ---------------------------------------------------------------------------------------- */

static int usage(void)
{
	puts("\nvirsh [options]... [<command_string>]\nvirsh [options]... <command> [args...]\n\n"
	     "  options:\n"
	     "    -c | --connect=URI      hypervisor connection URI\n"
	     "    -e | --escape=CHAR      what ends a console: ^] unless said\n"
	     "    -h | --help             this help\n"
	     "    -q | --quiet            quiet mode\n"
	     "    -r | --readonly         connect readonly\n"
	     "    -t | --timing           print how long each command took\n"
	     "    -v                      short version\n"
	     "    -V                      long version\n\n"
	     "answered by roost " ROOST_VERSION "; 'virsh help' lists the commands");
	return compat_end(0);
}

static int version(bool all)
{
	if (all)
		puts("Virsh command line tool of libvirt " LIBVIRT_VERSION
		     "\n\nanswered by roost " ROOST_VERSION ", without libvirt");
	else
		puts(LIBVIRT_VERSION);
	return compat_end(0);
}

static int connect_to(const struct virsh *v)
{
	struct err err = ERR_INIT;
	if (paths_connect(v->uri, &err) == 0 && paths_state(&err) && paths_run(&err))
		return 0;
	virsh_error("failed to connect to the hypervisor");
	if (err.kind != ERR_USAGE || !v->uri)
		return virsh_reason(&err);
	if (!str_starts(v->uri, "qemu:///"))
		return virsh_error("no connection driver available for %s", v->uri);
	return virsh_error("internal error: unexpected qemu URI path '%s', try qemu:///%s",
		v->uri + strlen("qemu://"), geteuid() == 0 ? "system" : "session");
}

/* "^A", or a character. */
static int take_escape(struct virsh *v, const char *text)
{
	size_t len = strlen(text);
	if (len != 1 && !(len == 2 && text[0] == '^'))
		return virsh_error("Invalid string '%s' for escape sequence", text);
	v->escape = text;
	return 0;
}

static int lacks_argument(const struct option *options)
{
	while (options->name && options->val != optopt)
		options++;
	virsh_error("option '-%c'/'--%s' requires an argument", optopt, options->name);
	return 1;
}

int virsh_main(int argc, char **argv)
{
	static const struct option options[] = {{"connect", required_argument, NULL, 'c'},
		{"debug", required_argument, NULL, 'd'}, {"escape", required_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{"keepalive-interval", required_argument, NULL, 'k'},
		{"keepalive-count", required_argument, NULL, 'K'},
		{"log", required_argument, NULL, 'l'},
		{"no-pkttyagent", no_argument, NULL, 'd' + 256}, {"quiet", no_argument, NULL, 'q'},
		{"readonly", no_argument, NULL, 'r'}, {"timing", no_argument, NULL, 't'},
		{"version", optional_argument, NULL, 'v'}, {0}};
	struct virsh v = {.uri = getenv("VIRSH_DEFAULT_CONNECT_URI")};
	int letter;
	if (!v.uri)
		v.uri = getenv("LIBVIRT_DEFAULT_URI");
	while ((letter = getopt_long(argc, argv, "+:c:d:e:hk:K:l:qrtvV", options, NULL)) >= 0) {
		switch (letter) {
		case 'c':
			v.uri = optarg;
			break;
		case 'h':
			return usage();
		case 'q':
			v.quiet = true;
			break;
		case 'r':
			v.readonly = true;
			break;
		case 't':
			v.timing = true;
			break;
		case 'e':
			if (take_escape(&v, optarg) < 0)
				return 1;
			break;
		case 'd':
		case 'l':
			virsh_error(
				"option '-%c' is not there: no log is written; `roost events` tells what happens",
				letter);
			return 1;
		case 'v':
		case 'V':
			return version(letter == 'V' || (optarg && str_eq(optarg, "long")));
		case ':':
			return lacks_argument(options);
		case '?':
			virsh_error("unsupported option '%s'. See --help.", argv[optind - 1]);
			return 1;
		default: /* a connection that need not be kept alive */
			break;
		}
	}
	if (connect_to(&v) < 0)
		return compat_end(1);
	const char *const *words = (const char *const *)argv + optind;
	bool end = false;
	int count = argc - optind;
	v.interactive = count == 0;
	if (count == 1 && !words[0][0])
		return compat_end(1);
	int result = count == 0   ? run_lines(&v)
		     : count == 1 ? run_text(&v, words[0], &end)
				  : run(&v, words, (size_t)count);
	return compat_end(result < 0 ? 1 : 0);
}
