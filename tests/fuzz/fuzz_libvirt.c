/* Any text as libvirt's XML: it is read, or refused with a message; and what was read can be written. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "orchestrator/libvirt_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xcalloc(1, size + 1);
	memcpy(text, data, size);
	_cleanup_json_ json_t *read = libvirt_read(text, size, "fuzz", &err);
	if (!read && !err.message[0])
		abort();
	if (!read)
		return 0;
	bool domain = str_eq(json_get_str(read, "kind", ""), "domain");
	_cleanup_free_ char *xml =
		domain ? libvirt_write_domain(read, &err) : libvirt_write_network(read, &err);
	if (!xml)
		abort();
	/* and what was written says the same to a second reader */
	_cleanup_json_ json_t *again = libvirt_read(xml, strlen(xml), "again", &err);
	if (!again || !str_eq(json_get_str(again, "kind", ""), json_get_str(read, "kind", "")))
		abort();
	return 0;
}
