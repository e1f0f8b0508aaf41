/* bench_kolk.h - what kolk's own benchmark programs share.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "bench.h"

#include <kolk.h>

/* Ends the program if a call of kolk's has failed. */
static inline int
bench_ok(const char *what, int result)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, kolk_strerror(result));
        exit(1);
    }
    return result;
}

/* Spawns `fn(arg)`. */
static inline kolk_task *
bench_spawn(kolk_task_fn *fn, void *arg)
{
    kolk_task *task;

    bench_ok("kolk_spawn", kolk_spawn(fn, arg, &task));
    return task;
}

/* Waits for `task` and gives its handle up. */
static inline void
bench_join(kolk_task *task)
{
    bench_ok("kolk_await", kolk_await(task));
    kolk_future_unref(task);
}
