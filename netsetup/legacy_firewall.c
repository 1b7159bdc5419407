#include "netsetup/legacy_firewall.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"

enum { PROGRAM_MS = 10000, RULES_MAX = 4 << 20, WORDS_MAX = 32 };

static const struct family {
	const char *kind, *program, *older, *tables;
} families[] = {
	{"legacy", "iptables-legacy", "iptables", "/proc/net/ip_tables_names"},
	{"legacy6", "ip6tables-legacy", "ip6tables", "/proc/net/ip6_tables_names"},
};

static bool is_used(const struct family *family)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf names = {0};
	return file_read(AT_FDCWD, family->tables, 4096, &names, &ignored) == 0 && names.len &&
	       strstr(names.data, "filter\n");
}

bool legacy_is_used(void)
{
	return is_used(&families[0]) || is_used(&families[1]);
}

/* Freed by the caller. Where there is but one iptables, and such tables, it is the older one. */
static char *program_of(const struct family *family)
{
	static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin"};
	const char *const names[] = {family->program, family->older};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (size_t k = 0; k < ARRAY_SIZE(folders); k++) {
			_cleanup_free_ char *path = str_fmt("%s/%s", folders[k], names[i]);
			if (access(path, X_OK) == 0)
				return TAKE(path);
		}
	return NULL;
}

/* iptables -w 5 WORDS...; what it prints goes to *out. */
static int run(
	const struct family *family, const char *const words[], struct buf *out, struct err *err)
{
	const char *argv[WORDS_MAX + 4] = {NULL, "-w", "5"};
	_cleanup_free_ char *program = program_of(family);
	_cleanup_(child_end) struct child c = CHILD_NONE;
	int64_t deadline = deadline_in(PROGRAM_MS);
	int status = 0;
	if (!program)
		return err_set(err, ERR_SYSTEM, "there is no %s", family->program);
	argv[0] = program;
	for (size_t i = 0; i < WORDS_MAX && words[i]; i++)
		argv[i + 3] = words[i];
	if (child_start(argv, false, &c, err) < 0)
		return -1;
	while (!child_read(&c, out, RULES_MAX))
		if (fd_wait(c.out, POLLIN, deadline) <= 0)
			return err_set(err, ERR_TIMEOUT, "'%s' does not answer", program);
	if (proc_reap(&c.proc, deadline, &status, err) < 0)
		return -1;
	if (status != 0)
		return err_set(
			err, ERR_SYSTEM, "'%s %s' %s", program, words[0], proc_status_text(status));
	return 0;
}

/* All rules of its filter, a line each, as iptables-save writes them. */
static void read_rules(const struct family *family, struct buf *out)
{
	static const char *const words[] = {"-S", NULL};
	struct err ignored = ERR_INIT;
	buf_str(out, "\n");
	if (is_used(family))
		run(family, words, out, &ignored);
}

static bool has_line(const struct buf *rules, const char *line)
{
	_cleanup_free_ char *whole = str_fmt("\n%s\n", line);
	return strstr(rules->data, whole) != NULL;
}

static const struct family *family_of(const char *kind)
{
	return strcmp(kind, "legacy6") == 0 ? &families[1] : &families[0];
}

int legacy_filters(struct host_filter out[HOST_FILTERS_MAX], int count)
{
	for (size_t i = 0; i < ARRAY_SIZE(families) && count < HOST_FILTERS_MAX; i++) {
		_cleanup_buf_ struct buf rules = {0};
		read_rules(&families[i], &rules);
		if (!has_line(&rules, "-P FORWARD DROP") &&
			!has_line(&rules, "-A FORWARD -j DROP") &&
			!strstr(rules.data, "\n-A FORWARD -j REJECT"))
			continue;
		struct host_filter *filter = &out[count++];
		*filter = (struct host_filter){.table = "filter", .chain = "FORWARD"};
		snprintf(filter->kind, sizeof(filter->kind), "%s", families[i].kind);
		for (size_t k = 0; k < filter_opening_count; k++) {
			const struct filter_opening *o = &filter_openings[k];
			_cleanup_free_ char *jump = str_fmt("-A FORWARD -j %s", o->jump);
			_cleanup_free_ char *chain = str_fmt("-N %s", o->opening);
			if (filter->opening[0] || !has_line(&rules, jump) ||
				!has_line(&rules, chain))
				continue;
			filter->owner = o->owner;
			snprintf(filter->opening, sizeof(filter->opening), "%s", o->opening);
		}
	}
	return count;
}

static int remove_from(const struct family *family, const char *comment, struct err *err)
{
	_cleanup_buf_ struct buf rules = {0}, said = {0};
	_cleanup_free_ char *ours = str_fmt("--comment %s ", comment);
	char *save = NULL, *word_save = NULL;
	read_rules(family, &rules);
	for (char *line = strtok_r(rules.data, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		const char *words[WORDS_MAX + 1] = {"-D"};
		size_t count = 1;
		if (!str_starts(line, "-A ") || !strstr(line, ours))
			continue;
		for (char *word = strtok_r(line + strlen("-A "), " ", &word_save);
			word && count < WORDS_MAX; word = strtok_r(NULL, " ", &word_save))
			words[count++] = word;
		if (run(family, words, &said, err) < 0)
			return -1;
	}
	return 0;
}

int legacy_remove(const char *comment, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (remove_from(&families[i], comment, err) < 0)
			return -1;
	return 0;
}

size_t legacy_count(const struct host_filter *filter, const char *comment)
{
	size_t count = 0;
	_cleanup_buf_ struct buf rules = {0};
	_cleanup_free_ char *ours = str_fmt("--comment %s ", comment);
	_cleanup_free_ char *there = str_fmt("\n-A %s ", filter->opening);
	read_rules(family_of(filter->kind), &rules);
	for (const char *line = strstr(rules.data, there); line; line = strstr(line + 1, there)) {
		const char *found = strstr(line, ours), *end = strchr(line + 1, '\n');
		count += found && found < end;
	}
	return count;
}

int legacy_open(const struct host_filter *filter, const struct passage *passages, size_t count,
	const char *comment, struct err *err)
{
	const struct family *family = family_of(filter->kind);
	if (remove_from(family, comment, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		_cleanup_buf_ struct buf said = {0};
		const char *words[WORDS_MAX] = {
			filter_opening_is_last(filter->opening) ? "-A" : "-I", filter->opening};
		size_t n = 2;
		if (passages[i].from) {
			words[n++] = "-i";
			words[n++] = passages[i].from;
		}
		if (passages[i].to) {
			words[n++] = "-o";
			words[n++] = passages[i].to;
		}
		words[n++] = "-m";
		words[n++] = "comment";
		words[n++] = "--comment";
		words[n++] = comment;
		words[n++] = "-j";
		words[n++] = "ACCEPT";
		if (run(family, words, &said, err) < 0)
			return -1;
	}
	return 0;
}

void filter_id_add(json_t *marks, const char *id)
{
	size_t i;
	json_t *mark;
	if (strspn(id, "0123456789abcdef") != 8)
		return;
	json_array_foreach (marks, i, mark)
		if (strncmp(json_string_value(mark), id, 8) == 0)
			return;
	json_array_append_new(marks, json_stringn(id, 8));
}

void filter_mark_add(json_t *marks, const char *comment)
{
	if (str_starts(comment, FILTER_MARK))
		filter_id_add(marks, comment + strlen(FILTER_MARK));
}

void legacy_marks(json_t *marks)
{
	static const char before[] = "--comment ";
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		_cleanup_buf_ struct buf rules = {0};
		read_rules(&families[i], &rules);
		for (const char *at = strstr(rules.data, before); at; at = strstr(at + 1, before))
			filter_mark_add(marks, at + strlen(before));
	}
}
