/* main.c - a program of a user's own, for the test of the installed tree.
 *
 * SPDX-License-Identifier: MIT
 *
 * C and C++ at once.
 */
#include <kolk.h>

#include <stdio.h>

static int
main_task(void *arg)
{
    int *steps = (int *)arg;

    for (*steps = 0; *steps < 3; *steps += 1) {
        int err = kolk_sleep(KOLK_MS(1));
        if (err < 0) {
            return err;
        }
    }
    return 42;
}

int
main(void)
{
    int steps = 0;
    int result = kolk_run(main_task, &steps);

    if (result != 42 || steps != 3 || kolk_version() != KOLK_VERSION) {
        (void)fprintf(stderr, "result %d (%s), steps %d, version %d\n", result,
                      kolk_strerror(result), steps, kolk_version());
        return 1;
    }
    return 0;
}
