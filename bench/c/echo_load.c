/* echo_load.c - puts load on an echo server and tells the server's CPU time
 * per message.
 *
 * SPDX-License-Identifier: MIT
 *
 *     echo_load [-c connections] [-s size] [-t milliseconds | -m messages]
 *               [-n name of the metric] [-T] server [argument...]
 *
 * Starts the server, reads its port from its first line, opens the
 * connections, and keeps one message in flight on each until the time is over
 * or all messages are back. Every byte that comes back is compared. The
 * server's time is its process clock, read before and after the counted
 * messages; a tenth as many go uncounted before them.
 *
 * Server and load run on different processors where there are two. With one
 * connection they take turns, so they share one: otherwise the time that the
 * machine needs to wake a sleeping processor would hide everything else.
 *
 * -T speaks TLS, of whatever version the server likes best, and believes every
 * certificate. The handshakes are over before anything is counted.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef BENCH_HAVE_OPENSSL
#include <openssl/ssl.h>
#endif

enum { LOAD_EVENTS = 512, LOAD_PATTERN = 251 /* prime: shifts show */ };

struct load_connection {
    int fd;
    void *tls;        /* of OpenSSL, or NULL */
    long received;    /* of the message in flight */
    const char *text; /* what every message of this connection says */
};

static struct {
    long connections;
    long size;
    long milliseconds;
    long messages; /* 0: as many as fit in the time */
    bool tls;
    const char *name;
    char **command;
} options = {
    .connections = 10, .size = 1024, .milliseconds = 300, .name = "echo"};

static struct {
    struct load_connection *connections;
    char *pattern;
    char *buffer;
    int epoll;
    long echoed;
} load;

static struct {
    pid_t pid;
    int output; /* end of file: it and all it started are gone */
    clockid_t clock;
} server;

static void
options_parse(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "+c:s:t:m:n:T")) != -1) {
        if (option == 'n') {
            options.name = optarg;
            continue;
        }
        if (option == 'T') {
            options.tls = true;
            continue;
        }
        long *value = option == 'c'   ? &options.connections
                      : option == 's' ? &options.size
                      : option == 't' ? &options.milliseconds
                      : option == 'm' ? &options.messages
                                      : NULL;
        if (value == NULL || (*value = strtol(optarg, NULL, 10)) <= 0) {
            exit(2);
        }
    }
    if (optind == argc) {
        fprintf(stderr, "%s: no server given\n", argv[0]);
        exit(2);
    }
    options.command = argv + optind;
}

/* Keeps the calling process on one processor. */
static void
load_pin(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    /* Only steadies the result; a container may refuse it. */
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void
server_exec(int output)
{
    /* A server must not outlive a load that gave up. */
    bench_check("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
    load_pin(0);
    bench_check("dup2", dup2(output, STDOUT_FILENO));
    (void)execvp(options.command[0], options.command);
    fprintf(stderr, "%s: %s\n", options.command[0], strerror(errno));
    _exit(127);
}

/* Reads the first line byte by byte and returns the port it names. Nothing
 * or another line: the server has no answer here. */
static int
server_port(void)
{
    char line[64] = "";
    size_t length = 0;

    while (length < sizeof line - 1
           && read(server.output, line + length, 1) == 1
           && line[length] != '\n') {
        length++;
    }
    if (strncmp(line, "port\t", 5) != 0) {
        exit(BENCH_NO_ANSWER);
    }
    return (int)strtol(line + 5, NULL, 10);
}

static int
server_start(void)
{
    int ends[2];

    bench_check("pipe", pipe2(ends, O_CLOEXEC));
    server.pid = fork();
    bench_check("fork", server.pid);
    if (server.pid == 0) {
        server_exec(ends[1]);
    }
    load_pin(options.connections > 1 && sysconf(_SC_NPROCESSORS_ONLN) > 1);
    (void)close(ends[1]);
    server.output = ends[0];
    int port = server_port();
    int err = clock_getcpuclockid(server.pid, &server.clock);
    if (err != 0) {
        bench_die("clock_getcpuclockid", err);
    }
    return port;
}

static void
server_stop(void)
{
    char rest[64];

    (void)kill(server.pid, SIGTERM); /* already gone: the same to us */
    (void)waitpid(server.pid, NULL, 0);
    while (read(server.output, rest, sizeof rest) > 0) {
    }
}

/* ---- with TLS ---- */

#ifdef BENCH_HAVE_OPENSSL

static void
load_tls_connect(struct load_connection *connection)
{
    static SSL_CTX *context;

    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
    }
    SSL *tls = context != NULL ? SSL_new(context) : NULL;
    if (tls == NULL || SSL_set_fd(tls, connection->fd) != 1
        || SSL_connect(tls) != 1) {
        bench_die("the handshake", ECONNABORTED);
    }
    SSL_set_read_ahead(tls, 1);
    bench_check("fcntl", fcntl(connection->fd, F_SETFL, O_NONBLOCK));
    connection->tls = tls;
}

static ssize_t
load_tls_send(struct load_connection *connection, const void *data, size_t size)
{
    size_t sent;

    return SSL_write_ex(connection->tls, data, size, &sent) == 1 ? (ssize_t)sent
                                                                 : -1;
}

static ssize_t
load_tls_receive(struct load_connection *connection, void *data, size_t size)
{
    int got = SSL_read(connection->tls, data, (int)size);

    if (got <= 0) {
        bool is_early =
            SSL_get_error(connection->tls, got) == SSL_ERROR_WANT_READ;

        errno = is_early ? EAGAIN : ECONNRESET;
        return -1;
    }
    return got;
}

/* Has OpenSSL read ahead what epoll will not tell of again? */
static bool
load_tls_has_more(const struct load_connection *connection)
{
    return connection->tls != NULL && SSL_has_pending(connection->tls) == 1;
}

#else

static void
load_tls_connect(struct load_connection *connection)
{
    (void)connection;
    exit(BENCH_NO_ANSWER);
}

static ssize_t
load_tls_send(struct load_connection *connection, const void *data, size_t size)
{
    (void)connection, (void)data, (void)size;
    return -1;
}

static ssize_t
load_tls_receive(struct load_connection *connection, void *data, size_t size)
{
    (void)connection, (void)data, (void)size;
    return -1;
}

static bool
load_tls_has_more(const struct load_connection *connection)
{
    (void)connection;
    return false;
}

#endif

/* ---- messages ---- */

static void
load_send(struct load_connection *connection)
{
    size_t size = (size_t)options.size;
    ssize_t sent =
        connection->tls != NULL
            ? load_tls_send(connection, connection->text, size)
            : send(connection->fd, connection->text, size, MSG_NOSIGNAL);

    connection->received = 0;
    if (sent != options.size) {
        bench_die("send", errno);
    }
}

static void
load_connect(struct load_connection *connection, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_check("socket", connection->fd);
    bench_check("connect", connect(connection->fd, (struct sockaddr *)&address,
                                   sizeof address));
    bench_check("epoll_ctl",
                epoll_ctl(load.epoll, EPOLL_CTL_ADD, connection->fd, &event));
    if (options.tls) {
        load_tls_connect(connection);
    }
}

static void
load_open(int port)
{
    size_t size = (size_t)options.size;

    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    bench_check("epoll_create1", load.epoll);
    load.connections =
        bench_calloc((size_t)options.connections, sizeof *load.connections);
    load.buffer = bench_calloc(1, size);
    load.pattern = bench_calloc(1, size + LOAD_PATTERN);
    for (size_t i = 0; i < size + LOAD_PATTERN; i++) {
        load.pattern[i] = (char)(i % LOAD_PATTERN);
    }
    for (long i = 0; i < options.connections; i++) {
        load.connections[i].text = load.pattern + i % LOAD_PATTERN;
        load_connect(&load.connections[i], port);
    }
}

/* Takes what has come back. True: a whole message has. */
static bool
load_receive(struct load_connection *connection)
{
    size_t wanted = (size_t)(options.size - connection->received);
    ssize_t got = connection->tls != NULL
                      ? load_tls_receive(connection, load.buffer, wanted)
                      : recv(connection->fd, load.buffer, wanted, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN) {
        return false;
    }
    if (got <= 0) {
        bench_die("receive", got < 0 ? errno : ECONNRESET);
    }
    if (memcmp(load.buffer, connection->text + connection->received,
               (size_t)got)
        != 0) {
        bench_die("the echo differs", EBADMSG);
    }
    connection->received += got;
    if (connection->received < options.size && load_tls_has_more(connection)) {
        return load_receive(connection);
    }
    return connection->received == options.size;
}

/* Keeps every connection busy until `messages` are back or `end` has passed,
 * then lets those in flight come home. Returns how many came. */
static long
load_run(long messages, int64_t end)
{
    struct epoll_event events[LOAD_EVENTS];
    long echoed = 0;
    long in_flight = options.connections;

    for (long i = 0; i < options.connections; i++) {
        load_send(&load.connections[i]);
    }
    while (in_flight > 0) {
        int ready = epoll_wait(load.epoll, events, LOAD_EVENTS, -1);
        bench_check("epoll_wait", ready);
        bool is_over = bench_wall() >= end;
        for (int i = 0; i < ready; i++) {
            struct load_connection *connection = events[i].data.ptr;
            if (!load_receive(connection)) {
                continue;
            }
            echoed++;
            if (is_over || echoed + in_flight > messages) {
                in_flight--;
            } else {
                load_send(connection);
            }
        }
    }
    return echoed;
}

int
main(int argc, char **argv)
{
    options_parse(argc, argv);
    load_open(server_start());

    long messages = options.messages > 0 ? options.messages : INT32_MAX;
    int64_t time = options.messages > 0 ? INT64_C(600000000000)
                                        : options.milliseconds * 1000000;
    (void)load_run(messages / 10 + 1, bench_wall() + time / 10);
    int64_t start = bench_clock(server.clock);
    int64_t wall = bench_wall();
    long echoed = load_run(messages, wall + time);
    int64_t spent = bench_clock(server.clock) - start;

    wall = bench_wall() - wall;
    printf("%s@%ldx%ld\t%.1f\n", options.name, options.connections,
           options.size, (double)spent / (double)echoed);
    printf("messages\t%ld\n", echoed);
    printf("wall\t%.1f\n", (double)wall / (double)echoed);
    server_stop();
    return 0;
}
