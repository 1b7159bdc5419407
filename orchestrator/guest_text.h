/*
 * Texts that come out of guests are any bytes at all; reports are UTF-8, and XML's is narrower yet.
 */
#ifndef ORCHESTRATOR_GUEST_TEXT_H
#define ORCHESTRATOR_GUEST_TEXT_H

#include "base/json.h"
#include "base/str.h"

/* How many bytes the character at `p` has, and which it is; 0: those bytes are no UTF-8. */
size_t utf8_next(const char *p, size_t len, uint32_t *code);
/* Valid UTF-8 without NUL: each byte that is not becomes U+FFFD. Freed by the caller. */
char *text_utf8(const char *data, size_t len);
/* One line for a sentence: controls as \n and \x1b, after `max` bytes "...". Freed by the caller. */
char *text_line(const char *data, size_t len, size_t max);
/* Each text in what a guest has answered becomes a line: its escape sequences are not for a terminal of ours. */
void text_lines(json_t *value);
/*
 * Escaped for XML 1.0, as content and as an attribute's value in double quotes. A control character,
 * which XML has no way to hold, is written as \x1b; a byte that is no UTF-8 as U+FFFD.
 */
void xml_content(struct buf *out, const char *data, size_t len);
void xml_attribute(struct buf *out, const char *data, size_t len);

#endif
