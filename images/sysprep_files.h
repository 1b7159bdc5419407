/* Files of a stream (sysprep_stream.h) are copied into the file systems of a guest's disks. */
#ifndef IMAGES_SYSPREP_FILES_H
#define IMAGES_SYSPREP_FILES_H

#include "images/ext_tree.h"

/* *count: how many there were. ERR_NOT_FOUND: a folder that there is not. */
int sysprep_files_put(struct ext_tree *t, int stream, uint64_t *count, struct err *err);

#endif
