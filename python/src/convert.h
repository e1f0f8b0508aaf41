/* convert.h - between Python's values and the library's.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "state.h"

/* The first nanosecond at which `seconds` on the loop's clock have come, so
 * that time_to_seconds() of it is never below `seconds`. Infinity and what is
 * too large never come; what is no number came long ago. */
kolk_time time_from_seconds(double seconds);

static inline double
time_to_seconds(kolk_time time)
{
    return (double)time / 1e9;
}

/* `op` as seconds. Returns 0, or -1 with an exception set. */
int seconds_from_py(PyObject *op, double *out);

/* The descriptor that `op` is or has, with the errors of the selectors module.
 * Returns it, or -1 with an exception set. */
int fd_from_py(const ModuleState *state, PyObject *op);
