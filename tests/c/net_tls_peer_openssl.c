/* net_tls_peer_openssl.c - transports with TLS, and the program `openssl`.
 *
 * SPDX-License-Identifier: MIT
 *
 * The other end is a process: s_server, which sends each line back turned
 * around, or s_client, which says what comes from its standard input.
 */
#include "talker.h"
#include "tls_pair.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEER_SKIPPED = 77 };

static struct {
    pid_t pid;
    int input, output; /* of the process, as pipes */
} peer;

static void
peer_end(void *unused)
{
    (void)unused;
    (void)kill(peer.pid, SIGKILL);
    (void)waitpid(peer.pid, NULL, 0);
}

/* Starts `openssl` with these arguments, ended by NULL; or skips the test. */
static void
peer_start(const char *const *arguments)
{
    posix_spawn_file_actions_t actions;
    int input[2], output[2];
    union {
        const char *const *from;
        char *const *to;
    } either = {.from = arguments}; /* which are only read */

    test_pipe(input);
    test_pipe(output);
    /* The process expects files that wait. */
    (void)fcntl(input[0], F_SETFL, 0);
    (void)fcntl(output[1], F_SETFL, 0);
    CHECK_INT(posix_spawn_file_actions_init(&actions), 0);
    (void)posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    (void)posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    (void)posix_spawn_file_actions_adddup2(&actions, output[1], 2);
    int err =
        posix_spawnp(&peer.pid, "openssl", &actions, NULL, either.to, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (err != 0) {
        printf("skipped: there is no program openssl here\n");
        (void)fflush(stdout);
        _exit(PEER_SKIPPED);
    }
    test_later(peer_end, NULL);
    test_close(input[0]);
    test_close(output[1]);
    peer.input = input[1];
    peer.output = output[0];
}

/* Reads what it says until `word` is in it, for some seconds; where that
 * stands, or NULL. */
static const char *
peer_says(const char *word)
{
    static char said[65536];
    static size_t size;

    for (int i = 0; i < 10000 && strstr(said, word) == NULL; i++) {
        ssize_t got = read(peer.output, said + size, sizeof said - 1 - size);

        size += got > 0 ? (size_t)got : 0;
        said[size] = '\0';
        usleep(got > 0 ? 0 : 1000);
    }
    const char *found = strstr(said, word);
    if (found == NULL) {
        printf("openssl says:\n%s\n", said);
    }
    return found;
}

/* ---- a server ---- */

static int
peer_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_OK(fd);
    test_own(fd);
    CHECK_OK(connect(fd, (struct sockaddr *)&address, sizeof address));
    return fd;
}

/* s_server that turns lines around; a socket to it. */
static int
server_start(const char *version)
{
    static const char said[] = "ACCEPT 127.0.0.1:";
    const test_cert *cert = tls_leaf();
    const char *const arguments[] = {
        "openssl", "s_server",       "-accept", "127.0.0.1:0",  "-rev", version,
        "-cert",   cert->chain_path, "-key",    cert->key_path, NULL};

    peer_start(arguments);
    const char *accepts = peer_says(said);
    CHECK(accepts != NULL);
    return peer_connect((int)strtol(accepts + strlen(said), NULL, 10));
}

static int shake_result = 1;

static void
shake_done(kolk_protocol *protocol, kolk_transport *transport, int result)
{
    (void)protocol, (void)transport;
    shake_result = result;
}

/* Starts TLS with an engine of `context`. */
static void
talker_secure(struct talker *talker, kolk_tls_context *context,
              const char *name)
{
    const kolk_tls_start start = {.is_server = name == NULL,
                                  .done = shake_done};
    kolk_tls_engine *engine;

    CHECK_OK(kolk_tls_engine_new(context, name, &engine));
    CHECK_OK(kolk_transport_start_tls(talker->transport, engine, &start));
}

static void
check_server(const char *version, const char *spoken)
{
    kolk_tls_context *context = tls_pair_new(NULL, NULL)->contexts[TLS_CLIENT];
    int fd = server_start(version);
    struct talker *talker = talker_new(test_real_loop_open());

    CHECK_OK(talker_open(talker, fd, NULL));
    talker_secure(talker, context, "example.org");
    CHECK_OK(kolk_transport_write(talker->transport, "drawn onward\n", 13));
    CHECK(talker_wait_size(talker, 13));
    CHECK_INT(shake_result, 0);
    CHECK(strncmp(talker->got, "drawno nward\n", 13) == 0);
    CHECK_STR(kolk_tls_version(kolk_transport_tls(talker->transport)), spoken);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
}

TEST_TIME(s_server_answers_in_tls_1_2)
{
    check_server("-tls1_2", "TLSv1.2");
}

TEST_TIME(s_server_answers_in_tls_1_3)
{
    check_server("-tls1_3", "TLSv1.3");
}

TEST_TIME(s_server_with_another_name_is_refused)
{
    kolk_tls_context *context = tls_pair_new(NULL, NULL)->contexts[TLS_CLIENT];
    int fd = server_start("-tls1_3");
    struct talker *talker = talker_new(test_real_loop_open());

    CHECK_OK(talker_open(talker, fd, NULL));
    talker_secure(talker, context, "example.com");
    CHECK_ERR(talker_wait(talker), -KOLK_ETLS);
    CHECK_INT(shake_result, -KOLK_ETLS);
}

/* ---- a client ---- */

static void
write_back(struct talker *talker, char event)
{
    if (event == 'd') {
        CHECK_OK(
            kolk_transport_write(talker->transport, talker->got, talker->size));
        talker->size = 0;
    }
}

/* s_client with these options, connected to a transport with TLS. */
static struct talker *
client_start(const char *const *more)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const char *arguments[16] = {"openssl",     "s_client",
                                 "-servername", "example.org",
                                 "-CAfile",     tls_root()->chain_path,
                                 "-connect"};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), count = 7;
    char name[64];

    CHECK_OK(listener);
    test_own(listener);
    CHECK_OK(bind(listener, (struct sockaddr *)&address, size));
    CHECK_OK(listen(listener, 1));
    CHECK_OK(getsockname(listener, (struct sockaddr *)&address, &size));
    (void)snprintf(name, sizeof name, "127.0.0.1:%d", ntohs(address.sin_port));
    arguments[count++] = name;
    while (*more != NULL) {
        arguments[count++] = *more++;
    }
    kolk_tls_context *context = tls_pair_new(NULL, NULL)->contexts[TLS_SERVER];
    peer_start(arguments);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK_OK(fd);
    test_own(fd);
    struct talker *talker = talker_new(test_real_loop_open());
    CHECK_OK(talker_open(talker, fd, NULL));
    talker_secure(talker, context, NULL);
    return talker;
}

/* Has the client say `text`, until the transport has heard it and the client
 * has said `answer`. */
static void
client_say(struct talker *talker, const char *text, const char *answer)
{
    CHECK_INT(write(peer.input, text, strlen(text)), strlen(text));
    for (int i = 0; i < 3000 && strstr(talker->trace, "d") == NULL; i++) {
        CHECK_OK(kolk_run_once(talker->loop));
        usleep(1000);
    }
    CHECK(peer_says(answer) != NULL);
}

static void
check_client(const char *version, const char *spoken)
{
    const char *const more[] = {version, "-verify_return_error", "-quiet",
                                NULL};
    struct talker *talker = client_start(more);

    talker->on = write_back;
    client_say(talker, "is anybody there\n", "is anybody there");
    CHECK_INT(shake_result, 0);
    CHECK_STR(kolk_tls_version(kolk_transport_tls(talker->transport)), spoken);
    CHECK_STR(kolk_tls_server_name(kolk_transport_tls(talker->transport)),
              "example.org");
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
}

TEST_TIME(s_client_is_answered_in_tls_1_2)
{
    check_client("-tls1_2", "TLSv1.2");
}

TEST_TIME(s_client_is_answered_in_tls_1_3)
{
    check_client("-tls1_3", "TLSv1.3");
}

/* Without -quiet it says good-bye at the end of its input. */
TEST_TIME(s_client_ends_the_stream_properly)
{
    const char *const more[] = {"-tls1_3", NULL};
    struct talker *talker = client_start(more);

    client_say(talker, "last words\n", "CONNECTED");
    test_close(peer.input);
    CHECK_INT(talker_wait(talker), 0);
    CHECK(strncmp(talker->got, "last words\n", 11) == 0);
    CHECK_STR(talker->trace, "del");
}

/* "R" asks for other keys, which is refused: the connection stays or goes, and
 * nothing else happens. */
TEST_TIME(s_client_may_not_renegotiate)
{
    const char *const more[] = {"-tls1_2", NULL};
    struct talker *talker = client_start(more);

    client_say(talker, "hello\n", "CONNECTED");
    CHECK_INT(write(peer.input, "R\n", 2), 2);
    CHECK(peer_says("RENEGOTIATING") != NULL);
    for (int i = 0; i < 200 && talker->losses == 0; i++) {
        CHECK_OK(kolk_run_once(talker->loop));
        usleep(1000);
    }
    CHECK(talker->losses == 0 || talker->error == 0
          || talker->error == -KOLK_ETLS || talker->error == -KOLK_ETRUNCATED);
    if (talker->losses == 0) {
        kolk_transport_abort(talker->transport);
        CHECK_ERR(talker_wait(talker), -ECANCELED);
    }
}

/* "K" asks for new keys in the middle of everything, as TLS 1.3 has them. */
TEST_TIME(s_client_may_ask_for_new_keys)
{
    const char *const more[] = {"-tls1_3", NULL};
    struct talker *talker = client_start(more);

    talker->on = write_back;
    client_say(talker, "one\n", "CONNECTED");
    CHECK_INT(write(peer.input, "K\n", 2), 2);
    CHECK(peer_says("KEYUPDATE") != NULL);
    talker->trace[0] = '\0';
    client_say(talker, "after that\n", "KEYUPDATE");
    for (int i = 0; i < 50; i++) {
        CHECK_OK(kolk_run_once(talker->loop));
        usleep(1000);
    }
    CHECK(peer_says("after that") != NULL);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
}
