/* from_asyncio_net.c - the same for connections, processes and signals.
 *
 * SPDX-License-Identifier: MIT
 */
#include "from_asyncio.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* [server] */
static int
echo(kolk_stream *stream, void *arg)
{
    const char *line;
    int n;
    (void)arg;
    while ((n = kolk_stream_readline(stream, &line)) > 0) {
        int err = kolk_stream_write(stream, line, (size_t)n);
        err = err < 0 ? err : kolk_stream_drain(stream);
        if (err < 0) {
            return err;
        }
    }
    return n; /* the stream is closed when this returns */
}

static int
client(int port)
{
    char service[16];
    const char *line;
    kolk_stream *stream;
    (void)snprintf(service, sizeof service, "%d", port);
    int err = kolk_open_connection("localhost", service, NULL, NULL, &stream);
    if (err < 0) {
        return err;
    }
    err = kolk_stream_print(stream, "hello\n");
    int n = err < 0 ? err : kolk_stream_readline(stream, &line);
    err = kolk_stream_close(stream);
    return err < 0 ? err : n;
}

static int
server(void *arg)
{
    kolk_server *server;
    (void)arg;
    int err = kolk_serve("localhost", "0", NULL, echo, NULL, &server);
    if (err < 0) {
        return err;
    }
    int n = client(kolk_server_port(server));
    kolk_server_close(server);
    kolk_server_unref(server);
    return n;
}
/* [server] */

/* [reading] */
static int
reading(kolk_stream *stream)
{
    static const kolk_bytes end = {"\r\n", 2};
    char head[4], rest[100];
    const char *line;
    int err = kolk_stream_read_exactly(stream, head, sizeof head, NULL);
    int n = err < 0 ? err : kolk_stream_read_until(stream, &end, 1, &line);
    int m = n < 0 ? n : kolk_stream_read(stream, rest, sizeof rest);
    return m < 0 ? m : (int)sizeof head + n + m;
}
/* [reading] */

static int
reading_run(void *arg)
{
    kolk_stream *ends[2];
    (void)arg;
    int err = kolk_stream_pair(ends);
    if (err < 0) {
        return err;
    }
    err = kolk_stream_print(ends[1], "HEADline\r\nrest");
    int n = err < 0 ? err : reading(ends[0]);
    (void)kolk_stream_close(ends[1]);
    (void)kolk_stream_close(ends[0]);
    return n;
}

/* [protocol] */
struct echo {
    kolk_protocol protocol;
    kolk_transport *transport;
};

static void
echo_data_received(kolk_protocol *protocol, kolk_transport *transport,
                   const void *data, size_t size)
{
    (void)protocol;
    if (kolk_transport_write(transport, data, size) < 0) {
        kolk_transport_abort(transport);
    }
}

static void
echo_connection_lost(kolk_protocol *protocol, kolk_transport *transport,
                     int error)
{
    struct echo *echo = KOLK_CONTAINER_OF(protocol, struct echo, protocol);
    (void)error;
    kolk_transport_unref(transport);
    free(echo);
}

static const kolk_protocol_ops echo_ops = {
    .data_received = echo_data_received,
    .connection_lost = echo_connection_lost,
};

static int
echo_open(int fd)
{
    struct echo *echo = calloc(1, sizeof *echo);
    if (echo == NULL) {
        return -ENOMEM;
    }
    echo->protocol.ops = &echo_ops;
    int err = kolk_transport_open(kolk_current_loop(), fd, NULL,
                                  &echo->protocol, &echo->transport);
    if (err < 0) {
        free(echo);
    }
    return err;
}
/* [protocol] */

static int
protocol(void *arg)
{
    char data[100];
    int fds[2];
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)
        < 0) {
        return -errno;
    }
    int err = echo_open(fds[0]);
    err = err < 0 ? err : kolk_send(fds[1], "hello", 5, 0);
    err = err < 0 ? err : kolk_recv(fds[1], data, sizeof data, 0);
    (void)kolk_close(fds[1]); /* the transport sees that, and closes too */
    int yielded = kolk_sleep(KOLK_MS(1));
    return yielded < 0 ? yielded : err;
}

/* [datagram] */
static int
answer(void *arg)
{
    kolk_datagram *socket = arg;
    kolk_address from;
    char data[200];
    int n;
    while ((n = kolk_datagram_recv(socket, data, 100, &from)) >= 0) {
        memcpy(data + n, data, (size_t)n);
        n = kolk_datagram_send_wait(socket, data, 2 * (size_t)n, &from);
        if (n < 0) {
            break;
        }
    }
    return n;
}

static int
ask(const kolk_address *server)
{
    kolk_datagram_options options = {.remote = *server};
    kolk_datagram *socket;
    char data[100];
    int err = kolk_datagram_open(kolk_current_loop(), &options, NULL, &socket);
    if (err < 0) {
        return err;
    }
    err = kolk_datagram_send_wait(socket, "ping", 4, NULL);
    err = err < 0 ? err : kolk_datagram_recv(socket, data, sizeof data, NULL);
    kolk_datagram_close(socket);
    kolk_datagram_unref(socket);
    return err;
}

static int
datagram(void *arg)
{
    kolk_datagram_options options = {0};
    kolk_datagram *socket;
    kolk_address name;
    (void)arg;
    int err = kolk_address_parse("127.0.0.1", 0, &options.local);
    err = err < 0 ? err
                  : kolk_datagram_open(kolk_current_loop(), &options, NULL,
                                       &socket);
    if (err < 0) {
        return err;
    }
    KOLK_GROUP(group);
    err = kolk_group_spawn(&group, answer, socket, NULL);
    err = err < 0 ? err : kolk_datagram_sockname(socket, &name);
    int n = err < 0 ? err : ask(&name);
    kolk_group_cancel(&group);
    err = kolk_group_end(&group, n < 0 ? n : 0);
    kolk_datagram_close(socket);
    kolk_datagram_unref(socket);
    return err < 0 ? err : n;
}
/* [datagram] */

/* [process] */
static int
process(void *arg)
{
    kolk_process_options options = {
        .shell = "wc -c",
        .input = {.kind = KOLK_STDIO_PIPE},
        .output = {.kind = KOLK_STDIO_PIPE},
    };
    kolk_output output;
    (void)arg;
    int err = kolk_process_run(&options, "four", 4, 0, &output);
    if (err == 0) {
        err = atoi(output.output) + output.status;
    }
    kolk_output_fini(&output);
    return err;
}
/* [process] */

/* [signal] */
static int
signal_handler(void *arg)
{
    static const int signums[] = {SIGUSR1};
    kolk_signals signals;
    (void)arg;
    int err = kolk_signals_begin(&signals, signums, 1);
    if (err < 0) {
        return err;
    }
    (void)raise(SIGUSR1);
    int signum = kolk_signals_next(&signals);
    kolk_signals_end(&signals);
    return signum == SIGUSR1;
}
/* [signal] */

/* [names] */
static int
names(void *arg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int count = 0;
    (void)arg;
    int err = kolk_getaddrinfo("127.0.0.1", "80", &hints, &found);
    if (err < 0) {
        return err;
    }
    for (struct addrinfo *each = found; each != NULL; each = each->ai_next) {
        count++;
    }
    freeaddrinfo(found);
    return count;
}
/* [names] */

/* [reader] */
struct reader {
    kolk_watch watch;
    kolk_event readable;
};

static void
reader_run(kolk_watch *watch)
{
    struct reader *reader = KOLK_CONTAINER_OF(watch, struct reader, watch);
    kolk_event_set(&reader->readable);
    kolk_watch_stop(kolk_current_loop(), watch);
}

static int
reader_wait(int fd)
{
    struct reader reader = {.readable = KOLK_EVENT_INIT};
    kolk_watch_init(&reader.watch, fd, reader_run, NULL);
    int err =
        kolk_watch_start(kolk_current_loop(), &reader.watch, KOLK_READABLE);
    err = err < 0 ? err : kolk_event_wait(&reader.readable);
    kolk_watch_stop(kolk_current_loop(), &reader.watch);
    return err < 0 ? err : 1;
}
/* [reader] */

static int
reader(void *arg)
{
    int fds[2];
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)
        < 0) {
        return -errno;
    }
    int err = kolk_send(fds[1], "!", 1, 0);
    err = err < 0 ? err : reader_wait(fds[0]);
    (void)kolk_close(fds[0]);
    (void)kolk_close(fds[1]);
    return err;
}

/* [sendfile] */
static int
sendfile_to(kolk_stream *stream, int file)
{
    uint64_t sent = 0;
    int err = kolk_stream_sendfile(stream, file, 0, UINT64_MAX, &sent);
    return err < 0 ? err : (int)sent;
}
/* [sendfile] */

static int
sendfile_run(void *arg)
{
    kolk_stream *ends[2];
    FILE *file = tmpfile();
    (void)arg;
    if (file == NULL) {
        return -errno;
    }
    (void)fputs("twelve bytes", file);
    (void)fflush(file);
    int err = kolk_stream_pair(ends);
    if (err == 0) {
        err = sendfile_to(ends[0], fileno(file));
        (void)kolk_stream_close(ends[0]);
        (void)kolk_stream_close(ends[1]);
    }
    (void)fclose(file);
    return err;
}

static const struct piece pieces[] = {
    {"server", server, 6},
    {"reading", reading_run, 14},
    {"protocol", protocol, 5},
    {"datagram", datagram, 8},
    {"process", process, 4},
    {"signal", signal_handler, 1},
    {"names", names, 1},
    {"reader", reader, 1},
    {"sendfile", sendfile_run, 12},
};

int
main(void)
{
    return pieces_run(pieces, sizeof pieces / sizeof *pieces) > 0;
}
