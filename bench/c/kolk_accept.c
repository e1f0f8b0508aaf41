/* kolk_accept.c - a server that closes each connection it takes.
 *
 * SPDX-License-Identifier: MIT
 *
 * The argument is how many clients knock at a time.
 */
#include "bench_accept.h"
#include "bench_kolk.h"

static void
accept_one(kolk_server *server, int fd, const kolk_address *peer)
{
    (void)peer;
    (void)close(fd); /* nothing was written to it */
    kolk_server_release(server);
    bench_accept_count();
}

int
main(int argc, char **argv)
{
    static const kolk_server_ops ops = {.accepted = accept_one};
    const kolk_server_options options = {.backlog = BENCH_BACKLOG};
    long size = bench_size(argc, argv, 1, 1);
    kolk_address address;
    kolk_server *server;
    kolk_loop *loop;

    bench_ok("kolk_address_parse",
             kolk_address_parse("127.0.0.1", 0, &address));
    bench_ok("kolk_loop_open", kolk_loop_open(NULL, &loop));
    bench_ok("kolk_server_new",
             kolk_server_new(loop, &options, &ops, NULL, &server));
    int listener =
        bench_ok("kolk_server_bind", kolk_server_bind(server, &address));
    bench_ok("kolk_server_start", kolk_server_start(server));
    bench_accept_begin(listener, size);
    return bench_ok("kolk_run_forever", kolk_run_forever(loop));
}
