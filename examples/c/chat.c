/* chat.c - a chat server, and 100 clients that all hear each other.
 *
 * What a client says goes to every other one. Writing never waits, so one that
 * reads slowly keeps nobody up.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS = 100 };

/* The room: everybody who is in it. */
static kolk_stream *guests[CLIENTS];
static int guest_count;
static int heard; /* by all clients together */
static kolk_barrier everybody = KOLK_BARRIER_INIT(CLIENTS);

static void
room_tell(const kolk_stream *from, const char *line, int size)
{
    for (int i = 0; i < guest_count; i++) {
        if (guests[i] != from
            && kolk_stream_write(guests[i], line, (size_t)size) < 0) {
            continue; /* its own task will see that it is gone */
        }
    }
}

static int
guest_serve(kolk_stream *stream, void *arg)
{
    const char *line;
    (void)arg;
    guests[guest_count++] = stream; /* there are no more than the clients */
    int size = kolk_stream_print(stream, "welcome\n");
    while (size >= 0 && (size = kolk_stream_readline(stream, &line)) > 0) {
        room_tell(stream, line, size);
    }
    for (int i = 0; i < guest_count; i++) {
        if (guests[i] == stream) {
            guests[i] = guests[--guest_count];
        }
    }
    return size;
}

/* Says hello once everybody is there, and hears the hello of all others. */
static int
client_run(void *service)
{
    kolk_stream *stream;
    const char *line;
    int err = kolk_open_connection("localhost", service, NULL, NULL, &stream);
    if (err < 0) {
        return err;
    }
    err = kolk_stream_readline(stream, &line); /* the welcome */
    err = err < 0 ? err : kolk_barrier_wait(&everybody);
    err = err < 0 ? err : kolk_stream_print(stream, "hello\n");
    for (int i = 0; i < CLIENTS - 1 && err >= 0; i++) {
        err = kolk_stream_readline(stream, &line);
        heard += err == 6 && memcmp(line, "hello\n", 6) == 0;
    }
    /* Who left early could not be heard. */
    err = err < 0 ? err : kolk_barrier_wait(&everybody);
    (void)kolk_stream_close(stream);
    return err;
}

static int
chat_run(void *arg)
{
    kolk_server *server;
    char service[16];
    (void)arg;
    int err = kolk_serve("localhost", "0", NULL, guest_serve, NULL, &server);
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
    kolk_server_unref(server);
    (void)printf("%d clients, %d hellos heard\n", CLIENTS, heard);
    return err;
}

int
main(void)
{
    int err = kolk_run(chat_run, NULL);
    return err < 0 || heard != CLIENTS * (CLIENTS - 1);
}
