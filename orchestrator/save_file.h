/*
 * The file into which a guest is saved. Numbers are little-endian.
 *
 *	bytes 0-15	"roost-save 1\n" and zeros: the format's name and version
 *	16-23		where the RAM stream begins, a multiple of 4096
 *	24-31		how many bytes of text follow at 36
 *	32-35		the text's CRC-32 (as zlib's)
 *	36-		the facts: one JSON object
 *	...		zeros up to the RAM stream
 *	then		QEMU's migration stream, to the end of the file
 *
 * The facts: `name`, `uuid`; `definition`, as guest.json has it, by which the guest ran; `plugged`, what
 * was plugged since (attached.h); `cpus`, the devices of plugged vCPUs; `memory` and `current_vcpus`, what
 * it had; `console_from`, where its boot began in console.log; `accel`; `paused`, whether its CPUs stood
 * still; `saved`, when, in seconds since 1970; `disks`, [{path, size, mtime_ns}] of what it writes to;
 * `length` and `crc32` of the RAM stream.
 *
 * It is written under no name, or a temporary one, and gets its own when it is whole and on the disk. It
 * holds all that the guest had in its RAM: 0600.
 */
#ifndef ORCHESTRATOR_SAVE_FILE_H
#define ORCHESTRATOR_SAVE_FILE_H

#include "base/json.h"
#include "base/new_file.h"

struct save_writer {
	struct new_file file;
	uint64_t offset, length;
	uint32_t crc;
};
#define SAVE_WRITER_NONE                                                                           \
	{                                                                                          \
		.file = NEW_FILE_NONE                                                              \
	}

/* For facts of about `room` bytes. An existing file stays as it is until save_commit(). */
int save_begin(struct save_writer *w, const char *path, size_t room, struct err *err);
int save_add(struct save_writer *w, const void *data, size_t len, struct err *err);
/* Adds `length` and `crc32` to the facts; when it returns the file survives a loss of power. */
int save_commit(struct save_writer *w, json_t *facts, struct err *err);
/* Of one that was not committed nothing stays. */
void save_end(struct save_writer *w);
#define _cleanup_save_ _cleanup_(save_end)

/*
 * Opens it and checks all of it, the RAM's checksum too; the fd stands at the RAM stream's begin. The
 * file must be `owner`'s unless that is -1, for it decides what is opened.
 */
int save_open(const char *path, uid_t owner, json_t **facts, struct err *err);

#endif
