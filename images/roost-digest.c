/*
 * roost-digest: what needs OpenSSL's digests, as a program of its own so that nobody else links it.
 *
 *	roost-digest sha256 [sha512] <FILE
 *
 * One JSON line after the other: {"done":BYTES,"total":BYTES} now and then, and at the end
 * {"sha256":HEX,"sha512":HEX}. An error is a line {"error":{...}} and the exit status of its kind.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

enum { PIECE = 1 << 20, TELL_MS = 100, ALGORITHMS_MAX = 2 };

struct digest {
	const char *name;
	EVP_MD_CTX *context;
};

static void print(json_t *value)
{
	_cleanup_json_ json_t *o = value;
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	fflush(stdout);
}

static int openssl_failed(const char *name, struct err *err)
{
	return err_set(err, ERR_SYSTEM, "OpenSSL cannot make a %s digest", name);
}

static int begin(struct digest *d, const char *name, struct err *err)
{
	if (!str_eq(name, "sha256") && !str_eq(name, "sha512"))
		return err_set(err, ERR_USAGE, "there is no digest '%s'", name);
	d->name = name;
	d->context = EVP_MD_CTX_new();
	if (!d->context || !EVP_DigestInit_ex(d->context, EVP_get_digestbyname(name), NULL))
		return openssl_failed(name, err);
	return 0;
}

static int add(struct digest *all, size_t count, const void *data, size_t len, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (!EVP_DigestUpdate(all[i].context, data, len))
			return openssl_failed(all[i].name, err);
	return 0;
}

/* From its beginning, wherever the file stands. */
static int read_all(struct digest *all, size_t count, struct err *err)
{
	static char piece[PIECE];
	struct stat st;
	off_t done = 0;
	int64_t tell_at = deadline_in(TELL_MS);
	if (fstat(STDIN_FILENO, &st) < 0)
		return err_errno(err, "cannot look at standard input");
	for (ssize_t n; (n = pread(STDIN_FILENO, piece, sizeof(piece), done)) != 0;) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read standard input");
		if (add(all, count, piece, (size_t)n, err) < 0)
			return -1;
		done += n;
		if (deadline_left(tell_at))
			continue;
		tell_at = deadline_in(TELL_MS);
		print(json_pack(
			"{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)st.st_size));
	}
	return 0;
}

static int tell(struct digest *all, size_t count, struct err *err)
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned len;
	_cleanup_json_ json_t *o = json_object();
	for (size_t i = 0; i < count; i++) {
		if (!EVP_DigestFinal_ex(all[i].context, bytes, &len))
			return openssl_failed(all[i].name, err);
		for (unsigned j = 0; j < len; j++)
			snprintf(hex + (size_t)2 * j, 3, "%02x", bytes[j]);
		json_object_set_new(o, all[i].name, json_string(hex));
	}
	print(json_incref(o));
	return 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct digest all[ALGORITHMS_MAX] = {{0}};
	size_t count = 0;
	int result = 0;
	if (argc < 2 || argc > 1 + ALGORITHMS_MAX)
		return err_set(err, ERR_USAGE, "usage: roost-digest sha256|sha512... <FILE");
	for (int i = 1; i < argc && result == 0; i++)
		result = begin(&all[count++], argv[i], err);
	if (result == 0 && read_all(all, count, err) == 0)
		result = tell(all, count, err);
	else
		result = -1;
	for (size_t i = 0; i < count; i++)
		EVP_MD_CTX_free(all[i].context);
	return result;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (run(argc, argv, &err) == 0)
		return 0;
	print(json_pack("{s:o}", "error", json_from_err(&err)));
	return err_exit_code(err.kind);
}
