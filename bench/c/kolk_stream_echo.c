/* kolk_stream_echo.c - an echo server: a task and a stream for each connection.
 *
 * SPDX-License-Identifier: MIT
 *
 * KOLK_BACKEND in the environment chooses what it runs on.
 */
#include "bench_kolk.h"
#include "bench_net.h"

static int
echo_serve(void *arg)
{
    int fd = *(int *)arg;
    kolk_stream *stream;
    char buffer[BENCH_ECHO_BUFFER];
    int size;

    bench_ok("open", kolk_stream_open(fd, NULL, &stream));
    do {
        size = kolk_stream_read(stream, buffer, sizeof buffer);
    } while (size > 0 && kolk_stream_write(stream, buffer, (size_t)size) == 0
             && kolk_stream_drain(stream) == 0);
    return kolk_stream_close(stream);
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
