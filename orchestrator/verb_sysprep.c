/* sysprep. */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "images/sysprep_ops.h"
#include "orchestrator/connect.h"
#include "orchestrator/sysprep_pack.h"

enum { WORK_MS = 2 * 3600 * 1000, SCRIPT_MAX = 1 << 20 };

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

static void print(const char *guest, const json_t *reply)
{
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
		printf("Guest '%s' was cleaned by booting it alone, over SSH, in %lld ms.\n", guest,
			(long long)json_get_int(reply, "ms", 0));
	json_array_foreach (json_object_get(reply, "filesystems"), i, fs)
		if (str_eq(json_get_str(fs, "mounted", NULL), "/"))
			printf("Guest '%s' was cleaned %s (%s on %s) in %lld ms.\n", guest,
				json_get_str(reply, "way", ""), json_get_str(fs, "type", ""),
				json_get_str(fs, "device", ""),
				(long long)json_get_int(reply, "ms", 0));
}

/* What roostd is asked. */
static json_t *request(const struct cli *cli, const char *name, struct err *err)
{
	_cleanup_buf_ struct buf script = {0};
	const char *file = cli_value(cli, "run", NULL);
	_cleanup_json_ json_t *names = operations(cli, err);
	if (!names || (file && file_read(AT_FDCWD, file, SCRIPT_MAX, &script, err) < 0))
		return NULL;
	json_t *text = file ? json_stringn(script.len ? script.data : "", script.len) : NULL;
	if (file && !text) {
		err_set(err, ERR_USAGE, "'%s' is no text in UTF-8", file);
		return NULL;
	}
	return json_pack("{s:s, s:O, s:b, s:o*, s:s*}", "name", name, "operations", names, "boot",
		cli_flag(cli, "boot"), "run", text, "run-command",
		cli_value(cli, "run-command", NULL));
}

static int run_sysprep(const struct cli *cli, struct err *err)
{
	struct found f;
	json_t *reply = NULL;
	if (cli_flag(cli, "list-operations"))
		return list_operations(cli);
	if (!cli->count)
		return err_set(err, ERR_USAGE, "roost sysprep: which guest?");
	if (guest_find(cli->operands[0], &f, err) < 0)
		return -1;
	_cleanup_json_ json_t *args = request(cli, f.name, err);
	const char *folder = NULL, *local = cli_value(cli, "copy-in", NULL);
	_cleanup_close_ int files = args && local ? sysprep_pack(local, &folder, err) : -1;
	if (!args || (local && files < 0))
		return -1;
	if (folder)
		json_object_set_new(args, "copy-in", json_string(folder));
	_cleanup_qmp_ struct qmp *q = supervisor_connect(err);
	if (!q || qmp_call_fds(q, "roost-sysprep", json_incref(args), &files, files >= 0,
			  deadline_in(WORK_MS), &reply, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(reply);
		return 0;
	}
	print(f.name, reply);
	json_decref(reply);
	return 0;
}

const struct verb verb_sysprep = {"sysprep", "[NAME]",
	"Removes from the disks of a guest that does not run what makes it one: keys, ids, logs, histories, caches.",
	0, 1, false,
	{{"operations", "LIST", 0,
		 "only these, by commas; `defaults`, `all`, and -NAME for without it"},
		{"enable", "LIST", 0, "the same"}, {"skip", "LIST", 0, "without these"},
		{"run", "SCRIPT", 0,
			"before, root runs this script in it; it is booted for that, alone"},
		{"run-command", "COMMAND", 0, "the same with a line for its shell"},
		{"copy-in", "LOCAL:DIR", 0,
			"afterwards a file or a folder is copied into it, root's"},
		{"boot", NULL, 0, "boot it alone and do it over SSH, as where offline is no way"},
		{"list-operations", NULL, 0,
			"what there is to do; * is done unless told otherwise, - is not done here"}},
	run_sysprep, "roost sysprep template --skip ssh-userdir", GROUP_IMAGES, GUESTS_STOPPED};
