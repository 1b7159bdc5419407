/* A name out of that of an image's file. */
#ifndef ORCHESTRATOR_IMAGE_NAME_H
#define ORCHESTRATOR_IMAGE_NAME_H

enum { IMAGE_NAME_SIZE = 60 };

/* "debian-12" of "/srv/debian-12.qcow2": what of it may be in the name of a guest or an image. */
void image_name_of(const char *path, char out[IMAGE_NAME_SIZE]);

/* The last part of an address's path, "a b.img" of ".../a%20b.img?x"; freed by the caller. */
char *image_file_name(const char *url);

#endif
