#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "orchestrator/ssh_libssh.h"
#include "orchestrator/ssh_words.h"

enum { IDENTITY_MAX = 65536 };

char *key_fingerprint(ssh_key key)
{
	unsigned char *hash = NULL;
	size_t len;
	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) < 0)
		return xstrdup("(no fingerprint)");
	char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
	char *copy = xstrdup(text ? text : "(no fingerprint)");
	ssh_string_free_char(text);
	ssh_clean_pubkey_hash(&hash);
	return copy;
}

char *key_text(ssh_key key)
{
	char *base64 = NULL;
	if (ssh_pki_export_pubkey_base64(key, &base64) < 0)
		return xstrdup("");
	char *text = str_fmt("%s %s", ssh_key_type_to_char(ssh_key_type(key)), base64);
	ssh_string_free_char(base64);
	return text;
}

ssh_key key_of_text(const char *text)
{
	char type[64];
	ssh_key key = NULL;
	if (key_text_type(text, type, sizeof(type)) < 0)
		return NULL;
	const char *blob = text + strlen(type) + 1;
	_cleanup_buf_ struct buf base64 = {0};
	buf_add(&base64, blob, strcspn(blob, " \r\n"));
	if (ssh_pki_import_pubkey_base64(base64.data, ssh_key_type_from_name(type), &key) != SSH_OK)
		return NULL;
	return key;
}

/* libssh's way to ask for a passphrase. Without it OpenSSL would ask at the terminal. */
static int no_passphrase(
	const char *prompt, char *buf, size_t len, int echo, int verify, void *data)
{
	bool *asked = data;
	(void)prompt, (void)buf, (void)len, (void)echo, (void)verify;
	*asked = true;
	return -1;
}

bool identity_is_text(const char *identity)
{
	return strchr(identity, '\n') || str_starts(identity, "-----BEGIN");
}

ssh_key identity_load(const char *identity, const char *passphrase, struct err *err)
{
	ssh_key key = NULL;
	bool asked = false;
	_cleanup_buf_ struct buf pem = {0};
	if (identity_is_text(identity))
		buf_str(&pem, identity);
	else if (file_read(AT_FDCWD, identity, IDENTITY_MAX, &pem, err) < 0)
		return NULL;
	int rc = ssh_pki_import_privkey_base64(
		pem.data ? pem.data : "", passphrase, no_passphrase, &asked, &key);
	if (pem.data)
		explicit_bzero(pem.data, pem.len);
	if (rc == SSH_OK)
		return key;
	if (asked)
		err_set(err, ERR_REFUSED, "needs a passphrase");
	else
		err_set(err, ERR_USAGE, "is no private key");
	return NULL;
}

char *key_public(const char *private_pem, struct err *err)
{
	_cleanup_key_ ssh_key private = NULL, public = NULL;
	if (!identity_is_text(private_pem)) {
		err_set(err, ERR_USAGE, "is no private key");
		return NULL;
	}
	private = identity_load(private_pem, NULL, err);
	if (!private)
		return NULL;
	if (ssh_pki_export_privkey_to_pubkey(private, &public) == SSH_OK)
		return key_text(public);
	err_set(err, ERR_SYSTEM, "libssh cannot tell its public half");
	return NULL;
}

char *key_in_line(const char *line)
{
	_cleanup_key_ ssh_key key = key_of_text(line);
	return key ? key_text(key) : NULL;
}

/* libssh writes the whole key in one line; 70 columns are what every reader knows. */
static char *folded(const char *pem)
{
	struct buf out = {0};
	size_t column = 0;
	for (; *pem; pem++) {
		column = *pem == '\n' ? 0 : column + 1;
		if (column > 70) {
			buf_str(&out, "\n");
			column = 1;
		}
		buf_add(&out, pem, 1);
	}
	return buf_steal(&out);
}

/* As many bits as ssh-keygen gives them. */
static const struct {
	const char *name;
	enum ssh_keytypes_e type;
	int bits;
} key_types[] = {
	{"ssh-ed25519", SSH_KEYTYPE_ED25519, 0},
	{"ecdsa-sha2-nistp256", SSH_KEYTYPE_ECDSA_P256, 0},
	{"ecdsa-sha2-nistp384", SSH_KEYTYPE_ECDSA_P384, 0},
	{"ecdsa-sha2-nistp521", SSH_KEYTYPE_ECDSA_P521, 0},
	{"ssh-rsa", SSH_KEYTYPE_RSA, 3072},
};

int keys_generate(const char *type, const char *comment, const char *passphrase,
	struct key_pair *out, struct err *err)
{
	_cleanup_key_ ssh_key key = NULL;
	char *pem = NULL;
	size_t t = 0;
	while (t < ARRAY_SIZE(key_types) && strcmp(key_types[t].name, type) != 0)
		t++;
	if (t == ARRAY_SIZE(key_types))
		return err_set(err, ERR_USAGE, "no keys of the type '%.40s' are made", type);
	if (ssh_pki_generate(key_types[t].type, key_types[t].bits, &key) != SSH_OK ||
		ssh_pki_export_privkey_base64(key, passphrase, NULL, NULL, &pem) != SSH_OK || !pem)
		return err_set(err, ERR_SYSTEM, "cannot make a key: libssh failed");
	_cleanup_free_ char *text = key_text(key);
	out->private_pem = folded(pem);
	out->public_text = *comment ? str_fmt("%s %s", text, comment) : xstrdup(text);
	out->fingerprint = key_fingerprint(key);
	explicit_bzero(pem, strlen(pem));
	ssh_string_free_char(pem);
	return 0;
}
