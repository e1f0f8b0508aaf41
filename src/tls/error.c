/* error.c - what OpenSSL complains about, as numbers and texts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls.h"

/* What kolk_tls_last_error() returns. */
static __thread char error_last[KOLK__TLS_TEXT_MAX];

/* Appends to a text, and cuts it off where there is no more room. */
static void
error_append(char *text, const char *between, const char *more)
{
    size_t used = strlen(text);

    if (used > 0) {
        (void)snprintf(text + used, KOLK__TLS_TEXT_MAX - used, "%s", between);
        used = strlen(text);
    }
    (void)snprintf(text + used, KOLK__TLS_TEXT_MAX - used, "%s", more);
}

int
kolk__tls_failed(char text[KOLK__TLS_TEXT_MAX], bool last_only)
{
    int err = -KOLK_ETLS;
    unsigned long code;
    const char *data;
    int flags;

    text[0] = '\0';
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        const char *reason = ERR_SYSTEM_ERROR(code)
                                 ? kolk_strerror(-ERR_GET_REASON(code))
                                 : ERR_reason_error_string(code);

        if (last_only) {
            err = -KOLK_ETLS;
            text[0] = '\0';
        }
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
            err = -ENOMEM;
        }
        error_append(text, "; ", reason != NULL ? reason : "unknown error");
        if ((flags & ERR_TXT_STRING) != 0 && data[0] != '\0') {
            error_append(text, ": ", data);
        }
    }
    if (text[0] == '\0') {
        error_append(text, "", "unknown error");
    }
    return err;
}

int
kolk__tls_complain(const char *what)
{
    char text[KOLK__TLS_TEXT_MAX];
    int err = kolk__tls_failed(text, false);

    error_last[0] = '\0';
    error_append(error_last, "", what);
    error_append(error_last, ": ", text);
    return err;
}

int
kolk__tls_complain_of(const char *what, int err)
{
    error_last[0] = '\0';
    error_append(error_last, "", what);
    error_append(error_last, ": ", kolk_strerror(err));
    return err;
}

const char *
kolk_tls_last_error(void)
{
    return error_last;
}
