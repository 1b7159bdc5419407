#include "orchestrator/run_options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/definition_check.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/password.h"
#include "orchestrator/publish.h"

/* ":LINE: " of a text that nobody wrote. */
static struct definition *without_place(struct definition *d, struct err *err)
{
	const char *what = d ? NULL : strstr(err->message, ": ");
	if (what)
		memmove(err->message, what + 2, strlen(what + 2) + 1);
	return d;
}

struct definition *definition_of_words(const json_t *o, struct err *err)
{
	_cleanup_free_ char *text = json_pretty(o), *folder = getcwd(NULL, 0);
	return without_place(
		definition_parse(text, strlen(text), "", folder ? folder : "/", err), err);
}

struct definition *definition_of_words_alone(const json_t *o, struct err *err)
{
	_cleanup_free_ char *text = json_pretty(o), *folder = getcwd(NULL, 0);
	const struct origin origin = {.file = "", .folder = folder ? folder : "/"};
	_cleanup_node_ struct node *root = node_from_yaml(text, strlen(text), &origin, err);
	return without_place(root ? definition_from_node(root, err) : NULL, err);
}

/* ---- --cloud-init, as virt-install has it ----------------------------------------------------- */

/* The keys that the caller would log in with, as ssh takes them. */
static json_t *usual_keys(void)
{
	static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
	const char *home = getenv("HOME");
	json_t *keys = json_array();
	for (size_t i = 0; home && i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = str_fmt("%s/.ssh/%s.pub", home, names[i]);
		if (faccessat(AT_FDCWD, path, R_OK, 0) == 0)
			json_array_append_new(keys, json_string(path));
	}
	return keys;
}

static const struct {
	const char *word, *key;
} cloud_words[] = {
	{"user-data", "user_data"}, {"meta-data", "meta_data"}, {"vendor-data", "vendor_data"},
	{"network-config", "network_config"}, {"user", "user"}, {"hostname", "hostname"},
	{"password-file", "password_file"}, {"ssh-key", "keys"},
	{"clouduser-ssh-key", "keys"}, /* virt-install's name */
};

static int unknown_word(const char *word, struct err *err)
{
	const char *words[ARRAY_SIZE(cloud_words) + 1] = {0};
	_cleanup_buf_ struct buf all = {0};
	for (size_t i = 0; i < ARRAY_SIZE(cloud_words); i++) {
		words[i] = cloud_words[i].word;
		buf_fmt(&all, "%s%s", i ? ", " : "", words[i]);
	}
	err_set(err, ERR_USAGE, "--cloud-init: there is no '%.40s'", word);
	const char *near = str_nearest(word, words);
	return near ? err_hint(err, "did you mean '%s'?", near)
		    : err_hint(err, "it takes KEY=VALUE,..., the keys are %s", all.data);
}

/* One KEY=VALUE. */
static int take_cloud_word(json_t *cloud, char *pair, struct err *err)
{
	char *value = strchr(pair, '=');
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(cloud_words); i++) {
		const char *key = cloud_words[i].key;
		if (!str_eq(pair, cloud_words[i].word))
			continue;
		if (!value || !*value)
			return err_set(err, ERR_USAGE, "--cloud-init: '%s' wants a value", pair);
		if (str_eq(key, "keys"))
			return json_array_append_new(
				json_object_get(cloud, key), json_string(value));
		if (json_object_get(cloud, key))
			return err_set(err, ERR_USAGE, "--cloud-init: '%s' is there twice", pair);
		return json_object_set_new(cloud, key, json_string(value));
	}
	return unknown_word(pair, err);
}

static int take_cloud_words(const char *words, json_t *cloud, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(words);
	char *rest = copy, *pair;
	while ((pair = strsep(&rest, ",")))
		if (*pair && take_cloud_word(cloud, pair, err) < 0)
			return err->message[0]
				       ? -1
				       : err_set(err, ERR_USAGE, "--cloud-init is not valid UTF-8");
	return 0;
}

/* Keys and a password are the user's whom we make, not of a user-data that makes its own. */
json_t *run_cloud_init(const struct cli *cli, struct err *err)
{
	const char *key = cli_value(cli, "key", NULL), *words = cli_value(cli, "cloud-init", NULL),
		   *password = cli_value(cli, "password-file", NULL);
	_cleanup_json_ json_t *cloud =
		json_pack("{s:o}", "keys", key ? json_pack("[s]", key) : json_array());
	json_set_text(cloud, "user", cli_value(cli, "user", NULL));
	if (words && take_cloud_words(words, cloud, err) < 0)
		return NULL;
	if (!json_array_size(json_object_get(cloud, "keys")) &&
		!json_object_get(cloud, "user_data"))
		json_object_set_new(cloud, "keys", usual_keys());
	if (password) {
		_cleanup_free_ char *hash = password_hash_of(password, NULL, err);
		if (!hash)
			return NULL;
		json_set_text(cloud, "password_hash", hash);
	}
	return TAKE(cloud);
}

/* ---- its interface ---------------------------------------------------------------------------- */

/* As `hostfwd` has it: user networking, which `publish` is not of. */
static json_t *forward_word(const struct forward *f)
{
	char port[8] = "";
	if (f->host_port)
		snprintf(port, sizeof(port), "%u", f->host_port);
	return json_sprintf("%s:%s:%s-%u", f->udp ? "udp" : "tcp", f->host, port, f->guest_port);
}

static int take_ports(const struct cli *cli, bool on_network, json_t *ports, struct err *err)
{
	for (int i = 0; i < cli->repeated_count; i++) {
		struct forward f;
		if (!str_eq(cli->repeated[i].name, "publish"))
			continue;
		if (publish_parse(cli->repeated[i].value, &f, err) < 0)
			return err_prefix(err, "--publish");
		_cleanup_free_ char *text = publish_text(&f);
		json_array_append_new(ports, on_network ? json_string(text) : forward_word(&f));
	}
	return 0;
}

/* Where nothing is said, every guest has an interface of user networking anyhow: then there is none. */
int run_interface(const struct cli *cli, json_t *o, struct err *err)
{
	const char *network = cli_value(cli, "network", NULL);
	bool alone = cli_flag(cli, "restrict");
	if (!network && !alone && !cli_flag(cli, "publish"))
		return 0;
	if (network && alone) {
		err_set(err, ERR_USAGE, "--restrict is not for a guest on a network");
		return err_hint(err, "one of `mode: isolated` leads nowhere: `roost net-define`");
	}
	_cleanup_json_ json_t *ports = network ? json_array() : json_pack("[s]", "-22");
	if (take_ports(cli, network, ports, err) < 0)
		return -1;
	json_t *nic =
		network ? json_pack("{s:s, s:O}", "network", network, "publish", ports)
			: json_pack("{s:{s:b, s:O}}", "user", "restrict", alone, "hostfwd", ports);
	if (!nic)
		return err_set(err, ERR_USAGE, "--network is not valid UTF-8");
	json_object_set_new(o, "interfaces", json_pack("[o]", nic));
	return 0;
}
