/* http_probe.c - a client without manners, for the file server.
 *
 *     http_probe PORT LARGE_FILE
 *
 * Sends what no library would send, to a server of the folder that
 * http_server.sh makes. Each case is one connection: bytes that are sent, the
 * sending side closed, and all that comes until the server closes too.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct probe {
    const char *name;
    const char *request;
    size_t size;        /* of the request; 0: up to its NUL */
    const char *status; /* of the first answer; "": there is none */
    int answers;
    const char *text; /* what is in the answers, or NULL */
};

#define HOST " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define BYTES(text) (text), sizeof(text) - 1

static const struct probe probes[] = {
    {"file", "GET /hello.txt" HOST, 0, "200", 1, "\r\n\r\nhello\n"},
    {"query", "GET /hello.txt?a=/../b" HOST, 0, "200", 1, "hello"},
    {"escapes", "GET /a%20file%2Etxt" HOST, 0, "200", 1, "with a space"},
    {"dots", "GET /..odd" HOST, 0, "200", 1, "odd"},
    {"link inside", "GET /inside.txt" HOST, 0, "200", 1, "hello"},
    {"index", "GET /folder/" HOST, 0, "200", 1, "index"},
    {"empty file", "GET /nothing.css" HOST, 0, "200", 1, "Length: 0\r\n"},
    {"type", "GET /folder/index.html" HOST, 0, "200", 1, "Type: text/html"},
    {"old", "GET /hello.txt HTTP/1.0\r\n\r\n", 0, "200", 1, "hello"},
    {"pipelined",
     "GET /hello.txt" HOST "GET /nothing.css" HOST "GET /none" HOST
     "GET /folder" HOST,
     0, "200", 4, "index"},
    {"close",
     "GET /hello.txt HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n"
     "GET /folder" HOST,
     0, "200", 1, "hello"},
    {"body",
     "GET /hello.txt HTTP/1.1\r\nContent-Length: 30\r\n\r\n"
     "GET /folder" HOST,
     0, "200", 1, "hello"},

    {"post", "POST /hello.txt" HOST, 0, "405", 1, "Allow: GET\r\n"},
    {"head", "HEAD /hello.txt" HOST, 0, "405", 1, "Length: 0\r\n"},
    {"small letters", "get /hello.txt" HOST, 0, "405", 1, NULL},

    {"nothing", "", 0, "", 0, NULL},
    {"empty line", "\r\n\r\n", 0, "400", 1, NULL},
    {"word", "nonsense\r\n\r\n", 0, "400", 1, NULL},
    {"words", "this is nonsense\r\n\r\n", 0, "400", 1, NULL},
    {"no target", "GET HTTP/1.1\r\n\r\n", 0, "400", 1, NULL},
    {"no version", "GET /hello.txt\r\n\r\n", 0, "400", 1, NULL},
    {"version 2", "GET /hello.txt HTTP/2.0\r\n\r\n", 0, "400", 1, NULL},
    {"version 1.1x", "GET /hello.txt HTTP/1.1x\r\n\r\n", 0, "400", 1, NULL},
    {"no slash", "GET hello.txt" HOST, 0, "400", 1, NULL},
    {"half", "GET /hello.txt HTTP/1.1\r\nHost", 0, "400", 1, NULL},
    {"binary", BYTES("\x16\x03\x01\0\xa5\1\0\r\n\r\n"), "400", 1, NULL},
    {"nul", BYTES("GET /hello.txt\0.png" HOST), "400", 1, NULL},
    {"escaped nul", "GET /hello.txt%00.png" HOST, 0, "400", 1, NULL},
    {"bad escape", "GET /hello%zz" HOST, 0, "400", 1, NULL},
    {"cut escape", "GET /hello%2" HOST, 0, "400", 1, NULL},

    {"up", "GET /../secret" HOST, 0, "400", 1, NULL},
    {"up, escaped", "GET /%2e%2E/secret" HOST, 0, "400", 1, NULL},
    {"up, slash escaped", "GET /..%2fsecret" HOST, 0, "400", 1, NULL},
    {"down and up", "GET /folder/../../secret" HOST, 0, "400", 1, NULL},
    {"up at the end", "GET /folder/.." HOST, 0, "400", 1, NULL},
    {"neighbour", "GET /../root2/secret" HOST, 0, "400", 1, NULL},
    {"escaped twice", "GET /%252e%252e/secret" HOST, 0, "404", 1, NULL},
    {"absolute", "GET //etc/passwd" HOST, 0, "404", 1, NULL},
    {"link out", "GET /outside.txt" HOST, 0, "404", 1, NULL},
    {"link up", "GET /upwards/secret" HOST, 0, "404", 1, NULL},
    {"link to /etc", "GET /etc/passwd" HOST, 0, "404", 1, NULL},
    {"link to itself", "GET /loop" HOST, 0, "404", 1, NULL},

    {"none", "GET /none" HOST, 0, "404", 1, NULL},
    {"pipe", "GET /pipe" HOST, 0, "404", 1, NULL},
    {"no index", "GET /empty" HOST, 0, "404", 1, NULL},
    {"index is a folder", "GET /" HOST, 0, "404", 1, NULL},
    {"file as a folder", "GET /hello.txt/" HOST, 0, "404", 1, NULL},
};

static uint16_t port;

static void
probe_exit(const char *what, const char *why)
{
    (void)printf("probe: %s: %s\n", what, why);
    exit(1);
}

static int
probe_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience)
               < 0
        || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        probe_exit("connect", strerror(errno));
    }
    return fd;
}

/* Sends `size` bytes, `step` at a time. The server may have closed by now. */
static void
probe_send(int fd, const char *data, size_t size, size_t step)
{
    ssize_t n = 1;
    for (size_t sent = 0; sent < size && n > 0; sent += (size_t)n) {
        size_t left = size - sent;
        n = send(fd, data + sent, left < step ? left : step, MSG_NOSIGNAL);
    }
    (void)shutdown(fd, SHUT_WR);
}

/* All that comes, with a NUL behind; the caller frees it. Closes `fd`. */
static char *
probe_receive(int fd, const char *name, size_t *size)
{
    size_t room = 1 << 21;
    char *all = malloc(room);
    ssize_t n = all == NULL ? -1 : 1;
    for (*size = 0; n > 0; *size += (size_t)n) {
        n = recv(fd, all + *size, room - 1 - *size, 0);
        if (n <= 0) {
            break;
        }
    }
    if (n < 0) {
        probe_exit(name, strerror(errno));
    }
    (void)close(fd);
    all[*size] = 0;
    return all;
}

static int
count(const char *text, const char *word)
{
    int found = 0;
    while ((text = strstr(text, word)) != NULL) {
        found++;
        text++;
    }
    return found;
}

/* Runs one case, with the request sent `step` bytes at a time. */
static void
probe_run(const struct probe *probe, size_t step)
{
    size_t size = probe->size > 0 ? probe->size : strlen(probe->request);
    int fd = probe_connect();
    probe_send(fd, probe->request, size, step);
    char *answer = probe_receive(fd, probe->name, &size);
    bool is_right = count(answer, "HTTP/1.1 ") == probe->answers
                    && strstr(answer, "secret") == NULL
                    && strstr(answer, "root:") == NULL;
    if (probe->answers > 0) {
        is_right &= strncmp(answer, "HTTP/1.1 ", 9) == 0
                    && strncmp(answer + 9, probe->status, 3) == 0;
    }
    if (probe->text != NULL) {
        is_right &= strstr(answer, probe->text) != NULL;
    }
    if (!is_right) {
        probe_exit(probe->name, answer);
    }
    free(answer);
}

/* A request without an end gets an answer, not the server's memory. */
static void
probe_flood(void)
{
    size_t size = 1 << 20;
    char *flood = malloc(size);
    int fd = probe_connect();
    if (flood == NULL) {
        probe_exit("flood", "no memory");
    }
    memset(flood, 'A', size);
    probe_send(fd, flood, size, size);
    free(flood);
    char *answer = probe_receive(fd, "flood", &size);
    if (strncmp(answer, "HTTP/1.1 400 ", 13) != 0) {
        probe_exit("flood", answer);
    }
    free(answer);
}

/* A peer that vanishes while the server sends to it. */
static void
probe_reset(void)
{
    static const char request[] = "GET /large.bin" HOST;
    struct linger at_once = {.l_onoff = 1};
    char byte;
    int fd = probe_connect();
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0
        || recv(fd, &byte, 1, 0) != 1
        || setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once)
               < 0) {
        probe_exit("reset", strerror(errno));
    }
    (void)close(fd);
}

/* Every byte of the large file, asked for while others say nothing. */
static void
probe_large(const char *path)
{
    static const char request[] = "GET /large.bin" HOST;
    int silent[20];
    for (int i = 0; i < 20; i++) {
        silent[i] = probe_connect();
    }
    int fd = probe_connect();
    probe_send(fd, request, sizeof request - 1, sizeof request);
    size_t size, length = 0;
    char *answer = probe_receive(fd, "large", &size);
    char *body = strstr(answer, "\r\n\r\n");
    char *bytes = malloc(size + 1);
    FILE *file = fopen(path, "re");
    if (file != NULL && bytes != NULL) {
        length = fread(bytes, 1, size + 1, file);
        (void)fclose(file);
    }
    if (body == NULL || length == 0
        || size - (size_t)(body + 4 - answer) != length
        || memcmp(body + 4, bytes, length) != 0) {
        probe_exit("large", "not the same bytes");
    }
    free(answer);
    free(bytes);
    for (int i = 0; i < 20; i++) {
        (void)close(silent[i]);
    }
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        probe_exit("usage", "http_probe PORT LARGE_FILE");
    }
    port = (uint16_t)strtoul(argv[1], NULL, 10);
    size_t cases = sizeof probes / sizeof *probes;
    for (size_t i = 0; i < cases; i++) {
        probe_run(&probes[i], SIZE_MAX);
        probe_run(&probes[i], 1);
        probe_reset();
    }
    probe_flood();
    probe_large(argv[2]);
    probe_run(&probes[0], SIZE_MAX);
    (void)printf("probe: %zu cases, each at once and byte by byte: ok\n",
                 cases);
    return 0;
}
