#include "orchestrator/network_leases.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/str.h"

/* dnsmasq's lines: when it expires (0: never), MAC, address, name or *, client id or *. */
static json_t *lease_of(char *line, const struct network *n)
{
	char *word[5], *rest = line;
	for (size_t i = 0; i < ARRAY_SIZE(word); i++)
		if (!(word[i] = strsep(&rest, " ")))
			return NULL;
	if (!strchr(word[1], ':')) /* "duid ...": of the server itself */
		return NULL;
	const char *slash = strchr(n->address, '/');
	return json_pack("{s:I, s:s, s:s, s:s, s:I, s:s*, s:s*}", "expires",
		(json_int_t)strtoll(word[0], NULL, 10), "mac", word[1], "protocol",
		strchr(word[2], ':') ? "ipv6" : "ipv4", "address", word[2], "prefix",
		(json_int_t)(strchr(word[2], ':') ? 128 : atoi(slash ? slash + 1 : "32")),
		"hostname", str_eq(word[3], "*") ? NULL : word[3], "client_id",
		str_eq(word[4], "*") ? NULL : word[4]);
}

json_t *network_leases(const struct network *n, const char *mac, struct err *err)
{
	enum { LEASES_MAX = 4 * 1024 * 1024 };
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = network_run_path(n, "leases", err);
	if (!path)
		return NULL;
	/* none was ever given */
	if (file_read(AT_FDCWD, path, LEASES_MAX, &text, err) < 0 && err->kind != ERR_NOT_FOUND)
		return NULL;
	*err = (struct err)ERR_INIT;
	json_t *list = json_array();
	for (char *rest = text.data, *line; rest && (line = strsep(&rest, "\n"));) {
		json_t *lease = lease_of(line, n);
		if (lease && (!mac || strcasecmp(mac, json_get_str(lease, "mac", "")) == 0))
			json_array_append_new(list, lease);
		else
			json_decref(lease);
	}
	return list;
}
