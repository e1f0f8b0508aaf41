/* http_server.h - the file server, for a program around it.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk.h>

/* ---- http_server.c: connections, requests, responses ---- */

struct http_server {
    int fd;           /* a socket that listens, or one that is connected */
    const char *root; /* the folder, as realpath(3) gives it; borrowed */
};

/* A socket that listens on 127.0.0.1, the caller's to close. `*port` 0 becomes
 * the number of a free one. Returns it or a negative error. */
int http_listen(uint16_t *port);

/* The body of a task: serves the files below the root of `server`, a struct
 * http_server, until it is cancelled. */
int http_serve(void *server);

/* ---- http_file.c: from the target of a request to a file ---- */

struct http_file {
    int fd;
    int64_t size;
    const char *type; /* for Content-Type; static */
};

/* Opens the regular file below `root` that `target` names, or the index of a
 * folder; the caller closes it. `target` is decoded in place. Returns 0;
 * -EINVAL for what is no path, or leads upwards; else a negative error. */
int http_file_open(const char *root, char *target, struct http_file *out);
