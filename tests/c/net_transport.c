/* net_transport.c - the life of a transport: opening, closing, its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

TEST(bytes_go_both_ways)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char answer[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "hello", 5), 5);
    CHECK(talker_wait_size(talker, 5));
    CHECK_STR(talker->got, "hello");
    CHECK_OK(kolk_transport_write(talker->transport, "you", 3));
    CHECK_INT(read(fds[1], answer, sizeof answer), 3);
    CHECK_STR(answer, "you");
    test_close(fds[1]);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "del");
}

/* ---- opening ---- */

static int
life_file(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    CHECK_OK(fd);
    test_own(fd);
    return fd;
}

/* uvloop aborts the interpreter. */
TEST(a_regular_file_is_a_clear_error)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.read_only = true};
    struct stat info;

    int fd = life_file();
    CHECK_ERR(talker_open(talker, fd, NULL), -EINVAL);
    CHECK_ERR(talker_open(talker, fd, &options), -EINVAL);
    CHECK_INT(fstat(fd, &info), 0); /* still the caller's */
    CHECK_PTR(talker->transport, NULL);
    CHECK_INT(talker->losses, 0);
}

TEST(what_carries_no_stream_is_refused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);

    int folder = open("/tmp", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    test_own(folder);
    int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    test_own(datagrams);
    int packets = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    test_own(packets);
    CHECK_ERR(talker_open(talker, folder, NULL), -EINVAL);
    CHECK_ERR(talker_open(talker, datagrams, NULL), -EINVAL);
    CHECK_ERR(talker_open(talker, packets, NULL), -EINVAL);
    CHECK_ERR(talker_open(talker, -1, NULL), -EBADF);
    CHECK_ERR(talker_open(talker, 4000, NULL), -EBADF);
}

TEST(a_descriptor_that_is_refused_stays_as_it_was)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.write_fd = life_file()};
    int fds[2];

    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    test_own(fds[0]);
    test_own(fds[1]);
    CHECK_ERR(talker_open(talker, fds[0], &options), -EINVAL);
    CHECK_INT(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    options.write_fd = fds[1];
    CHECK_OK(talker_open(talker, fds[0], &options)); /* nobody owns it yet */
    CHECK_INT(fcntl(fds[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
}

static void
life_watched(kolk_watch *watch)
{
    (void)watch;
}

TEST(a_descriptor_has_one_owner)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *first = talker_new(loop), *second = talker_new(loop);
    kolk_watch watch;
    kolk_op op;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(first, fds[0], NULL));
    CHECK_ERR(talker_open(second, fds[0], NULL), -EBUSY);
    kolk_watch_init(&watch, fds[0], life_watched, NULL);
    CHECK_ERR(kolk_watch_start(loop, &watch, KOLK_READABLE), -EBUSY);
    kolk_op_init(&op, NULL, NULL);
    kolk_forget(loop, fds[0]); /* changes nothing */
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_size(first, 1));

    kolk_watch_init(&watch, fds[1], life_watched, NULL);
    CHECK_OK(kolk_watch_start(loop, &watch, KOLK_READABLE));
    CHECK_ERR(talker_open(second, fds[1], NULL), -EBUSY);
    kolk_watch_stop(loop, &watch);
}

static void
life_closed(kolk_op *op)
{
    op->offset = op->result;
}

TEST(closing_the_descriptor_of_a_transport_is_refused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_op op;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_op_init(&op, life_closed, NULL);
    CHECK_OK(
        kolk_op_close(loop, &op, kolk_transport_fileno(talker->transport)));
    talker_pass(talker, 1);
    CHECK_INT(op.offset, -EBUSY);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_size(talker, 1));
}

/* ---- closing ---- */

TEST(closing_sends_what_was_written_before)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sent[300000], got[sizeof sent];
    size_t size = 0;
    int fds[2];

    memset(sent, 'z', sizeof sent);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    kolk_transport_close(talker->transport);
    CHECK(kolk_transport_is_closing(talker->transport));
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -EPIPE);
    CHECK_INT(talker->losses, 0);
    while (talker->losses == 0 && kit_failures() == 0) {
        size += talker_take(fds[1], got + size, sizeof got - size);
        talker_pass(talker, 1);
    }
    size += talker_take(fds[1], got + size, sizeof got - size);
    CHECK_INT(size, sizeof sent);
    CHECK(memcmp(got, sent, sizeof sent) == 0);
    CHECK_INT(read(fds[1], got, 1), 0);
    CHECK_INT(talker->error, 0);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_ERR(kolk_transport_fileno(talker->transport), -EBADF);
}

struct life_chunk {
    kolk_chunk chunk;
    int releases;
    kolk_transport *transport; /* to be closed, or NULL */
};

static void
life_released(kolk_chunk *chunk)
{
    struct life_chunk *self =
        KOLK_CONTAINER_OF(chunk, struct life_chunk, chunk);

    self->releases++;
    if (self->transport != NULL) {
        kolk_transport_close(self->transport);
    }
}

TEST(aborting_drops_what_waits_and_releases_it)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sent[1000000];
    struct life_chunk chunk = {.chunk = {.data = sent,
                                         .size = sizeof sent,
                                         .released = life_released}};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk.chunk));
    CHECK_INT(chunk.releases, 0); /* more than the kernel takes */
    kolk_transport_abort(talker->transport);
    CHECK_INT(chunk.releases, 1);
    CHECK_INT(talker->losses, 0);
    CHECK_ERR(kolk_transport_write_chunk(talker->transport, &chunk.chunk),
              -ESHUTDOWN);
    CHECK_INT(chunk.releases, 1);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    CHECK_INT(chunk.releases, 1);
}

TEST(what_was_joined_is_sent_before_an_abort)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, "last", 4));
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    CHECK_INT(read(fds[1], got, sizeof got), 4);
    CHECK_INT(read(fds[1], got, sizeof got), 0);
}

TEST(a_transport_that_is_failed_tells_that_error)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_transport_fail(talker->transport, -EPROTO);
    kolk_transport_fail(talker->transport, -ENOMEM); /* the first one counts */
    kolk_transport_abort(talker->transport);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), -EPROTO);
    kolk_transport_abort(talker->transport);
    talker_pass(talker, 3);
    CHECK_STR(talker->trace, "l");
}

TEST(an_abort_overtakes_a_close_that_has_to_wait)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sent[1000000];
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    kolk_transport_close(talker->transport);
    talker_pass(talker, 5);
    CHECK_INT(talker->losses, 0);
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
}

TEST(the_end_comes_behind_what_was_queued_before)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    talker_pass(talker, 1);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker->losses, 0);
    talker_pass(talker, 1);
    CHECK_STR(talker->trace, "dl");
}

/* The kernel answers unread bytes by a reset, with which what was sent may be
 * lost. */
TEST(closing_with_unread_bytes_does_not_reset_the_connection)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.paused = true};
    static char got[100000];
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], &options));
    CHECK(talker_fill(fds[1]) > 0);
    talker_pass(talker, 2);
    CHECK_OK(kolk_transport_write(talker->transport, "answer", 6));
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(recv(fds[1], got, sizeof got, 0), 6);
    CHECK_STR(got, "answer");
}

TEST(a_borrowed_descriptor_stays_open)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.borrowed = true};
    char got[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], &options));
    CHECK_OK(kolk_transport_write(talker->transport, "last", 4));
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(kolk_transport_fileno(talker->transport), -EBADF);
    CHECK_INT(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 4);
    CHECK_INT(write(fds[0], "open", 4), 4);
    CHECK_INT(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 4);
    CHECK_STR(got, "open");
    test_close(fds[0]);
}

/* ---- from within callbacks ---- */

/* What the callback of the event `life_when` does. */
static char life_when;
static struct talker *life_talker;
static void (*life_what)(struct talker *talker);

static void
life_on(struct talker *talker, char event)
{
    if (event == life_when && talker == life_talker) {
        life_when = '\0';
        life_what(talker);
    }
}

static void
life_close(struct talker *talker)
{
    kolk_transport_close(talker->transport);
}

static void
life_abort(struct talker *talker)
{
    kolk_transport_abort(talker->transport);
}

static void
life_unref(struct talker *talker)
{
    kolk_transport_unref(talker->transport);
    talker->transport = NULL;
}

static void
life_close_and_unref(struct talker *talker)
{
    life_close(talker);
    life_unref(talker);
}

static void
life_abort_and_unref(struct talker *talker)
{
    life_abort(talker);
    life_unref(talker);
}

static void
life_run_nested(struct talker *talker)
{
    for (int i = 0; i < 4; i++) {
        CHECK_OK(kolk_run_once(talker->loop));
    }
}

static void
life_abort_and_run(struct talker *talker)
{
    life_abort_and_unref(talker);
    life_run_nested(talker);
}

/* What a peer does in a turn of life_play(). */
static void
life_turn(struct talker *talker, int fd)
{
    static char sink[400000];

    (void)talker_take(fd, sink, sizeof sink);
    talker_pass(talker, 1);
}

/* Brings a connection to each of its events, and does `what` in `when`. */
static void
life_play(kolk_loop *loop, char when, void (*what)(struct talker *talker))
{
    static char bulk[400000];
    struct talker *talker = talker_new(loop);
    int fds[2];

    life_when = when;
    life_what = what;
    life_talker = talker;
    talker->on = life_on;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_size(talker, 1));
    if (talker->transport != NULL) {
        int err = kolk_transport_write(talker->transport, bulk, sizeof bulk);
        CHECK(err == 0 || err == -EPIPE || err == -ESHUTDOWN);
    }
    for (int i = 0; i < 20; i++) {
        life_turn(talker, fds[1]);
    }
    talker->keeps = talker->transport != NULL;
    CHECK_INT(shutdown(fds[1], SHUT_WR), 0);
    for (int i = 0; i < 4; i++) {
        life_turn(talker, fds[1]);
    }
    if (talker->transport != NULL) {
        kolk_transport_close(talker->transport);
    } else if (talker->keeps) {
        talker->keeps = false; /* nobody is left who could close it */
        test_close(fds[1]);
        return;
    }
    for (int i = 0; i < 20; i++) {
        life_turn(talker, fds[1]);
    }
    test_close(fds[1]);
    CHECK_INT(talker->losses, 1);
    CHECK(life_when == '\0' || when == 'p' || when == 'r');
}

static void
life_play_all(void (*what)(struct talker *talker))
{
    static const char events[] = "dprel";
    kolk_loop *loop = test_real_loop_open();

    for (const char *event = events; *event != '\0'; event++) {
        life_play(loop, *event, what);
    }
}

TEST(closing_from_within_each_callback)
{
    life_play_all(life_close);
}

TEST(aborting_from_within_each_callback)
{
    life_play_all(life_abort);
}

TEST(giving_up_the_last_reference_from_within_each_callback)
{
    life_play_all(life_unref);
}

TEST(closing_and_giving_up_from_within_each_callback)
{
    life_play_all(life_close_and_unref);
    life_play_all(life_abort_and_unref);
}

TEST(running_the_loop_from_within_each_callback)
{
    life_play_all(life_run_nested);
    life_play_all(life_abort_and_run);
}

TEST(closing_from_within_a_release)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct life_chunk chunk = {
        .chunk = {.data = "bye", .size = 3, .released = life_released}};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    chunk.transport = talker->transport;
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk.chunk));
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(chunk.releases, 1);
}

/* ---- the loop closes ---- */

TEST(closing_the_loop_ends_open_transports)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop), *closing = talker_new(loop);
    static char sent[1000000];
    struct life_chunk chunk = {.chunk = {.data = sent,
                                         .size = sizeof sent,
                                         .released = life_released}};
    int fds[2], others[2];
    char byte;

    test_socketpair(fds);
    test_socketpair(others);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(talker_open(closing, others[0], NULL));
    CHECK_OK(kolk_transport_write_chunk(talker->transport, &chunk.chunk));
    kolk_transport_abort(closing->transport);
    test_loop_close(loop);
    CHECK_INT(talker->losses, 1);
    CHECK_INT(talker->error, -ESHUTDOWN);
    CHECK_INT(closing->losses, 1);
    CHECK_INT(closing->error, -ECANCELED);
    CHECK_INT(chunk.releases, 1);
    CHECK_INT(read(others[1], &byte, 1), 0);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -ESHUTDOWN);
    CHECK_ERR(kolk_transport_fileno(talker->transport), -EBADF);
    kolk_transport_close(talker->transport);
    kolk_transport_abort(talker->transport);
}

static int
life_visit(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    (void)visitor;
    return kind == KOLK_NODE_TRANSPORT && node != NULL ? 7 : 0;
}

TEST(an_open_transport_is_shown_to_visitors)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_visitor visitor = {.fn = life_visit};
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_INT(kolk_loop_visit(loop, &visitor), 7);
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    CHECK_INT(kolk_loop_visit(loop, &visitor), 0);
}

/* ---- after fork ---- */

/* In the child. Returns the number of the check that fails, or 0. */
static int
life_in_child(kolk_loop *loop, struct talker *talker)
{
    if (kolk_transport_write(talker->transport, "child", 5) != -KOLK_EFORK) {
        return 1;
    }
    kolk_transport_close(talker->transport);
    kolk_transport_abort(talker->transport);
    if (talker->losses != 0) {
        return 2;
    }
    if (kolk_loop_close(loop) != 0 || talker->losses != 1) {
        return 3;
    }
    return 0;
}

/* A child that takes its descriptors out of the shared epoll set silences the
 * parent's. */
TEST_ONCE(a_child_of_the_process_leaves_the_connection_alone)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[16];
    int fds[2], status;

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    pid_t child = fork();
    if (child == 0) {
        _exit(life_in_child(loop, talker));
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(read(fds[1], got, sizeof got), -1);
    CHECK_INT(errno, EAGAIN);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(talker_wait_size(talker, 1));
}

/* ---- about it ---- */

TEST(the_peer_is_remembered_after_the_end)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_address peer, own;
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fds[2];

    talker_tcp_pair(fds);
    CHECK_INT(getsockname(fds[1], (struct sockaddr *)&address, &size), 0);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sockname(talker->transport, &own));
    CHECK_INT(own.size, sizeof address);
    talker_reset(fds[1]);
    CHECK_INT(talker_wait(talker), -ECONNRESET);
    CHECK_OK(kolk_transport_peername(talker->transport, &peer));
    CHECK_INT(peer.size, size);
    CHECK(memcmp(&peer.storage, &address, size) == 0);
    CHECK_ERR(kolk_transport_sockname(talker->transport, &own), -ENOTCONN);
}

TEST(a_long_unix_address_is_remembered_too)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    kolk_address peer;

    (void)snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                   "kolk-a-rather-long-name-of-a-socket-%d", (int)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_own(listener);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(listen(listener, 1), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_own(fd);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_OK(talker_open(talker, fd, NULL));
    CHECK_OK(kolk_transport_peername(talker->transport, &peer));
    CHECK_INT(peer.size, sizeof address);
    CHECK(memcmp(&peer.storage, &address, sizeof address) == 0);
}

TEST(a_pipe_has_no_addresses)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.read_only = true};
    kolk_address address;
    int fds[2];

    test_pipe(fds);
    CHECK_OK(talker_open(talker, fds[0], &options));
    CHECK_ERR(kolk_transport_peername(talker->transport, &address), -ENOTSOCK);
    CHECK_ERR(kolk_transport_sockname(talker->transport, &address), -ENOTSOCK);
    CHECK_PTR(kolk_transport_loop(talker->transport), loop);
    CHECK_PTR(kolk_transport_protocol(talker->transport), &talker->protocol);
}

TEST(taking_the_descriptor_leaves_it_open)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, "last", 4));
    CHECK_INT(kolk_transport_take_fd(talker->transport), fds[0]);
    test_own(fds[0]);
    CHECK_ERR(kolk_transport_take_fd(talker->transport), -ESHUTDOWN);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(read(fds[1], got, sizeof got), 4);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(read(fds[0], got, sizeof got), 1);
    CHECK_STR(talker->trace, "l");
}

TEST(a_descriptor_with_bytes_to_be_sent_cannot_be_taken)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sent[1000000];
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    CHECK_ERR(kolk_transport_take_fd(talker->transport), -EBUSY);
    CHECK_INT(talker->losses, 0);
}
