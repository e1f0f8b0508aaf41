/* net_datagram_unix.c - Unix datagrams: names, receivers that are gone or full.
 *
 * SPDX-License-Identifier: MIT
 */
#include "datagram_kit.h"
#include "folder.h"

static struct dg a, b, c;

/* ---- paths ---- */

static kolk_address
ux_path(const char *name)
{
    if (folder_name[0] == '\0') {
        folder_open();
    }
    return dg_unix(folder_path(name));
}

/* ---- names ---- */

static void
ux_exchange(kolk_address to_a, kolk_address to_b)
{
    kolk_loop *loop = test_loop_open();

    dg_open(&a, loop, &to_a, NULL);
    dg_open(&b, loop, &to_b, NULL);
    dg_send(&a, "hello", &to_b);
    dg_wait(loop, &b.received, 1);
    CHECK_STR(b.bytes[0], "hello");
    CHECK(kolk_address_equal(&b.from, &to_a));
    dg_send(&b, "hello yourself", &b.from);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "hello yourself");
    CHECK_INT(a.errors + b.errors, 0);
}

TEST(unix_datagrams_go_between_paths)
{
    ux_exchange(ux_path("a"), ux_path("b"));
}

TEST(unix_datagrams_go_between_abstract_names)
{
    ux_exchange(dg_abstract("a"), dg_abstract("b"));
}

TEST(a_sender_without_a_name_is_unnamed)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a");

    dg_open(&a, loop, &name, NULL);
    dg_open(&b, loop, NULL, &name);
    dg_send(&b, "x", NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, NULL, 0, NULL));
    dg_wait(loop, &a.received, 2);
    CHECK_INT(a.from.size, sizeof(sa_family_t));
    CHECK_INT(a.from.storage.ss_family, AF_UNIX);
    CHECK_INT(a.sizes[1], 0);
    CHECK_OK(kolk_datagram_peername(b.datagram, &name));
    CHECK_INT(name.storage.ss_family, AF_UNIX);
}

/* Both ends of a pair, in `a` and `b`. */
static kolk_loop *
ux_open_pair(void)
{
    struct dg *ends[] = {&a, &b};
    int fds[2];

    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        dg_init(ends[i], loop);
        int err = kolk_datagram_open_fd(loop, fds[i], NULL, &ends[i]->protocol,
                                        &ends[i]->datagram);
        if (err < 0) {
            (void)close(fds[i]);
            (void)(i == 0 && close(fds[1]));
        }
        CHECK_OK(err);
        test_later(dg_release, ends[i]);
    }
    return loop;
}

TEST(a_pair_of_datagram_sockets_is_connected)
{
    kolk_loop *loop = ux_open_pair();

    dg_send(&a, "x", NULL);
    dg_send(&b, "y", NULL);
    dg_wait(loop, &a.received, 1);
    dg_wait(loop, &b.received, 1);
    CHECK_STR(a.bytes[0], "y");
}

/* ---- sizes ---- */

static char large[600000];

static void
ux_check_large(struct dg *self, const void *data, size_t size)
{
    (void)self;
    CHECK_INT(memcmp(data, large, size), 0);
}

TEST(a_large_unix_datagram_comes_whole)
{
    kolk_loop *loop = ux_open_pair();

    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (char)(i * 7 + i / 251);
    }
    a.on_received = ux_check_large;
    CHECK_OK(kolk_datagram_send(b.datagram, large, 200000, NULL));
    dg_wait(loop, &a.received, 1);
    CHECK_INT(a.sizes[0], 200000);
}

/* More than anybody receives at once is not cut without a word. */
TEST(a_unix_datagram_that_would_be_cut_is_an_error)
{
    kolk_loop *loop = ux_open_pair();
    int size = 2000000;

    if (setsockopt(kolk_datagram_fileno(b.datagram), SOL_SOCKET, SO_SNDBUFFORCE,
                   &size, sizeof size)
        < 0) {
        return; /* only for the privileged */
    }
    CHECK_OK(kolk_datagram_send(b.datagram, large, 300000, NULL));
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.errors, 1);
    CHECK_INT(a.error[0], -EMSGSIZE);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "x");
}

TEST(a_unix_datagram_that_is_too_big_does_not_close_the_socket)
{
    kolk_loop *loop = ux_open_pair();

    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.received, 1);
    CHECK_INT(b.errors, 1);
    CHECK_INT(b.error[0], -EMSGSIZE);
    CHECK_INT(b.losses, 0);
}

/* ---- receivers that are gone ---- */

TEST(a_receiver_that_is_gone_is_an_error_of_that_datagram)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = ux_path("a"), gone = ux_path("gone");
    kolk_address dead = ux_path("dead"), abstract = dg_abstract("gone");
    kolk_address unnamed = {.size = sizeof(sa_family_t),
                            .storage.ss_family = AF_UNIX};

    test_close(dg_plain(AF_UNIX, &dead)); /* leaves its file */
    dg_open(&a, loop, &name, NULL);
    test_close(dg_plain(AF_UNIX, &abstract));
    dg_open(&b, loop, &unnamed, NULL); /* gets a name of the kernel's choice */
    dg_send(&b, "1", &gone);
    dg_send(&b, "2", &dead);
    dg_send(&b, "3", &abstract);
    dg_send(&b, "4", &name);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "4");
    CHECK_INT(b.errors, 3);
    CHECK_INT(b.error[0], -ENOENT);
    CHECK_INT(b.error[1], -ECONNREFUSED);
    CHECK_INT(b.error[2], -ECONNREFUSED);
    CHECK_INT(b.losses, 0);
}

/* The kernel takes the connection away with the receiver. */
TEST(a_receiver_that_comes_back_is_found_again)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a");

    dg_open(&a, loop, &name, NULL);
    dg_open(&b, loop, NULL, &name);
    kolk_datagram_abort(a.datagram);
    dg_wait(loop, &a.losses, 1);
    for (int i = 1; i <= 3; i++) {
        dg_send(&b, "lost", NULL);
        CHECK_INT(b.errors, i);
        CHECK_INT(b.error[i - 1], -ECONNREFUSED);
    }
    dg_open(&c, loop, &name, NULL);
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    dg_wait(loop, &c.received, 2);
    CHECK_STR(c.bytes[0], "1");
    CHECK_INT(b.errors, 3);
    CHECK_INT(b.losses, 0);
}

TEST(the_other_end_of_a_pair_may_go)
{
    kolk_loop *loop = ux_open_pair();

    kolk_datagram_abort(a.datagram);
    dg_wait(loop, &a.losses, 1);
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    test_settle(loop);
    CHECK_INT(b.errors, 2);
    CHECK_INT(b.error[0], -ECONNREFUSED);
    CHECK_INT(b.losses, 0);
}

/* ---- receivers that are full ---- */

/* Sends `count` datagrams to `to` from `b`, and lets a plain socket take them
 * only when most wait. */
static void
ux_fill(kolk_loop *loop, int receiver, const kolk_address *to, int count)
{
    char text[16], bytes[16];
    int got = 0;

    for (int i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        dg_send(&b, text, to);
    }
    CHECK(kolk_datagram_buffer_size(b.datagram) > 0);
    test_settle(loop);
    CHECK(kolk_datagram_buffer_size(b.datagram) > 0);
    CHECK_INT(b.errors, 0);
    for (int turns = 0; got < count && turns < 20 * count; turns++) {
        ssize_t size = recv(receiver, bytes, sizeof bytes - 1, 0);

        if (size < 0) {
            CHECK_INT(errno, EAGAIN);
            test_advance(loop, kolk_now(loop) + KOLK_MS(1));
            continue;
        }
        bytes[size] = '\0';
        (void)snprintf(text, sizeof text, "%d", got++);
        CHECK_STR(bytes, text);
    }
    CHECK_INT(got, count);
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
}

/* Sends to `name` until there is no more room, of which there is not so much.
 */
static void
ux_crowd(const kolk_address *name)
{
    for (int i = 0; i < 10000 && kolk_datagram_buffer_size(b.datagram) == 0;
         i++) {
        dg_send(&b, "x", name);
    }
    CHECK(kolk_datagram_buffer_size(b.datagram) > 0);
}

TEST(a_full_receiver_of_a_connected_socket_is_waited_for)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a");
    int receiver = dg_plain(AF_UNIX, &name);

    dg_open(&b, loop, NULL, &name);
    ux_fill(loop, receiver, NULL, 2000);
}

TEST(a_full_receiver_of_an_unconnected_socket_is_waited_for)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a"), own = dg_abstract("b");
    int receiver = dg_plain(AF_UNIX, &name);

    dg_open(&b, loop, &own, NULL);
    ux_fill(loop, receiver, &name, 2000);
}

/* The kernel calls the socket writable all the time. */
TEST(waiting_for_a_full_receiver_does_not_keep_the_loop_busy)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a"), own = dg_abstract("b");
    int receiver = dg_plain(AF_UNIX, &name);
    char byte;

    dg_open(&b, loop, &own, NULL);
    ux_crowd(&name);
    dg_calls.sends = 0;
    for (int i = 0; i < 100; i++) {
        test_settle(loop);
    }
    CHECK_INT(dg_calls.sends, 0);
    test_advance(loop, KOLK_S(1));
    CHECK(dg_calls.sends < 120);
    CHECK_INT(recv(receiver, &byte, 1, 0), 1);
    test_advance(loop, KOLK_S(2));
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
}

TEST(a_full_receiver_that_goes_away_is_an_error)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a"), own = dg_abstract("b");
    int receiver = dg_plain(AF_UNIX, &name);

    dg_open(&b, loop, &own, NULL);
    ux_crowd(&name);
    dg_send(&b, "x", &name);
    test_close(receiver);
    dg_wait(loop, &b.errors, 2);
    CHECK_INT(b.error[0], -ECONNREFUSED);
    CHECK_INT(b.losses, 0);
}

TEST(what_a_full_receiver_leaves_can_be_aborted)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = dg_abstract("a");

    (void)dg_plain(AF_UNIX, &name);
    dg_open(&b, loop, NULL, &name);
    ux_crowd(NULL);
    kolk_datagram_close(b.datagram);
    test_settle(loop);
    CHECK_INT(b.losses, 0);
    kolk_datagram_abort(b.datagram);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.lost, -ECANCELED);
}

/* ---- files ---- */

TEST(the_file_of_a_socket_goes_with_it)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = ux_path("a");

    dg_open(&a, loop, &name, NULL);
    CHECK(folder_has("a"));
    kolk_datagram_close(a.datagram);
    dg_wait(loop, &a.losses, 1);
    CHECK(!folder_has("a"));
    dg_open(&b, loop, &name, NULL);
    test_loop_close(loop);
    CHECK_INT(b.losses, 1);
    CHECK(!folder_has("a"));
}

TEST(the_path_of_a_dead_socket_is_taken_over)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = ux_path("a");

    test_close(dg_plain(AF_UNIX, &name));
    CHECK(folder_has("a"));
    dg_open(&a, loop, &name, NULL);
    dg_open(&b, loop, NULL, &name);
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.received, 1);
}

TEST(the_path_of_a_live_socket_is_not_stolen)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = ux_path("a")};
    kolk_datagram *none;
    char byte;
    int fd = dg_plain(AF_UNIX, &options.local);

    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EADDRINUSE);
    dg_open(&b, loop, NULL, &options.local);
    dg_send(&b, "x", NULL);
    CHECK_INT(recv(fd, &byte, 1, 0), 1);
}

/* One that takes connections is alive, too. */
TEST(the_path_of_a_live_server_is_not_stolen)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = ux_path("a")};
    kolk_datagram *none;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    test_own(fd);
    CHECK_INT(
        bind(fd, (struct sockaddr *)&options.local.storage, options.local.size),
        0);
    CHECK_INT(listen(fd, 1), 0);
    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EADDRINUSE);
    CHECK(folder_has("a"));
}

TEST(a_file_that_is_no_socket_is_not_removed)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = ux_path("a")};
    kolk_datagram *none;
    int fd = open(folder_path("a"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    test_own(fd);
    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EADDRINUSE);
    CHECK(folder_has("a"));
}

/* What stands at the path by then is somebody else's. */
TEST(the_file_of_another_socket_is_not_removed)
{
    kolk_loop *loop = test_loop_open();
    kolk_address name = ux_path("a");

    dg_open(&a, loop, &name, NULL);
    CHECK_INT(unlink(folder_path("a")), 0);
    int fd = dg_plain(AF_UNIX, &name);
    kolk_datagram_abort(a.datagram);
    dg_wait(loop, &a.losses, 1);
    CHECK(folder_has("a"));
    char byte;
    dg_open(&b, loop, NULL, &name);
    dg_send(&b, "x", NULL);
    CHECK_INT(recv(fd, &byte, 1, 0), 1);
}

TEST(a_socket_that_cannot_be_opened_leaves_no_file)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = ux_path("a"),
                                     .remote = ux_path("gone")};
    kolk_datagram *none;

    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -ENOENT);
    CHECK(!folder_has("a"));
}
