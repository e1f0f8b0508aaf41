/* http_server.c - a static HTTP/1.1 file server.
 *
 * Each connection is a task that reads like a blocking program; with TLS it
 * reads the same way. A file is first opened, then asked where it is: no path
 * and no link leads out of the root.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REQUEST_MAX = 8192 };
#define TIME_LIMIT KOLK_S(60)

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

/* Sends a file in pieces, each of which begins the time limit anew. */
static int
file_send(kolk_stream *stream, int file, long long size, kolk_timeout *limit)
{
    const long long piece = 1 << 20;
    uint64_t sent = 0;
    int err = 0;
    for (long long at = 0; at < size && err == 0; at += (long long)sent) {
        err = kolk_stream_sendfile(stream, file, at, piece, &sent);
        err = err == 0 && sent == 0 ? -EIO : err; /* it has become shorter */
        err = err < 0
                  ? err
                  : kolk_timeout_reschedule(limit, kolk_now(NULL) + TIME_LIMIT);
    }
    return err;
}

/* Answers `request`, whole lines with a NUL behind. May another one follow? */
static bool
request_answer(kolk_stream *stream, const char *root, char *request,
               kolk_timeout *limit)
{
    char method[8], version[2], end[2], path[8192];
    char *target = stpcpy(path, root);
    long long size = 0;
    int file = -1, i = 0;
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
    int err = kolk_stream_print(
        stream,
        "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
        "Content-Length: %lld\r\nConnection: %s\r\n\r\n",
        status, types[i][1], size, keep ? "keep-alive" : "close");
    err = err < 0 ? err : file_send(stream, file, size, limit);
    (void)kolk_close(file);
    return keep && err == 0;
}

static int
connection_serve(kolk_stream *stream, void *arg)
{
    static const kolk_bytes end = {"\r\n\r\n", 4};
    const struct http_server *server = arg;
    char request[REQUEST_MAX];
    const char *head;
    int size;
    KOLK_TIMEOUT(limit, TIME_LIMIT); /* for a request; begun anew by a piece */
    do {
        size = kolk_stream_read_until(stream, &end, 1, &head);
        if (size <= 0 && kolk_stream_peek(stream, 1, &head) <= 0) {
            return kolk_timeout_end(&limit, 0); /* between two requests */
        }
        memcpy(request, head, size > 0 ? (size_t)size : 0);
        request[size > 0 ? size - 2 : 0] = 0; /* half of one is an empty one */
    } while (request_answer(stream, server->root, request, &limit));
    /* Closed with something unread, the answer could get lost. */
    int err = kolk_stream_write_eof(stream);
    while (err == 0 && kolk_stream_read(stream, request, sizeof request) > 0) {
    }
    return kolk_timeout_end(&limit, 0);
}

int
http_serve(void *arg)
{
    struct http_server *server = arg;
    kolk_serve_options options = {.tls = server->tls,
                                  .stream_limit = REQUEST_MAX};
    kolk_server *listener;
    char service[8];
    (void)snprintf(service, sizeof service, "%d", server->port);
    int err = kolk_serve("127.0.0.1", service, &options, connection_serve,
                         server, &listener);
    if (err < 0) {
        return err;
    }
    server->port = (uint16_t)kolk_server_port(listener);
    err = kolk_serve_forever(listener);
    kolk_server_unref(listener);
    return err;
}
