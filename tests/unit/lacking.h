/*
 * A test that cannot be done here says why and counts as skipped; scripts/test tells of each. Where CI is set,
 * scripts/install-deps has brought all that it knows of: what then is still lacking is a failure.
 */
#ifndef TESTS_UNIT_LACKING_H
#define TESTS_UNIT_LACKING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

/* It is the machine's nature: its kernel, or who we are. */
static inline void not_here(const char *why)
{
	print_message("    skipped: %s\n", why);
	skip();
}

/* It is a program, or one of ours that is built only with its library: install-deps brings it. */
static inline void lacking(const char *what)
{
	const char *ci = getenv("CI");
	if (ci && ci[0])
		fail_msg("there is no %s, which scripts/install-deps should have brought", what);
	print_message("    skipped: there is no %s\n", what);
	skip();
}

#endif
