/*
 * Operating systems by the short ids of osinfo-db, whose files are root's: what is wanted of them is two elements that each
 * stand on a line of their own, so they are read as text. Where it is not installed, a table has those in use.
 */
#include "orchestrator/compat/virt_install.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"

#define OS_FOLDER "/usr/share/osinfo/os"
enum { FILE_MOST = 1 << 20 };

/* Memory in MiB, as their makers recommend it. */
static const struct {
	const char *id;
	unsigned memory;
} known[] = {
	{"generic", 0},
	{"linux2022", 2048},
	{"linux2020", 2048},
	{"linux2018", 1024},
	{"linux2016", 1024},
	{"debian11", 1024},
	{"debian12", 1024},
	{"debian13", 1024},
	{"ubuntu20.04", 2048},
	{"ubuntufocal", 2048},
	{"ubuntu22.04", 2048},
	{"ubuntujammy", 2048},
	{"ubuntu24.04", 3072},
	{"ubuntunoble", 3072},
	{"fedora40", 2048},
	{"fedora41", 2048},
	{"centos-stream9", 1536},
	{"almalinux9", 1536},
	{"rocky9", 1536},
	{"rhel9.0", 1536},
	{"opensuse15.5", 1024},
	{"alpinelinux3.19", 512},
	{"archlinux", 512},
};

static bool in_table(const char *id, uint64_t *memory)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!str_eq(known[i].id, id))
			continue;
		*memory = (uint64_t)known[i].memory << 20;
		return true;
	}
	return false;
}

/* <resources> <recommended> ... <ram>BYTES</ram>: the least of those, of whatever processor. */
static uint64_t recommended(const char *text)
{
	uint64_t least = 0;
	for (const char *at = text; (at = strstr(at, "<recommended>"));) {
		const char *end = strstr(at, "</recommended>"), *ram = strstr(at, "<ram>");
		if (!end)
			break;
		uint64_t bytes = ram && ram < end ? strtoull(ram + strlen("<ram>"), NULL, 10) : 0;
		least = bytes && (!least || bytes < least) ? bytes : least;
		at = end;
	}
	return least;
}

static bool in_file(int folder, const char *file, const char *element, uint64_t *memory)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	if (!str_ends(file, ".xml") || file_read(folder, file, FILE_MOST, &text, &ignored) < 0 ||
		!strstr(text.data, element))
		return false;
	*memory = recommended(text.data);
	return true;
}

static bool in_folder(int all, const char *maker, const char *element, uint64_t *memory)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **files = NULL;
	_cleanup_close_ int folder = dir_open(all, maker, &ignored);
	if (folder < 0 || dir_names(folder, &files, NULL, &ignored) < 0)
		return false;
	for (char **f = files; *f; f++)
		if (in_file(folder, *f, element, memory))
			return true;
	return false;
}

bool os_find(const char *id, uint64_t *memory)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **makers = NULL;
	_cleanup_free_ char *element = str_fmt("<short-id>%s</short-id>", id);
	if (in_table(id, memory)) /* before some hundred files are read */
		return true;
	_cleanup_close_ int all = dir_open(AT_FDCWD, OS_FOLDER, &ignored);
	if (all < 0 || dir_names(all, &makers, NULL, &ignored) < 0)
		return false;
	for (char **m = makers; *m; m++)
		if (in_folder(all, *m, element, memory))
			return true;
	return false;
}
