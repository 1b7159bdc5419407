#include "images/inflate.h"

#define ZLIB_CONST
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>

enum {
	DEFLATE_WINDOW = -12, /* raw deflate, as QEMU writes it */
	ZSTD_WINDOW_MAX = 23, /* 8 MiB; QEMU's own frames have a cluster's size at most */
};

static int damaged(const char *what, struct err *err)
{
	return err_set(err, ERR_USAGE, "qcow2: a compressed cluster is damaged (%s)", what);
}

int inflate_zlib(const void *in, size_t in_len, void *out, size_t out_len, struct err *err)
{
	z_stream z = {.next_in = in,
		.avail_in = (uInt)in_len,
		.next_out = out,
		.avail_out = (uInt)out_len};
	if (inflateInit2(&z, DEFLATE_WINDOW) != Z_OK)
		return err_set(err, ERR_SYSTEM, "zlib cannot be used: %s", z.msg ? z.msg : "?");
	int result = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* Z_BUF_ERROR: there was input left, the sector's rest */
	if ((result != Z_STREAM_END && result != Z_BUF_ERROR) || z.avail_out)
		return damaged("deflate", err);
	return 0;
}

int inflate_zstd(const void *in, size_t in_len, void *out, size_t out_len, struct err *err)
{
	ZSTD_inBuffer from = {in, in_len, 0};
	ZSTD_outBuffer to = {out, out_len, 0};
	ZSTD_DCtx *context = ZSTD_createDCtx();
	size_t result = 1;
	if (!context)
		return err_set(err, ERR_SYSTEM, "libzstd has no memory");
	ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_MAX);
	for (size_t before = SIZE_MAX; to.pos < to.size && before != from.pos + to.pos;) {
		before = from.pos + to.pos;
		result = ZSTD_decompressStream(context, &to, &from);
		if (ZSTD_isError(result))
			break;
	}
	ZSTD_freeDCtx(context);
	/* 0: a frame ended just there */
	return result == 0 && to.pos == to.size ? 0 : damaged("zstd", err);
}
