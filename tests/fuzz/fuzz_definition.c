/*
 * Any text as a definition; one that is taken survives the way through guest.json. Opens no file.
 *
 * What people write may name an image of the store or a file with a key, which guest.json may not:
 * without looking at files these stay names, and the way back is not taken. The way through YAML always is.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/definition_check.h"
#include "orchestrator/definition_yaml.h"

static bool names_stay(const struct definition *d)
{
	for (size_t i = 0; i < d->disk_count; i++)
		if (d->disks[i].source == DISK_IMAGE)
			return true;
	for (size_t i = 0; i < d->cloud_init.key_count; i++)
		if (!looks_like_public_key(d->cloud_init.keys[i]))
			return true;
	for (size_t i = 0; i < d->cloud_init.image_user_key_count; i++)
		if (!looks_like_public_key(d->cloud_init.image_user_keys[i]))
			return true;
	return false;
}

static void there_and_back(const struct definition *d)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *json = definition_to_json(d);
	_cleanup_definition_ struct definition *back = definition_from_json(json, &err);
	_cleanup_json_ json_t *again = back ? definition_to_json(back) : NULL;
	if (!json_equal(json, again))
		abort();
}

/* As people would have written it: the same definition again. */
static void as_yaml(const struct definition *d)
{
	enum { TEXT_MAX = 1024 * 1024 };
	struct err err = ERR_INIT;
	const struct origin origin = {.file = "dump", .folder = "/"};
	_cleanup_free_ char *yaml = definition_to_yaml(d);
	size_t len = strlen(yaml);
	if (len > TEXT_MAX) /* quotes made it longer than what is read */
		return;
	_cleanup_node_ struct node *root = node_from_yaml(yaml, len, &origin, &err);
	_cleanup_definition_ struct definition *back =
		root ? definition_from_node(root, &err) : NULL;
	_cleanup_json_ json_t *json = definition_to_json(d),
			      *again = back ? definition_to_json(back) : NULL;
	if (!json_equal(json, again))
		abort();
}

/* The same text as guest.json's form, where it is JSON. */
static void as_record(const char *text, size_t size)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *json = json_text_parse(text, size, &err);
	_cleanup_definition_ struct definition *d = json ? definition_from_json(json, &err) : NULL;
	if (d)
		there_and_back(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	const struct origin origin = {.file = "fuzz", .folder = "/nonexistent"};
	_cleanup_node_ struct node *root = node_from_yaml((const char *)data, size, &origin, &err);
	_cleanup_definition_ struct definition *d = root ? definition_from_node(root, &err) : NULL;
	if (!d && !err.message[0])
		abort();
	if (d && !names_stay(d))
		there_and_back(d);
	if (d)
		as_yaml(d);
	as_record((const char *)data, size);
	return 0;
}
