#include "orchestrator/libvirt_ask.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/answer.h"
#include "orchestrator/definition_check.h"
#include "orchestrator/definition_yaml.h"
#include "orchestrator/libvirt_keep.h"
#include "orchestrator/network_address.h"
#include "orchestrator/paths.h"

#define IN_A_COPY "in a copy of the file it can be changed or taken out"

enum { ASK_MS = 30000 };

static json_t *ask(
	const char *what, const char *file, const char *input, size_t len, struct err *err)
{
	const char *argv[] = {libexec_path("roost-xml"), what, file, NULL};
	if (access(argv[0], X_OK) < 0) {
		err_set(err, ERR_SYSTEM,
			"the program 'roost-xml' is not installed, which reads libvirt's XML");
		err_hint(err, "build roost with libxml2");
		return NULL;
	}
	return child_answer(argv, input, len, ASK_MS, err);
}

bool libvirt_is_xml(const struct buf *text)
{
	static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8 */
	const char *from = text->data ? text->data : "";
	if (str_starts(from, mark))
		from += strlen(mark);
	return from[strspn(from, " \t\r\n")] == '<';
}

json_t *libvirt_ask(const struct buf *text, const char *file, struct err *err)
{
	return ask("read", file, text->data, text->len, err);
}

char *libvirt_note_text(const json_t *note)
{
	const char *path = json_get_str(note, "path", "");
	return str_fmt("line %lld: %s%s%s", (long long)json_get_int(note, "line", 0), path,
		*path ? ": " : "", json_get_str(note, "what", ""));
}

int libvirt_check_notes(const json_t *answer, const char *file, struct err *err)
{
	size_t i;
	json_t *note;
	json_array_foreach (json_object_get(answer, "notes"), i, note) {
		if (!json_get_bool(note, "stops", false))
			continue;
		_cleanup_free_ char *text = libvirt_note_text(note);
		err_set(err, ERR_REFUSED, "%s: %s", file, text);
		return err_hint(err, IN_A_COPY);
	}
	return 0;
}

static int check_kind(const json_t *answer, const char *kind, const char *file, struct err *err)
{
	const char *is = json_get_str(answer, "kind", "");
	if (str_eq(is, kind))
		return libvirt_check_notes(answer, file, err);
	err_set(err, ERR_USAGE, "'%s' is of a <%s>", file, is);
	return err_hint(
		err, "`roost %s` takes it", str_eq(is, "network") ? "net-define" : "define");
}

struct definition *libvirt_definition(
	const json_t *answer, const char *file, const struct definition *old, struct err *err)
{
	static const struct origin record = {0};
	if (check_kind(answer, "domain", file, err) < 0)
		return NULL;
	_cleanup_json_ json_t *json = json_deep_copy(json_object_get(answer, "definition"));
	if (old)
		libvirt_keep(json, old);
	_cleanup_node_ struct node *root = node_from_json(json, &record, err);
	_cleanup_definition_ struct definition *d = root ? definition_from_node(root, err) : NULL;
	if (d && definition_files(d, root, err) == 0)
		return TAKE(d);
	_cleanup_free_ char *hint = xstrdup(err->hint);
	err_hint(err, "%s%s" IN_A_COPY, hint, hint[0] ? "; " : "");
	err_prefix(err, "%s", file);
	return NULL;
}

int libvirt_network(const json_t *answer, const char *file, struct network *out, struct err *err)
{
	if (check_kind(answer, "network", file, err) < 0)
		return -1;
	return network_from_json(json_object_get(answer, "definition"), out, err) < 0
		       ? err_prefix(err, "%s", file)
		       : 0;
}

static char *write_xml(const char *what, json_t *request, struct err *err)
{
	_cleanup_json_ json_t *mine = request;
	_cleanup_free_ char *line = json_line(mine);
	_cleanup_json_ json_t *answer = ask(what, NULL, line, strlen(line), err);
	return answer ? xstrdup(json_get_str(answer, "xml", "")) : NULL;
}

char *libvirt_domain_xml(const struct definition *d, struct err *err)
{
	const char *state = paths_state(err);
	if (!state)
		return NULL;
	_cleanup_free_ char *folder = str_fmt("%s/guests/%s", state, d->name);
	return write_xml("domain",
		json_pack("{s:o, s:s, s:s}", "definition", definition_to_json(d), "folder", folder,
			"emulator", qemu_path()),
		err);
}

/* Those that have an address: guests, too, as libvirt's <host> would have them. */
static json_t *hosts_of(const struct network *n)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *all = network_addresses(n, &ignored);
	json_t *hosts = json_array(), *file;
	size_t i;
	json_array_foreach (all, i, file)
		if (!network_address_is_void(file))
			json_array_append_new(hosts,
				json_pack("{s:s, s:s, s:s}", "mac", json_get_str(file, "mac", ""),
					"name", json_get_str(file, "guest", ""), "address",
					json_get_str(file, "address", "")));
	return hosts;
}

char *libvirt_network_xml(const struct network *n, struct err *err)
{
	return write_xml("network",
		json_pack("{s:o, s:o}", "definition", network_to_json(n), "hosts", hosts_of(n)),
		err);
}
