/* http_tour.c - a server and 200 clients in one process, on each backend.
 *
 *     http_tour [-c CLIENTS] ROOT [PATH ...]
 *
 * Serves the folder ROOT on a free port of this machine. Every client, a task
 * with one connection, asks for every document: the files PATH below ROOT, the
 * files of folders, or all there are. Each answer is compared with the file on
 * the disk, byte by byte. Ends with status 1 if one was not right.
 *
 * KOLK_BACKEND in the environment names one backend; else both run in turn.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_documents.h"
#include "http_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tour {
    const char *root;
    size_t clients;
    struct documents documents;

    /* what came of it, on one backend */
    uint16_t port;
    size_t requests, errors, tasks;
    uint64_t bytes;
    kolk_time duration;
    kolk_time *latencies; /* one per request */
};

struct client {
    struct tour *tour;
    size_t number;
};

/* -EBADMSG stands for an answer that is not the document. */
static const char *
tour_strerror(int err)
{
    return err == -EBADMSG ? "not what is on the disk" : kolk_strerror(err);
}

/* ---- a client ---- */

static int
client_connect(const struct tour *tour)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(tour->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = kolk_connect(fd, (struct sockaddr *)&address, sizeof address);
    if (err < 0) {
        (void)kolk_close(fd);
    }
    return err < 0 ? err : fd;
}

static int
client_send(int fd, const char *target)
{
    char request[8192];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    for (int sent = 0, n; sent < size; sent += n) {
        n = kolk_send(fd, request + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (n < 0) {
            return n;
        }
    }
    return 0;
}

/* Does `head` announce the document? */
static bool
head_is_right(const char *head, const struct document *document)
{
    const char *length = strcasestr(head, "\nContent-Length: ");
    return strncmp(head, "HTTP/1.1 200 ", 13) == 0 && length != NULL
           && strtoull(length + 17, NULL, 10) == document->size;
}

/* Receives the head of an answer, and moves what has come of the body to the
 * beginning of `block`. Returns how much that is, or a negative error. */
static int
client_receive_head(int fd, char *block, size_t size,
                    const struct document *document)
{
    size_t used = 0;
    char *end;
    while ((end = memmem(block, used, "\r\n\r\n", 4)) == NULL) {
        int n = kolk_recv(fd, block + used, size - used, 0);
        if (n <= 0) {
            return n < 0 ? n : -ECONNRESET;
        }
        used += (size_t)n;
    }
    *end = 0;
    if (!head_is_right(block, document)) {
        return -EBADMSG;
    }
    used -= (size_t)(end + 4 - block);
    memmove(block, end + 4, used);
    return (int)used;
}

static int
client_receive(int fd, const struct document *document)
{
    char block[16384];
    size_t seen = 0;
    int n = client_receive_head(fd, block, sizeof block, document);
    for (;;) {
        if (n < 0) {
            return n;
        }
        if ((size_t)n > document->size - seen
            || memcmp(document->bytes + seen, block, (size_t)n) != 0) {
            return -EBADMSG;
        }
        seen += (size_t)n;
        if (seen == document->size) {
            return 0;
        }
        n = kolk_recv(fd, block, sizeof block, 0);
        n = n == 0 ? -ECONNRESET : n;
    }
}

/* Asks for one document, in ten seconds. */
static int
client_fetch(int fd, const struct document *document)
{
    KOLK_TIMEOUT(timeout, KOLK_S(10));
    int err = client_send(fd, document->target);
    if (err == 0) {
        err = client_receive(fd, document);
    }
    return kolk_timeout_end(&timeout, err);
}

/* Asks for every document; each client begins with another one. */
static int
client_run(void *arg)
{
    const struct client *client = arg;
    struct tour *tour = client->tour;
    size_t count = tour->documents.count;
    int fd = client_connect(tour);
    for (size_t i = 0; i < count; i++) {
        const struct document *document =
            &tour->documents.all[(client->number + i) % count];
        kolk_time start = kolk_now(NULL);
        int err = fd < 0 ? fd : client_fetch(fd, document);
        tour->latencies[tour->requests++] = kolk_now(NULL) - start;
        if (err == 0) {
            tour->bytes += document->size;
        } else if (tour->errors++ == 0) {
            (void)fprintf(stderr, "%s: %s\n", document->target,
                          tour_strerror(err));
        }
        if (i == 0) {
            size_t tasks = kolk_all_tasks(kolk_current_loop(), NULL, 0);
            tour->tasks = tasks > tour->tasks ? tasks : tour->tasks;
        }
    }
    return fd < 0 ? 0 : kolk_close(fd);
}

/* ---- the main task ---- */

static int
clients_run(struct tour *tour)
{
    kolk_spawn_options options = {.name = "client",
                                  .arg_size = sizeof(struct client)};
    int err = 0;
    KOLK_GROUP(clients);
    for (size_t i = 0; i < tour->clients && err == 0; i++) {
        struct client client = {tour, i};
        err = kolk_group_spawn_with(&clients, &options, client_run, &client,
                                    NULL);
    }
    return kolk_group_end(&clients, err);
}

static int
tour_run(void *arg)
{
    const kolk_spawn_options options = {.name = "server", .eager = true};
    struct tour *tour = arg;
    struct http_server server = {.root = tour->root};
    KOLK_GROUP(group);
    int err =
        kolk_group_spawn_with(&group, &options, http_serve, &server, NULL);
    if (err == 0) {
        kolk_time start = kolk_now(NULL);
        tour->port = server.port;
        err = clients_run(tour);
        tour->duration = kolk_now(NULL) - start;
        kolk_group_cancel(&group);
    }
    return kolk_group_end(&group, err);
}

/* ---- the summary ---- */

static int
latency_compare(const void *a, const void *b)
{
    kolk_time x = *(const kolk_time *)a, y = *(const kolk_time *)b;
    return (x > y) - (x < y);
}

/* The latency, in milliseconds, that `percent` of the requests kept within. */
static double
tour_latency(const struct tour *tour, double percent)
{
    size_t rank = (size_t)((double)tour->requests * percent / 100);
    rank = rank < tour->requests ? rank : tour->requests - 1;
    return (double)tour->latencies[rank] / 1e6;
}

/* The most memory that the process has had at once, in MiB. */
static double
peak_memory(void)
{
    char line[256];
    double kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        (void)sscanf(line, "VmHWM: %lf", &kilobytes);
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return kilobytes / 1024;
}

/* Begins a new peak, where the kernel can. */
static void
peak_memory_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
}

static void
tour_print(struct tour *tour, kolk_loop *loop)
{
    const char *why;
    const char *backend = kolk_loop_backend(loop, &why);
    double seconds = (double)tour->duration / 1e9;
    qsort(tour->latencies, tour->requests, sizeof *tour->latencies,
          latency_compare);
    (void)printf("%s (%s)\n", backend, why);
    (void)printf("  %zu documents, %zu clients, %zu tasks at once\n",
                 tour->documents.count, tour->clients, tour->tasks);
    (void)printf("  %zu requests, %llu bytes, %zu errors\n", tour->requests,
                 (unsigned long long)tour->bytes, tour->errors);
    (void)printf("  %.0f requests/s: %.3f s in all\n",
                 (double)tour->requests / seconds, seconds);
    (void)printf("  latency p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, "
                 "max %.2f ms\n",
                 tour_latency(tour, 50), tour_latency(tour, 90),
                 tour_latency(tour, 99), tour_latency(tour, 100));
    (void)printf("  peak memory %.1f MiB\n", peak_memory());
}

/* ---- the program ---- */

/* Runs the tour on a loop of its own. Returns 0 if everything was right. */
static int
tour_on(struct tour *tour, kolk_backend backend)
{
    kolk_loop_options options = {.backend = backend};
    kolk_loop *loop;
    kolk_task *task;
    tour->requests = tour->errors = tour->tasks = 0;
    tour->bytes = 0;
    peak_memory_reset();
    int err = kolk_loop_open(&options, &loop);
    if (err < 0) {
        return err;
    }
    err = kolk_spawn_with(loop, NULL, tour_run, tour, &task);
    if (err == 0) {
        err = kolk_run_until(loop, task);
        kolk_future_unref(task);
    }
    if (err == 0) {
        tour_print(tour, loop);
        err = tour->errors > 0 ? -EBADMSG : 0;
    }
    (void)kolk_loop_close(loop);
    return err;
}

static int
tour_on_all(struct tour *tour)
{
    size_t size = tour->clients * tour->documents.count;
    if (size == 0) {
        return -EINVAL;
    }
    tour->latencies = calloc(size, sizeof *tour->latencies);
    if (tour->latencies == NULL) {
        return -ENOMEM;
    }
    int err;
    if (getenv("KOLK_BACKEND") != NULL) {
        err = tour_on(tour, KOLK_BACKEND_DEFAULT);
    } else {
        err = tour_on(tour, KOLK_BACKEND_EPOLL);
        int ring = tour_on(tour, KOLK_BACKEND_URING);
        err = err < 0 ? err : ring;
    }
    free(tour->latencies);
    return err;
}

int
main(int argc, char **argv)
{
    struct tour tour = {.clients = 200};
    int option, err = 0;
    while ((option = getopt(argc, argv, "c:")) == 'c') {
        tour.clients = strtoul(optarg, NULL, 10);
    }
    char *root = optind < argc ? realpath(argv[optind], NULL) : NULL;
    if (option != -1 || root == NULL) {
        (void)fprintf(stderr,
                      "usage: http_tour [-c CLIENTS] ROOT [PATH ...]\n");
        free(root);
        return 2;
    }
    tour.root = root;
    if (optind + 1 == argc) {
        err = documents_add(&tour.documents, root, "");
    }
    for (int i = optind + 1; i < argc && err == 0; i++) {
        err = documents_add(&tour.documents, root, argv[i]);
    }
    if (err == 0) {
        err = tour_on_all(&tour);
    }
    if (err < 0) {
        (void)fprintf(stderr, "http_tour: %s\n", tour_strerror(err));
    }
    documents_fini(&tour.documents);
    free(root);
    return err < 0;
}
