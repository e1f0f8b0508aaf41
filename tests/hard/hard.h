/* hard.h - what the hard mode's runner and the kit share.
 *
 * SPDX-License-Identifier: MIT
 *
 * The runner says in the environment what shall go wrong:
 *
 *   KOLK_HARD=count         nothing; requests are counted
 *   KOLK_HARD=fail:N:once   the Nth request fails
 *   KOLK_HARD=fail:N:ever   and so does each later one of the same kind
 *   KOLK_HARD=short         reads and writes of streams move fewer bytes
 *   KOLK_HARD=eintr         what can be interrupted is, three times in four
 *
 * KOLK_HARD_FD is a descriptor of this page, which tells the runner what
 * happened even if the test dies.
 */
#pragma once

#include <stdint.h>

struct hard_page {
    uint64_t calls; /* how many requests could have failed */
    char name[40];  /* of the one that failed */
};
