/* from_asyncio.h - runs the pieces of code of the guide.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>

#include <stdio.h>

struct piece {
    const char *name;
    kolk_task_fn *fn;
    int result; /* that the guide speaks of */
};

/* Returns how many pieces came to something else. */
static inline int
pieces_run(const struct piece *pieces, size_t count)
{
    int failures = 0;

    for (size_t i = 0; i < count; i++) {
        int result = kolk_run(pieces[i].fn, NULL);

        if (result != pieces[i].result) {
            (void)fprintf(stderr, "%s: %d (%s), not %d\n", pieces[i].name,
                          result, kolk_strerror(result), pieces[i].result);
            failures++;
        }
    }
    return failures;
}
