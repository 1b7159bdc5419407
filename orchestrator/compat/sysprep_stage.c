#include "orchestrator/compat/sysprep_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

enum { TEXT_MAX = 64 << 20 };

/* ---- the folder ------------------------------------------------------------------------------------------ */

static int begin(struct stage *s, struct err *err)
{
	if (s->folder)
		return 0;
	const char *temporary = getenv("TMPDIR");
	_cleanup_free_ char *folder =
		str_fmt("%s/virt-sysprep.XXXXXX", temporary && temporary[0] ? temporary : "/tmp");
	if (!mkdtemp(folder))
		return err_errno(err, "cannot make a folder for what is to be copied");
	s->folder = TAKE(folder);
	return 0;
}

void stage_end(struct stage *s)
{
	struct err ignored = ERR_INIT;
	if (s->folder)
		dir_remove(AT_FDCWD, s->folder, &ignored);
	free(s->folder);
	words_free(&s->copies);
	words_free(&s->passwords);
}

char *stage_file(struct stage *s, const char *name, struct err *err)
{
	return begin(s, err) < 0 ? NULL : str_fmt("%s/%s", s->folder, name);
}

/* Folders below it, as they are in the guest. */
static char *make_folder(struct stage *s, const char *name, mode_t mode, struct err *err)
{
	_cleanup_free_ char *path = stage_file(s, name, err);
	_cleanup_close_ int dir = path ? dir_make(path, 0755, err) : -1;
	if (dir < 0)
		return NULL;
	if (fchmod(dir, mode) < 0) {
		err_errno(err, "cannot make the folder '%s'", path);
		return NULL;
	}
	return TAKE(path);
}

static int add_text(const char *folder, const char *name, mode_t mode, const char *text, size_t len,
	struct err *err)
{
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, mode) < 0 || write_all(fd, text, len) < 0)
		return err_errno(err, "cannot write '%s'", path);
	return 0;
}

/* A text of the name and in the folder that the path tells. */
static int add_at(struct stage *s, const char *path, mode_t mode, const char *text, size_t len,
	struct err *err)
{
	_cleanup_free_ char *name = xstrdup(path), *into = xstrdup(path);
	_cleanup_free_ char *number = str_fmt("%u", s->count++);
	_cleanup_free_ char *folder = make_folder(s, number, 0755, err);
	const char *base = basename(name);
	if (!folder)
		return -1;
	if (path[0] != '/' || str_eq(base, "/") || str_eq(base, ".") || str_eq(base, ".."))
		return err_set(err, ERR_USAGE, "'%s' is not the path of a file", path);
	if (add_text(folder, base, mode, text, len, err) < 0)
		return -1;
	words_fmt(&s->copies, "%s/%s:%s", folder, base, dirname(into));
	return 0;
}

/* ---- options --------------------------------------------------------------------------------------------- */

static int take_hostname(struct stage *s, const char *name, struct err *err)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
	if (!name[0] || name[strspn(name, letters)] || name[0] == '-' || strlen(name) > 253)
		return err_set(err, ERR_USAGE, "'%s' is no host name", name);
	_cleanup_free_ char *line = str_fmt("%s\n", name);
	return add_at(s, "/etc/hostname", 0644, line, strlen(line), err);
}

static int take_timezone(struct stage *s, const char *zone, struct err *err)
{
	if (!zone[0] || zone[0] == '/' || strstr(zone, ".."))
		return err_set(err, ERR_USAGE, "'%s' is no time zone such as Europe/Berlin", zone);
	_cleanup_free_ char *folder = make_folder(s, "zone/etc", 0755, err);
	_cleanup_free_ char *link = str_fmt("%s/localtime", folder);
	_cleanup_free_ char *target = str_fmt("/usr/share/zoneinfo/%s", zone);
	if (!folder)
		return -1;
	unlink(link); /* the last one counts */
	if (symlink(target, link) < 0)
		return err_errno(err, "cannot make '%s'", link);
	words_fmt(&s->copies, "%s:/", folder);
	return 0;
}

/* In memory alone, by a name under which it can be read. */
static int add_password(struct stage *s, const char *user, const char *password, struct err *err)
{
	int fd = memfd_create("password", MFD_CLOEXEC);
	if (fd < 0 || write_all(fd, password, strlen(password)) < 0)
		return err_errno(err, "cannot keep the password");
	words_fmt(&s->passwords, "%s:/proc/self/fd/%d", user, fd);
	return 0;
}

static int take_password(struct stage *s, const char *user, const char *selector, struct err *err)
{
	if (str_starts(selector, "file:")) {
		words_fmt(&s->passwords, "%s:%s", user, selector + strlen("file:"));
		return 0;
	}
	if (str_starts(selector, "password:"))
		return add_password(s, user, selector + strlen("password:"), err);
	err_set(err, ERR_USAGE, "'%s' is no password here", selector);
	return err_hint(err,
		"file:FILE or password:PASSWORD; `--run-command 'passwd -l %s'` locks one", user);
}

static int take_user_password(struct stage *s, const char *value, struct err *err)
{
	const char *colon = strchr(value, ':');
	if (!colon || colon == value)
		return err_set(err, ERR_USAGE, "--password '%s' is not USER:SELECTOR", value);
	_cleanup_free_ char *user = strndup(value, (size_t)(colon - value));
	return take_password(s, user, colon + 1, err);
}

/* The user's own, as ssh would take it. */
static int read_own_key(struct buf *out, struct err *err)
{
	static const char *const kinds[] = {"ed25519", "ecdsa", "rsa"};
	const char *home = getenv("HOME");
	for (size_t i = 0; home && i < ARRAY_SIZE(kinds); i++) {
		struct err ignored = ERR_INIT;
		_cleanup_free_ char *file = str_fmt("%s/.ssh/id_%s.pub", home, kinds[i]);
		if (file_read(AT_FDCWD, file, TEXT_MAX, out, &ignored) == 0)
			return 0;
	}
	err_set(err, ERR_NOT_FOUND, "there is no public key in ~/.ssh");
	return err_hint(err, "name one, as root:file:KEY.pub; `roost keygen` makes one");
}

static int take_key(struct stage *s, const char *value, struct err *err)
{
	_cleanup_buf_ struct buf key = {0};
	const char *selector = strchr(value, ':');
	if (!str_eq(value, "root") && !str_starts(value, "root:")) {
		err_set(err, ERR_REFUSED, "keys are injected for root alone");
		return err_hint(
			err, "`roost ssh-copy-id` adds one for another user of a guest that runs");
	}
	if (!selector) {
		if (read_own_key(&key, err) < 0)
			return -1;
	} else if (str_starts(selector, ":file:")) {
		if (file_read(AT_FDCWD, selector + strlen(":file:"), TEXT_MAX, &key, err) < 0)
			return -1;
	} else if (str_starts(selector, ":string:")) {
		buf_str(&key, selector + strlen(":string:"));
	} else {
		return err_set(
			err, ERR_USAGE, "'%s' is not root:file:KEY.pub or root:string:KEY", value);
	}
	if (!key.len || key.data[key.len - 1] != '\n')
		buf_str(&key, "\n");
	_cleanup_free_ char *folder = make_folder(s, "ssh/.ssh", 0700, err);
	if (!folder || add_text(folder, "authorized_keys", 0600, key.data, key.len, err) < 0)
		return -1;
	if (!s->injects)
		words_fmt(&s->copies, "%s:/root", folder);
	s->injects = true;
	return 0;
}

#define FIRSTBOOT "virt-sysprep-firstboot"
static const char runner[] =
	"#!/bin/sh\n"
	"# Runs each script beside it once, in their order, at the first boot.\n"
	"cd /etc/" FIRSTBOOT " || exit\n"
	"for script in [0-9]*; do\n"
	"\t[ -f \"$script\" ] || continue\n"
	"\tmv \"$script\" \"done-$script\"\n"
	"\techo \"=== $script\"\n"
	"\t\"./done-$script\"\n"
	"done >>/root/" FIRSTBOOT ".log 2>&1\n"
	"systemctl disable " FIRSTBOOT ".service >/dev/null 2>&1\n"
	"exit 0\n";
static const char unit[] = "[Unit]\n"
			   "Description=What virt-sysprep was told to run at the first boot\n"
			   "After=network.target\n"
			   "\n"
			   "[Service]\n"
			   "Type=oneshot\n"
			   "ExecStart=/bin/sh /etc/" FIRSTBOOT "/run\n"
			   "TimeoutSec=0\n"
			   "\n"
			   "[Install]\n"
			   "WantedBy=multi-user.target\n";

/* The unit and what it runs; systemd finds it by the link. */
static int add_firstboot(struct stage *s, struct err *err)
{
	_cleanup_free_ char *all = make_folder(s, "boot/etc", 0755, err);
	_cleanup_free_ char *scripts = make_folder(s, "boot/etc/" FIRSTBOOT, 0755, err);
	_cleanup_free_ char *units = make_folder(s, "boot/etc/systemd/system", 0755, err);
	_cleanup_free_ char *wants =
		make_folder(s, "boot/etc/systemd/system/multi-user.target.wants", 0755, err);
	_cleanup_free_ char *link = str_fmt("%s/" FIRSTBOOT ".service", wants);
	if (!all || !scripts || !units || !wants ||
		add_text(scripts, "run", 0755, runner, strlen(runner), err) < 0 ||
		add_text(units, FIRSTBOOT ".service", 0644, unit, strlen(unit), err) < 0)
		return -1;
	if (symlink("/etc/systemd/system/" FIRSTBOOT ".service", link) < 0)
		return err_errno(err, "cannot make '%s'", link);
	words_fmt(&s->copies, "%s:/", all);
	return 0;
}

static int take_firstboot(struct stage *s, const char *text, size_t len, struct err *err)
{
	if (!s->scripts && add_firstboot(s, err) < 0)
		return -1;
	_cleanup_free_ char *folder = stage_file(s, "boot/etc/" FIRSTBOOT, err);
	_cleanup_free_ char *name = str_fmt("%04u", ++s->scripts);
	return folder ? add_text(folder, name, 0755, text, len, err) : -1;
}

static int take_script(struct stage *s, const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (file_read(AT_FDCWD, file, TEXT_MAX, &text, err) < 0)
		return -1;
	return take_firstboot(s, text.data ? text.data : "", text.len, err);
}

static int take_command(struct stage *s, const char *command, struct err *err)
{
	_cleanup_free_ char *text = str_fmt("#!/bin/sh\n%s\n", command);
	return take_firstboot(s, text, strlen(text), err);
}

/* "FILE:PATH" */
static int take_upload(struct stage *s, const char *value, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	struct stat st;
	const char *colon = strrchr(value, ':');
	if (!colon || colon == value)
		return err_set(err, ERR_USAGE, "--upload '%s' is not FILE:PATH", value);
	_cleanup_free_ char *file = strndup(value, (size_t)(colon - value));
	if (file_read(AT_FDCWD, file, TEXT_MAX, &text, err) < 0)
		return -1;
	if (stat(file, &st) < 0)
		return err_errno(err, "cannot look at '%s'", file);
	return add_at(s, colon + 1, st.st_mode & 0777, text.data ? text.data : "", text.len, err);
}

/* "PATH:TEXT" */
static int take_write(struct stage *s, const char *value, struct err *err)
{
	const char *colon = strchr(value, ':');
	if (!colon || colon == value)
		return err_set(err, ERR_USAGE, "--write '%s' is not PATH:TEXT", value);
	_cleanup_free_ char *path = strndup(value, (size_t)(colon - value));
	return add_at(s, path, 0644, colon + 1, strlen(colon + 1), err);
}

/* In a folder that is there. */
static int take_mkdir(struct stage *s, const char *path, struct err *err)
{
	_cleanup_free_ char *name = xstrdup(path), *into = xstrdup(path);
	_cleanup_free_ char *below = str_fmt("%u/%s", s->count++, basename(name));
	_cleanup_free_ char *folder =
		path[0] == '/' && path[1] ? make_folder(s, below, 0755, err) : NULL;
	if (path[0] != '/' || !path[1])
		return err_set(err, ERR_USAGE, "'%s' is not the path of a folder", path);
	if (!folder)
		return -1;
	words_fmt(&s->copies, "%s:%s", folder, dirname(into));
	return 0;
}

int stage_take(struct stage *s, int letter, const char *value, struct err *err)
{
	switch (letter) {
	case 'h':
		return take_hostname(s, value, err);
	case 'T':
		return take_timezone(s, value, err);
	case 'p':
		return take_password(s, "root", value, err);
	case 'P':
		return take_user_password(s, value, err);
	case 'S':
		return take_key(s, value, err);
	case 'B':
		return take_script(s, value, err);
	case 'C':
		return take_command(s, value, err);
	case 'U':
		return take_upload(s, value, err);
	case 'W':
		return take_write(s, value, err);
	default:
		return take_mkdir(s, value, err);
	}
}

int stage_check(const struct stage *s, sysprep_set operations, struct err *err)
{
	for (size_t i = 0; s->injects && sysprep_ops[i].name; i++)
		if (str_eq(sysprep_ops[i].name, "ssh-userdir") && !(operations >> i & 1)) {
			err_set(err, ERR_REFUSED,
				"--ssh-inject would take the place of the keys that root has");
			return err_hint(err,
				"with the operation ssh-userdir they go; `roost ssh-copy-id` adds one");
		}
	return 0;
}

void stage_words(const struct stage *s, struct words *w)
{
	for (size_t i = 0; i < s->copies.count; i++)
		words_option(w, "copy-in", s->copies.list[i]);
	for (size_t i = 0; i < s->passwords.count; i++)
		words_option(w, "password", s->passwords.list[i]);
}
