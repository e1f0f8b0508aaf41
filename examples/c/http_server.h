/* http_server.h - the file server, for a program around it.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk.h>

struct http_server {
    const char *root; /* the folder, as realpath(3) gives it, but "" for "/" */
    uint16_t port;    /* of 127.0.0.1; 0 becomes that of a free one */
    kolk_tls_context *tls; /* to speak TLS; or NULL */
};

/* The body of a task: serves the files below the root of `arg`, a struct
 * http_server, until it is cancelled. It listens when it waits for the first
 * time: spawned eagerly, when the spawn returns. Else it has ended, with the
 * error of socket(2), bind(2) or listen(2). */
int http_serve(void *arg);
