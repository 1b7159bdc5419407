#include "images/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "images/qcow2.h"

/* How to make of it something that may enter: a command around the file's name. */
struct remedy {
	const char *before, *after;
};
#define CONVERT(format)                                                                            \
	{                                                                                          \
		"convert it with: qemu-img convert -f " format " -O qcow2 ", " NEW.qcow2"          \
	}
#define IMPORT                                                                                     \
	{                                                                                          \
		"`roost image import --convert ", "` takes it into the store"                      \
	}
#define UNPACK(command)                                                                            \
	{                                                                                          \
		"unpack it with: " command " ", ""                                                 \
	}
#define MAGIC(text) text, sizeof(text) - 1

/* Where an image is looked at: its first and its last 512 bytes. */
enum part { HEAD, TAIL };

static const struct format {
	const char *name;
	enum part part;
	size_t offset;
	const char *magic;
	size_t len;
	struct remedy remedy;
} formats[] = {
	{"an old qcow image", HEAD, 0, MAGIC("QFI\xfb\0\0\0\1"), CONVERT("qcow")},
	{"a VMDK image", HEAD, 0, MAGIC("KDMV"), IMPORT},
	{"a VMDK image", HEAD, 0, MAGIC("COWD"), CONVERT("vmdk")},
	{"a VMDK descriptor", HEAD, 0, MAGIC("# Disk DescriptorFile"), CONVERT("vmdk")},
	{"a VDI image", HEAD, 64, MAGIC("\x7f\x10\xda\xbe"), IMPORT},
	{"a VHDX image", HEAD, 0, MAGIC("vhdxfile"), IMPORT},
	{"a VHD image", HEAD, 0, MAGIC("conectix"), IMPORT},
	{"a VHD image", TAIL, 0, MAGIC("conectix"), IMPORT},
	{"a QED image", HEAD, 0, MAGIC("QED\0"), CONVERT("qed")},
	{"a Parallels image", HEAD, 0, MAGIC("WithoutFreeSpace"), CONVERT("parallels")},
	{"a Parallels image", HEAD, 0, MAGIC("WithouFreSpacExt"), CONVERT("parallels")},
	{"a Bochs image", HEAD, 0, MAGIC("Bochs Virtual HD Image"), CONVERT("bochs")},
	{"a DMG image", TAIL, 0, MAGIC("koly"), CONVERT("dmg")},
	{"a LUKS container", HEAD, 0, MAGIC("LUKS\xba\xbe"),
		{"convert it with: qemu-img convert --object secret,id=s,file=PASSPHRASE-FILE --image-opts "
		 "-O qcow2 driver=luks,key-secret=s,file.filename=",
			" NEW.qcow2"}},
	{"compressed (gzip)", HEAD, 0, MAGIC("\x1f\x8b\x08"), UNPACK("gzip -dk")},
	{"compressed (xz)", HEAD, 0,
		MAGIC("\xfd"
		      "7zXZ\0"),
		UNPACK("xz -dk")},
	{"compressed (zstd)", HEAD, 0, MAGIC("\x28\xb5\x2f\xfd"), UNPACK("zstd -d")},
	{"compressed (bzip2)", HEAD, 0, MAGIC("BZh"), UNPACK("bzip2 -dk")},
	{"a zip archive", HEAD, 0, MAGIC("PK\3\4"), UNPACK("unzip")},
	{"a tar archive (perhaps an OVA)", HEAD, 257, MAGIC("ustar"), UNPACK("tar -xf")},
};

static const char *kind_of_file(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a folder";
	case S_IFBLK:
		return "a block device";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	default:
		return "a socket";
	}
}

int image_open(const char *path, struct stat *st, struct err *err)
{
	_cleanup_close_ int place = open(path, O_PATH | O_CLOEXEC);
	if (place < 0 || fstat(place, st) < 0)
		return err_errno(err, "cannot open the image '%s'", path);
	if (!S_ISREG(st->st_mode)) {
		err_set(err, ERR_REFUSED, "the image '%s' is %s", path, kind_of_file(st->st_mode));
		return err_hint(err, "only regular files are taken");
	}
	char again[32];
	snprintf(again, sizeof(again), "/proc/self/fd/%d", place);
	int fd = open(again, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, "cannot open the image '%s'", path) : fd;
}

int image_refuse_known(int fd, const char *path, struct err *err)
{
	char parts[2][512] = {{0}};
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "cannot look at the image '%s'", path);
	off_t size = st.st_size;
	if (pread(fd, parts[HEAD], sizeof(parts[HEAD]), 0) < 0 ||
		(size >= 512 && pread(fd, parts[TAIL], sizeof(parts[TAIL]), size - 512) < 0))
		return err_errno(err, "cannot read the image '%s'", path);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *f = &formats[i];
		if (memcmp(parts[f->part] + f->offset, f->magic, f->len) != 0)
			continue;
		_cleanup_free_ char *word = shell_word(path);
		err_set(err, ERR_REFUSED, "'%s' is %s: only qcow2 and raw images are taken", path,
			f->name);
		return err_hint(err, "%s%s%s", f->remedy.before, word, f->remedy.after);
	}
	return 0;
}

int image_look_open(int fd, const char *path, struct image_look *out, struct err *err)
{
	struct stat st;
	struct qcow2_info info;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "cannot look at the image '%s'", path);
	if (st.st_size == 0)
		return err_set(err, ERR_USAGE, "the image '%s' is empty", path);
	if (image_refuse_known(fd, path, err) < 0)
		return -1;
	int qcow2 = qcow2_probe(fd, err);
	if (qcow2 < 0 || (qcow2 && qcow2_read(fd, &info, err) < 0))
		return err_prefix(err, "'%s'", path);
	if (qcow2 && qcow2_may_enter(&info, path, err) < 0)
		return -1;
	*out = (struct image_look){
		.qcow2 = qcow2,
		.virtual_size = qcow2 ? info.virtual_size : raw_virtual_size(&st),
		.file_size = (uint64_t)st.st_size,
		.device = st.st_dev,
		.inode = st.st_ino,
		.mtime_ns = stat_mtime_ns(&st),
	};
	return 0;
}

int image_look(const char *path, struct image_look *out, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = image_open(path, &st, err);
	return fd < 0 ? -1 : image_look_open(fd, path, out, err);
}
