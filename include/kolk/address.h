/* kolk/address.h - socket addresses as values.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <sys/socket.h>

#include <kolk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An address of any family; `size` 0 means none. Plain memory, to be copied.
 * `(struct sockaddr *)&address.storage` is what system calls take. */
typedef struct kolk_address {
    socklen_t size; /* bytes of `storage` that count */
    struct sockaddr_storage storage;
} kolk_address;

enum {
    KOLK_ADDRESS_TEXT_MAX = 128, /* bytes, the final zero included */
};

/* The address that `host` and `port` write out: IPv4 ("127.0.0.1"), or IPv6
 * with or without a zone ("::1", "fe80::1%eth0", "fe80::1%2"). Asks no name
 * service. Returns 0; -EINVAL if `host` is no such address; -ENODEV for a zone
 * that is neither a number nor an interface, or why that cannot be found out.
 * Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_address_parse(const char *host, uint16_t port,
                                                kolk_address *out);

/* The address of a Unix socket. A path that begins with '\0' is an abstract
 * name, of which all `size` bytes count. `size` is the length of `path`.
 * Returns 0; -EINVAL for a '\0' inside of a path, or nothing;
 * -ENAMETOOLONG. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_address_unix(const char *path, size_t size,
                                               kolk_address *out);

/* A copy of what a system call has written. Returns 0, or -EINVAL for a size
 * that no address has. Thread-safe. */
KOLK_API KOLK_MUST_CHECK int kolk_address_copy(const struct sockaddr *address,
                                               socklen_t size,
                                               kolk_address *out);

/* The port of an IPv4 or IPv6 address; 0 for others. Thread-safe. */
KOLK_API uint16_t kolk_address_port(const kolk_address *address);

/* Writes `address` as people do: "127.0.0.1:80", "[fe80::1%eth0]:80", a path,
 * "@name" for an abstract one (a '\0' in it as '@' too), "unnamed"; "family 17"
 * for what is none of these, "none" for none. Cut to `size` bytes, always
 * terminated. Returns `text`. Thread-safe. */
KOLK_API char *kolk_address_format(const kolk_address *address, char *text,
                                   size_t size);

/* Are both the same family and, of that family, the same address?
 * Thread-safe. */
KOLK_API bool kolk_address_equal(const kolk_address *a, const kolk_address *b);

#ifdef __cplusplus
}
#endif
