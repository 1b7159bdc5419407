/* A name out of that of an image's file. */
#ifndef ORCHESTRATOR_IMAGE_NAME_H
#define ORCHESTRATOR_IMAGE_NAME_H

enum { IMAGE_NAME_SIZE = 60 };

/* "debian-12" of "/srv/debian-12.qcow2": what of it may be in the name of a guest or an image. */
void image_name_of(const char *path, char out[IMAGE_NAME_SIZE]);

#endif
