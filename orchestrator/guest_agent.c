#include "orchestrator/guest_agent.h"

#include <string.h>

#include "orchestrator/connect.h"

json_t *guest_agent_call(
	const char *guest, const char *command, json_t *args, int64_t ms, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	json_t *call = json_pack("{s:s, s:I}", "command", command, "timeout-ms", (json_int_t)ms);
	if (args)
		json_object_set_new(call, "arguments", args);
	if (guest_call(guest, "roost-agent", call, &reply, err) < 0)
		return NULL;
	return json_incref(json_object_get(reply, "return"));
}

static int sextet(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

void guest_agent_decode(const char *text, size_t max, struct buf *out)
{
	unsigned bits = 0, value = 0;
	for (int s; (s = sextet(*text)) >= 0 && out->len < max; text++) {
		value = value << 6 | (unsigned)s;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		char byte = (char)(value >> bits);
		buf_add(out, &byte, 1);
	}
}

int guest_agent_file(const char *guest, const char *path, size_t max, int64_t ms, struct buf *out,
	struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *handle = guest_agent_call(
		guest, "guest-file-open", json_pack("{s:s}", "path", path), ms, err);
	if (!json_is_integer(handle))
		return handle ? err_set(err, ERR_QEMU, "guest '%s': its agent opens no file", guest)
			      : -1;
	_cleanup_json_ json_t *got = guest_agent_call(guest, "guest-file-read",
		json_pack("{s:O, s:I}", "handle", handle, "count", (json_int_t)max), ms, err);
	json_decref(guest_agent_call(
		guest, "guest-file-close", json_pack("{s:O}", "handle", handle), ms, &ignored));
	if (!got)
		return -1;
	guest_agent_decode(json_get_str(got, "buf-b64", ""), max, out);
	return 0;
}
