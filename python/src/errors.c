/* errors.c - the library's errors as exceptions. See errors.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"

#include <errno.h>

int
error_set(int err)
{
    switch (-err) {
    case ENOMEM:
        (void)PyErr_NoMemory();
        break;
    case ESHUTDOWN:
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        break;
    case KOLK_EFORK:
        PyErr_SetString(PyExc_RuntimeError,
                        "The event loop belongs to the parent process");
        break;
    case KOLK_EMISUSE:
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop "
                        "other than the current one");
        break;
    default:
        if (-err > KOLK_EMISUSE - 1) {
            PyErr_SetString(PyExc_RuntimeError, kolk_strerror(err));
        } else {
            errno = -err;
            PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    return -1;
}
