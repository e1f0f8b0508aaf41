/* sendfile.h - files on their way into a transport, between its files.
 *
 * SPDX-License-Identifier: MIT
 *
 * One at a time. It begins when the queue has been sent; what is written
 * meanwhile stands in a queue of its own, behind it.
 */
#pragma once

#include "net/transport.h"

/* Sends a piece of the file; the queue is empty, and the kernel has room. */
void kolk__sendfile_step(kolk_transport *transport);

/* Ends the one that runs: its function runs later, with `result`, and what was
 * written meanwhile takes its turn. */
void kolk__sendfile_end(kolk_transport *transport, int result);

/* The loop is being closed: gives it back. */
void kolk__sendfile_drop(kolk_transport *transport);
