/* host_heap.h - the heap of the language, between the files of the host.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "host.h"

/* A ring of all objects; itself none. */
extern host_object host_heap;

/* A new object of `size` bytes, with one reference. */
host_object *host_alloc(enum host_kind kind, size_t size);

/* The object around `node`, or NULL if it is not the host's. */
host_object *host_object_of(kolk_node_kind kind, void *node);
