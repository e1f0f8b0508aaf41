/* clock.c - the monotonic clock.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk/base.h>

#include "base/sys.h"

kolk_time
kolk_monotonic(void)
{
    struct timespec now;

    /* Cannot fail: the clock exists and the pointer is good. */
    (void)kolk__sys.clock_gettime(CLOCK_MONOTONIC, &now);
    return KOLK_S(now.tv_sec) + now.tv_nsec;
}
