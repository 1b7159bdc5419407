/*
 * What a guest's SSH server and programs say: the banner classifier, cloud-init's status, scp's
 * records, and the text that people are shown of them. Each input goes to all.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "orchestrator/ssh_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was seen of a banner so far may only become more certain with more bytes. */
static void banner(const char *text, size_t len)
{
	enum banner whole = banner_classify(text, len);
	for (size_t i = 0; i < len && i < 300; i++) {
		enum banner part = banner_classify(text, i);
		if (part != BANNER_MORE && part != whole)
			abort();
	}
}

static void shown(const char *text, size_t len)
{
	_cleanup_free_ char *out = text_shown(text, len);
	json_t *s = json_string(out);
	if (!s || strpbrk(out, "\n\r\x1b\x7f"))
		abort();
	json_decref(s);
}

static void cloud(const char *text, size_t len)
{
	_cleanup_buf_ struct buf detail = {0};
	enum cloud_state state = cloud_status_parse(text, len, &detail);
	if (state >= CLOUD_STATE_MAX || detail.len > 2000)
		abort();
	if (detail.len)
		shown(detail.data, detail.len);
}

static void record(const char *line)
{
	struct err err = ERR_INIT;
	struct scp_record r;
	if (scp_record_parse(line, &r, &err) < 0) {
		if (err.kind == ERR_NONE || !err.message[0])
			abort();
		return;
	}
	bool named = r.kind == SCP_FILE || r.kind == SCP_ENTER;
	if (named && (strchr(r.text, '/') || !*r.text || r.mode > 07777 || r.size > INT64_MAX))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf text = {0};
	buf_add(&text, data, size);
	banner(text.data, text.len);
	shown(text.data, text.len);
	cloud(text.data, text.len);
	record(text.data);
	if (key_text_same(text.data, text.data)) {
		char type[32];
		key_text_type(text.data, type, sizeof(type));
	}
	return 0;
}
