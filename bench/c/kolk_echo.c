/* kolk_echo.c - an echo server: a task accepts, a task serves each connection.
 *
 * SPDX-License-Identifier: MIT
 *
 * KOLK_BACKEND in the environment chooses what it runs on.
 */
#include "bench_kolk.h"
#include "bench_net.h"

static int
echo_send_all(int fd, const char *buffer, size_t size)
{
    while (size > 0) {
        int sent = kolk_send(fd, buffer, size, MSG_NOSIGNAL);
        if (sent < 0) {
            return sent;
        }
        buffer += sent;
        size -= (size_t)sent;
    }
    return 0;
}

static int
echo_serve(void *arg)
{
    int fd = *(int *)arg;
    char buffer[BENCH_ECHO_BUFFER];
    int size;

    do {
        size = kolk_recv(fd, buffer, sizeof buffer, 0);
    } while (size > 0 && echo_send_all(fd, buffer, (size_t)size) == 0);
    return kolk_close(fd);
}

static int
echo_main(void *unused)
{
    kolk_spawn_options options = {.arg_size = sizeof(int)};
    int listener = bench_listen(SOCK_NONBLOCK);

    (void)unused;
    for (;;) { /* until it is killed */
        int fd = kolk_accept(listener, NULL, NULL, 0);
        if (fd < 0) {
            return fd;
        }
        bench_ok("kolk_spawn",
                 kolk_spawn_with(NULL, &options, echo_serve, &fd, NULL));
    }
}

int
main(void)
{
    return bench_ok("kolk_accept", kolk_run(echo_main, NULL));
}
