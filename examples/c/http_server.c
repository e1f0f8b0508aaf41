/* http_server.c - a static HTTP/1.1 file server.
 *
 * Each connection is a task that reads like a blocking program. A file is first
 * opened, then asked where it is: no path and no link leads out of the root.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const types[][2] = {
    {"*.css", "text/css"},        {"*.html", "text/html; charset=utf-8"},
    {"*.jpg", "image/jpeg"},      {"*.md", "text/plain; charset=utf-8"},
    {"*.png", "image/png"},       {"*.txt", "text/plain; charset=utf-8"},
    {"*.svg", "image/svg+xml"},   {"*.js", "text/javascript"},
    {"*.pdf", "application/pdf"}, {"*", "application/octet-stream"},
};

/* Opens what `target`, the end of `path`, names; a folder is its index. */
static const char *
file_open(char *path, char *target, int *file, long long *size)
{
    char link[32], real[4096], *out = target;
    struct stat info;
    for (char *in = target; *in != 0 && *in != '?'; *out++ = *in++) {
        if (*in == '%') { /* what is no %xx is as bad as a NUL */
            bool is_hex = strspn(in + 1, "0123456789ABCDEFabcdef") >= 2;
            in += is_hex ? 2 : 0;
            *in = is_hex ? (char)strtol((char[]){in[-1], *in, 0}, NULL, 16) : 0;
        }
    }
    size_t root = (size_t)(target - path), length = (size_t)(out - target);
    memcpy(out, "/index.html", sizeof "/index.html");
    if (length == 0 || *target != '/' || strlen(target) < length
        || strstr(target, "/../") != NULL) {
        return "400 Bad Request";
    }
    *out = access(path, F_OK) == 0 ? '/' : 0;
    /* A pipe or a device must neither wait nor do anything. */
    int fd = kolk_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)
        && readlink(link, real, sizeof real) > (ssize_t)root
        && memcmp(real, path, root) == 0 && real[root] == '/') {
        *file = fd;
        *size = info.st_size;
        return "200 OK";
    }
    (void)kolk_close(fd);
    return "404 Not Found";
}

/* Answers `request`, whole lines with a NUL behind. May another one follow? */
static bool
request_answer(struct http_server *peer, char *request, kolk_timeout *limit)
{
    char method[8], version[2], end[2], path[8192], block[16384];
    char *target = stpcpy(path, peer->root);
    long long size = 0, at; /* in the file; what is unsent is read again */
    int file = -1, i = 0, used;
    int n = sscanf(request, "%7[^ ] %1023[^ ] HTTP/1.%1[01]%1[\r]", method,
                   target, version, end);
    const char *status = n < 4 ? "400 Bad Request"
                         : strcmp(method, "GET") != 0
                             ? "405 Method Not Allowed\r\nAllow: GET"
                             : file_open(path, target, &file, &size);
    bool keep = n == 4 && *version == '1'
                && strcasestr(request, "\nConnection: close") == NULL
                && strcasestr(request, "\nContent-Length:") == NULL
                && strcasestr(request, "\nTransfer-Encoding:") == NULL;
    for (; fnmatch(types[i][0], target, FNM_CASEFOLD) != 0; i++) {
    }
    used = snprintf(block, sizeof block,
                    "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                    "Content-Length: %lld\r\nConnection: %s\r\n\r\n",
                    status, types[i][1], size, keep ? "keep-alive" : "close");
    /* So small, the head goes at once, or the connection is lost. */
    for (at = -used, n = 1; n > 0 && at >= -used && at < size; used = 0) {
        n = kolk_pread(file, block + used, sizeof block - used, at + used);
        used += n > 0 ? n : 0;
        n = kolk_send(peer->fd, block, used, at + used < size ? MSG_MORE : 0);
        at += n;
        n *= kolk_timeout_reschedule(limit, kolk_now(NULL) + KOLK_S(60)) == 0;
    }
    (void)kolk_close(file);
    return keep && at == size;
}

static int
connection_run(void *arg)
{
    struct http_server *peer = arg;
    char input[8192], *end;
    int used = 0, n = 1;
    KOLK_TIMEOUT(limit, KOLK_S(60)); /* for a request; begun anew by a block */
    do {
        while ((end = memmem(input, used, "\r\n\r\n", 4)) == NULL && n > 0) {
            n = kolk_recv(peer->fd, input + used, sizeof input - used, 0);
            used += n > 0 ? n : 0;
        }
        int size = end != NULL ? (int)(end - input) + 4 : 0;
        input[size > 0 ? size - 2 : 0] = 0; /* half a request is an empty one */
        n = n >= 0 && used > 0 && request_answer(peer, input, &limit);
        used -= size;
        memmove(input, input + size, used);
    } while (n > 0);
    /* Closed with something unread, the answer could get lost. */
    (void)shutdown(peer->fd, SHUT_WR);
    while (kolk_recv(peer->fd, input, sizeof input, 0) > 0) {
    }
    return kolk_timeout_end(&limit, kolk_close(peer->fd));
}

int
http_serve(void *arg)
{
    struct http_server *server = arg, peer = *server;
    kolk_spawn_options options = {.arg_size = sizeof peer};
    struct sockaddr_in name = {
        AF_INET, htons(server->port), {htonl(INADDR_LOOPBACK)}, {0}};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    bool is_open = bind(fd, &name, size) == 0 && listen(fd, SOMAXCONN) == 0
                   && getsockname(fd, &name, &size) == 0;
    int err = is_open ? 0 : -errno;
    server->port = ntohs(name.sin_port);
    KOLK_GROUP(connections);
    while (err == 0) {
        peer.fd = kolk_accept(fd, NULL, NULL, 0);
        err = peer.fd < 0 ? peer.fd
                          : kolk_group_spawn_with(&connections, &options,
                                                  connection_run, &peer, NULL);
        if (err < 0) {
            (void)kolk_close(peer.fd);
            err = kolk_sleep(KOLK_MS(50)); /* until some are closed */
        }
    }
    (void)kolk_close(fd);
    return kolk_group_end(&connections, err);
}
