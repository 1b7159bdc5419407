#include "orchestrator/ssh_words.h"

#include <assert.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- the first line ---------------------------------------------------------------------------- */

/* Every first line that means something to us. */
static const struct {
	const char *start;
	enum banner meaning;
} first_lines[] = {
	{"SSH-2.0-", BANNER_SSH},
	{"SSH-1.99-", BANNER_SSH}, /* speaks 1 and 2 */
	{"Not allowed at this time", BANNER_TURNED_AWAY},
	{"Exceeded MaxStartups", BANNER_TURNED_AWAY},
};

enum banner banner_classify(const char *data, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(first_lines); i++) {
		size_t want = strlen(first_lines[i].start);
		if (memcmp(data, first_lines[i].start, len < want ? len : want) != 0)
			continue;
		if (len < want)
			return BANNER_MORE;
		if (memchr(data, '\n', len < BANNER_MAX_LEN ? len : BANNER_MAX_LEN))
			return first_lines[i].meaning;
		return len < BANNER_MAX_LEN ? BANNER_MORE : BANNER_NOT_SSH;
	}
	return BANNER_NOT_SSH;
}

/* ---- cloud-init -------------------------------------------------------------------------------- */

static const char *const cloud_names[] = {
	[CLOUD_UNKNOWN] = "unknown",
	[CLOUD_ABSENT] = "not installed",
	[CLOUD_DISABLED] = "disabled",
	[CLOUD_RUNNING] = "running",
	[CLOUD_DONE] = "done",
	[CLOUD_DEGRADED] = "degraded",
	[CLOUD_ERROR] = "error",
};
static_assert(ARRAY_SIZE(cloud_names) == CLOUD_STATE_MAX, "a state lacks its name");

const char *cloud_state_name(enum cloud_state state)
{
	return cloud_names[state];
}

/* "status: not run" of old versions and "not started" of new ones are a run to come. */
static enum cloud_state cloud_word(const char *word)
{
	for (enum cloud_state s = CLOUD_ABSENT; s < CLOUD_STATE_MAX; s++)
		if (str_starts(word, cloud_names[s]))
			return s;
	return str_starts(word, "not ") ? CLOUD_RUNNING : CLOUD_UNKNOWN;
}

/* One more piece of detail, pieces apart by "; ". */
static void add_detail(struct buf *detail, const char *piece)
{
	piece += strspn(piece, " \t-");
	if (!*piece || strcmp(piece, "[]") == 0 || strcmp(piece, "{}") == 0 || detail->len > 400)
		return;
	_cleanup_free_ char *shown = text_shown(piece, strnlen(piece, 300));
	buf_fmt(detail, "%s%s", detail->len ? "; " : "", shown);
}

/*
 * --long prints "key: value" lines; what a key has to say may stand on its line or on those below
 * it. Before the first line, --wait prints a row of dots.
 */
enum cloud_state cloud_status_parse(const char *text, size_t len, struct buf *detail)
{
	enum cloud_state state = CLOUD_UNKNOWN;
	_cleanup_buf_ struct buf copy = {0}, about = {0}, errors = {0};
	struct buf *section = NULL;
	char *rest, *save = NULL;
	buf_add(&copy, text, len);
	for (char *line = strtok_r(copy.data, "\r\n", &save); line;
		line = strtok_r(NULL, "\r\n", &save)) {
		line += strspn(line, ".");
		if ((rest = str_starts(line, "status: ") ? line + 8 : NULL)) {
			if (state != CLOUD_DEGRADED)
				state = cloud_word(rest);
		} else if ((rest = str_starts(line, "extended_status: ") ? line + 17 : NULL)) {
			if (str_starts(rest, "degraded done") && state == CLOUD_DONE)
				state = CLOUD_DEGRADED;
		} else if (str_starts(line, "detail:")) {
			section = &about;
			add_detail(section, line + 7);
		} else if (str_starts(line, "errors:") || str_starts(line, "recoverable_errors:")) {
			section = &errors;
			add_detail(section, strchr(line, ':') + 1);
		} else if (line[0] >= 'a' && line[0] <= 'z' && strstr(line, ": ")) {
			section = NULL;
		} else if (section) {
			add_detail(section, line);
		}
	}
	struct buf *best = errors.len ? &errors : &about;
	if (best->len)
		buf_add(detail, best->data, best->len);
	return state;
}

/* ---- scp --------------------------------------------------------------------------------------- */

static int bad_record(const char *line, struct err *err)
{
	_cleanup_free_ char *shown = text_shown(line, strnlen(line, 60));
	return err_set(err, ERR_QEMU, "the guest's scp sent '%s', which is no record", shown);
}

/* A number in front of `end`; moves *p behind that character. */
static bool number(const char **p, int base, char end, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	const char *c = *p;
	for (; *c >= '0' && *c < '0' + base; c++) {
		if (n > (max - (uint64_t)(*c - '0')) / (uint64_t)base)
			return false;
		n = n * (uint64_t)base + (uint64_t)(*c - '0');
	}
	if (c == *p || *c != end)
		return false;
	*p = c + 1;
	*out = n;
	return true;
}

/* "0644 1234 name" */
static int parse_named(const char *line, struct scp_record *r, struct err *err)
{
	const char *p = line + 1;
	uint64_t mode, size;
	if (!number(&p, 8, ' ', 07777, &mode) || !number(&p, 10, ' ', INT64_MAX, &size))
		return bad_record(line, err);
	if (peer_name_check(p, err) < 0)
		return -1;
	r->mode = (mode_t)mode;
	r->size = size;
	r->text = p;
	return 0;
}

/* "1700000000 0 1700000001 0": seconds and microseconds, twice */
static int parse_times(const char *line, struct scp_record *r, struct err *err)
{
	const char *p = line + 1;
	uint64_t modified, accessed, micro;
	if (!number(&p, 10, ' ', INT64_MAX, &modified) || !number(&p, 10, ' ', 999999, &micro) ||
		!number(&p, 10, ' ', INT64_MAX, &accessed) || !number(&p, 10, '\0', 999999, &micro))
		return bad_record(line, err);
	r->modified = (int64_t)modified;
	r->accessed = (int64_t)accessed;
	return 0;
}

int scp_record_parse(const char *line, struct scp_record *out, struct err *err)
{
	static const char letters[] = {[SCP_FILE] = 'C',
		[SCP_ENTER] = 'D',
		[SCP_LEAVE] = 'E',
		[SCP_TIMES] = 'T',
		[SCP_WARNING] = '\1',
		[SCP_FATAL] = '\2'};
	const char *letter = memchr(letters, line[0], sizeof(letters));
	if (!letter)
		return bad_record(line, err);
	struct scp_record r = {.kind = (enum scp_kind)(letter - letters), .text = line + 1};
	if (r.kind == SCP_FILE || r.kind == SCP_ENTER) {
		if (parse_named(line, &r, err) < 0)
			return -1;
	} else if (r.kind == SCP_TIMES) {
		if (parse_times(line, &r, err) < 0)
			return -1;
	} else if (r.kind == SCP_LEAVE && line[1]) {
		return bad_record(line, err);
	}
	*out = r;
	return 0;
}

int peer_name_check(const char *name, struct err *err)
{
	if (*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/') &&
		strlen(name) <= 255)
		return 0;
	_cleanup_free_ char *shown = text_shown(name, strnlen(name, 300));
	return err_set(err, ERR_REFUSED, "the guest gave '%s' as the name of a file", shown);
}

/* ---- keys -------------------------------------------------------------------------------------- */

/* Type and blob together are a prefix of the text: its length, or 0. */
static size_t key_length(const char *text)
{
	size_t type = strcspn(text, " ");
	if (!type || text[type] != ' ')
		return 0;
	size_t blob = strcspn(text + type + 1, " \r\n");
	return blob ? type + 1 + blob : 0;
}

bool key_text_same(const char *a, const char *b)
{
	size_t len = key_length(a);
	return len && len == key_length(b) && memcmp(a, b, len) == 0;
}

int key_text_type(const char *text, char *out, size_t size)
{
	size_t type = strcspn(text, " ");
	if (!key_length(text) || type >= size)
		return -1;
	memcpy(out, text, type);
	out[type] = '\0';
	return 0;
}

/* ---- small ------------------------------------------------------------------------------------- */

static bool is_utf8(const char *bytes, size_t len)
{
	json_t *s = json_stringn(bytes, len);
	bool yes = s != NULL;
	json_decref(s);
	return yes;
}

char *text_shown(const char *bytes, size_t len)
{
	struct buf out = {0};
	bool utf8 = is_utf8(bytes, len);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c < ' ' || c == 0x7f || (c >= 0x80 && !utf8))
			buf_fmt(&out, "\\x%02x", c);
		else
			buf_add(&out, &bytes[i], 1);
	}
	return buf_steal(&out);
}

/* RFC 4254, 6.10, and what OpenSSH and dropbear send beyond it. */
static const struct {
	const char *name;
	int number;
} signals[] = {
	{"ABRT", SIGABRT},
	{"ALRM", SIGALRM},
	{"FPE", SIGFPE},
	{"HUP", SIGHUP},
	{"ILL", SIGILL},
	{"INT", SIGINT},
	{"KILL", SIGKILL},
	{"PIPE", SIGPIPE},
	{"QUIT", SIGQUIT},
	{"SEGV", SIGSEGV},
	{"TERM", SIGTERM},
	{"USR1", SIGUSR1},
	{"USR2", SIGUSR2},
	{"BUS", SIGBUS},
	{"SYS", SIGSYS},
	{"TRAP", SIGTRAP},
	{"XCPU", SIGXCPU},
	{"XFSZ", SIGXFSZ},
};

int signal_number(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return 0;
}

const char *signal_name(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (signals[i].number == number)
			return signals[i].name;
	return NULL;
}
