/* address.c - socket addresses as values. See kolk/address.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel's own structs are what is kept, because every system call takes
 * them. `storage` is looked at through the struct of its family only after
 * `size` has said that all of that is there.
 */
#include <kolk/address.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/sys.h"

enum {
    ADDRESS_PATH = offsetof(struct sockaddr_un, sun_path),
    ADDRESS_HOST_MAX = INET6_ADDRSTRLEN + IF_NAMESIZE,
};

static const struct sockaddr_in *
address_in(const kolk_address *address)
{
    return (const struct sockaddr_in *)&address->storage;
}

static const struct sockaddr_in6 *
address_in6(const kolk_address *address)
{
    return (const struct sockaddr_in6 *)&address->storage;
}

/* The family, or -1 if there is no address. */
static int
address_family(const kolk_address *address)
{
    return address->size >= (socklen_t)sizeof(sa_family_t)
               ? address->storage.ss_family
               : -1;
}

static bool
address_is_in(const kolk_address *address)
{
    return address_family(address) == AF_INET
           && address->size >= (socklen_t)sizeof(struct sockaddr_in);
}

static bool
address_is_in6(const kolk_address *address)
{
    return address_family(address) == AF_INET6
           && address->size >= (socklen_t)sizeof(struct sockaddr_in6);
}

/* ---- making one ---- */

/* The interface that `zone` names, by name or number. */
static int
address_zone(const char *zone, uint32_t *out)
{
    if (*zone != '\0' && strspn(zone, "0123456789") == strlen(zone)) {
        unsigned long long number = strtoull(zone, NULL, 10);

        if (strlen(zone) > 10 || number > UINT32_MAX) {
            return -ENODEV;
        }
        *out = (uint32_t)number;
        return 0;
    }
    errno = ENODEV;
    *out = kolk__sys.if_nametoindex(zone);
    return *out != 0 ? 0 : -errno;
}

static int
address_parse_in6(const char *host, uint16_t port, kolk_address *out)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons(port)};
    char text[ADDRESS_HOST_MAX];
    size_t length = strlen(host);

    if (length >= sizeof text) {
        return -EINVAL;
    }
    memcpy(text, host, length + 1);
    char *zone = strchr(text, '%');
    if (zone != NULL) {
        *zone++ = '\0';
    }
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) != 1) {
        return -EINVAL;
    }
    if (zone != NULL) {
        int err = address_zone(zone, &in6.sin6_scope_id);

        if (err < 0) {
            return err;
        }
    }
    *out = (kolk_address){.size = sizeof in6};
    memcpy(&out->storage, &in6, sizeof in6);
    return 0;
}

int
kolk_address_parse(const char *host, uint16_t port, kolk_address *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, host, &in.sin_addr) != 1) {
        return address_parse_in6(host, port, out);
    }
    *out = (kolk_address){.size = sizeof in};
    memcpy(&out->storage, &in, sizeof in);
    return 0;
}

int
kolk_address_unix(const char *path, size_t size, kolk_address *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_abstract = size > 0 && path[0] == '\0';

    if (size == 0 || (!is_abstract && memchr(path, '\0', size) != NULL)) {
        return -EINVAL;
    }
    /* A path ends with '\0', an abstract name where its size says. */
    if (size + (is_abstract ? 0 : 1) > sizeof un.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(un.sun_path, path, size);
    *out = (kolk_address){
        .size = (socklen_t)(ADDRESS_PATH + size + (is_abstract ? 0 : 1))};
    memcpy(&out->storage, &un, sizeof un);
    return 0;
}

int
kolk_address_copy(const struct sockaddr *address, socklen_t size,
                  kolk_address *out)
{
    kolk_address copy = {.size = size};

    if (size < sizeof(sa_family_t) || size > sizeof copy.storage) {
        return -EINVAL;
    }
    memcpy(&copy.storage, address, size);
    if ((copy.storage.ss_family == AF_INET && !address_is_in(&copy))
        || (copy.storage.ss_family == AF_INET6 && !address_is_in6(&copy))) {
        return -EINVAL;
    }
    *out = copy;
    return 0;
}

/* ---- asking one ---- */

uint16_t
kolk_address_port(const kolk_address *address)
{
    if (address_is_in(address)) {
        return ntohs(address_in(address)->sin_port);
    }
    return address_is_in6(address) ? ntohs(address_in6(address)->sin6_port) : 0;
}

static void
address_format_in6(const struct sockaddr_in6 *in6, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    char zone[IF_NAMESIZE + 1] = "";

    (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
    if (in6->sin6_scope_id != 0) {
        zone[0] = '%';
        if (kolk__sys.if_indextoname(in6->sin6_scope_id, zone + 1) == NULL) {
            (void)snprintf(zone, sizeof zone, "%%%u",
                           (unsigned)in6->sin6_scope_id);
        }
    }
    (void)snprintf(text, size, "[%s%s]:%u", host, zone,
                   (unsigned)ntohs(in6->sin6_port));
}

/* An abstract name may have any bytes, '\0' too, which is shown as '@'. */
static void
address_format_unix(const kolk_address *address, char *text, size_t size)
{
    char name[sizeof((struct sockaddr_un *)NULL)->sun_path + 1] = "unnamed";
    size_t length = address->size - ADDRESS_PATH;

    if (address->size > ADDRESS_PATH) {
        const char *path = (const char *)&address->storage + ADDRESS_PATH;

        length = length < sizeof name ? length : sizeof name - 1;
        memcpy(name, path, length);
        name[length] = '\0';
        for (size_t i = 0; i < length && path[0] == '\0'; i++) {
            name[i] = path[i] == '\0' ? '@' : path[i];
        }
    }
    (void)snprintf(text, size, "%s", name);
}

char *
kolk_address_format(const kolk_address *address, char *text, size_t size)
{
    char host[INET_ADDRSTRLEN] = "";

    if (address_is_in(address)) {
        (void)inet_ntop(AF_INET, &address_in(address)->sin_addr, host,
                        sizeof host);
        (void)snprintf(text, size, "%s:%u", host,
                       (unsigned)ntohs(address_in(address)->sin_port));
    } else if (address_is_in6(address)) {
        address_format_in6(address_in6(address), text, size);
    } else if (address_family(address) == AF_UNIX) {
        address_format_unix(address, text, size);
    } else if (address_family(address) >= 0) {
        (void)snprintf(text, size, "family %d", address_family(address));
    } else {
        (void)snprintf(text, size, "none");
    }
    return text;
}

/* The bytes of a Unix address that count: those of a path end before its '\0',
 * which the kernel adds to some and not to others. */
static size_t
address_unix_size(const kolk_address *address)
{
    const char *path = (const char *)&address->storage + ADDRESS_PATH;

    if (address->size <= ADDRESS_PATH) {
        return 0;
    }
    size_t size = address->size - ADDRESS_PATH;
    return *path == '\0' ? size : strnlen(path, size);
}

bool
kolk_address_equal(const kolk_address *a, const kolk_address *b)
{
    if (address_family(a) != address_family(b)) {
        return false;
    }
    if (address_is_in(a) && address_is_in(b)) {
        const struct sockaddr_in *in_a = address_in(a), *in_b = address_in(b);

        return in_a->sin_port == in_b->sin_port
               && in_a->sin_addr.s_addr == in_b->sin_addr.s_addr;
    }
    if (address_is_in6(a) && address_is_in6(b)) {
        const struct sockaddr_in6 *in_a = address_in6(a);
        const struct sockaddr_in6 *in_b = address_in6(b);

        return in_a->sin6_port == in_b->sin6_port
               && in_a->sin6_scope_id == in_b->sin6_scope_id
               && memcmp(&in_a->sin6_addr, &in_b->sin6_addr,
                         sizeof in_a->sin6_addr)
                      == 0;
    }
    if (address_family(a) == AF_UNIX) {
        const char *bytes_a = (const char *)&a->storage + ADDRESS_PATH;
        const char *bytes_b = (const char *)&b->storage + ADDRESS_PATH;
        size_t size = address_unix_size(a);

        return size == address_unix_size(b)
               && memcmp(bytes_a, bytes_b, size) == 0;
    }
    return a->size == b->size && memcmp(&a->storage, &b->storage, a->size) == 0;
}
