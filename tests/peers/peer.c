/* peer.c - what programs of others are tried against: an echo server, and a
 * client.
 *
 * SPDX-License-Identifier: MIT
 *
 *   peer tcp | unix PATH | udp     serves until SIGTERM, after one line with
 *                                  the port, or the path
 *   peer connect HOST PORT         sends what comes from standard input, ends
 *                                  its stream, and writes what it receives
 *   peer connect-unix PATH
 */
#include <errno.h>
#include <kolk.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int argument_count;
static char **arguments;

static int
fail(const char *what, int err)
{
    (void)fprintf(stderr, "peer: %s: %s\n", what, kolk_strerror(err));
    return err;
}

/* ---- servers ---- */

static int
echo(kolk_stream *stream, void *arg)
{
    char block[16384];
    int size, err = 0;

    (void)arg;
    while ((size = kolk_stream_read(stream, block, sizeof block)) > 0
           && err == 0) {
        err = kolk_stream_write(stream, block, (size_t)size);
        if (err == 0) {
            err = kolk_stream_drain(stream);
        }
    }
    return 0;
}

static int
wait_for_the_end(void)
{
    static const int signums[] = {SIGTERM};

    return kolk_signal_wait(signums, 1);
}

static int
serve(kolk_server *server)
{
    int err = wait_for_the_end();

    kolk_server_close(server);
    kolk_server_abort_clients(server);
    int joined = kolk_server_join(server);
    kolk_server_unref(server);
    return err < 0 ? err : joined;
}

static int
serve_tcp(void)
{
    kolk_server *server;
    int err = kolk_serve("127.0.0.1", "0", NULL, echo, NULL, &server);

    if (err < 0) {
        return fail("serving", err);
    }
    printf("%d\n", kolk_server_port(server));
    return serve(server);
}

static int
serve_unix(const char *path)
{
    kolk_server *server;
    int err = kolk_serve_unix(path, strlen(path), NULL, echo, NULL, &server);

    if (err < 0) {
        return fail(path, err);
    }
    printf("%s\n", path);
    return serve(server);
}

static int
echo_datagrams(void *arg)
{
    static char bytes[65536];
    kolk_datagram *datagram = arg;
    kolk_address from;
    int size = 0;

    while (size != -ESHUTDOWN && size != -ECANCELED) {
        size = kolk_datagram_recv(datagram, bytes, sizeof bytes, &from);
        if (size >= 0) {
            (void)!kolk_datagram_send(datagram, bytes, (size_t)size, &from);
        }
    }
    return 0;
}

static int
serve_udp(void)
{
    kolk_datagram_options options = {0};
    kolk_datagram *datagram;
    kolk_address name;
    kolk_task *task;

    int err = kolk_address_parse("127.0.0.1", 0, &options.local);
    if (err >= 0) {
        err =
            kolk_datagram_open(kolk_current_loop(), &options, NULL, &datagram);
    }
    if (err < 0) {
        return fail("opening", err);
    }
    err = kolk_datagram_sockname(datagram, &name);
    if (err == 0) {
        err = kolk_spawn(echo_datagrams, datagram, &task);
    }
    if (err == 0) {
        printf("%d\n", kolk_address_port(&name));
        err = wait_for_the_end();
        kolk_datagram_close(datagram);
        int joined = kolk_join(task);
        err = err < 0 ? err : joined;
        kolk_future_unref(task);
    }
    kolk_datagram_unref(datagram);
    return err < 0 ? err : 0;
}

/* ---- the client ---- */

/* Sends standard input, which is read in a thread. */
struct input {
    char block[65536];
};

static int
read_input(void *arg)
{
    struct input *self = arg;
    ssize_t size = read(STDIN_FILENO, self->block, sizeof self->block);

    return size < 0 ? -errno : (int)size;
}

static int
send_input(void *arg)
{
    static struct input input;
    kolk_stream *stream = arg;
    int size;

    while ((size = kolk_to_thread(read_input, &input)) > 0) {
        int err = kolk_stream_write(stream, input.block, (size_t)size);

        if (err == 0) {
            err = kolk_stream_drain(stream);
        }
        if (err < 0) {
            return err;
        }
    }
    return size < 0 ? size : kolk_stream_write_eof(stream);
}

static int
talk(kolk_stream *stream)
{
    char block[16384];
    kolk_task *sender;
    int size, err = kolk_spawn(send_input, stream, &sender);

    if (err < 0) {
        kolk_stream_abort(stream);
        return fail("a task", err);
    }
    while ((size = kolk_stream_read(stream, block, sizeof block)) > 0) {
        if (fwrite(block, 1, (size_t)size, stdout) != (size_t)size
            || fflush(stdout) != 0) {
            size = -EIO;
            break;
        }
    }
    err = kolk_await(sender);
    kolk_future_unref(sender);
    (void)kolk_stream_close(stream);
    if (size < 0) {
        return fail("receiving", size);
    }
    return err < 0 ? fail("sending", err) : 0;
}

static int
connect_and_talk(void)
{
    kolk_stream *stream;
    int err;

    if (strcmp(arguments[1], "connect") == 0) {
        err = kolk_open_connection(arguments[2], arguments[3], NULL, NULL,
                                   &stream);
    } else {
        err = kolk_open_unix_connection(arguments[2], strlen(arguments[2]),
                                        NULL, &stream);
    }
    return err < 0 ? fail("connecting", err) : talk(stream);
}

static int
run(void *unused)
{
    (void)unused;
    if (strcmp(arguments[1], "tcp") == 0) {
        return serve_tcp();
    }
    if (strcmp(arguments[1], "udp") == 0) {
        return serve_udp();
    }
    if (strcmp(arguments[1], "unix") == 0 && argument_count == 3) {
        return serve_unix(arguments[2]);
    }
    return argument_count >= 3 ? connect_and_talk() : -EINVAL;
}

int
main(int argc, char **argv)
{
    argument_count = argc;
    arguments = argv;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) {
        (void)fprintf(stderr, "usage: peer tcp | udp | unix PATH | connect "
                              "HOST PORT | connect-unix PATH\n");
        return 2;
    }
    return kolk_run(run, NULL) < 0;
}
