#include "orchestrator/libvirt_keep.h"

#include <stdio.h>

#include "base/str.h"
#include "orchestrator/paths.h"
#include "orchestrator/pci_place.h"

static void copy(json_t *to, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);
	if (value && !json_object_get(to, key))
		json_object_set(to, key, value);
}

/* A disk that roost has made is told by the path of its file, and stays that disk. */
static void keep_disk(json_t *disk, const json_t *was, const char *folder)
{
	static const char *const keys[] = {"image", "format", "size", "file"};
	const char *file = json_get_str(was, "file", NULL);
	_cleanup_free_ char *path = file ? str_fmt("%s/%s", folder, file) : NULL;
	if (!path || !str_eq(json_get_str(disk, "path", NULL), path))
		return;
	json_object_del(disk, "path");
	json_object_del(disk, "format");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		copy(disk, was, keys[i]);
}

static bool same_network(const json_t *a, const json_t *b)
{
	static const char *const kinds[] = {"network", "bridge"};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!str_eq(json_get_str(a, kinds[i], NULL), json_get_str(b, kinds[i], NULL)))
			return false;
	return true;
}

static void keep_nic(json_t *nic, const json_t *was, const char *place)
{
	static const char *const of_networks[] = {
		"publish", "strict_ipv6", "address", "address6", "address_fixed"};
	json_t *user = json_object_get(nic, "user");
	if (!json_object_get(was, "pci") && str_eq(json_get_str(nic, "pci", NULL), place))
		json_object_del(nic, "pci"); /* dumpxml has told where it is in order */
	if (!same_network(nic, was))
		return;
	if (user && !json_array_size(json_object_get(user, "hostfwd")))
		json_object_set(nic, "user", json_object_get(was, "user"));
	for (size_t i = 0; i < ARRAY_SIZE(of_networks); i++)
		copy(nic, was, of_networks[i]);
}

static void keep_nics(json_t *json, const json_t *old, const struct definition *d)
{
	size_t i, k;
	json_t *nic, *was;
	json_array_foreach (json_object_get(json, "interfaces"), i, nic)
		json_array_foreach (json_object_get(old, "interfaces"), k, was) {
			char place[16];
			if (!str_eq(json_get_str(nic, "mac", ""), json_get_str(was, "mac", NULL)))
				continue;
			snprintf(place, sizeof(place), "%02x:%02x.0", pci_place(d, k).bus & 0xff,
				pci_place(d, k).slot & 0xff);
			keep_nic(nic, was, i == k ? place : "");
		}
}

static void keep_disks(json_t *json, const json_t *old, const char *folder)
{
	size_t i, k;
	json_t *disk, *was;
	json_array_foreach (json_object_get(json, "disks"), i, disk)
		json_array_foreach (json_object_get(old, "disks"), k, was)
			keep_disk(disk, was, folder);
}

void libvirt_keep(json_t *json, const struct definition *old)
{
	static const char *const keys[] = {"accel_fallback", "accel_unproven", "cloud_init",
		"ready", "qemu_args", "autostart", "runner"};
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *was = definition_to_json(old);
	_cleanup_free_ char *folder = str_fmt("%s/guests/%s", paths_state(&ignored), old->name);
	/* without a tcg in it, `kvm` is what it was asked for */
	if (old->accel == ACCEL_KVM && str_eq(json_get_str(json, "accel", ""), "auto"))
		json_object_set_new(json, "accel", json_string("kvm"));
	_cleanup_json_ json_t *usual = json_pack("[s, s]", "disk", "cdrom"); /* told by dumpxml */
	if (!old->boot_count && json_equal(json_object_get(json, "boot"), usual))
		json_object_del(json, "boot");
	if (!old->cpu && str_eq(json_get_str(json, "cpu", ""), "max"))
		json_object_del(json, "cpu");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		copy(json, was, keys[i]);
	keep_disks(json, was, folder);
	keep_nics(json, was, old);
}
