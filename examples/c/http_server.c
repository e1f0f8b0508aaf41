/* http_server.c - a static HTTP/1.1 file server.
 *
 * One task accepts; each connection is a task of its own that reads like a
 * blocking program: take a request, answer it, take the next. The connections
 * are a group, so that none of them outlives the server.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE KOLK_S(30) /* for a request, and for a block of the answer */

struct answer {
    const char *status;
    struct http_file file;
    bool is_head, keep; /* no body; another request may follow */
};

/* Finds the answer to `request`, whole lines with a NUL behind. */
static void
answer_find(struct answer *answer, const char *root, const char *request)
{
    char method[16], target[1024], version[2], end[2];
    if (sscanf(request, "%15[^ ] %1023[^ ] HTTP/1.%1[01]%1[\r]", method, target,
               version, end)
        < 4) {
        return;
    }
    answer->is_head = strcmp(method, "HEAD") == 0;
    if (!answer->is_head && strcmp(method, "GET") != 0) {
        answer->status = "405 Method Not Allowed\r\nAllow: GET, HEAD";
        return;
    }
    int err = http_file_open(root, target, &answer->file);
    if (err != -EINVAL) {
        answer->status = err == 0 ? "200 OK" : "404 Not Found";
    }
    answer->keep = *version == '1'
                   && strcasestr(request, "\nConnection: close") == NULL
                   && strcasestr(request, "\nContent-Length:") == NULL
                   && strcasestr(request, "\nTransfer-Encoding:") == NULL;
}

static bool
send_all(int fd, const char *data, size_t size, int flags)
{
    int n = 1;
    for (size_t sent = 0; sent < size && n > 0; sent += (size_t)n) {
        n = kolk_send(fd, data + sent, size - sent, flags | MSG_NOSIGNAL);
    }
    return n > 0;
}

/* Sends the head, and the file block by block. Has all been sent? */
static bool
answer_send(const struct answer *answer, int fd, kolk_timeout *patience)
{
    char block[16384];
    int64_t at = 0, size = answer->is_head ? 0 : answer->file.size;
    int n = snprintf(block, sizeof block,
                     "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                     "Content-Length: %lld\r\nConnection: %s\r\n\r\n",
                     answer->status, answer->file.type,
                     (long long)answer->file.size,
                     answer->keep ? "keep-alive" : "close");
    while (n > 0
           && !kolk_timeout_reschedule(patience, kolk_now(NULL) + PATIENCE)
           && send_all(fd, block, (size_t)n, at < size ? MSG_MORE : 0)) {
        if (at == size) {
            return true;
        }
        int64_t left = size - at, room = sizeof block;
        n = kolk_pread(answer->file.fd, block,
                       (size_t)(left < room ? left : room), at);
        at += n;
    }
    return false;
}

/* Answers `request`. May another one follow? */
static bool
request_answer(const struct http_server *peer, const char *request,
               kolk_timeout *patience)
{
    struct answer answer = {.status = "400 Bad Request",
                            .file = {.fd = -1, .type = "text/plain"}};
    answer_find(&answer, peer->root, request);
    bool is_sent = answer_send(&answer, peer->fd, patience);
    if (answer.file.fd >= 0) {
        (void)kolk_close(answer.file.fd);
    }
    return is_sent && answer.keep;
}

static int
connection_run(void *arg)
{
    const struct http_server *peer = arg;
    char input[8192], *end;
    size_t used = 0;
    int n = 1;
    do {
        KOLK_TIMEOUT(patience, PATIENCE);
        while ((end = memmem(input, used, "\r\n\r\n", 4)) == NULL && n > 0) {
            n = kolk_recv(peer->fd, input + used, sizeof input - used, 0);
            used += n > 0 ? (size_t)n : 0;
        }
        if (n >= 0 && used > 0) {
            /* Half a request, or one too long, is answered as an empty one. */
            size_t size = end != NULL ? (size_t)(end - input) + 4 : 0;
            input[size > 0 ? size - 2 : 0] = 0;
            n = request_answer(peer, input, &patience);
            used -= size;
            memmove(input, input + size, used);
        }
        if (n == 0) {
            /* Closed with something unread, the answer could get lost. */
            (void)shutdown(peer->fd, SHUT_WR);
            while (kolk_recv(peer->fd, input, sizeof input, 0) > 0) {
            }
        }
        n = kolk_timeout_end(&patience, n);
    } while (n > 0);
    return kolk_close(peer->fd);
}

int
http_serve(void *server)
{
    static const kolk_spawn_options options = {
        .name = "connection", .arg_size = sizeof(struct http_server)};
    struct http_server peer = *(struct http_server *)server;
    int listener = peer.fd, err = 0;
    KOLK_GROUP(connections);
    while (err != -ECANCELED) {
        peer.fd = kolk_accept(listener, NULL, NULL, 0);
        /* Without a descriptor for it, wait until some are closed. */
        err = peer.fd < 0 ? kolk_sleep(KOLK_MS(50))
                          : kolk_group_spawn_with(&connections, &options,
                                                  connection_run, &peer, NULL);
        if (err < 0 && peer.fd >= 0) {
            (void)kolk_close(peer.fd);
        }
    }
    return kolk_group_end(&connections, err);
}
