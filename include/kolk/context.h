/* kolk/context.h - variables with a value per task.
 *
 * SPDX-License-Identifier: MIT
 *
 * A task starts with a snapshot of the values of whoever spawned it; what it
 * sets is seen by itself and by the tasks it spawns afterwards. Callbacks, and
 * code outside of a loop's run, share the loop's own values.
 */
#pragma once

#include <kolk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A variable: static memory of yours, compared by address. */
typedef struct kolk_var {
    const char *name;
    void *initial;              /* what it is where it was never set */
    void (*ref)(void *value);   /* a snapshot keeps `value`; may be NULL */
    void (*unref)(void *value); /* ... and lets it go; may be NULL */
} kolk_var;

/* The variable's value for the current task. Without `ref` and `unref`, values
 * are borrowed: they have to live as long as a task that can see them. */
KOLK_API void *kolk_var_get(const kolk_var *var);

/* Sets the variable for the current task. `*old`, if asked for, is the value
 * before, borrowed, to be set again later; if it is counted, whoever wants that
 * holds a reference from before the call. Returns 0; -ENOMEM; -KOLK_EMISUSE
 * without a loop. */
KOLK_API KOLK_MUST_CHECK int kolk_var_set(const kolk_var *var, void *value,
                                          void **old);

#ifdef __cplusplus
}
#endif
