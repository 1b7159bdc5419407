/*
 * Files to be copied into a guest, as a stream from who may read them to roost-sysprep. One after the other,
 * a folder before what is in it:
 *
 *	{"name": "conf", "depth": 0, "mode": 420, "size": N}\n	and N bytes: a file
 *	{"name": "conf.d", "depth": 0, "mode": 493, "folder": true}\n
 *	{"name": "x", "depth": 1, "link": "../conf"}\n
 *
 * Depth 0 is in the folder that they are copied into; depth n+1 is in the last folder of depth n.
 */
#ifndef IMAGES_SYSPREP_FILES_H
#define IMAGES_SYSPREP_FILES_H

#include "images/ext_tree.h"

enum { SYSPREP_FILES_DEPTH = 32, SYSPREP_HEADER_MAX = 8192 };

/* Copies them into a folder of the tree; *count: how many there were. ERR_NOT_FOUND: no such folder. */
int sysprep_files_put(
	struct ext_tree *t, int stream, const char *folder, uint64_t *count, struct err *err);

#endif
