/* --cloud-init: a seed, by a definition's `cloud_init`. */
#include "orchestrator/compat/virt_install.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/password.h"
#include "orchestrator/run_options.h"

/* As virtinst's: 16 letters and digits. Told once, kept only hashed. */
static int generate_password(struct install_ask *a, json_t *cloud, struct err *err)
{
	static const char letters[] = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	unsigned char random[64];
	char word[17];
	size_t n = 0;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_errno(err, "no random numbers");
	for (size_t i = 0; i < sizeof(random) && n < 16; i++)
		if (random[i] < 4 * (sizeof(letters) - 1)) /* each as often as the others */
			word[n++] = letters[random[i] % (sizeof(letters) - 1)];
	word[n] = '\0';
	_cleanup_close_ int fd = memfd_create("password", MFD_CLOEXEC);
	_cleanup_free_ char *path = str_fmt("/proc/self/fd/%d", fd);
	if (fd < 0 || write_all(fd, word, n) < 0)
		return err_errno(err, "cannot keep a password");
	_cleanup_free_ char *hash = password_hash_of(path, NULL, err);
	if (hash)
		a->root_password = xstrdup(word);
	explicit_bzero(word, sizeof(word));
	json_set_text(cloud, "password_hash", hash);
	return hash ? 0 : -1;
}

static void add_key(json_t *cloud, const char *list, const char *file)
{
	if (file)
		json_object_set_new(cloud, list, json_pack("[s]", file));
}

int ask_cloud_init(struct install_ask *a, const char *text, struct err *err)
{
	static const char *const files[][2] = {{"user-data", "user_data"},
		{"meta-data", "meta_data"}, {"network-config", "network_config"}};
	_cleanup_parts_ struct parts p = {0};
	_cleanup_json_ json_t *cloud = json_pack("{s:[]}", "keys");
	if (!text[0]) {
		text = "root-password-generate=yes,disable=yes";
		warn(a, "Defaulting to --cloud-init %s", text);
	}
	if (parts_of("--cloud-init", text, NULL, &p, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		json_set_text(cloud, files[i][1], parts_take(&p, files[i][0]));
	const char *root = parts_take(&p, "root-ssh-key"),
		   *user = parts_take(&p, "clouduser-ssh-key"),
		   *password = parts_take(&p, "root-password-file");
	bool generate = parts_on(&p, "root-password-generate"), disable = parts_on(&p, "disable");
	if (parts_end(&p, err) < 0)
		return -1;
	if (json_object_get(cloud, "user_data") &&
		(root || user || password || generate || disable)) {
		warn(a, "--cloud-init user-data= is taken as written: passwords, keys and disable= of --cloud-init are not heeded beside it; say them there (users:, chpasswd:, runcmd:)");
		root = user = password = NULL;
		generate = disable = false;
	}
	if (!password && generate && generate_password(a, cloud, err) < 0)
		return -1;
	json_set_text(cloud, "password_file", password);
	json_set_text(cloud, "user", root || generate || password ? "root" : NULL);
	add_key(cloud, "keys", root);
	add_key(cloud, "image_user_keys", user);
	json_set_text(cloud, "once", disable ? "true" : NULL);
	json_object_set(a->definition, "cloud_init", cloud);
	return 0;
}
