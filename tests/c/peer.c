/* peer.c - the other end of a stream. See peer.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- making connections, without the library ---- */

static int
peer_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    return fd;
}

/* Both ends of a TCP connection. */
static bool
peer_tcp(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct sockaddr *name = (struct sockaddr *)&address;
    int listener = peer_socket(AF_INET);

    fds[0] = peer_socket(AF_INET);
    fds[1] = -1;
    if (bind(listener, name, size) == 0 && listen(listener, 1) == 0
        && getsockname(listener, name, &size) == 0
        && connect(fds[0], name, size) == 0) {
        fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    (void)close(listener);
    if (!CHECK(fds[1] >= 0)) {
        (void)close(fds[0]);
        return false;
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    return true;
}

/* Lets the kernel hold less, so that a test soon writes too much. */
static void
peer_narrow(int fd)
{
    const int size = 65536;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

bool
peer_connected(enum peer_kind kind, int fds[2])
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

    if (kind == PEER_TCP ? !peer_tcp(fds)
                         : !CHECK(socketpair(AF_UNIX, type, 0, fds) == 0)) {
        return false;
    }
    peer_narrow(fds[0]);
    peer_narrow(fds[1]);
    return true;
}

bool
peer_open(enum peer_kind kind, const kolk_stream_options *options,
          kolk_stream **stream, int *fd)
{
    int fds[2];

    if (!peer_connected(kind, fds)) {
        return false;
    }
    if (!CHECK_OK(kolk_stream_open(fds[0], options, stream))) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return false;
    }
    test_own(fds[1]);
    *fd = fds[1];
    return true;
}

int
peer_connect(const kolk_address *address)
{
    int fd = peer_socket(address->storage.ss_family);

    if (!CHECK(connect(fd, (const struct sockaddr *)&address->storage,
                       address->size)
               == 0)) {
        (void)close(fd);
        return -1;
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    test_own(fd);
    return fd;
}

/* ---- sending ---- */

void
peer_send(int fd, const void *data, size_t size)
{
    CHECK_INT(send(fd, data, size, MSG_NOSIGNAL), size);
}

void
peer_say(int fd, const char *text)
{
    peer_send(fd, text, strlen(text));
}

void
peer_say_slowly(int fd, const char *text)
{
    for (; *text != '\0'; text++) {
        peer_send(fd, text, 1);
        tasks_pass(1);
    }
}

static char peer_noise[65536];

size_t
peer_fill(int fd)
{
    size_t total = 0;
    ssize_t sent;

    while ((sent = send(fd, peer_noise, sizeof peer_noise, MSG_NOSIGNAL)) > 0) {
        total += (size_t)sent;
    }
    return total;
}

int
peer_flood(void *fd)
{
    int total = 0, sent;

    while ((sent = kolk_send(*(int *)fd, peer_noise, sizeof peer_noise, 0))
           > 0) {
        total += sent;
    }
    return total;
}

/* ---- receiving ---- */

int
peer_take(int fd, void *buffer, size_t size)
{
    ssize_t got = recv(fd, buffer, size, MSG_DONTWAIT);

    return got < 0 ? -errno : (int)got;
}

bool
peer_hears(int fd, const char *text)
{
    KOLK_TIMEOUT(timeout, PEER_PATIENCE);
    char heard[256];
    size_t size = strlen(text), got = 0;
    int some = 0;

    while (got < size
           && (some = kolk_recv(fd, heard + got, size - got, 0)) > 0) {
        got += (size_t)some;
    }
    some = kolk_timeout_end(&timeout, some);
    return CHECK(some > 0) && CHECK(memcmp(heard, text, size) == 0);
}

int
peer_count_to_end(int fd)
{
    KOLK_TIMEOUT(timeout, PEER_PATIENCE);
    static char heard[65536];
    int total = 0, some;

    while ((some = kolk_recv(fd, heard, sizeof heard, 0)) > 0) {
        total += some;
    }
    some = kolk_timeout_end(&timeout, some);
    CHECK(some != -ETIMEDOUT);
    return some < 0 ? some : total;
}

/* ---- the end ---- */

void
peer_half_close(int fd)
{
    CHECK_INT(shutdown(fd, SHUT_WR), 0);
}

void
peer_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
              0);
    peer_close(fd);
}

void
peer_close(int fd)
{
    kolk_loop *loop = kolk_current_loop();

    if (loop != NULL) {
        kolk_forget(loop, fd);
    }
    test_close(fd);
}

/* ---- whole tests ---- */

struct peer_plan {
    enum peer_kind kind;
    const kolk_stream_options *options;
    peer_test_fn *fn;
};

static int
peer_main(void *arg)
{
    const struct peer_plan *plan = arg;
    kolk_stream *stream;
    int fd;

    if (peer_open(plan->kind, plan->options, &stream, &fd)) {
        plan->fn(stream, fd);
    }
    return 0;
}

void
peer_test(enum peer_kind kind, const kolk_stream_options *options,
          peer_test_fn *fn)
{
    struct peer_plan plan = {kind, options, fn};

    tasks_run(peer_main, &plan);
}

void
peer_test_both(peer_test_fn *fn)
{
    peer_test(PEER_UNIX, NULL, fn);
    peer_test(PEER_TCP, NULL, fn);
}

static void
peer_free_place(void *place)
{
    kolk_stream_free(*(kolk_stream **)place);
}

void
peer_free_later(kolk_stream **place)
{
    test_later(peer_free_place, (void *)place);
}

void
peer_read(kolk_stream *stream, const char *text)
{
    KOLK_TIMEOUT(timeout, PEER_PATIENCE);
    char bytes[256] = "";
    int size = kolk_stream_read(stream, bytes, sizeof bytes - 1);

    if (CHECK_OK(kolk_timeout_end(&timeout, size))) {
        CHECK_STR(bytes, text);
    }
}
