/* error.c - names and texts of errors.
 *
 * SPDX-License-Identifier: MIT
 *
 * The texts of errno's codes are written here, because strerror() depends on
 * the locale, is not safe in threads, and differs between C libraries. The
 * table holds what the library and its usual system calls return.
 */
#include <kolk/base.h>

#include <errno.h>
#include <netdb.h>

#define ERROR(code, text)                                                      \
    {                                                                          \
        code, #code, text                                                      \
    }

/* The resolver's codes are negative. */
#define RESOLVE(eai, text)                                                     \
    {                                                                          \
        KOLK_ERESOLVE - (eai), #eai, text                                      \
    }

static const struct error {
    int code;
    const char *name;
    const char *text;
} error_table[] = {
    ERROR(KOLK_EMISUSE, "wrong use of a kolk call"),
    ERROR(KOLK_EFORK, "the loop belongs to a parent process"),
    ERROR(KOLK_EVERSION, "the library does not fit the header"),
    ERROR(KOLK_EBROKEN, "the barrier is broken"),
    ERROR(KOLK_EOF, "the stream ended too early"),
    ERROR(KOLK_ELIMIT, "longer than the limit allows"),
    ERROR(KOLK_ETLS, "TLS failed"),
    ERROR(KOLK_ETRUNCATED, "the stream ended without TLS's close_notify"),
    ERROR(KOLK_ENOTLS, "built without TLS"),
    ERROR(ECANCELED, "cancelled"),
    ERROR(ETIMEDOUT, "timed out"),
    ERROR(EAGAIN, "not ready, try again"),
    ERROR(EALREADY, "already in progress"),
    ERROR(EBUSY, "busy"),
    ERROR(EDEADLK, "would wait for itself"),
    ERROR(EINTR, "interrupted"),
    ERROR(EINVAL, "invalid argument"),
    ERROR(ENOMEM, "out of memory"),
    ERROR(ENOSYS, "not supported by this kernel"),
    ERROR(EOPNOTSUPP, "not supported"),
    ERROR(EPERM, "not permitted"),
    ERROR(EACCES, "permission denied"),
    ERROR(EBADF, "bad descriptor"),
    ERROR(EMFILE, "too many open descriptors in this process"),
    ERROR(ENFILE, "too many open files in the system"),
    ERROR(ENOENT, "no such file"),
    ERROR(ENOTDIR, "not a directory"),
    ERROR(EISDIR, "is a directory"),
    ERROR(EEXIST, "exists already"),
    ERROR(ELOOP, "too many symbolic links"),
    ERROR(ENAMETOOLONG, "name too long"),
    ERROR(ENOSPC, "no space left"),
    ERROR(EROFS, "read-only file system"),
    ERROR(EFBIG, "file too large"),
    ERROR(EIO, "input or output error"),
    ERROR(ESPIPE, "cannot seek"),
    ERROR(EFAULT, "bad address"),
    ERROR(EOVERFLOW, "value too large"),
    ERROR(EPIPE, "the other end is closed"),
    ERROR(ESHUTDOWN, "shut down"),
    ERROR(ENOTCONN, "not connected"),
    ERROR(EISCONN, "connected already"),
    ERROR(EINPROGRESS, "in progress"),
    ERROR(ECONNREFUSED, "connection refused"),
    ERROR(ECONNRESET, "connection reset by the peer"),
    ERROR(ECONNABORTED, "connection aborted"),
    ERROR(ENETUNREACH, "network unreachable"),
    ERROR(EHOSTUNREACH, "host unreachable"),
    ERROR(EADDRINUSE, "address in use"),
    ERROR(EADDRNOTAVAIL, "address not available"),
    ERROR(EAFNOSUPPORT, "address family not supported"),
    ERROR(EMSGSIZE, "message too long"),
    ERROR(ENOBUFS, "no buffer space"),
    ERROR(ENOTSOCK, "not a socket"),
    ERROR(EPROTO, "protocol error"),
    ERROR(ENODEV, "no such device"),
    ERROR(EPROTOTYPE, "a socket of another type"),
    RESOLVE(EAI_AGAIN, "the name service has no answer for now"),
    RESOLVE(EAI_BADFLAGS, "invalid flags for a lookup"),
    RESOLVE(EAI_FAIL, "the name service has failed"),
    RESOLVE(EAI_FAMILY, "address family of a lookup not supported"),
    RESOLVE(EAI_MEMORY, "out of memory"),
    RESOLVE(EAI_NONAME, "name or service not known"),
    RESOLVE(EAI_OVERFLOW, "a name too long for its buffer"),
    RESOLVE(EAI_SERVICE, "service not known for this kind of socket"),
    RESOLVE(EAI_SOCKTYPE, "kind of socket of a lookup not supported"),
    RESOLVE(EAI_SYSTEM, "system error of the name service"),
#ifdef EAI_ADDRFAMILY
    RESOLVE(EAI_ADDRFAMILY, "no address of this family for the name"),
#endif
#ifdef EAI_NODATA
    RESOLVE(EAI_NODATA, "no address for the name"),
#endif
#ifdef EAI_IDN_ENCODE
    RESOLVE(EAI_IDN_ENCODE, "the name cannot be encoded"),
#endif
};

static const struct error *
error_find(int error)
{
    for (size_t i = 0; i < sizeof error_table / sizeof *error_table; i++) {
        if (error_table[i].code == -error) {
            return &error_table[i];
        }
    }
    return NULL;
}

const char *
kolk_strerror(int error)
{
    if (error >= 0) {
        return "success";
    }
    const struct error *found = error_find(error);
    return found != NULL ? found->text : "error without a text";
}

const char *
kolk_error_name(int error)
{
    const struct error *found = error_find(error);
    return found != NULL ? found->name : "?";
}

int
kolk_version(void)
{
    return KOLK_VERSION;
}
