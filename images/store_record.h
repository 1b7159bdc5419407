/* Of the store's own files only: an image's folder and the record in it. */
#ifndef IMAGES_STORE_RECORD_H
#define IMAGES_STORE_RECORD_H

#include "images/store.h"

/* The folder of an image; ERR_NOT_FOUND says that there is no such image. */
int store_folder_open(const struct store *s, const char *name, struct err *err);
int store_record_write(int folder, const struct store_image *i, struct err *err);
/* "disk.qcow2" or "disk.raw". */
const char *store_disk_name(bool qcow2);

#endif
