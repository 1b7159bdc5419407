/*
 * Time for waiting: milliseconds of CLOCK_MONOTONIC, never the wall clock,
 * so that nothing times out because somebody set the clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define DEADLINE_NONE    INT64_MAX
#define DEADLINE_MOST_MS INT32_MAX /* 24 days */

int64_t clock_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_us(void);
/* The moment `ms` from now, DEADLINE_MOST_MS at most: whatever somebody asks for, no sum overflows. */
int64_t deadline_in(int64_t ms);
/* What is left of it, for poll(): 0 when passed, -1 for DEADLINE_NONE. */
int deadline_left(int64_t deadline);
/* "2026-11-23T11:28:01.123Z": the wall clock, for people who read logs. */
const char *clock_stamp(char out[32]);

#endif
