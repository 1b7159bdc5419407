/* What the smaller old names share: their options, and what they say of them. */
#ifndef ORCHESTRATOR_COMPAT_TOOL_H
#define ORCHESTRATOR_COMPAT_TOOL_H

#include <getopt.h>

#include "orchestrator/compat/compat.h"

/*
 * After getopt_long() has returned '?' or ':' (its `short options` begin with ":"): says on standard error which option
 * there is not, or lacks its value, and which one is near. Returns 1, their exit code.
 */
int tool_bad_option(const char *tool, char **argv, const struct option *options, int letter);
/* Says that an option which the tool has elsewhere is not here, and why. Returns 1. */
int tool_refuse(const char *tool, const char *option, const char *why);
/* "--NAME" of that letter, to be refused by; freed by the caller. */
char *tool_option_word(const struct option *options, int letter);
/* The instance that -c chooses, or the environment as for virsh; -1 with *err. */
int tool_connect(const char *uri, struct err *err);
/* "MESSAGE; HINT", freed by the caller. */
char *tool_reason(const struct err *err);
/* On standard error, after all that was printed: `head` ("ERROR    ", "libguestfs: error: "), then this, as a line. -1 */
int tool_fail(const char *head, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with the reason of *err. */
int tool_fail_for(const char *head, const struct err *err);
/* Is it the guest that is not there, and not a file? */
bool tool_lacks_guest(const char *guest, const struct err *err);
/* As libguestfs says it: a guest that is not there in its words, else the reason of *err. */
int tool_fail_guest(const char *head, const char *guest, const struct err *err);

#endif
