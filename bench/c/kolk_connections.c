/* kolk_connections.c - how much memory does an idle connection hold?
 *
 * SPDX-License-Identifier: MIT
 *
 * Once as a transport with a protocol, once as a stream whose task waits for
 * the first byte. Each is measured in a process of its own, and the clients
 * are another. Memory is resident pages and page tables of the server; what
 * the kernel holds is not in it.
 */
#include "bench_kolk.h"
#include "bench_net.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static long connections_wanted, connections_open;

/* Opens the connections to `port`, and holds them. */
static void
connections_hold(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    bench_check("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
    for (long i = 0; i < connections_wanted; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bench_check("socket", fd);
        bench_check("connect",
                    connect(fd, (struct sockaddr *)&address, sizeof address));
    }
    for (;;) {
        (void)pause(); /* until the server has ended */
    }
}

/* Measures what `server` holds, in a task of its loop, and ends the process. */
static void
connections_measure(kolk_server *server, const char *metric)
{
    long before = bench_memory_kib();
    int port = bench_ok("kolk_server_port", kolk_server_port(server));
    pid_t clients = fork();

    bench_check("fork", clients);
    if (clients == 0) {
        connections_hold(port);
    }
    while (connections_open < connections_wanted) {
        bench_ok("kolk_sleep", kolk_sleep(KOLK_MS(1)));
    }
    long held = bench_memory_kib() - before;
    bench_print(metric, connections_wanted,
                (double)held * 1024 / (double)connections_wanted);
    bench_check("stdout", fflush(stdout));
    (void)kill(clients, SIGKILL);
    _exit(0); /* closing them is another question */
}

/* ---- with a task ---- */

static int
connections_serve(kolk_stream *stream, void *unused)
{
    char byte;

    (void)unused;
    connections_open++;
    return kolk_stream_read(stream, &byte, 1);
}

static int
connections_of_tasks(void *unused)
{
    kolk_serve_options options = {.server.backlog = BENCH_BACKLOG};
    kolk_server *server;

    (void)unused;
    bench_ok("kolk_serve", kolk_serve("127.0.0.1", "0", &options,
                                      connections_serve, NULL, &server));
    connections_measure(server, "connection_task");
    return 0;
}

/* ---- with callbacks ---- */

static void
connections_received(kolk_protocol *protocol, kolk_transport *transport,
                     const void *data, size_t size)
{
    (void)protocol, (void)transport, (void)data, (void)size;
}

static void
connections_lost(kolk_protocol *protocol, kolk_transport *transport, int error)
{
    (void)protocol, (void)transport, (void)error;
}

static const kolk_protocol_ops connections_ops = {
    .data_received = connections_received,
    .connection_lost = connections_lost,
};

static void
connections_accepted(kolk_server *server, int fd, const kolk_address *peer)
{
    kolk_transport_options options = {.server = server};
    kolk_protocol *protocol = bench_calloc(1, sizeof *protocol);
    kolk_transport *transport;

    (void)peer;
    protocol->ops = &connections_ops;
    bench_ok("kolk_transport_open",
             kolk_transport_open(kolk_server_loop(server), fd, &options,
                                 protocol, &transport));
    connections_open++;
}

static int
connections_of_callbacks(void *unused)
{
    static const kolk_server_ops ops = {.accepted = connections_accepted};
    kolk_server_options options = {.backlog = BENCH_BACKLOG};
    kolk_address address;
    kolk_server *server;

    (void)unused;
    bench_ok("kolk_address_parse",
             kolk_address_parse("127.0.0.1", 0, &address));
    bench_ok("kolk_server_new", kolk_server_new(kolk_current_loop(), &options,
                                                &ops, NULL, &server));
    bench_ok("kolk_server_bind", kolk_server_bind(server, &address));
    bench_ok("kolk_server_start", kolk_server_start(server));
    connections_measure(server, "connection_plain");
    return 0;
}

/* Runs `fn` in a process of its own. */
static void
connections_ask(kolk_task_fn *fn)
{
    int status;
    pid_t server = fork();

    bench_check("fork", server);
    if (server == 0) {
        exit(bench_ok("kolk_run", kolk_run(fn, NULL)));
    }
    bench_check("waitpid", waitpid(server, &status, 0));
    if (status != 0) {
        exit(1);
    }
}

int
main(int argc, char **argv)
{
    connections_wanted = bench_size(argc, argv, 1, 10000);
    connections_ask(connections_of_callbacks);
    connections_ask(connections_of_tasks);
    return 0;
}
