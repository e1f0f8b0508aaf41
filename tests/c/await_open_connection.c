/* await_open_connection.c - streams to somewhere else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A listening socket of the test's; its port goes to `port`. */
static int
listen_tcp(char port[8])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct sockaddr *name = (struct sockaddr *)&address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    CHECK(fd >= 0 && bind(fd, name, size) == 0 && listen(fd, 4) == 0
          && getsockname(fd, name, &size) == 0);
    test_own(fd);
    (void)snprintf(port, 8, "%d", ntohs(address.sin_port));
    return fd;
}

static int
open_main(void *unused)
{
    kolk_stream *stream;
    char port[8];
    int listener = listen_tcp(port);

    (void)unused;
    if (!CHECK_OK(
            kolk_open_connection("127.0.0.1", port, NULL, NULL, &stream))) {
        return 0;
    }
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (CHECK(fd >= 0)) {
        test_own(fd);
        CHECK_OK(kolk_stream_write(stream, "there", 5));
        if (peer_hears(fd, "there")) {
            peer_say(fd, "and back");
            peer_read(stream, "and back");
        }
    }
    CHECK_OK(kolk_stream_close(stream));
    return 0;
}

TEST(a_connection_is_opened_by_name_and_port)
{
    tasks_run_real(open_main, NULL);
}

static int
refused_main(void *unused)
{
    kolk_stream *stream = NULL;
    char port[8];

    (void)unused;
    test_close(listen_tcp(port));
    CHECK_ERR(kolk_open_connection("127.0.0.1", port, NULL, NULL, &stream),
              -ECONNREFUSED);
    CHECK_ERR(kolk_open_unix_connection("/nowhere/at/all", 15, NULL, &stream),
              -ENOENT);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_open_connection("127.0.0.1", port, NULL, NULL, &stream),
              -ECANCELED);
    CHECK_INT(kolk_task_uncancel(kolk_current_task()), 0);
    CHECK_PTR(stream, NULL);
    return 0;
}

TEST(what_cannot_be_connected_gives_no_stream)
{
    tasks_run_real(refused_main, NULL);
}

static int
unix_main(void *unused)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[32];
    kolk_stream *stream;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)unused;
    test_own(listener);
    int length = snprintf(name, sizeof name, "%ckolk-open-%d", 0, getpid());
    memcpy(address.sun_path, name, (size_t)length);
    socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 1), 0);
    if (CHECK_OK(
            kolk_open_unix_connection(name, (size_t)length, NULL, &stream))) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        test_own(fd);
        CHECK_OK(kolk_stream_write(stream, "local", 5));
        peer_hears(fd, "local");
        CHECK_OK(kolk_stream_close(stream));
    }
    return 0;
}

TEST(a_unix_connection_is_opened_by_its_name)
{
    tasks_run_real(unix_main, NULL);
}
