/* soak_held.c - as many connections as descriptors allow, open at a time.
 *
 * SPDX-License-Identifier: MIT
 *
 * The clients are another process, which has descriptors of its own, and come
 * from several addresses of this machine, because one has not enough ports.
 * They are plain blocking sockets.
 */
#include "soak_place.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { HELD = 19000, HELD_SPARE = 100, HELD_SOURCES = 16, HELD_SECONDS = 50 };

static struct {
    pid_t pid;
    int orders[2]; /* to the clients: the port; then a byte: ask */
    int news[2];   /* from them: a byte for each thing that is done */
    size_t count;
} clients;

/* ---- the clients ---- */

static void
held_give_up(const char *what)
{
    (void)fprintf(stderr, "clients: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static int
held_connect(size_t number, const struct sockaddr_in *server)
{
    struct timeval patience = {.tv_sec = HELD_SECONDS};
    struct linger linger = {.l_onoff = 1}; /* leaves no ports behind */
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr.s_addr =
            htonl(INADDR_LOOPBACK + 16 + (uint32_t)(number % HELD_SOURCES))};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0
        || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on)
               < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience)
               < 0
        || setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0
        || bind(fd, (const struct sockaddr *)&source, sizeof source) < 0
        || connect(fd, (const struct sockaddr *)server, sizeof *server) < 0) {
        held_give_up("connecting");
    }
    return fd;
}

static void
held_be_clients(void)
{
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int *fds = calloc(clients.count, sizeof *fds);
    char byte;

    (void)alarm(HELD_SECONDS);
    if (fds == NULL
        || read(clients.orders[0], &server.sin_port, sizeof server.sin_port)
               != sizeof server.sin_port) {
        held_give_up("orders");
    }
    for (size_t i = 0; i < clients.count; i++) {
        fds[i] = held_connect(i, &server);
    }
    if (write(clients.news[1], "c", 1) != 1
        || read(clients.orders[0], &byte, 1) != 1) {
        held_give_up("news");
    }
    for (size_t i = 0; i < clients.count; i++) {
        byte = (char)('A' + i % 26);
        if (send(fds[i], &byte, 1, MSG_NOSIGNAL) != 1) {
            held_give_up("asking");
        }
    }
    for (size_t i = 0; i < clients.count; i++) {
        if (recv(fds[i], &byte, 1, 0) != 1 || byte != (char)('A' + i % 26)) {
            held_give_up("an answer");
        }
    }
    (void)!write(clients.news[1], "a", 1);
    _exit(0);
}

static void
held_end(void *unused)
{
    int status;

    (void)unused;
    if (clients.pid > 0) {
        (void)kill(clients.pid, SIGKILL);
        (void)waitpid(clients.pid, &status, 0);
    }
}

/* Before there is a loop. */
static void
held_begin(void)
{
    struct rlimit limit;

    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < HELD + HELD_SPARE) {
        printf("skipped: %llu descriptors are allowed, %d are needed\n",
               (unsigned long long)limit.rlim_max, HELD + HELD_SPARE);
        (void)fflush(stdout);
        _exit(77);
    }
    limit.rlim_cur = limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    clients.count = test_count(HELD);
    CHECK_INT(pipe2(clients.orders, O_CLOEXEC), 0);
    CHECK_INT(pipe2(clients.news, O_CLOEXEC), 0);
    (void)fflush(NULL);
    clients.pid = fork();
    CHECK(clients.pid >= 0);
    if (clients.pid == 0) {
        (void)close(clients.orders[1]);
        (void)close(clients.news[0]);
        held_be_clients();
    }
    test_later(held_end, NULL);
    test_own(clients.orders[1]);
    test_own(clients.news[0]);
    CHECK_INT(close(clients.orders[0]), 0);
    CHECK_INT(close(clients.news[1]), 0);
    CHECK_INT(fcntl(clients.news[0], F_SETFL, O_NONBLOCK), 0);
}

/* ---- the server ---- */

/* Waits for the next byte of the clients; an end says that they failed. */
static bool
held_hear(char expected)
{
    char byte = '\0';

    CHECK_INT(kolk_read(clients.news[0], &byte, 1), 1);
    return CHECK_INT(byte, expected);
}

static int
held_count(void)
{
    return (int)kolk_server_count(place.servers[0]);
}

static void
held_serve(void)
{
    uint16_t port = htons((uint16_t)kolk_server_port(place.servers[0]));

    CHECK_INT(write(clients.orders[1], &port, sizeof port), sizeof port);
    if (!held_hear('c')) {
        return;
    }
    for (int i = 0; i < 10000 && held_count() < (int)clients.count; i++) {
        CHECK_OK(kolk_sleep(KOLK_MS(1))); /* some are in the queue */
    }
    if (!CHECK_INT(held_count(), clients.count)) {
        return;
    }
    printf("%zu connections: %zu KiB in memory\n", clients.count,
           soak_resident() / 1024);
    CHECK_OK(kolk_sleep(KOLK_MS(300))); /* idle */
    CHECK_INT(held_count(), clients.count);
    CHECK_INT(write(clients.orders[1], "!", 1), 1);
    (void)held_hear('a');
    soak_settle(held_count, 0);
    CHECK_INT(held_count(), 0);
}

static int
held_main(void *unused)
{
    kolk_serve_options options = {.server.backlog = 4096};

    (void)unused;
    soak_wake_up();
    if (!CHECK_OK(kolk_serve("127.0.0.1", "0", &options, serve, NULL,
                             &place.servers[0]))) {
        return 0;
    }
    test_later(serve_end, NULL);
    int idle = soak_descriptors();
    held_serve();
    kolk_forget(kolk_current_loop(), clients.news[0]);
    CHECK_INT(soak_descriptors(), idle);
    serve_stop();
    return 0;
}

TEST_TIME(each_of_19000_idle_connections_is_answered)
{
    int status = -1;

    held_begin();
    tasks_run_real(held_main, NULL);
    CHECK_INT(waitpid(clients.pid, &status, 0), clients.pid);
    clients.pid = 0;
    CHECK_INT(status, 0);
}
