/*
 * Files to be copied into a guest, as a stream from who may read them to who writes them there. A folder is
 * named, and then what is put into it, one after the other, a folder before what is in it:
 *
 *	{"into": "/etc"}\n
 *	{"name": "conf", "depth": 0, "mode": 420, "size": N}\n	and N bytes: a file
 *	{"name": "conf.d", "depth": 0, "mode": 493, "folder": true}\n
 *	{"name": "x", "depth": 1, "link": "../conf"}\n
 *
 *	{"user": "root", "hash": "$6$..."}\n	this user's password is of that hash, as crypt(3) makes it
 *
 * Depth 0 is in the folder that was named; depth n+1 is in the last folder of depth n.
 */
#ifndef IMAGES_SYSPREP_STREAM_H
#define IMAGES_SYSPREP_STREAM_H

#include <sys/types.h>

#include "base/json.h"

enum { SYSPREP_FILES_DEPTH = 32, SYSPREP_HEADER_MAX = 8192, SYSPREP_NAME_MAX = 255 };

struct sysprep_stream {
	int fd;
	uint64_t left; /* of the file that is just read */
};

/* 1: the next header, whose names and depth are as they must be; 0: there is none; -1. */
int sysprep_stream_next(struct sysprep_stream *s, json_t **out, struct err *err);
/* Of the file of that header: how much it was, 0 at its end, -1. `about` is the stream. */
ssize_t sysprep_stream_read(void *about, void *data, size_t len, struct err *err);

#endif
