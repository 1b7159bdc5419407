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
enum { PIPED_SIZE = 64 * 1024 };

/* `packed`: it may be compressed by gzip. */
static int read_text(
	const char *file, const char *what, bool packed, struct buf *out, struct err *err)
{
	_cleanup_free_ char *folder = NULL, *named = str_fmt("%s '%s'", what, file);
	/* even an empty file is one; and of what is typed or piped in no copies stay behind */
	buf_reserve(out, written_fd(file) >= 0 ? PIPED_SIZE : 1);
	if (written_read(file, out, &folder, err) < 0)
		return err_prefix(err, "%s", what);
	return seed_check_text(named, out, packed, err);
}

/* An option's file; without the option nothing. */
static int read_option(
	const struct cli *cli, const char *name, bool packed, struct buf *out, struct err *err)
{
	const char *file = cli_value(cli, name, NULL);
	return file ? read_text(file, name, packed, out, err) : 0;
}

/* JSON is YAML, and jansson quotes. */
static int make_meta_data(const struct cli *cli, struct buf *out, struct err *err)
{
	_cleanup_buf_ struct buf interfaces = {0};
	const char *hostname = cli_value(cli, "hostname", NULL);
	const char *dsmode = cli_value(cli, "dsmode", NULL);
	if (hostname && seed_check_hostname(hostname, err) < 0)
		return -1;
	if (dsmode && !str_eq(dsmode, "local") && !str_eq(dsmode, "net"))
		return err_set(err, ERR_USAGE, "--dsmode is 'local' or 'net', not '%s'", dsmode);
	if (read_option(cli, "interfaces", false, &interfaces, err) < 0)
		return -1;
	_cleanup_json_ json_t *o =
		json_pack("{s:s, s:s*, s:s*, s:s*}", "instance-id", instance_id, "local-hostname",
			hostname, "network-interfaces", interfaces.data, "dsmode", dsmode);
	_cleanup_free_ char *line = json_line(o);
	buf_str(out, line);
	return 0;
}

static int read_meta_data(const struct cli *cli, struct buf *out, struct err *err)
{
	static const char *const made[] = {"hostname", "interfaces", "dsmode"};
	if (cli->count < 3)
		return make_meta_data(cli, out, err);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		if (cli_value(cli, made[i], NULL))
			return err_set(err, ERR_USAGE,
				"--%s goes into a meta-data that is made, and META-DATA is given",
				made[i]);
	return read_text(cli->operands[2], "meta-data", false, out, err);
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
	if (read_text(cli->operands[1], "user-data", true, &files->user_data, err) < 0 ||
		read_meta_data(cli, &files->meta_data, err) < 0 ||
		read_option(cli, "vendor-data", true, &files->vendor_data, err) < 0)
		return -1;
	return read_option(cli, "network-config", false, &files->network_config, err);
}

/* vendor-data has the form of user-data. */
static int check_files(const struct cli *cli, const struct seed_files *files, struct err *err)
{
	const char *vendor = cli_value(cli, "vendor-data", NULL),
		   *network = cli_value(cli, "network-config", NULL);
	const struct buf *meta = &files->meta_data, *config = &files->network_config;
	if (cli_flag(cli, "no-check"))
		return 0;
	if (userdata_look(cli->operands[1], &files->user_data, err) < 0 ||
		(vendor && userdata_look(vendor, &files->vendor_data, err) < 0) ||
		(cli->count > 2 &&
			userdata_check_map(cli->operands[2], meta->data, meta->len, err) < 0))
		return -1;
	return network ? userdata_check_map(network, config->data, config->len, err) : 0;
}

static int check_kind(const struct seed_kind *kind, struct err *err)
{
	if (!str_eq(kind->filesystem, "iso9660") && !str_eq(kind->filesystem, "vfat"))
		return err_set(err, ERR_USAGE, "--filesystem is 'iso9660' or 'vfat', not '%s'",
			kind->filesystem);
	if (!str_eq(kind->format, "raw") && !str_eq(kind->format, "qcow2"))
		return err_set(err, ERR_USAGE, "--disk-format is 'raw' or 'qcow2', not '%s'",
			kind->format);
	return 0;
}

static void tell(const struct cli *cli, const struct seed_kind *kind, bool empty)
{
	const char *out = cli->operands[0];
	if (empty)
		fprintf(stderr, "roost: warning: the user-data '%s' is empty\n", cli->operands[1]);
	if (cli_flag(cli, "verbose"))
		fprintf(stderr, "wrote %s with filesystem=%s and diskformat=%s\n", out,
			kind->filesystem, kind->format);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:s}", "path", out, "filesystem",
			kind->filesystem, "format", kind->format));
}

static int run_seed(const struct cli *cli, struct err *err)
{
	const struct seed_kind kind = {
		cli_value(cli, "filesystem", "iso9660"), cli_value(cli, "disk-format", "raw")};
	_cleanup_(seed_files_free) struct seed_files files = {0};
	if (check_kind(&kind, err) < 0 || check_out(cli->operands[0], err) < 0 ||
		read_files(cli, &files, err) < 0 || check_files(cli, &files, err) < 0 ||
		seed_write(&files, &kind, cli->operands[0], err) < 0)
		return -1;
	tell(cli, &kind, !files.user_data.len);
	return 0;
}

const struct verb verb_seed = {"seed", "OUT USER-DATA [META-DATA]",
	"Writes a NoCloud seed for cloud-init, whatever the suffix a raw ISO 9660 image unless told otherwise.",
	2, 3, false,
	{{"filesystem", "iso9660|vfat", 'f', "default iso9660"},
		{"disk-format", "raw|qcow2", 'd', "default raw"},
		{"network-config", "FILE", 'N', "the network's configuration"},
		{"vendor-data", "FILE", 'V', "vendor-data, which user-data overrides"},
		{"hostname", "NAME", 'H', "the host name, where no META-DATA is given"},
		{"interfaces", "FILE", 'i', "/etc/network/interfaces, where no META-DATA is given"},
		{"dsmode", "local|net", 'm', "when cloud-init acts, where no META-DATA is given"},
		{"no-check", NULL, 0, "take the files as they are"},
		{"verbose", NULL, 'v', "say what was written"}},
	run_seed, "roost seed seed.img user-data", GROUP_IMAGES, GUESTS_ALL};
