#include "images/nbd.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* doc/proto.md, "Values" */
#define NBD_MAGIC       0x4e42444d41474943ULL /* "NBDMAGIC" */
#define OPTION_MAGIC    0x49484156454f5054ULL /* "IHAVEOPT" */
#define OPT_REPLY_MAGIC 0x0003e889045565a9ULL
#define REQUEST_MAGIC   0x25609513U
#define REPLY_MAGIC     0x67446698U

enum {
	FLAG_FIXED_NEWSTYLE = 1,
	FLAG_NO_ZEROES = 2,
	OPT_GO = 7,
	REP_ACK = 1,
	REP_INFO = 3,
	INFO_EXPORT = 0,
	CAN_FLUSH = 1 << 2,
	CAN_ZERO = 1 << 6,
	CMD_READ = 0,
	CMD_WRITE = 1,
	CMD_FLUSH = 3,
	CMD_ZERO = 6,
	NAME_MAX_LEN = 255,
	INFO_MAX = 4096,
};

struct greeting {
	uint64_t magic, option_magic;
	uint16_t flags;
} __attribute__((packed));
struct option {
	uint32_t client_flags;
	uint64_t magic;
	uint32_t option, len;
	uint32_t name_len;
} __attribute__((packed));
struct option_reply {
	uint64_t magic;
	uint32_t option, type, len;
} __attribute__((packed));
struct info_export {
	uint16_t type;
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));
struct request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, at;
	uint32_t len;
} __attribute__((packed));
struct reply {
	uint32_t magic, error;
	uint64_t cookie;
} __attribute__((packed));

static int gone(struct err *err, const char *what)
{
	if (errno)
		return err_errno(err, "NBD: %s", what);
	return err_set(err, ERR_GONE, "NBD: the disk's QEMU has gone");
}

static int take(const struct nbd *n, void *data, size_t len, struct err *err)
{
	for (size_t got = 0; got < len;) {
		errno = 0;
		ssize_t r = read(n->fd, (char *)data + got, len - got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return gone(err, "reading");
		got += (size_t)r;
	}
	return 0;
}

static int put(const struct nbd *n, const void *head, size_t head_len, const void *data, size_t len,
	struct err *err)
{
	struct iovec parts[] = {{(void *)head, head_len}, {(void *)data, len}};
	size_t first = 0;
	while (first < 2) {
		ssize_t w = writev(n->fd, parts + first, (int)(2 - first));
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return gone(err, "writing");
		for (size_t left = (size_t)w; first < 2; first++) {
			size_t part = left < parts[first].iov_len ? left : parts[first].iov_len;
			parts[first].iov_base = (char *)parts[first].iov_base + part;
			parts[first].iov_len -= part;
			left -= part;
			if (parts[first].iov_len)
				break;
		}
	}
	return 0;
}

/* One reply to NBD_OPT_GO; 1: it was the last. */
static int take_option_reply(struct nbd *n, struct err *err)
{
	struct option_reply reply;
	char text[INFO_MAX];
	struct info_export info;
	if (take(n, &reply, sizeof(reply), err) < 0)
		return -1;
	uint32_t type = be32toh(reply.type), len = be32toh(reply.len);
	if (be64toh(reply.magic) != OPT_REPLY_MAGIC || len > sizeof(text))
		return err_set(err, ERR_QEMU, "NBD: no sound reply");
	if (take(n, text, len, err) < 0)
		return -1;
	if (type == REP_ACK)
		return 1;
	if (type != REP_INFO)
		return err_set(err, ERR_QEMU, "NBD: the disk is not exported (%#x)", type);
	if (len == sizeof(info)) {
		memcpy(&info, text, sizeof(info));
		if (be16toh(info.type) == INFO_EXPORT) {
			n->size = be64toh(info.size);
			n->flags = be16toh(info.flags);
		}
	}
	return 0;
}

int nbd_open(struct nbd *n, int fd, const char *name, struct err *err)
{
	struct greeting greeting;
	uint16_t no_infos = 0;
	char words[NAME_MAX_LEN + sizeof(no_infos)];
	size_t len = strlen(name);
	*n = (struct nbd){.fd = fd};
	if (len > NAME_MAX_LEN)
		return err_set(err, ERR_USAGE, "NBD: the name of the export is too long");
	if (take(n, &greeting, sizeof(greeting), err) < 0)
		return -1;
	if (be64toh(greeting.magic) != NBD_MAGIC ||
		be64toh(greeting.option_magic) != OPTION_MAGIC ||
		!(be16toh(greeting.flags) & FLAG_FIXED_NEWSTYLE))
		return err_set(err, ERR_QEMU, "NBD: the greeting is another protocol's");
	struct option go = {htobe32(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES), htobe64(OPTION_MAGIC),
		htobe32(OPT_GO), htobe32((uint32_t)(sizeof(uint32_t) + len + sizeof(no_infos))),
		htobe32((uint32_t)len)};
	memcpy(words, name, len);
	memcpy(words + len, &no_infos, sizeof(no_infos));
	if (put(n, &go, sizeof(go), words, len + sizeof(no_infos), err) < 0)
		return -1;
	int last;
	while ((last = take_option_reply(n, err)) == 0)
		;
	if (last > 0 && !n->size)
		return err_set(err, ERR_QEMU, "NBD: the disk is empty");
	return last > 0 ? 0 : -1;
}

static int call(struct nbd *n, uint16_t type, uint64_t at, uint32_t len, const void *data,
	void *into, struct err *err)
{
	struct reply reply;
	struct request request = {htobe32(REQUEST_MAGIC), 0, htobe16(type), htobe64(++n->cookie),
		htobe64(at), htobe32(len)};
	if (put(n, &request, sizeof(request), data, data ? len : 0, err) < 0 ||
		take(n, &reply, sizeof(reply), err) < 0)
		return -1;
	if (be32toh(reply.magic) != REPLY_MAGIC || be64toh(reply.cookie) != n->cookie)
		return err_set(err, ERR_QEMU, "NBD: no sound reply");
	if (reply.error) {
		errno = (int)be32toh(reply.error);
		return err_errno(err, "cannot %s the disk at byte %llu",
			type == CMD_READ ? "read" : "write", (unsigned long long)at);
	}
	return into ? take(n, into, len, err) : 0;
}

int nbd_read(struct nbd *n, void *data, uint64_t at, uint32_t len, struct err *err)
{
	return call(n, CMD_READ, at, len, NULL, data, err);
}

int nbd_write(struct nbd *n, const void *data, uint64_t at, uint32_t len, struct err *err)
{
	return call(n, CMD_WRITE, at, len, data, NULL, err);
}

int nbd_zero(struct nbd *n, uint64_t at, uint32_t len, struct err *err)
{
	if (!(n->flags & CAN_ZERO))
		return err_set(err, ERR_REFUSED, "NBD: no write of zeroes");
	return call(n, CMD_ZERO, at, len, NULL, NULL, err);
}

int nbd_flush(struct nbd *n, struct err *err)
{
	return n->flags & CAN_FLUSH ? call(n, CMD_FLUSH, 0, 0, NULL, NULL, err) : 0;
}
