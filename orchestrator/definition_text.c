/* Definitions: what a single text must be. */
#include "orchestrator/definition_check.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

int check_name(const char *text, const struct node *n, struct err *err)
{
	return name_check(text, "guest", err) < 0 ? node_locate(n, err) : 0;
}

static int check_length(const char *text, size_t max, const struct node *n, struct err *err)
{
	size_t len = strlen(text);
	return len <= max
		       ? 0
		       : node_error(n, err, "%zu bytes, %zu are the most there may be", len, max);
}

int check_title(const char *text, const struct node *n, struct err *err)
{
	return check_length(text, 255, n, err);
}

int check_description(const char *text, const struct node *n, struct err *err)
{
	return check_length(text, 64 * 1024, n, err);
}

/* The places of '0' in `pattern` are hexadecimal digits; the rest is literal. */
static bool matches(const char *text, const char *pattern)
{
	for (; *pattern; pattern++, text++)
		if (*pattern == '0' ? !isxdigit((unsigned char)*text) : *text != *pattern)
			return false;
	return !*text;
}

static bool all_zero(const char *text)
{
	return strspn(text, "0-:") == strlen(text);
}

int check_uuid(const char *text, const struct node *n, struct err *err)
{
	if (!matches(text, "00000000-0000-0000-0000-000000000000")) {
		node_error(n, err, "'%.60s' is not a UUID", text);
		return err_hint(
			err, "leave it out and one is made, or write one as uuidgen prints it");
	}
	return all_zero(text) ? node_error(n, err, "the UUID is all zero") : 0;
}

int check_mac(const char *text, const struct node *n, struct err *err)
{
	static const char multicast[] = "13579bdfBDF";
	if (!matches(text, "00:00:00:00:00:00")) {
		node_error(n, err, "'%.60s' is not a MAC address", text);
		return err_hint(err, "leave it out and one is made, or write 52:54:00:XX:XX:XX");
	}
	if (all_zero(text))
		return node_error(n, err, "the MAC address is all zero");
	if (strchr(multicast, text[1])) {
		node_error(n, err, "%s is a multicast address, which no card can have", text);
		return err_hint(err, "the second digit must be even: 52:54:00:XX:XX:XX");
	}
	return 0;
}

int check_id(const char *text, const struct node *n, struct err *err)
{
	return matches(text, "000000000000")
		       ? 0
		       : node_error(n, err, "'%s' is not 12 hex digits", text);
}

/* Letters, digits and `others`; `max` bytes. */
static int check_letters(
	const char *text, const char *others, size_t max, const struct node *n, struct err *err)
{
	if (strlen(text) > max)
		return node_error(n, err, "'%.40s...' is longer than %zu characters", text, max);
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 128 && (isalnum(c) || strchr(others, c)))
			continue;
		node_error(n, err, "'%.64s' contains '%c'", text, isprint(c) && c < 128 ? c : '?');
		return err_hint(err, "letters, digits and %s are allowed", others);
	}
	return 0;
}

/* QEMU reads what follows a comma as further properties, which are not the user's to set here. */
int check_machine(const char *text, const struct node *n, struct err *err)
{
	return check_letters(text, "._-", 63, n, err);
}

int check_cpu(const char *text, const struct node *n, struct err *err)
{
	return check_letters(text, "._-+=,", 255, n, err);
}

/* Its length depends on the bus: check_disk(). */
int check_serial(const char *text, const struct node *n, struct err *err)
{
	return check_letters(text, "._:+-", 36, n, err);
}

/* A disk in the guest's folder: no path, and none of the other files there. */
int check_own_file(const char *text, const struct node *n, struct err *err)
{
	if (name_check(text, "file", err) < 0)
		return node_locate(n, err);
	return str_ends(text, ".qcow2") ? 0
					: node_error(n, err, "'%s' does not end in .qcow2", text);
}

int check_image(const char *text, const struct node *n, struct err *err)
{
	if (node_by_people(n) || text[0] == '/')
		return 0;
	return node_error(n, err, "'%.60s' is not an absolute path", text);
}

int check_user(const char *text, const struct node *n, struct err *err)
{
	if (check_letters(text, "._-", 32, n, err) < 0)
		return -1;
	if (isalpha((unsigned char)text[0]) || text[0] == '_')
		return 0;
	return node_error(
		n, err, "'%s' is not the name of a user: it begins with '%c'", text, text[0]);
}

/* Every name of a guest is one, for it is the default. */
int check_hostname(const char *text, const struct node *n, struct err *err)
{
	if (check_letters(text, "._-", 63, n, err) < 0)
		return -1;
	if (isalnum((unsigned char)text[0]) && !strstr(text, ".."))
		return 0;
	return node_error(n, err, "'%s' is not a host's name", text);
}

/* ---- keys of SSH ----------------------------------------------------------------------------- */

static const char *const key_types[] = {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256",
	"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
	"sk-ecdsa-sha2-nistp256@openssh.com"};

bool looks_like_public_key(const char *text)
{
	return str_starts(text, "ssh-") || str_starts(text, "ecdsa-") || str_starts(text, "sk-");
}

int check_public_key(const char *text, const struct node *n, struct err *err)
{
	static const char base64[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	enum { SHORTEST = 64 }; /* ed25519 has 68 */
	const char *space = strchr(text, ' ');
	size_t type_len = space ? (size_t)(space - text) : strlen(text);
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(key_types); i++)
		known = known || (strlen(key_types[i]) == type_len &&
					 strncmp(key_types[i], text, type_len) == 0);
	if (!known)
		return node_error(n, err,
			"'%.*s' is not a type of public key that SSH servers take",
			(int)(type_len < 40 ? type_len : 40), text);
	const char *blob = space ? space + 1 : "";
	size_t len = strspn(blob, base64);
	len += strspn(blob + len, "=");
	if (len < SHORTEST || !str_starts(blob, "AAAA") || (blob[len] && blob[len] != ' ')) {
		node_error(n, err, "the public key is damaged or incomplete: '%.60s'", text);
		return err_hint(err, "a public key is one line, as in ~/.ssh/id_ed25519.pub");
	}
	return strlen(text) <= 16384 ? 0 : node_error(n, err, "the public key is too long");
}

int check_key_or_file(const char *text, const struct node *n, struct err *err)
{
	if (strstr(text, "PRIVATE KEY")) {
		node_error(n, err, "this is a private key, which must not leave its owner");
		return err_hint(err, "give the public one, from the file that ends in .pub");
	}
	if (strchr(text, '\n'))
		return node_error(n, err, "the text has several lines, which no public key has");
	if (node_by_people(n) && !looks_like_public_key(text))
		return 0;
	return check_public_key(text, n, err);
}

/* ---- passwords ------------------------------------------------------------------------------ */

enum { PASSWORD_HASH_MAX = 384 }; /* crypt(3)'s */

/* "$6$SALT$HASH" or another of crypt(3)'s forms. */
static bool is_password_hash(const char *text)
{
	const char *second = text[0] == '$' ? strchr(text + 1, '$') : NULL;
	const char *third = second && second > text + 1 ? strchr(second + 1, '$') : NULL;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr(":;*!\\", *p))
			return false;
	return third && third[1] && strlen(text) <= PASSWORD_HASH_MAX;
}

/* What it is instead is not told: it may be a password. */
int check_password_hash(const char *text, const struct node *n, struct err *err)
{
	if (is_password_hash(text))
		return 0;
	node_error(n, err, "this is no hash as crypt(3) makes it: \"$6$SALT$HASH\"");
	return err_hint(err, "write the password into a file, and name that in 'password_file'");
}

/* ---- qemu_args ------------------------------------------------------------------------------- */

/* What would take the guest out of roost's hands, or speak over what a key says already. */
static const struct {
	const char *option;
	const char *reason;
} refused_args[] = {
	{"-qmp", "the monitor is roost's, and `roost qmp` gives access to it"},
	{"-qmp-pretty", "the monitor is roost's, and `roost qmp` gives access to it"},
	{"-mon", "the monitor is roost's, and `roost qmp` gives access to it"},
	{"-monitor", "the monitor is roost's, and `roost qmp` gives access to it"},
	{"-nographic", "it takes the standard input and a monitor"},
	{"-daemonize", "QEMU must stay the process that roost started"},
	{"-pidfile", "QEMU must stay the process that roost started"},
	{"-runas", "roost confines QEMU itself"},
	{"-chroot", "roost confines QEMU itself"},
	{"-run-with", "roost confines QEMU itself"},
	{"-sandbox", "roost confines QEMU itself"},
	{"-add-fd", "roost numbers the open files itself"},
	{"-readconfig", "roost cannot see what such a file asks for"},
	{"-S", "roost lets the CPUs go itself; `roost start --paused` does not"},
	{"-preconfig", "roost starts QEMU itself, and would wait for ever"},
	{"-incoming", "roost starts QEMU itself, and would wait for ever"},
	{"-loadvm", "roost restores states itself"},
	{"-no-shutdown", "roost records how a guest ends; see the keys on_crash and on_reboot"},
	{"-no-reboot", "roost records how a guest ends; see the keys on_crash and on_reboot"},
	{"-action", "roost records how a guest ends; see the keys on_crash and on_reboot"},
	{"-help", "QEMU would print it and end"},
	{"-h", "QEMU would print it and end"},
	{"-version", "QEMU would print it and end"},
	{"-name", "there is the key 'name'"},
	{"-uuid", "there is the key 'uuid'"},
	{"-m", "there are the keys 'memory' and 'max_memory'"},
	{"-smp", "there are the keys 'vcpus' and 'max_vcpus'"},
	{"-accel", "there is the key 'accel'"},
	{"-enable-kvm", "there is the key 'accel'"},
	{"-cpu", "there is the key 'cpu'"},
	{"-kernel", "there is the key 'kernel'"},
	{"-initrd", "there is the key 'initrd'"},
	{"-append", "there is the key 'cmdline'"},
};

int check_qemu_arg(const char *text, const struct node *n, struct err *err)
{
	const char *option = str_starts(text, "--") ? text + 1 : text;
	for (size_t i = 0; i < ARRAY_SIZE(refused_args); i++) {
		if (!str_eq(option, refused_args[i].option))
			continue;
		node_error(n, err, "'%s' is refused", text);
		return err_hint(err, "%s", refused_args[i].reason);
	}
	return 0;
}
