/*
 * Operating systems by the short ids of osinfo-db, whose files are root's: what is wanted of them are a few elements that each
 * stand on a line of their own, so they are read as text. Where it is not installed, a table has those in use.
 */
#include "orchestrator/compat/virt_install.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int ask_osinfo(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p = {0};
	struct os os;
	if (parts_of("--osinfo", text, "short-id", &p, err) < 0)
		return -1;
	const char *id = parts_take_either(&p, "name", "short-id"),
		   *detect = parts_take(&p, "detect");
	bool require = parts_on(&p, "require"), url = parts_take(&p, "id");
	if (parts_end(&p, err) < 0)
		return -1;
	if (str_eq(id, "detect") || str_eq(id, "auto"))
		detect = "on", id = NULL;
	if (str_eq(id, "none"))
		id = "generic";
	if (!id && require)
		return err_set(err, ERR_USAGE,
			       "--os-variant/--osinfo OS name is required, but no value was set or detected."),
		       err_hint(err, "installers are not looked into: --osinfo NAME");
	if (!id && (detect || url))
		warn(a, "--osinfo %s is not heeded: installers are not looked into, and virtio is taken; --osinfo NAME tells which memory and disk it wants",
			text);
	if (!id)
		return 0;
	if (!os_find(id, &os)) {
		warn(a, "Unknown OS name '%s'. Its usual hardware is not known, and virtio is taken.",
			id);
		return 0;
	}
	if (str_eq(os.name, "generic"))
		warn(a, "Using --osinfo generic, VM performance may suffer. Specify an accurate OS for optimal results.");
	a->os_memory = os.memory_least;
	a->windows = str_starts(os.name, "win");
	use_defaults(a, &os, err);
	return err->message[0] ? -1 : 0;
}
