/* kolk_transport_echo.c - an echo server of callbacks: transports and
 * protocols.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench_kolk.h"
#include "bench_net.h"

struct echo_connection {
    kolk_protocol protocol;
    kolk_transport *transport;
};

static void
echo_received(kolk_protocol *protocol, kolk_transport *transport,
              const void *data, size_t size)
{
    (void)protocol;
    bench_ok("kolk_transport_write",
             kolk_transport_write(transport, data, size));
}

static void
echo_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)error; /* the load ended, or gave up and said why */
    kolk_transport_unref(transport);
    free(KOLK_CONTAINER_OF(protocol, struct echo_connection, protocol));
}

static const kolk_protocol_ops echo_ops = {
    .data_received = echo_received,
    .connection_lost = echo_lost,
};

struct echo_listener {
    kolk_op op;
    kolk_loop *loop;
    int fd;
};

static void
echo_accept(struct echo_listener *self)
{
    bench_ok("kolk_op_accept",
             kolk_op_accept(self->loop, &self->op, self->fd, NULL, NULL, 0));
}

static void
echo_accepted(kolk_op *op)
{
    struct echo_listener *self =
        KOLK_CONTAINER_OF(op, struct echo_listener, op);
    struct echo_connection *connection = malloc(sizeof *connection);

    if (connection == NULL) {
        bench_die("malloc", ENOMEM);
    }
    connection->protocol.ops = &echo_ops;
    bench_ok("kolk_transport_open",
             kolk_transport_open(self->loop, bench_ok("accept", op->result),
                                 NULL, &connection->protocol,
                                 &connection->transport));
    echo_accept(self);
}

int
main(void)
{
    struct echo_listener listener = {.fd = bench_listen(SOCK_NONBLOCK)};

    bench_ok("kolk_loop_open", kolk_loop_open(NULL, &listener.loop));
    kolk_op_init(&listener.op, echo_accepted, NULL);
    echo_accept(&listener);
    return bench_ok("kolk_run_forever", kolk_run_forever(listener.loop));
}
