#include "orchestrator/publish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/sock.h"
#include "base/str.h"
#include "orchestrator/port_holder.h"

enum { BACKLOG = 128 };

/* ---- text ------------------------------------------------------------------------------------- */

static int not_a_port(const char *text, struct err *err)
{
	err_set(err, ERR_USAGE, "'%.80s' is not a port to publish", text);
	return err_hint(err, "write [ADDRESS:][PORT:]GUEST_PORT[/tcp|/udp], such as \"8080:80\", "
			     "\"0.0.0.0:2222:22\" or \"[::1]:53:53/udp\"");
}

static bool read_port(const char *text, uint16_t *out)
{
	struct err ignored = ERR_INIT;
	uint64_t port;
	if (str_parse_u64(text, 1, 65535, "the port", &port, &ignored) < 0)
		return false;
	*out = (uint16_t)port;
	return true;
}

/* Of what stands before the ports: "127.0.0.1", "[::1]". */
static bool read_address(char *text, char out[40])
{
	unsigned char address[16];
	size_t len = strlen(text);
	bool six = text[0] == '[' && len > 2 && text[len - 1] == ']';
	if (six)
		text[len - 1] = '\0';
	int family = six ? AF_INET6 : AF_INET;
	return inet_pton(family, text + six, address) == 1 &&
	       inet_ntop(family, address, out, 40) != NULL;
}

/* Cuts off the last word that a ':' stands before; what remains is in `text`, or NULL. */
static char *last_word(char **text)
{
	char *colon = strrchr(*text, ':'), *whole = *text;
	if (!colon) {
		*text = NULL;
		return whole;
	}
	*colon = '\0';
	return colon + 1;
}

int publish_parse(const char *text, struct forward *out, struct err *err)
{
	struct forward f = {.host = "127.0.0.1"};
	_cleanup_free_ char *words = xstrdup(text);
	char *slash = strrchr(words, '/'), *rest = words;
	if (slash) {
		*slash = '\0';
		f.udp = str_eq(slash + 1, "udp");
		if (!f.udp && !str_eq(slash + 1, "tcp"))
			return not_a_port(text, err);
	}
	if (!read_port(last_word(&rest), &f.guest_port))
		return not_a_port(text, err);
	if (rest) {
		char *port = last_word(&rest);
		bool free_one = !*port && rest; /* ":80" would as soon be a slip */
		if (!free_one && !read_port(port, &f.host_port))
			return not_a_port(text, err);
	}
	if (rest && !read_address(rest, f.host))
		return not_a_port(text, err);
	*out = f;
	return 0;
}

const char *publish_host_text(const char *host, unsigned port)
{
	static char texts[4][64];
	static unsigned next;
	char *text = texts[next++ % 4];
	bool six = strchr(host, ':');
	snprintf(text, 64, "%s%.40s%s:%u", six ? "[" : "", host, six ? "]" : "", port);
	return text;
}

char *publish_text(const struct forward *f)
{
	bool six = strchr(f->host, ':');
	char port[8] = "";
	if (f->host_port)
		snprintf(port, sizeof(port), "%u", f->host_port);
	return str_fmt("%s%s%s:%s:%u/%s", six ? "[" : "", f->host, six ? "]" : "", port,
		f->guest_port, f->udp ? "udp" : "tcp");
}

json_t *forward_told(const struct forward *f, size_t nic, uint16_t port)
{
	return json_pack("{s:I, s:s, s:i, s:i, s:b}", "nic", (json_int_t)nic, "host", f->host,
		"port", port, "guest_port", f->guest_port, "udp", f->udp);
}

bool publish_clash(const struct forward *a, const struct forward *b)
{
	if (!a->host_port || a->host_port != b->host_port || a->udp != b->udp)
		return false;
	bool six = strchr(a->host, ':'), other = strchr(b->host, ':');
	const char *all = six ? "::" : "0.0.0.0";
	return six == other &&
	       (str_eq(a->host, b->host) || str_eq(a->host, all) || str_eq(b->host, all));
}

/* ---- sockets ---------------------------------------------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static socklen_t address_of(const struct forward *f, union address *out, struct err *err)
{
	*out = (union address){0};
	if (inet_pton(AF_INET, f->host, &out->four.sin_addr) == 1) {
		out->four.sin_family = AF_INET;
		out->four.sin_port = htons(f->host_port);
		return sizeof(out->four);
	}
	if (inet_pton(AF_INET6, f->host, &out->six.sin6_addr) == 1) {
		out->six.sin6_family = AF_INET6;
		out->six.sin6_port = htons(f->host_port);
		return sizeof(out->six);
	}
	err_set(err, ERR_USAGE, "'%s' is no address", f->host);
	return 0;
}

static int taken(const struct forward *f, struct err *err)
{
	char holder[HOLDER_TEXT];
	err_set(err, ERR_BUSY, "%s port %s is taken: %s has it", f->udp ? "UDP" : "TCP",
		publish_host_text(f->host, f->host_port), port_holder(f, holder));
	return err_hint(
		err, "choose another port; `ss -l%cnp` lists who listens", f->udp ? 'u' : 't');
}

static int make_socket(const struct forward *f, int family, struct err *err)
{
	int one = 1, type = f->udp ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, "cannot make a socket");
	if (!f->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	return fd;
}

int publish_bind(const struct forward *f, uint16_t *port, struct err *err)
{
	union address a;
	socklen_t len = address_of(f, &a, err);
	_cleanup_close_ int fd = len ? make_socket(f, a.any.sa_family, err) : -1;
	if (fd < 0)
		return -1;
	if (bind(fd, &a.any, len) < 0 || (!f->udp && listen(fd, BACKLOG) < 0) ||
		getsockname(fd, &a.any, &len) < 0) {
		if (errno == EADDRINUSE)
			return taken(f, err);
		bool refused = errno == EACCES, absent = errno == EADDRNOTAVAIL;
		err_errno(err, "cannot listen on %s port %s", f->udp ? "UDP" : "TCP",
			publish_host_text(f->host, f->host_port));
		if (absent)
			return err_hint(err,
				"none of this host's interfaces has that address: `ip address`");
		return refused ? err_hint(err, "ports below 1024 are root's: choose a higher one")
			       : -1;
	}
	*port = ntohs(a.any.sa_family == AF_INET ? a.four.sin_port : a.six.sin6_port);
	return TAKE_FD(fd);
}
