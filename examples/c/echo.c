/* echo.c - a TCP server that says back what it hears, and clients that try it.
 *
 * kolk_serve() runs a task for each connection, which reads and writes as a
 * blocking program would. The clients connect by name: all addresses of
 * "localhost" are tried until one answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS = 20, ROUNDS = 50 };

static int
echo_serve(kolk_stream *stream, void *arg)
{
    char buffer[4096];
    int n;
    (void)arg;
    while ((n = kolk_stream_read(stream, buffer, sizeof buffer)) > 0) {
        int err = kolk_stream_write(stream, buffer, (size_t)n);
        err = err < 0 ? err : kolk_stream_drain(stream);
        if (err < 0) {
            return err;
        }
    }
    return n;
}

/* Returns how many answers were right. */
static int
client_talk(kolk_stream *stream)
{
    char hello[64], answer[64];
    for (int round = 0; round < ROUNDS; round++) {
        int size = snprintf(hello, sizeof hello, "this is round %d\n", round);
        int err = kolk_stream_write(stream, hello, (size_t)size);
        if (err == 0) {
            err = kolk_stream_read_exactly(stream, answer, (size_t)size, NULL);
        }
        if (err < 0 || memcmp(answer, hello, (size_t)size) != 0) {
            return err < 0 ? err : round;
        }
    }
    return ROUNDS;
}

static int
client_run(void *service)
{
    kolk_stream *stream;
    int err = kolk_open_connection("localhost", service, NULL, NULL, &stream);
    if (err < 0) {
        return err;
    }
    int rounds = client_talk(stream);
    err = kolk_stream_close(stream);
    if (rounds == ROUNDS && err == 0) {
        (void)printf("%d answers\n", rounds);
    }
    return rounds < 0 ? rounds : err;
}

static int
echo_run(void *arg)
{
    kolk_server *server;
    char service[16];
    (void)arg;
    int err = kolk_serve("localhost", "0", NULL, echo_serve, NULL, &server);
    if (err < 0) {
        return err;
    }
    (void)snprintf(service, sizeof service, "%d", kolk_server_port(server));
    KOLK_GROUP(clients);
    for (int i = 0; i < CLIENTS && err == 0; i++) {
        err = kolk_group_spawn(&clients, client_run, service, NULL);
    }
    err = kolk_group_end(&clients, err);
    kolk_server_close(server);
    int joined = kolk_server_join(server);
    kolk_server_unref(server);
    return err < 0 ? err : joined;
}

int
main(void)
{
    int err = kolk_run(echo_run, NULL);
    if (err < 0) {
        (void)fprintf(stderr, "echo: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
