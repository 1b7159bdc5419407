/*
 * images/checksums.c: publishers' lists in all their forms give the right digest of the right file,
 * and nothing else gives one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "images/checksums.h"

#define A256 "0f7f09a9a083088b51aa365fe0e4310e6b156c2153d6aa03a77b8eb1b2f0a5cd"
#define B256 "ffffffffa083088b51aa365fe0e4310e6b156c2153d6aa03a77b8eb1b2f0a5cd"
#define A512 A256 B256
#define MD5  "0f7f09a9a083088b51aa365fe0e4310e"

static void finds(const char *text, bool own, const char *expected)
{
	struct err err = ERR_INIT;
	char digest[CHECKSUM_SIZE] = "";
	if (checksums_find(text, strlen(text), "a.img", own, digest, &err) < 0)
		fail_msg("%s: %s", text, err.message);
	assert_string_equal(digest, expected);
}

static void refuses(const char *text, bool own, enum err_kind kind)
{
	struct err err = ERR_INIT;
	char digest[CHECKSUM_SIZE] = "untouched";
	if (checksums_find(text, strlen(text), "a.img", own, digest, &err) == 0)
		fail_msg("found in: %s", text);
	assert_int_equal(err.kind, kind);
	assert_non_null(strstr(err.message, "a.img"));
	assert_string_equal(digest, "untouched");
}

static void coreutils(void **state)
{
	(void)state;
	finds(A256 "  a.img\n", false, "sha256:" A256);
	finds(A256 " *a.img", false, "sha256:" A256);
	finds(B256 "  b.img\n" A256 "  ./a.img\r\n", false, "sha256:" A256);
	finds(A512 "  a.img\n", false, "sha512:" A512);
	finds("# a comment\n\n" MD5 "  a.img\n" A256 "  a.img\n", false, "sha256:" A256);
	finds("0F7F09A9A083088B51AA365FE0E4310E6B156C2153D6AA03A77B8EB1B2F0A5CD  a.img\n", false,
		"sha256:" A256);
}

static void bsd(void **state)
{
	(void)state;
	finds("SHA256 (a.img) = " A256 "\n", false, "sha256:" A256);
	finds("SHA512 (a.img) = " A512 "\n", false, "sha512:" A512);
	finds("SHA2-256(a.img)= " A256 "\n", false, "sha256:" A256);
	finds("SHA256 (b.img) = " B256 "\nSHA256 (a.img) = " A256 "\n", false, "sha256:" A256);
	/* Fedora's comment above it, and its name with a bracket beside it */
	finds("# a.img: 468058112 bytes\nSHA256 (a.img) = " A256 "\nSHA256 (a.img)x) = " B256 "\n",
		false, "sha256:" A256);
}

static void armoured(void **state)
{
	(void)state;
	finds("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# a.img\nSHA256 (a.img) = " A256
	      "\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n" B256
	      "  a.img\n-----END PGP SIGNATURE-----\n",
		false, "sha256:" A256);
	finds("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n- " A256
	      "  a.img\n-----BEGIN PGP SIGNATURE-----\n",
		false, "sha256:" A256);
}

static void several(void **state)
{
	(void)state;
	finds(A256 "  a.img\n" A512 "  a.img\n", false, "sha512:" A512);
	finds(A512 "  a.img\n" A256 "  a.img\n", false, "sha512:" A512);
	finds(A256 "  a.img\n" A256 " *a.img\n", false, "sha256:" A256);
	refuses(A256 "  a.img\n" B256 "  a.img\n", false, ERR_REFUSED);
}

static void beside_the_file(void **state)
{
	(void)state;
	finds(A256 "\n", true, "sha256:" A256);
	finds(A256 "  a-20240612.img\n", true, "sha256:" A256);
	refuses(A256 "  a-1.img\n" B256 "  a-2.img\n", true, ERR_REFUSED);
	refuses(A256 "\n", false, ERR_NOT_FOUND);
	refuses(A256 "  a-20240612.img\n", false, ERR_NOT_FOUND);
}

static void nothing_there(void **state)
{
	static const char *const texts[] = {
		"",
		"\n\n",
		A256 "  b.img\n",
		A256 "  a.img2\n",
		A256 "  xa.img\n",
		A256 "  x/a.img\n",
		A256 " a.img\n",
		A256 "0  a.img\n",
		MD5 "  a.img\n",
		"MD5 (a.img) = " MD5 "\n",
		"SHA512 (a.img) = " A256 "\n",
		"SHA256 (a.img) = " A256 "0\n",
		"SHA256 (a.img) = " A256 " x\n",
		"SHA256 (a.img = " A256 "\n",
		"SHA256 ) a.img( = " A256 "\n",
		"SHA256 (",
		"SHA256 ()",
		"-----BEGIN PGP SIGNATURE-----\n" A256 "  a.img\n-----END PGP SIGNATURE-----\n",
		"<html><body>404 a.img</body></html>\n",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		refuses(texts[i], false, ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coreutils),
		cmocka_unit_test(bsd),
		cmocka_unit_test(armoured),
		cmocka_unit_test(several),
		cmocka_unit_test(beside_the_file),
		cmocka_unit_test(nothing_there),
	};
	return cmocka_run_group_tests_name("checksums", tests, NULL, NULL);
}
