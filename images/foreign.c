#include "images/foreign.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "images/tool.h"

enum {
	SECTOR = 512,
	VDI_MAGIC_AT = 64,
	VDI_SIZE_AT = 368,
	VMDK_CAPACITY_AT = 12,
	VPC_SIZE_AT = 48
};
enum {
	ROOM_TIMES = 16,
	STALL_S = 300,
	STALL_TIB_S = 60,
	CPU_S = 3600,
	CPU_TIB_S = 240,
	TIB_MAX = 64
};

/* A sparse VMDK whose capacity is 0 is no more than a descriptor, whose extents QEMU would open. */
static bool vmdk_is_descriptor(const char *head)
{
	uint64_t capacity;
	memcpy(&capacity, head + VMDK_CAPACITY_AT, sizeof(capacity));
	return capacity == 0;
}

const char *foreign_format(int fd, const char *what, struct err *err)
{
	char head[SECTOR] = "", tail[SECTOR] = "";
	struct stat st;
	if (fstat(fd, &st) < 0 || pread(fd, head, SECTOR, 0) < 0 ||
		(st.st_size >= SECTOR && pread(fd, tail, SECTOR, st.st_size - SECTOR) < 0)) {
		err_errno(err, "cannot read the image '%s'", what);
		return NULL;
	}
	if (memcmp(head, "KDMV", 4) == 0 && !vmdk_is_descriptor(head))
		return "vmdk";
	if (memcmp(head, "vhdxfile", 8) == 0)
		return "vhdx";
	if (memcmp(head, "conectix", 8) == 0 || memcmp(tail, "conectix", 8) == 0)
		return "vpc";
	if (memcmp(head + VDI_MAGIC_AT, "\x7f\x10\xda\xbe", 4) == 0)
		return "vdi";
	err_set(err, ERR_REFUSED,
		"'%s' is no VMDK, VHD, VHDX or VDI image that keeps all in one file", what);
	err_hint(err, "qcow2 and raw images enter without --convert");
	return NULL;
}

uint64_t foreign_size(int fd, const char *format)
{
	char head[SECTOR] = "", tail[SECTOR] = "";
	uint64_t size = 0;
	struct stat st;
	if (fstat(fd, &st) < 0 || pread(fd, head, SECTOR, 0) != SECTOR ||
		pread(fd, tail, SECTOR, st.st_size - SECTOR) != SECTOR)
		return 0;
	if (str_eq(format, "vmdk"))
		memcpy(&size, head + VMDK_CAPACITY_AT, sizeof(size));
	if (str_eq(format, "vdi"))
		memcpy(&size, head + VDI_SIZE_AT, sizeof(size));
	if (str_eq(format, "vpc")) {
		memcpy(&size, tail + VPC_SIZE_AT, sizeof(size));
		return be64toh(size);
	}
	size = le64toh(size);
	if (str_eq(format, "vmdk"))
		return size > UINT64_MAX / SECTOR ? UINT64_MAX : size * SECTOR;
	return size;
}

int foreign_check_room(int fd, const char *format, int room, const char *what, struct err *err)
{
	struct statvfs fs;
	uint64_t size = foreign_size(fd, format);
	if (fstatvfs(room, &fs) < 0)
		return err_errno(err, "cannot look at the store's file system");
	uint64_t all = (uint64_t)fs.f_blocks * fs.f_frsize;
	if (size / ROOM_TIMES <= all)
		return 0;
	err_set(err, ERR_REFUSED,
		"'%s' is a disk of %s, more than %d times what the store's file system has in all (%s)",
		what, str_size(size), ROOM_TIMES, str_size(all));
	return err_hint(err,
		"if it is to be: `qemu-img convert -O qcow2 %s new.qcow2`, then `roost image import new.qcow2`",
		what);
}

/* Its parent, as a VMDK may name one, is none. */
static char *node_of(const char *from, const char *format, struct err *err)
{
	_cleanup_json_ json_t *node = json_pack("{s:s, s:{s:s, s:s}}", "driver", format, "file",
		"driver", "file", "filename", from);
	if (!node) {
		err_set(err, ERR_USAGE, "the path '%s' is not UTF-8", from);
		return NULL;
	}
	if (str_eq(format, "vmdk"))
		json_object_set_new(node, "backing", json_null());
	_cleanup_free_ char *text = json_line(node);
	return str_fmt("json:%s", text);
}

int foreign_convert(const char *from, const char *format, uint64_t size, const char *to,
	void (*told)(void *about, const char *step, int64_t done, int64_t total), void *about,
	struct err *err)
{
	_cleanup_free_ char *node = node_of(from, format, err);
	const char *argv[] = {"convert", "-p", "-O", "qcow2", node, to, NULL};
	uint64_t tib = !size || size >> 40 > TIB_MAX ? TIB_MAX : size >> 40;
	/* it counts what there is before it tells of any progress */
	struct tool_run run = {.argv = argv,
		.told = told,
		.about = about,
		.stall_ms = (int64_t)(STALL_S + STALL_TIB_S * tib) * 1000,
		.cpu_seconds = CPU_S + CPU_TIB_S * tib};
	return node ? tool_run(&run, NULL, err) : -1;
}
