/* places.h - addresses that answer, refuse, or stay silent.
 *
 * SPDX-License-Identifier: MIT
 *
 * They are real ones, of the loopback network, so that both backends meet the
 * kernel: it answers there at once, or, where a queue is full, never. A test on
 * virtual time does not wait for the latter.
 */
#pragma once

#include "kit.h"
#include "kit_sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <kolk/address.h>

static inline kolk_address
place_parse(const char *host, uint16_t port)
{
    kolk_address address = {0};

    CHECK_OK(kolk_address_parse(host, port, &address));
    return address;
}

/* An abstract name of this process. */
static inline kolk_address
place_unix_name(const char *name)
{
    kolk_address address = {0};
    char path[64];
    int size =
        snprintf(path, sizeof path, "%ckolk-%s-%d", '\0', name, (int)getpid());

    CHECK_OK(kolk_address_unix(path, (size_t)size, &address));
    return address;
}

/* A socket bound to `address`, whose port is then set; closed at the end. */
static inline int
place_bind(kolk_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr *addr = (struct sockaddr *)&address->storage;

    CHECK(fd >= 0);
    test_own(fd);
    CHECK_INT(bind(fd, addr, address->size), 0);
    CHECK_INT(getsockname(fd, addr, &address->size), 0);
    return fd;
}

/* Answers: accepts up to 16 connections. */
static inline kolk_address
place_good(const char *host, uint16_t port, int *listener)
{
    kolk_address address = place_parse(host, port);
    int fd = place_bind(&address);

    CHECK_INT(listen(fd, 16), 0);
    if (listener != NULL) {
        *listener = fd;
    }
    return address;
}

/* Refuses: bound, and nobody listens. */
static inline kolk_address
place_bad(const char *host, uint16_t port)
{
    kolk_address address = place_parse(host, port);

    (void)place_bind(&address);
    return address;
}

/* Fills the queue of a listener. */
static inline void
place_fill(int listener, const kolk_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_INT(listen(listener, 0), 0);
    CHECK(fd >= 0);
    test_own(fd);
    CHECK_INT(
        connect(fd, (const struct sockaddr *)&address->storage, address->size),
        0);
}

/* Neither answers nor refuses. */
static inline kolk_address
place_silent(const char *host, uint16_t port)
{
    kolk_address address = place_parse(host, port);

    place_fill(place_bind(&address), &address);
    return address;
}

/* A Unix socket whose queue is full. */
static inline kolk_address
place_full(const char *name, int *listener)
{
    kolk_address address = place_unix_name(name);

    *listener = place_bind(&address);
    place_fill(*listener, &address);
    return address;
}

/* Takes one connection, which is closed at the end. */
static inline int
place_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    CHECK(fd >= 0);
    test_own(fd);
    return fd;
}

/* A socket that a test was handed, which is closed at the end. */
static inline int
place_own(int fd)
{
    if (fd >= 0) {
        test_own(fd);
    }
    return fd;
}

/* ---- numbers ---- */

static int (*place_close_real)(int fd);

static int
place_close(int fd)
{
    bool is_open = fcntl(fd, F_GETFD) >= 0;

    CHECK(is_open);
    return place_close_real(fd);
}

/* From here on the library closes what is open, and nothing twice. */
static inline void
place_watch_closes(void)
{
    place_close_real = kolk__sys.close;
    kolk__sys.close = place_close;
}

/* How many sockets this process has. */
static inline int
place_count_sockets(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        struct stat info;

        count += fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
    }
    return count;
}
