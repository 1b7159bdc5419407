/*
 * What the values of a definition must be. Errors are node_error()'s: they name the key, and the
 * line where there is one.
 */
#ifndef ORCHESTRATOR_DEFINITION_CHECK_H
#define ORCHESTRATOR_DEFINITION_CHECK_H

#include "orchestrator/definition.h"
#include "orchestrator/definition_keys.h"

/* Of a network and of an interface: what IPv4 needs, and the most that a tap takes (Linux's 65535, without the Ethernet header). */
enum { MTU_MIN = 576, MTU_MAX = 65521 };

/* One text: definition_text.c. */
int check_name(const char *text, const struct node *n, struct err *err);
int check_title(const char *text, const struct node *n, struct err *err);
int check_description(const char *text, const struct node *n, struct err *err);
int check_uuid(const char *text, const struct node *n, struct err *err);
int check_mac(const char *text, const struct node *n, struct err *err);
int check_id(const char *text, const struct node *n, struct err *err);
int check_machine(const char *text, const struct node *n, struct err *err);
int check_cpu(const char *text, const struct node *n, struct err *err);
int check_serial(const char *text, const struct node *n, struct err *err);
int check_own_file(const char *text, const struct node *n, struct err *err);
int check_image(const char *text, const struct node *n, struct err *err);
int check_user(const char *text, const struct node *n, struct err *err);
int check_hostname(const char *text, const struct node *n, struct err *err);
int check_public_key(const char *text, const struct node *n, struct err *err);
/* A public key, or in what people write the name of a file with one. */
int check_key_or_file(const char *text, const struct node *n, struct err *err);
int check_password_hash(const char *text, const struct node *n, struct err *err);
int check_rung(const char *text, const struct node *n, struct err *err);
int check_qemu_arg(const char *text, const struct node *n, struct err *err);

bool looks_like_public_key(const char *text);

/* One disk by itself, and the whole: definition_check.c. They fill in what was left out. */
int check_disk(void *disk, const struct node *map, struct err *err);
int check_definition(void *definition, const struct node *root, struct err *err);

extern const struct keys definition_keys, nic_keys; /* nic_keys: definition_nics.c */
extern const struct keys link_keys;                 /* of a disk's lineage: lineage.c */
/* One part by itself, in guest.json's form. */
int definition_read_part(const struct keys *keys, const json_t *json, void *out, struct err *err);
/* Reads and checks a tree, opening no file; what files say is definition_files(). */
struct definition *definition_from_node(const struct node *root, struct err *err);

#endif
