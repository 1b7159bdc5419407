/* clone. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sock.h"

#include "orchestrator/another.h"
#include "orchestrator/connect.h"
#include "orchestrator/long_call.h"
#include "orchestrator/record.h"

/* Nothing is done to a guest that runs before it is sure that a clone can be made. */
static int check(const struct found *f, const char *to, struct err *err)
{
	struct found there;
	struct err none = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	if (!d || name_check(to, "guest", err) < 0 || definition_may_be_cloned(d, NULL, err) < 0)
		return -1;
	if (guest_find(to, &there, &none) == 0)
		return err_set(err, ERR_REFUSED, "guest '%s' exists already", there.name);
	return 0;
}

/* The values of an option that repeats; NULL: none. */
static json_t *values(const struct cli *cli, const char *name)
{
	json_t *list = NULL;
	for (int i = 0; i < cli->repeated_count; i++) {
		if (!str_eq(cli->repeated[i].name, name))
			continue;
		list = list ? list : json_array();
		json_array_append_new(list, json_string(cli->repeated[i].value));
	}
	return list;
}

/* The files of --file, made by us with the caller's own rights. What is there is never touched: with `as_is` it is opened. */
struct files {
	bool as_is;
	json_t *paths; /* absolute */
	int fds[SOCK_FDS_MAX];
	size_t count;
	bool kept; /* the clone has them */
};

static int make_file(struct files *f, const char *given, struct err *err)
{
	if (f->count == SOCK_FDS_MAX)
		return err_set(err, ERR_USAGE, "roost clone: more than %d files", SOCK_FDS_MAX);
	int fd = open(given, O_RDWR | O_CLOEXEC | (f->as_is ? O_NONBLOCK : O_CREAT | O_EXCL), 0600);
	if (fd < 0)
		return err_errno(err, "cannot %s '%s'", f->as_is ? "open" : "make", given);
	f->fds[f->count++] = fd;
	char *path = realpath(given, NULL);
	json_array_append_new(f->paths, json_string(path ? path : given));
	free(path);
	return 0;
}

static int make_all_files(const struct cli *cli, struct files *f, struct err *err)
{
	for (int i = 0; i < cli->repeated_count; i++)
		if (str_eq(cli->repeated[i].name, "file") &&
			make_file(f, cli->repeated[i].value, err) < 0)
			return -1;
	return 0;
}

/* Is the clone there with them, although he who made it has died before he could say so? */
static bool are_used(const struct files *f, const char *guest)
{
	struct err ignored = ERR_INIT;
	_cleanup_definition_ struct definition *d = record_read(guest, &ignored);
	for (size_t i = 0; d && i < d->disk_count; i++)
		for (size_t k = 0; k < f->count; k++)
			if (str_eq(d->disks[i].path,
				    json_string_value(json_array_get(f->paths, k))))
				return true;
	return false;
}

static void files_end(struct files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		if (!f->kept && !f->as_is)
			unlink(json_string_value(json_array_get(f->paths, i)));
		cleanup_close(&f->fds[i]);
	}
	json_decref(f->paths);
}

static int check_uuid(const char *uuid, struct err *err)
{
	struct found there;
	struct err none = ERR_INIT;
	return uuid && guest_find(uuid, &there, &none) == 0
		       ? err_set(err, ERR_REFUSED, "guest '%s' has the UUID '%s'", there.name, uuid)
		       : 0;
}

/* What is said of files is said of --file. */
static int check_options(const struct cli *cli, struct err *err)
{
	static const char *const of_files[] = {"as-is", "reflink", "preallocate"};
	const char *given = NULL;
	bool files = false;
	for (int i = 0; i < cli->repeated_count; i++)
		files = files || str_eq(cli->repeated[i].name, "file");
	for (size_t i = 0; i < ARRAY_SIZE(of_files); i++) {
		if (!cli_flag(cli, of_files[i]))
			continue;
		if (given)
			return err_set(err, ERR_USAGE, "roost clone: either --%s or --%s", given,
				of_files[i]);
		given = of_files[i];
	}
	return given && !files ? err_set(err, ERR_USAGE,
					 "roost clone: --%s is of the files of --file", given)
			       : 0;
}

static int run_clone(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	const char *to = cli->operands[1], *uuid = cli_value(cli, "uuid", NULL);
	_cleanup_json_ json_t *frozen = NULL, *macs = values(cli, "mac"),
			      *shared = values(cli, "share");
	_cleanup_(files_end) struct files files = {
		.as_is = cli_flag(cli, "as-is"), .paths = json_array()};
	if (check_options(cli, err) < 0 || guest_find(cli->operands[0], &f, err) < 0 ||
		check_uuid(uuid, err) < 0)
		return -1;
	if (guest_runs(&f) && (check(&f, to, err) < 0 || guest_call(f.name, "roost-freeze-disks",
								 NULL, &frozen, err) < 0))
		return -1;
	if (make_all_files(cli, &files, err) < 0)
		return -1;
	if (long_call_supervisor((struct long_about){"guest", to}, "roost-clone",
		    json_pack("{s:s, s:s, s:O*, s:b, s:O*, s:s*, s:O*, s:O*, s:b, s:b, s:b, s:b}",
			    "name", f.name, "new-name", to, "layers",
			    json_object_get(frozen, "layers"), "full", cli_flag(cli, "full"),
			    "files", files.count ? files.paths : NULL, "uuid", uuid, "macs", macs,
			    "shared", shared, "as-is", files.as_is, "reflink",
			    cli_flag(cli, "reflink"), "preallocate", cli_flag(cli, "preallocate"),
			    "keep-identity", cli_flag(cli, "keep-identity")),
		    files.fds, files.count, cli->json, &reply, err) < 0) {
		files.kept = are_used(&files, to);
		return -1;
	}
	files.kept = true;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	printf("Clone '%s' created successfully.\n", json_get_str(reply, "name", ""));
	json_decref(reply);
	return 0;
}

const struct verb verb_clone = {"clone", "NAME NEW_NAME",
	"Makes another guest of one, in milliseconds, with an identity of its own: both go on from the same disks.",
	2, 2, false,
	{{"full", NULL, 0, "copy its disks: the two share nothing, not even an image"},
		{"file", "FILE" OPTION_REPEATS, 0,
			"the same, into new files of your own: one for each disk that it writes to"},
		{"as-is", NULL, 0, "these files are there already, and its disks as they are"},
		{"reflink", NULL, 0,
			"these files share their blocks with the original's, where the file system can"},
		{"preallocate", NULL, 0, "these files get all their room at once"},
		{"share", "TARGET" OPTION_REPEATS, 0,
			"the clone has this disk, a file of your own, too: one of both runs at a time"},
		{"mac", "MAC" OPTION_REPEATS, 0, "of its interfaces, in their order"},
		{"uuid", "UUID", 0, "its UUID"},
		{"keep-identity", NULL, 0,
			"its system keeps the machine-id and the SSH host keys of the original's"}},
	run_clone, "roost clone web1 web3", GROUP_DEFINITION, GUESTS_ALL};
