/* http_documents.h - files to ask a server for.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <stddef.h>

struct document {
    char *target; /* its path as a request spells it */
    char *bytes;
    size_t size;
};

struct documents {
    struct document *all;
    size_t count;
};

/* Reads the file `path` below `root`, or every file of that folder, but for
 * names that begin with a dot. May be called again, for more.
 * Returns 0 or a negative error, after saying which file it was. */
int documents_add(struct documents *documents, const char *root,
                  const char *path);

void documents_fini(struct documents *documents);
