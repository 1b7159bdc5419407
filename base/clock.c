#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

int64_t clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_ms(void)
{
	return clock_us() / 1000;
}

int64_t deadline_in(int64_t ms)
{
	return clock_ms() + (ms < DEADLINE_MOST_MS ? ms : DEADLINE_MOST_MS);
}

int deadline_left(int64_t deadline)
{
	if (deadline == DEADLINE_NONE)
		return -1;
	int64_t left = deadline - clock_ms();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

const char *clock_stamp(char out[32])
{
	struct timespec t;
	struct tm parts;
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &parts);
	size_t len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(out + len, 32 - len, ".%03ldZ", t.tv_nsec / 1000000);
	return out;
}
