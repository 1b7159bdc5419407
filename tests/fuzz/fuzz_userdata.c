/* Any text as user-data: it is taken or refused with a message, and nothing else happens. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "orchestrator/userdata_check.h"
#include "orchestrator/userdata_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct userdata_strangers strangers;
	_cleanup_free_ char *text = strndup((const char *)data, size);
	if (userdata_check("fuzz", text, strlen(text), &strangers, &err) < 0 && !err.message[0])
		abort();
	if (strangers.count > USERDATA_STRANGERS_MAX)
		abort();
	struct userdata_keys keys;
	userdata_keys_find(text, strlen(text), &keys);
	userdata_keys_free(&keys);
	userdata_check_map("fuzz", text, strlen(text), &err);
	return 0;
}
