/* address.c - addresses from any text, against inet_pton().
 *
 * SPDX-License-Identifier: MIT
 *
 * The first byte says whether the rest is a host or a path. A host is an
 * address if, and only if, inet_pton() takes it, up to a zone; a path if its
 * length and its zeros say so. What was taken is written, and what was written
 * is taken again and is the same.
 */
#include <kolk/address.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { FUZZ_TEXT_MAX = 256 };

static void
fuzz_check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* The family that `host` is an address of, or 0. */
static int
fuzz_model(const char *host)
{
    char text[FUZZ_TEXT_MAX];
    unsigned char bytes[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, bytes) == 1) {
        return AF_INET;
    }
    strcpy(text, host);
    char *zone = strchr(text, '%');
    if (zone != NULL) {
        *zone++ = '\0';
    }
    if (inet_pton(AF_INET6, text, bytes) != 1) {
        return 0;
    }
    bool is_number = zone != NULL && *zone != '\0'
                     && strspn(zone, "0123456789") == strlen(zone)
                     && strlen(zone) <= 10
                     && strtoull(zone, NULL, 10) <= UINT32_MAX;
    return zone == NULL || is_number || if_nametoindex(zone) != 0 ? AF_INET6
                                                                  : 0;
}

/* Splits "host:port" or "[host]:port", as it was written. */
static const char *
fuzz_split(char *text, uint16_t *port)
{
    char *colon = strrchr(text, ':');
    char *host = text;

    fuzz_check(colon != NULL && colon > text);
    *port = (uint16_t)strtoul(colon + 1, NULL, 10);
    *colon = '\0';
    if (*host == '[') {
        fuzz_check(colon[-1] == ']');
        colon[-1] = '\0';
        host++;
    }
    return host;
}

static void
fuzz_host(const char *host, uint16_t port)
{
    char text[KOLK_ADDRESS_TEXT_MAX], cut[16];
    kolk_address address, again;
    int family = fuzz_model(host);
    int err = kolk_address_parse(host, port, &address);

    fuzz_check((err == 0) == (family != 0));
    if (err < 0) {
        fuzz_check(err == -EINVAL || err == -ENODEV);
        return;
    }
    fuzz_check(address.storage.ss_family == family);
    fuzz_check(kolk_address_port(&address) == port);
    kolk_address_format(&address, text, sizeof text);
    kolk_address_format(&address, cut, sizeof cut);
    fuzz_check(strlen(cut) < sizeof cut
               && strncmp(text, cut, strlen(cut)) == 0);

    uint16_t port_again;
    const char *host_again = fuzz_split(text, &port_again);
    fuzz_check(kolk_address_parse(host_again, port_again, &again) == 0);
    fuzz_check(kolk_address_equal(&address, &again));
}

static void
fuzz_path(const char *path, size_t size)
{
    const size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path;
    bool is_abstract = size > 0 && path[0] == '\0';
    bool is_valid = size > 0 && size <= most - (is_abstract ? 0 : 1)
                    && (is_abstract || memchr(path, '\0', size) == NULL);
    char text[KOLK_ADDRESS_TEXT_MAX];
    kolk_address address, again;
    int err = kolk_address_unix(path, size, &address);

    fuzz_check((err == 0) == is_valid);
    if (err < 0) {
        return;
    }
    kolk_address_format(&address, text, sizeof text);
    fuzz_check(strlen(text) == size);
    fuzz_check(is_abstract ? text[0] == '@' : memcmp(text, path, size) == 0);
    fuzz_check(kolk_address_copy((struct sockaddr *)&address.storage,
                                 address.size, &again)
               == 0);
    fuzz_check(kolk_address_equal(&address, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[FUZZ_TEXT_MAX];

    if (size < 3 || size - 3 >= sizeof text) {
        return 0;
    }
    memcpy(text, data + 3, size - 3);
    text[size - 3] = '\0';
    if ((data[0] & 1) != 0) {
        fuzz_path(text, size - 3);
    } else {
        fuzz_host(text, (uint16_t)(data[1] | data[2] << 8));
    }
    return 0;
}
