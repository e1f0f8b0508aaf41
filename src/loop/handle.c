/* handle.c - what a loop has open: showing it, letting go of it. See handle.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop/handle.h"

void
kolk__handles_drop(kolk_loop *loop)
{
    while (!kolk__ring_is_empty(&loop->handles)) {
        kolk__handle *handle =
            KOLK_CONTAINER_OF(loop->handles.next, kolk__handle, link);

        handle->ops->drop(loop, handle);
    }
}

int
kolk__handles_visit(kolk_loop *loop, kolk_visitor *visitor)
{
    const kolk_link *ring = &loop->handles;

    for (kolk_link *link = ring->next; link != ring; link = link->next) {
        kolk__handle *handle = KOLK_CONTAINER_OF(link, kolk__handle, link);
        void *node = handle->ops->node(handle);
        int result =
            node != NULL ? visitor->fn(visitor, handle->ops->kind, node) : 0;

        if (result != 0) {
            return result;
        }
    }
    return 0;
}
