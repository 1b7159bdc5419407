/*
 * Operating systems by the short ids of osinfo-db, whose files are root's: what is wanted of them are a few elements that each
 * stand on a line of their own, so they are read as text. Where it is not installed, a table has those in use.
 */
#include "orchestrator/compat/virt_install.h"

#include <endian.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/run_options.h"

#define OS_FOLDER "/usr/share/osinfo/os"
enum { FILE_MOST = 1 << 20, PARENTS_MOST = 16 };
#define GIB ((uint64_t)1 << 30)

/* Memory in MiB and a disk in GiB, as osinfo-db of 2022 has them, and what it did not know yet. */
static const struct {
	const char *id, *alias;
	unsigned least, memory, storage;
} known[] = {
	{"generic", NULL, 0, 0, 0},
	{"linux2022", NULL, 2048, 4096, 25},
	{"linux2020", NULL, 2048, 4096, 25},
	{"linux2018", NULL, 2048, 2048, 15},
	{"linux2016", NULL, 2048, 2048, 15},
	{"debian11", "debianbullseye", 1024, 1024, 20},
	{"debian12", "debianbookworm", 1024, 1024, 20},
	{"debian13", "debiantrixie", 1024, 1024, 20},
	{"ubuntu20.04", "ubuntufocal", 2048, 4096, 25},
	{"ubuntu22.04", "ubuntujammy", 2048, 4096, 25},
	{"ubuntu24.04", "ubuntunoble", 3072, 4096, 25},
	{"fedora40", NULL, 1024, 2048, 20},
	{"fedora41", NULL, 1024, 2048, 20},
	{"fedora42", NULL, 1024, 2048, 20},
	{"centos-stream9", NULL, 1536, 1536, 20},
	{"almalinux9", NULL, 1536, 1536, 20},
	{"rocky9", NULL, 1536, 1536, 20},
	{"rhel9.0", NULL, 1536, 1536, 20},
	{"opensuse15.5", NULL, 1024, 2048, 16},
	{"opensuse15.6", NULL, 1024, 2048, 16},
	{"opensusetumbleweed", NULL, 1024, 2048, 20},
	{"alpinelinux3.19", NULL, 128, 768, 4},
	{"archlinux", NULL, 512, 1024, 0},
};

static bool in_table(const char *id, struct os *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!str_eq(known[i].id, id) && !str_eq(known[i].alias, id))
			continue;
		snprintf(out->name, sizeof(out->name), "%s", known[i].id);
		out->memory = (uint64_t)known[i].memory << 20;
		out->memory_least = (uint64_t)known[i].least << 20;
		out->storage = known[i].storage * GIB;
		return true;
	}
	return false;
}

/* ---- osinfo-db ---------------------------------------------------------------------------------------- */

/* Called with each file; true ends it. */
typedef bool each_fn(const char *text, void *about);

static bool in_folder(int all, const char *maker, each_fn *each, void *about)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_close_ int folder = dir_open(all, maker, &ignored);
	if (folder < 0 || dir_names(folder, &files, NULL, &ignored) < 0)
		return false;
	for (char **f = files; *f; f++) {
		_cleanup_buf_ struct buf text = {0};
		if (str_ends(*f, ".xml") &&
			file_read(folder, *f, FILE_MOST, &text, &ignored) == 0 &&
			each(text.data, about))
			return true;
	}
	return false;
}

static bool each_file(each_fn *each, void *about)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **makers = NULL;
	_cleanup_close_ int all = dir_open(AT_FDCWD, OS_FOLDER, &ignored);
	if (all < 0 || dir_names(all, &makers, NULL, &ignored) < 0)
		return false;
	for (char **m = makers; *m; m++)
		if (in_folder(all, *m, each, about))
			return true;
	return false;
}

/* What stands from `from` up to `to`, the first time; freed by the caller. */
static char *between(const char *text, const char *from, const char *to)
{
	const char *start = strstr(text, from), *end = start ? strstr(start, to) : NULL;
	return end ? strndup(start + strlen(from), (size_t)(end - start) - strlen(from)) : NULL;
}

/* <resources>: of `kind`, "minimum" or "recommended", the least of whatever processor. */
static uint64_t resource(const char *text, const char *kind, const char *what)
{
	_cleanup_free_ char *open = str_fmt("<%s>", kind), *end = str_fmt("</%s>", kind),
			    *from = str_fmt("<%s>", what), *to = str_fmt("</%s>", what);
	uint64_t least = 0;
	for (const char *at = text; (at = strstr(at, open)); at += strlen(open)) {
		_cleanup_free_ char *block = between(at, open, end);
		_cleanup_free_ char *number = block ? between(block, from, to) : NULL;
		uint64_t bytes = number ? strtoull(number, NULL, 10) : 0;
		least = bytes && (!least || bytes < least) ? bytes : least;
	}
	return least;
}

/* A file whose element is looked for; its text is kept. */
struct search {
	char *element, *text;
};

static bool has_element(const char *text, void *about)
{
	struct search *s = about;
	if (!strstr(text, s->element))
		return false;
	s->text = xstrdup(text);
	return true;
}

static char *file_with(const char *before, const char *value, const char *after)
{
	struct search s = {.element = str_fmt("%s%s%s", before, value, after)};
	each_file(has_element, &s);
	free(s.element);
	return s.text;
}

/* What it does not say itself is that of the one it derives from. */
static void take_resources(const char *text, struct os *out)
{
	out->memory = out->memory ? out->memory : resource(text, "recommended", "ram");
	out->memory_least =
		out->memory_least ? out->memory_least : resource(text, "minimum", "ram");
	out->storage = out->storage ? out->storage : resource(text, "recommended", "storage");
	/* as virtinst has it where only the least is told */
	if (!out->memory && out->memory_least)
		out->memory = out->memory_least;
}

static bool in_database(const char *id, struct os *out)
{
	char *text = file_with("<short-id>", id, "</short-id>");
	_cleanup_free_ char *name = text ? between(text, "<short-id>", "</short-id>") : NULL;
	bool found = text;
	if (found)
		snprintf(out->name, sizeof(out->name), "%s", name);
	for (int i = 0; text && i < PARENTS_MOST && !out->memory; i++) {
		take_resources(text, out);
		_cleanup_free_ char *parent = between(text, "<derives-from id=\"", "\"");
		free(text);
		text = parent ? file_with("<os id=\"", parent, "\">") : NULL;
	}
	free(text);
	return found;
}

bool os_find(const char *id, struct os *out)
{
	struct os found = {0};
	if (!in_table(id, &found) && !in_database(id, &found)) /* that is some hundred files */
		return false;
	*out = found;
	return true;
}

/* ---- what a medium is of ------------------------------------------------------------------------------- */

enum { SECTOR = 2048, VOLUME = 16 * SECTOR };

/* Of a volume's descriptor, ECMA-119 8.4, and as osinfo-db calls them. */
static const struct label {
	const char *open, *end;
	size_t at, len;
} labels[] = {{"<volume-id>", "</volume-id>", 40, 32}, {"<system-id>", "</system-id>", 8, 32},
	{"<publisher-id>", "</publisher-id>", 318, 128},
	{"<application-id>", "</application-id>", 574, 128}};

struct medium {
	char texts[ARRAY_SIZE(labels)][129];
	uint64_t size; /* in bytes, as its descriptor has it */
	char *id;      /* the best so far: whose expression for the volume's name is the longest */
	size_t length;
};

/* Theirs are Perl's expressions, of which \d is all that POSIX's lack. */
static bool matches(const char *expression, const char *text)
{
	_cleanup_buf_ struct buf posix = {0};
	regex_t r;
	for (const char *at = expression; *at; at++)
		if (str_starts(at, "\\d"))
			buf_str(&posix, "[0-9]"), at++;
		else
			buf_add(&posix, at, 1);
	if (!posix.len || regcomp(&r, posix.data, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	bool found = regexec(&r, text, 0, NULL, 0) == 0;
	regfree(&r);
	return found;
}

/* All that it tells must be so, and its volume's name is among it: the length of that, or 0. */
static size_t is_of(const struct medium *m, const char *block)
{
	_cleanup_free_ char *name = between(block, labels[0].open, labels[0].end),
			    *size = between(block, "<volume-size>", "</volume-size>");
	if (!name || (size && strtoull(size, NULL, 10) != m->size))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		_cleanup_free_ char *wanted = between(block, labels[i].open, labels[i].end);
		if (wanted && !matches(wanted, m->texts[i]))
			return 0;
	}
	return strlen(name);
}

static bool has_medium(const char *text, void *about)
{
	struct medium *m = about;
	for (const char *at = text; (at = strstr(at, "<iso>")); at++) {
		_cleanup_free_ char *block = between(at, "<iso>", "</iso>");
		size_t length = block ? is_of(m, block) : 0;
		if (length <= m->length)
			continue;
		free(m->id);
		m->id = between(text, "<short-id>", "</short-id>");
		m->length = length;
	}
	return false;
}

bool os_of_medium(int fd, struct os *out)
{
	struct medium m = {0};
	unsigned char sector[SECTOR];
	uint32_t blocks;
	if (pread(fd, sector, sizeof(sector), VOLUME) != (ssize_t)sizeof(sector) ||
		memcmp(sector, "\1CD001", 6) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		size_t len = labels[i].len;
		memcpy(m.texts[i], sector + labels[i].at, len);
		while (len && (m.texts[i][len - 1] == ' ' || !m.texts[i][len - 1]))
			m.texts[i][--len] = '\0';
	}
	memcpy(&blocks, sector + 80, sizeof(blocks));
	m.size = (uint64_t)le32toh(blocks) * SECTOR;
	if (m.texts[0][0])
		each_file(has_medium, &m);
	bool found = m.id && os_find(m.id, out);
	free(m.id);
	return found;
}

/* ---- the list --------------------------------------------------------------------------------------------- */

static bool print_names(const char *text, void *about)
{
	bool *any = about;
	bool more = false;
	for (const char *at = text; (at = strstr(at, "<short-id>")); at++, more = true) {
		_cleanup_free_ char *name = between(at, "<short-id>", "</short-id>");
		printf("%s%s", more ? ", " : "", name ? name : "");
	}
	if (more)
		putchar('\n');
	*any = true;
	return false;
}

int os_list(void)
{
	bool any = false;
	each_file(print_names, &any);
	for (size_t i = 0; !any && i < ARRAY_SIZE(known); i++)
		printf("%s%s%s\n", known[i].id, known[i].alias ? ", " : "",
			known[i].alias ? known[i].alias : "");
	puts("\nYou can see additional information with:\n\n  osinfo-query os\n");
	return 0;
}

/* ---- the option --------------------------------------------------------------------------------------------- */

/* As virtinst says it: "2048", without a fraction that is none. */
static void use_defaults(struct install_ask *a, const struct os *os, struct err *err)
{
	const char *has = json_get_str(a->definition, "memory", NULL);
	unsigned long long memory = os->memory >> 20, least = os->memory_least >> 20;
	if (!has && memory) {
		_cleanup_free_ char *size = str_fmt("%lluM", memory);
		tell(a, "Using %s default --memory %llu\n", os->name, memory);
		json_set_text(a->definition, "memory", size);
	} else if (has && strtoull(has, NULL, 10) < least) {
		warn(a, "Requested memory %llu MiB is less than the recommended %llu MiB for OS %s",
			strtoull(has, NULL, 10), least, os->name);
	}
	if (!a->no_disk && !json_array_size(a->disks) && !a->file_count && !a->size_count &&
		os->storage) {
		_cleanup_free_ char *disk =
			str_fmt("size=%llu", (unsigned long long)(os->storage / GIB));
		tell(a, "Using %s default --disk %s\n", os->name, disk);
		ask_disk(a, disk, err);
	}
}

static bool detect_os(const struct install_ask *a, struct os *out)
{
	return installer_has_medium(&a->how) && os_of_medium(a->how.fds[0], out);
}

/* A name that nobody knows is no reason not to go on. */
static bool named_os(const struct install_ask *a, const char *id, struct os *out)
{
	if (os_find(id, out))
		return true;
	warn(a, "Unknown OS name '%s'. Its usual hardware is not known, and virtio is taken.", id);
	return false;
}

int ask_osinfo(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	struct os os;
	if (parts_of("--osinfo", text, "short-id", &p, err) < 0)
		return -1;
	const char *id = parts_take_either(&p, "name", "short-id"), *url = parts_take(&p, "id");
	bool detect = parts_on(&p, "detect"), require = parts_on(&p, "require");
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(id, "detect") || str_eq(id, "auto"))
		detect = true, id = NULL;
	if (str_eq(id, "none"))
		id = "generic";
	if (url)
		warn(a, "--osinfo id= is not heeded: --osinfo NAME");
	bool found = (detect && detect_os(a, &os)) || (id && named_os(a, id, &os));
	if (!found && !id && require)
		return err_set(err, ERR_USAGE,
			"--os-variant/--osinfo OS name is required, but no value was set or detected.");
	if (!found)
		return 0;
	if (str_eq(os.name, "generic"))
		warn(a, "Using --osinfo generic, VM performance may suffer. Specify an accurate OS for optimal results.");
	a->os_memory = os.memory_least;
	a->windows = str_starts(os.name, "win");
	use_defaults(a, &os, err);
	return err->message[0] ? -1 : 0;
}
