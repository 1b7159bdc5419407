/*
 * seed: a NoCloud seed of the user's own files, with the options of Debian's cloud-localds. Nothing
 * is asked of roostd. The texts may hold passwords: they are wiped, and travel over a pipe.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/seed_write.h"
#include "orchestrator/userdata_check.h"

/* What cloud-localds writes, so that a seed made again does not make cloud-init run anew. */
static const char instance_id[] = "iid-local01";

static int read_text(const char *file, const char *what, char **out, struct err *err)
{
	struct buf text = {0};
	_cleanup_free_ char *folder = NULL;
	buf_reserve(&text, 1); /* an empty file is a text, too */
	text.data[0] = '\0';
	int result = written_read(file, &text, &folder, err);
	if (result < 0)
		err_prefix(err, "%s", what);
	else if (memchr(text.data, '\0', text.len))
		result = err_set(
			err, ERR_USAGE, "%s '%s' has a NUL byte: it is not text", what, file);
	if (result == 0)
		*out = buf_steal(&text);
	buf_free(&text);
	return result;
}

/* An option's file; without the option nothing. */
static int read_option(const struct cli *cli, const char *name, char **out, struct err *err)
{
	const char *file = cli_value(cli, name, NULL);
	return file ? read_text(file, name, out, err) : 0;
}

/* JSON is YAML, and jansson quotes. */
static int make_meta_data(const struct cli *cli, char **out, struct err *err)
{
	_cleanup_free_ char *interfaces = NULL;
	const char *hostname = cli_value(cli, "hostname", NULL);
	const char *dsmode = cli_value(cli, "dsmode", NULL);
	if (hostname && seed_check_hostname(hostname, err) < 0)
		return -1;
	if (dsmode && !str_eq(dsmode, "local") && !str_eq(dsmode, "net"))
		return err_set(err, ERR_USAGE, "--dsmode is 'local' or 'net', not '%s'", dsmode);
	if (read_option(cli, "interfaces", &interfaces, err) < 0)
		return -1;
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s*, s:s*, s:s*}", "instance-id", instance_id,
		"local-hostname", hostname, "network-interfaces", interfaces, "dsmode", dsmode);
	if (!o)
		return err_set(err, ERR_USAGE, "interfaces: the file is not UTF-8 text");
	*out = json_line(o);
	return 0;
}

static int read_meta_data(const struct cli *cli, char **out, struct err *err)
{
	static const char *const made[] = {"hostname", "interfaces", "dsmode"};
	if (cli->count < 3)
		return make_meta_data(cli, out, err);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		if (cli_value(cli, made[i], NULL))
			return err_set(err, ERR_USAGE,
				"--%s goes into a meta-data that is made, and META-DATA is given",
				made[i]);
	return read_text(cli->operands[2], "meta-data", out, err);
}

/* A rename puts the seed there: it must not take the place of a device or a FIFO. */
static int check_out(const char *out, struct err *err)
{
	struct stat st;
	if (str_eq(out, "-"))
		return err_set(
			err, ERR_USAGE, "a seed is written to a file, not to standard output");
	if (stat(out, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is there, and is not a regular file", out);
	return 0;
}

static int read_files(const struct cli *cli, struct seed_files *files, struct err *err)
{
	if (read_text(cli->operands[1], "user-data", &files->user_data, err) < 0 ||
		read_meta_data(cli, &files->meta_data, err) < 0 ||
		read_option(cli, "vendor-data", &files->vendor_data, err) < 0)
		return -1;
	return read_option(cli, "network-config", &files->network_config, err);
}

static int check_user_data(const char *file, const char *text, struct err *err)
{
	struct userdata_strangers strangers;
	if (userdata_check(file, text, strlen(text), &strangers, err) < 0)
		return -1;
	userdata_tell(file, &strangers);
	return 0;
}

static int run_seed(const struct cli *cli, struct err *err)
{
	struct seed_files files = {0};
	const char *out = cli->operands[0];
	if (check_out(out, err) < 0)
		return -1;
	int result = read_files(cli, &files, err);
	if (result == 0 && !cli_flag(cli, "no-check"))
		result = check_user_data(cli->operands[1], files.user_data, err);
	bool empty = result == 0 && !files.user_data[0];
	if (result == 0)
		result = seed_write(&files, out, err);
	seed_files_free(&files);
	if (result < 0)
		return -1;
	if (empty)
		fprintf(stderr, "roost: warning: the user-data '%s' is empty\n", cli->operands[1]);
	if (cli_flag(cli, "verbose"))
		fprintf(stderr, "wrote %s with filesystem=iso9660 and diskformat=raw\n", out);
	if (cli->json)
		cli_print_json(json_pack(
			"{s:s, s:s, s:s}", "path", out, "filesystem", "iso9660", "format", "raw"));
	return 0;
}

const struct verb verb_seed = {"seed", "OUT USER-DATA [META-DATA]",
	"Writes a NoCloud seed for cloud-init, a raw ISO 9660 image whatever its suffix.", 2, 3,
	false,
	{{"network-config", "FILE", 'N', "the network's configuration"},
		{"vendor-data", "FILE", 'V', "vendor-data, which user-data overrides"},
		{"hostname", "NAME", 'H', "the host name, where no META-DATA is given"},
		{"interfaces", "FILE", 'i', "/etc/network/interfaces, where no META-DATA is given"},
		{"dsmode", "local|net", 'm', "when cloud-init acts, where no META-DATA is given"},
		{"no-check", NULL, 0, "take the user-data as it is"},
		{"verbose", NULL, 'v', "say what was written"}},
	run_seed, "roost seed seed.img user-data", GROUP_IMAGES, GUESTS_ALL};
