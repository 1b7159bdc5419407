/*
 * What an image says of itself, as `qemu-img info --output=json` tells it: the same names, so that
 * what reads the one reads the other. Nothing but the header is read, and no other file is opened.
 */
#ifndef IMAGES_IMAGE_INFO_H
#define IMAGES_IMAGE_INFO_H

#include "base/json.h"

enum image_format { IMAGE_BY_CONTENT, IMAGE_QCOW2, IMAGE_RAW };

/* "qcow2", "raw"; NULL is by content. */
int image_format_parse(const char *word, enum image_format *out, struct err *err);
/* Which of the two an open file is; formats that are neither are refused by name. */
int image_format_settle(
	int fd, const char *what, enum image_format wanted, bool *qcow2, struct err *err);

/* One image. Names that are not UTF-8 have \xNN in the place of such bytes. */
json_t *image_info(const char *path, enum image_format format, struct err *err);
/* The list of all that it stands on, itself first: chain.h says what is followed. */
json_t *image_info_chain(const char *path, enum image_format format, struct err *err);
/* One image's answer as qemu-img prints it for people. */
void image_info_print(const json_t *info);

#endif
