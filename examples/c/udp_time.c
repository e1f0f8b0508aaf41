/* udp_time.c - a service over UDP, and clients that ask again.
 *
 * Datagrams get lost: this server answers every second one only, and a client
 * that has waited for a while asks anew.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

enum { CLIENTS = 10, TRIES = 20 };

static int asked, answered;

static int
time_serve(void *socket)
{
    char text[32];
    kolk_address from;
    int n = 0;
    while (n >= 0) {
        n = kolk_datagram_recv(socket, text, sizeof text, &from);
        if (n >= 0 && ++asked % 2 == 0) {
            n = snprintf(text, sizeof text, "%lld", (long long)kolk_now(NULL));
            n = kolk_datagram_send_wait(socket, text, (size_t)n, &from);
        }
    }
    return n;
}

static int
time_ask(kolk_datagram *socket)
{
    char text[32];
    KOLK_TIMEOUT(timeout, KOLK_MS(20));
    int n = kolk_datagram_send_wait(socket, "what time is it?", 16, NULL);
    n = n < 0 ? n : kolk_datagram_recv(socket, text, sizeof text, NULL);
    answered += n > 0;
    return kolk_timeout_end(&timeout, n);
}

static int
client_run(void *address)
{
    kolk_datagram_options options = {.remote = *(kolk_address *)address};
    kolk_datagram *socket;
    int n = kolk_datagram_open(kolk_current_loop(), &options, NULL, &socket);
    if (n < 0) {
        return n;
    }
    n = -ETIMEDOUT;
    for (int i = 0; i < TRIES && n == -ETIMEDOUT; i++) {
        n = time_ask(socket);
    }
    kolk_datagram_close(socket);
    kolk_datagram_unref(socket);
    return n;
}

static int
time_run(kolk_datagram *socket)
{
    kolk_address address;
    int err = kolk_datagram_sockname(socket, &address);
    KOLK_GROUP(server);
    err = err < 0 ? err : kolk_group_spawn(&server, time_serve, socket, NULL);
    KOLK_GROUP(clients);
    for (int i = 0; i < CLIENTS && err == 0; i++) {
        err = kolk_group_spawn(&clients, client_run, &address, NULL);
    }
    err = kolk_group_end(&clients, err);
    kolk_group_cancel(&server);
    return kolk_group_end(&server, err);
}

static int
main_run(void *arg)
{
    kolk_datagram_options options = {0};
    kolk_loop *loop = kolk_current_loop();
    kolk_datagram *socket;
    (void)arg;
    int err = kolk_address_parse("127.0.0.1", 0, &options.local);
    err = err < 0 ? err : kolk_datagram_open(loop, &options, NULL, &socket);
    if (err == 0) {
        err = time_run(socket);
        kolk_datagram_unref(socket);
    }
    return err;
}

int
main(void)
{
    int err = kolk_run(main_run, NULL);
    (void)printf("%d of %d clients have the time\n", answered, CLIENTS);
    return err < 0;
}
