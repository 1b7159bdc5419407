/* sysprep. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "images/sysprep_ops.h"
#include "orchestrator/long_call.h"
#include "orchestrator/sysprep_pack.h"

enum { SCRIPT_MAX = 1 << 20 };

/*
 * As virt-sysprep has it: the name, a star if it is done unless told otherwise, what it is. A minus is before
 * the reason why one of virt-sysprep's is not there.
 */
static int list_operations(const struct cli *cli)
{
	if (!cli->json) {
		for (const struct sysprep_op *op = sysprep_ops; op->name; op++)
			printf("%s %s %s\n", op->name, op->usual ? "*" : " ", op->doc);
		for (const struct sysprep_absent *a = sysprep_absent; a->name; a++)
			printf("%s - not done here: %s\n", a->name, a->why);
		return 0;
	}
	json_t *list = json_array();
	for (const struct sysprep_op *op = sysprep_ops; op->name; op++)
		json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", op->name,
						    "default", op->usual, "about", op->doc));
	cli_print_json(list);
	return 0;
}

/* --operations or --enable: these and no others; --skip: without these. */
static json_t *operations(const struct cli *cli, struct err *err)
{
	const char *only = cli_value(cli, "operations", cli_value(cli, "enable", NULL));
	const char *skip = cli_value(cli, "skip", NULL);
	sysprep_set set = only ? 0 : sysprep_usual();
	if ((only && sysprep_choose(&set, only, err) < 0) ||
		(skip && sysprep_skip(&set, skip, err) < 0))
		return NULL;
	json_t *names = json_array();
	for (size_t i = 0; sysprep_ops[i].name; i++)
		if (set >> i & 1)
			json_array_append_new(names, json_string(sysprep_ops[i].name));
	return names;
}

/* The guest had been ended, not shut down: what a mount would have done came first. */
static void print_recovered(const json_t *reply)
{
	size_t i;
	json_t *fs;
	json_array_foreach (json_object_get(reply, "filesystems"), i, fs) {
		const json_t *r = json_object_get(fs, "recovered");
		if (r)
			printf("The %s on %s had not been unmounted: its journal was replayed (%lld blocks, %lld open files without a name).\n",
				json_get_str(fs, "type", ""), json_get_str(fs, "device", ""),
				(long long)json_get_int(r, "blocks", 0),
				(long long)json_get_int(r, "orphans", 0));
	}
}

static void print(const char *guest, const json_t *reply, bool dry)
{
	const char *was = dry ? "would have been" : "was";
	size_t i;
	json_t *op, *fs;
	print_recovered(reply);
	json_array_foreach (json_object_get(reply, "operations"), i, op) {
		int64_t files = json_get_int(op, "files", 0),
			folders = json_get_int(op, "folders", 0);
		if (files || folders)
			printf("%-24s %lld files, %lld folders, %s\n", json_get_str(op, "name", ""),
				(long long)files, (long long)folders,
				str_size((uint64_t)json_get_int(op, "bytes", 0)));
	}
	if (str_eq(json_get_str(reply, "way", NULL), "booted"))
		printf("Guest '%s' %s cleaned by booting it alone, over SSH, in %lld ms.\n", guest,
			was, (long long)json_get_int(reply, "ms", 0));
	json_array_foreach (json_object_get(reply, "filesystems"), i, fs)
		if (str_eq(json_get_str(fs, "mounted", NULL), "/"))
			printf("Guest '%s' %s cleaned %s (%s on %s) in %lld ms.\n", guest, was,
				json_get_str(reply, "way", ""), json_get_str(fs, "type", ""),
				json_get_str(fs, "device", ""),
				(long long)json_get_int(reply, "ms", 0));
}

/* `text` stolen; NULL: it is not UTF-8. */
static json_t *script(const char *what, const char *given, json_t *text, struct err *err)
{
	json_t *one = json_pack(
		"{s:o*, s:o*}", "name", json_sprintf("the %s '%s'", what, given), "text", text);
	if (json_object_size(one) == 2)
		return one;
	json_decref(one);
	err_set(err, ERR_USAGE, "the %s '%s' is no text in UTF-8", what, given);
	return NULL;
}

static json_t *script_file(const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (file_read(AT_FDCWD, file, SCRIPT_MAX, &text, err) < 0)
		return NULL;
	return script("script", file, json_stringn(text.len ? text.data : "", text.len), err);
}

/* --run and --run-command, in their order. */
static json_t *scripts(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	for (int i = 0; i < cli->repeated_count; i++) {
		const char *name = cli->repeated[i].name, *value = cli->repeated[i].value;
		if (!str_starts(name, "run"))
			continue;
		json_t *one = str_eq(name, "run")
				      ? script_file(value, err)
				      : script("command", value,
						json_sprintf("#!/bin/sh\n%s\n", value), err);
		if (!one)
			return NULL;
		json_array_append_new(list, one);
	}
	return TAKE(list);
}

/* What roostd is asked. */
static json_t *request(const struct cli *cli, const char *name, struct err *err)
{
	_cleanup_json_ json_t *names = operations(cli, err);
	_cleanup_json_ json_t *texts = names ? scripts(cli, err) : NULL;
	_cleanup_json_ json_t *gone = json_array();
	for (int i = 0; i < cli->repeated_count; i++)
		if (str_eq(cli->repeated[i].name, "delete"))
			json_array_append_new(gone, json_string(cli->repeated[i].value));
	if (!texts)
		return NULL;
	return json_pack("{s:s, s:O, s:b, s:O, s:O, s:b}", "name", name, "operations", names,
		"boot", cli_flag(cli, "boot"), "scripts", texts, "delete", gone, "dry-run",
		cli_flag(cli, "dry-run"));
}

static int check_passwords(const struct cli *cli, struct err *err)
{
	bool password = false, boot = cli_flag(cli, "boot");
	for (int i = 0; i < cli->repeated_count; i++) {
		password = password || str_eq(cli->repeated[i].name, "password");
		boot = boot || str_starts(cli->repeated[i].name, "run");
	}
	if (!password || !boot)
		return 0;
	err_set(err, ERR_USAGE,
		"roost sysprep: --password is set offline, and with the other options the guest is booted");
	return err_hint(err, "do it in two steps");
}

/* What comes along, an open file, and into which folders; 0 and *out -1: nothing. */
static int pack(const struct cli *cli, json_t *args, int *out, struct err *err)
{
	_cleanup_close_ int files = memfd_create("files", MFD_CLOEXEC);
	_cleanup_json_ json_t *folders = json_array();
	const char *folder;
	if (files < 0)
		return err_errno(err, "cannot make a file in memory");
	bool any = false;
	for (int i = 0; i < cli->repeated_count; i++) {
		const char *name = cli->repeated[i].name, *value = cli->repeated[i].value;
		any = any || str_eq(name, "copy-in") || str_eq(name, "password");
		if (str_eq(name, "password") && sysprep_pack_password(files, value, err) < 0)
			return -1;
		if (!str_eq(name, "copy-in"))
			continue;
		if (sysprep_pack(files, value, &folder, err) < 0)
			return -1;
		json_array_append_new(folders, json_string(folder));
	}
	if (!any)
		return 0;
	if (lseek(files, 0, SEEK_SET) < 0)
		return err_errno(err, "cannot collect what is to be copied");
	json_object_set(args, "copy-in", folders);
	*out = TAKE_FD(files);
	return 0;
}

static int run_sysprep(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	if (cli_flag(cli, "list-operations"))
		return list_operations(cli);
	if (!cli->count)
		return err_set(err, ERR_USAGE, "roost sysprep: which guest?");
	if (check_passwords(cli, err) < 0 || guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	_cleanup_json_ json_t *args = request(cli, f.name, err);
	_cleanup_close_ int files = -1;
	if (!args || pack(cli, args, &files, err) < 0)
		return -1;
	if (long_call_supervisor((struct long_about){"guest", f.name}, "roost-sysprep",
		    json_incref(args), &files, files >= 0, cli->json, &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	print(f.name, reply, cli_flag(cli, "dry-run"));
	json_decref(reply);
	return 0;
}

const struct verb verb_sysprep = {"sysprep", "[NAME]",
	"Removes from the disks of a guest that does not run what makes it one: keys, ids, logs, histories, caches.",
	0, 1, false,
	{{"operations", "LIST", 0,
		 "only these, by commas; `defaults`, `all`, and -NAME for without it"},
		{"enable", "LIST", 0, "the same"}, {"skip", "LIST", 0, "without these"},
		{"run", "SCRIPT" OPTION_REPEATS, 0,
			"before, root runs this script in it; it is booted for that, alone"},
		{"run-command", "COMMAND" OPTION_REPEATS, 0, "the same with a line for its shell"},
		{"copy-in", "LOCAL:DIR" OPTION_REPEATS, 0,
			"afterwards a file or a folder is copied into it, root's"},
		{"delete", "PATTERN" OPTION_REPEATS, 0,
			"files and folders of that name are removed, too: /var/lib/x*"},
		{"password", "USER:FILE" OPTION_REPEATS, 0,
			"this user's is the one line in FILE; `-` asks for it"},
		{"dry-run", NULL, 'n', "tell what would be removed, and change nothing"},
		{"boot", NULL, 0, "boot it alone and do it over SSH, as where offline is no way"},
		{"list-operations", NULL, 0,
			"what there is to do; * is done unless told otherwise, - is not done here"}},
	run_sysprep, "roost sysprep template --skip ssh-userdir", GROUP_IMAGES, GUESTS_STOPPED};
