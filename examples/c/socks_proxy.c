/* socks_proxy.c - a SOCKS5 proxy (RFC 1928): connects for others.
 *
 *     socks_proxy [PORT]       then   curl --socks5-hostname localhost:PORT URL
 *
 * A client says where it wants to go. From then on bytes go both ways, and each
 * way ends on its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

static int
bytes_pass(void *way)
{
    kolk_stream *from = *(kolk_stream **)way, *to = ((kolk_stream **)way)[1];
    char block[16384];
    int n;
    while ((n = kolk_stream_read(from, block, sizeof block)) > 0) {
        n = kolk_stream_write(to, block, (size_t)n);
        n = n < 0 ? n : kolk_stream_drain(to);
        if (n < 0) {
            return n;
        }
    }
    return n < 0 ? n : kolk_stream_write_eof(to);
}

static int
request_read(kolk_stream *peer, char host[256], char service[8])
{
    uint8_t head[4], bytes[256], port[2], size = 1;
    int err = kolk_stream_read_exactly(peer, head, 2, NULL);
    err = err < 0 ? err : kolk_stream_read_exactly(peer, bytes, head[1], NULL);
    err = err < 0 ? err : kolk_stream_write(peer, "\5\0", 2);
    err = err < 0 ? err : kolk_stream_read_exactly(peer, head, 4, NULL);
    if (err < 0 || head[0] != 5 || head[1] != 1) {
        return err < 0 ? err : -EPROTO;
    }
    if (head[3] == 3) { /* a name, after its length */
        err = kolk_stream_read_exactly(peer, &size, 1, NULL);
        err = err < 0 ? err : kolk_stream_read_exactly(peer, host, size, NULL);
        host[size] = 0;
    } else { /* an address: IPv4, or 4 and IPv6 */
        size = head[3] == 4 ? 16 : 4;
        err = kolk_stream_read_exactly(peer, bytes, size, NULL);
        (void)inet_ntop(size == 16 ? AF_INET6 : AF_INET, bytes, host, 256);
    }
    err = err < 0 ? err : kolk_stream_read_exactly(peer, port, 2, NULL);
    if (err == 0) {
        (void)snprintf(service, 8, "%d", port[0] << 8 | port[1]);
    }
    return err;
}

static int
client_serve(kolk_stream *client, void *arg)
{
    char answer[10] = {5, 0, 0, 1}, host[256], service[8];
    kolk_stream *server;
    (void)arg;
    int err = request_read(client, host, service);
    if (err < 0) {
        return err;
    }
    err = kolk_open_connection(host, service, NULL, NULL, &server);
    answer[1] = err < 0 ? 5 : 0; /* refused */
    if (kolk_stream_write(client, answer, sizeof answer) < 0 || err < 0) {
        return err;
    }
    kolk_stream *up[] = {client, server}, *down[] = {server, client};
    KOLK_GROUP(group);
    err = kolk_group_spawn(&group, bytes_pass, up, NULL);
    err = err < 0 ? err : bytes_pass(down);
    err = kolk_group_end(&group, err);
    (void)kolk_stream_close(server);
    return err;
}

static int
proxy_run(void *port)
{
    kolk_server *proxy = NULL;
    int err = kolk_serve("localhost", port, NULL, client_serve, NULL, &proxy);
    if (err == 0) {
        (void)printf("localhost:%d until Ctrl-C\n", kolk_server_port(proxy));
        (void)fflush(stdout);
        err = kolk_serve_forever(proxy);
        kolk_server_unref(proxy);
    }
    return err;
}

int
main(int argc, char **argv)
{
    int err = kolk_run(proxy_run, argc > 1 ? argv[1] : "1080");
    return err < 0 && err != -EINTR;
}
