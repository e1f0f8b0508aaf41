/* address.c - socket addresses between Python and the library. See datagram.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "errors.h"

/* ---- to Python ---- */

static PyObject *
address_unix_to_py(const kolk_address *address)
{
    const struct sockaddr_un *unix_address =
        (const struct sockaddr_un *)&address->storage;
    size_t start = offsetof(struct sockaddr_un, sun_path);

    if (address->size <= start) {
        Py_RETURN_NONE; /* an unbound socket */
    }
    size_t size = address->size - start;
    if (unix_address->sun_path[0] == '\0') { /* an abstract name */
        return PyBytes_FromStringAndSize(unix_address->sun_path,
                                         (Py_ssize_t)size);
    }
    return PyUnicode_DecodeFSDefaultAndSize(
        unix_address->sun_path,
        (Py_ssize_t)strnlen(unix_address->sun_path, size));
}

PyObject *
address_to_py(const kolk_address *address)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)&address->storage;

        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        return Py_BuildValue("si", host, ntohs(in->sin_port));
    }
    if (address->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 =
            (const struct sockaddr_in6 *)&address->storage;

        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        return Py_BuildValue("siII", host, ntohs(in6->sin6_port),
                             ntohl(in6->sin6_flowinfo), in6->sin6_scope_id);
    }
    return address_unix_to_py(address);
}

/* ---- from Python ---- */

static int
address_unix_from_py(PyObject *op, kolk_address *out)
{
    PyObject *path = PyUnicode_Check(op) ? PyUnicode_EncodeFSDefault(op)
                                         : PyBytes_FromObject(op);

    if (path == NULL) {
        return -1;
    }
    int err = kolk_address_unix(PyBytes_AS_STRING(path),
                                (size_t)PyBytes_GET_SIZE(path), out);
    Py_DECREF(path);
    if (err == -ENAMETOOLONG) {
        PyErr_SetString(PyExc_OSError, "AF_UNIX path too long");
        return -1;
    }
    return err < 0 ? error_set(err) : 0;
}

/* Asks the socket module, whose function programs replace. */
static PyObject *
address_resolve(PyObject *host, int port, int family)
{
    PyObject *module = PyImport_ImportModule("socket");
    PyObject *found = module != NULL
                          ? PyObject_CallMethod(module, "getaddrinfo", "Oiii",
                                                host, port, family, SOCK_DGRAM)
                          : NULL;
    PyObject *first = found != NULL ? PySequence_GetItem(found, 0) : NULL;
    PyObject *address = first != NULL ? PySequence_GetItem(first, 4) : NULL;
    PyObject *text = address != NULL ? PySequence_GetItem(address, 0) : NULL;

    Py_XDECREF(module);
    Py_XDECREF(found);
    Py_XDECREF(first);
    Py_XDECREF(address);
    return text;
}

static int
address_host_from_py(PyObject *host, int port, int family, kolk_address *out)
{
    PyObject *text = PyBytes_Check(host)
                         ? PyUnicode_FromEncodedObject(host, "ascii", NULL)
                         : Py_NewRef(host);
    const char *name =
        text != NULL && PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;
    int err = -EINVAL;

    if (name != NULL) {
        err = kolk_address_parse(name, (uint16_t)port, out);
    }
    if (err < 0 || out->storage.ss_family != family) {
        PyErr_Clear();
        Py_XSETREF(text, address_resolve(host, port, family));
        name = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
        if (name == NULL) {
            Py_XDECREF(text);
            return -1;
        }
        err = kolk_address_parse(name, (uint16_t)port, out);
    }
    Py_DECREF(text);
    return err < 0 ? error_set(err) : 0;
}

int
address_from_py(PyObject *op, int family, kolk_address *out)
{
    unsigned flow = 0, scope = 0;
    PyObject *host;
    int port;

    if (family == AF_UNIX) {
        return address_unix_from_py(op, out);
    }
    if (!PyTuple_Check(op)) {
        PyErr_Format(
            PyExc_TypeError, "sendto(): %s address must be tuple, not %.200s",
            family == AF_INET ? "AF_INET" : "AF_INET6", Py_TYPE(op)->tp_name);
        return -1;
    }
    if (!PyArg_ParseTuple(op,
                          family == AF_INET
                              ? "Oi;AF_INET address must be a pair (host, port)"
                              : "Oi|II;AF_INET6 address must be a tuple "
                                "(host, port[, flowinfo[, scopeid]])",
                          &host, &port, &flow, &scope)) {
        return -1;
    }
    if (port < 0 || port > 0xffff) {
        PyErr_SetString(PyExc_OverflowError, "sendto(): port must be 0-65535.");
        return -1;
    }
    if (address_host_from_py(host, port, family, out) < 0) {
        return -1;
    }
    if (family == AF_INET6 && (flow != 0 || scope != 0)) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->storage;

        in6->sin6_flowinfo = htonl(flow);
        in6->sin6_scope_id = scope != 0 ? scope : in6->sin6_scope_id;
    }
    return 0;
}
