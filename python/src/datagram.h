/* datagram.h - datagram transports: what happens to them per event.
 *
 * SPDX-License-Identifier: MIT
 *
 * They are TransportObjects, over the library's datagram sockets in place of
 * its transports.
 */
#pragma once

#include "transport.h"

typedef struct DatagramObject {
    TransportObject base; /* its `transport` is NULL */
    kolk_datagram_protocol node;
    kolk_datagram *datagram; /* a reference; NULL before _open_datagram() */
    PyObject *address;       /* strong: what sendto() always sends to, or
                              * NULL */
    int family;
    bool is_connected;

    /* the last sender, and what Python calls it */
    kolk_address last;
    PyObject *last_object; /* strong, or NULL */
    /* the last receiver, and what it was written as */
    kolk_address to;
    PyObject *to_object; /* strong, or NULL */
} DatagramObject;

/* The object that the library's `datagram` belongs to, borrowed; NULL if it is
 * none of ours, or paused. */
PyObject *datagram_object(const kolk_datagram *datagram);

int datagram_type_add(PyObject *module, ModuleState *state);

/* ---- address.c ---- */

/* `address` as the socket module has it, new. */
PyObject *address_to_py(const kolk_address *address);

/* The address that `op` is in the socket module's terms, for a socket of
 * `family`. A host name is looked up, which may block, as there. Returns 0, or
 * -1 with an exception set. */
int address_from_py(PyObject *op, int family, kolk_address *out);
