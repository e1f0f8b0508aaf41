/* kolk_tls_echo.c - an echo server with TLS, of callbacks alone.
 *
 * SPDX-License-Identifier: MIT
 *
 * KOLK_BACKEND in the environment chooses what it runs on.
 */
#include "bench_kolk.h"
#include "bench_net.h"
#include "bench_tls.h"

struct echo {
    kolk_protocol protocol;
    kolk_transport *transport;
};

static struct {
    kolk_loop *loop;
    kolk_tls_context *context;
    kolk_watch watch; /* of the listener */
} server;

static void
echo_received(kolk_protocol *protocol, kolk_transport *transport,
              const void *data, size_t size)
{
    (void)protocol;
    bench_ok("write", kolk_transport_write(transport, data, size));
}

static void
echo_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    struct echo *self = KOLK_CONTAINER_OF(protocol, struct echo, protocol);

    (void)transport, (void)error; /* the load has ended */
    kolk_transport_unref(self->transport);
    free(self);
}

static const kolk_protocol_ops echo_ops = {
    .data_received = echo_received,
    .connection_lost = echo_lost,
};

static void
echo_accept(kolk_watch *watch)
{
    const kolk_tls_start start = {.is_server = true};
    int fd;

    while ((fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           >= 0) {
        struct echo *self = bench_calloc(1, sizeof *self);
        kolk_tls_engine *engine;

        self->protocol.ops = &echo_ops;
        bench_ok("open",
                 kolk_transport_open(server.loop, fd, NULL, &self->protocol,
                                     &self->transport));
        bench_ok("engine", kolk_tls_engine_new(server.context, NULL, &engine));
        bench_ok("start_tls",
                 kolk_transport_start_tls(self->transport, engine, &start));
    }
}

int
main(void)
{
    char path[64];
    const kolk_tls_options options = {.is_server = true, .certificate = path};

    bench_tls_file(path);
    bench_ok("context", kolk_tls_context_new(&options, &server.context));
    bench_ok("loop", kolk_loop_open(NULL, &server.loop));
    kolk_watch_init(&server.watch, bench_listen(SOCK_NONBLOCK), echo_accept,
                    NULL);
    bench_ok("watch",
             kolk_watch_start(server.loop, &server.watch, KOLK_READABLE));
    return bench_ok("run", kolk_run_forever(server.loop));
}
