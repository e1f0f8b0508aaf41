/* net_datagram.c - UDP: what comes, what goes, and errors that end nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "datagram_kit.h"

static struct dg a, b, c;

/* ---- what comes and goes ---- */

static void
udp_exchange(kolk_address (*address)(uint16_t port))
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = address(0);

    dg_open(&a, loop, &any, NULL);
    dg_open(&b, loop, &any, NULL);
    kolk_address to_a = dg_name(&a), to_b = dg_name(&b);
    dg_send(&a, "hello", &to_b);
    CHECK_INT(b.received, 0); /* never inside the call */
    dg_wait(loop, &b.received, 1);
    CHECK_STR(b.bytes[0], "hello");
    CHECK(kolk_address_equal(&b.from, &to_a));
    dg_send(&b, "hello yourself", &b.from);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "hello yourself");
    CHECK(kolk_address_equal(&a.from, &to_b));
    CHECK_INT(a.errors + b.errors, 0);
}

TEST(a_datagram_comes_with_its_senders_address)
{
    udp_exchange(dg_ipv4);
}

TEST(datagrams_go_by_ipv6_too)
{
    udp_exchange(dg_ipv6);
}

TEST(a_connected_socket_needs_no_address)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0), name;

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, NULL, &to_a);
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.received, 1);
    kolk_address to_b = dg_name(&b);
    CHECK(kolk_address_equal(&a.from, &to_b));
    dg_send(&a, "y", &a.from);
    dg_wait(loop, &b.received, 1);
    CHECK_STR(b.bytes[0], "y");

    CHECK_OK(kolk_datagram_peername(b.datagram, &name));
    CHECK(kolk_address_equal(&name, &to_a));
    CHECK_ERR(kolk_datagram_peername(a.datagram, &name), -ENOTCONN);
    CHECK_PTR(kolk_datagram_loop(b.datagram), loop);
    CHECK(kolk_datagram_fileno(b.datagram) >= 0);
}

TEST(an_empty_datagram_is_a_datagram)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, NULL, &to_a);
    CHECK_OK(kolk_datagram_send(b.datagram, NULL, 0, NULL));
    dg_send(&b, "x", NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, "", 0, NULL));
    dg_wait(loop, &a.received, 3);
    CHECK_INT(a.sizes[0], 0);
    CHECK_INT(a.sizes[1], 1);
    CHECK_INT(a.sizes[2], 0);
    CHECK_INT(a.losses, 0);
}

static char large[70000];

static void
udp_check_large(struct dg *self, const void *data, size_t size)
{
    (void)self;
    CHECK_INT(memcmp(data, large, size), 0);
}

TEST(the_largest_datagram_comes_whole)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (char)(i * 7 + i / 251);
    }
    dg_open(&a, loop, &any, NULL);
    a.on_received = udp_check_large;
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, NULL, &to_a);
    CHECK_OK(kolk_datagram_send(b.datagram, large, 65507, NULL));
    dg_wait(loop, &a.received, 1);
    CHECK_INT(a.sizes[0], 65507);
}

/* ---- errors of one datagram ---- */

TEST(a_datagram_that_is_too_big_does_not_close_the_socket)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, &any, NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, &to_a));
    CHECK_OK(kolk_datagram_send(b.datagram, large, 65508, &to_a));
    dg_wait(loop, &b.errors, 2);
    CHECK_INT(b.error[0], -EMSGSIZE);
    CHECK_INT(b.error[1], -EMSGSIZE);
    dg_send(&b, "small", &to_a);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "small");
    CHECK_INT(b.losses, 0);
    CHECK(!kolk_datagram_is_closing(b.datagram));
    test_settle(loop);
    CHECK_INT(b.errors, 2); /* each once */
}

/* The kernel keeps a note of what was too big in the error queue. */
TEST(a_note_in_the_error_queue_does_not_keep_the_loop_busy)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    CHECK_OK(kolk_datagram_send(a.datagram, large, 65508, &to_a));
    dg_wait(loop, &a.errors, 1);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(kolk_run_once(loop));
    }
    CHECK(dg_calls.receives <= 2);
    CHECK_INT(a.errors, 1);
}

TEST(a_refusal_is_told_to_a_connected_socket_which_goes_on)
{
    kolk_loop *loop = test_loop_open();
    kolk_address nobody = dg_nobody();

    dg_open(&a, loop, NULL, &nobody);
    dg_send(&a, "x", NULL);
    dg_wait(loop, &a.errors, 1);
    CHECK_INT(a.error[0], -ECONNREFUSED);
    test_settle(loop);
    CHECK_INT(a.errors, 1);
    CHECK_INT(a.losses, 0);

    int fd = dg_plain(AF_INET, &nobody);
    char bytes[8];
    dg_send(&a, "y", NULL);
    CHECK_INT(recv(fd, bytes, sizeof bytes, 0), 1);
    kolk_address to_a = dg_name(&a);
    dg_send_plain(fd, "z", 1, &to_a);
    dg_wait(loop, &a.received, 1);
}

/* Sending says "refused" where an earlier one was. */
TEST(an_error_of_an_earlier_datagram_does_not_take_the_next_one)
{
    kolk_loop *loop = test_loop_open();
    kolk_address nobody = dg_nobody();
    char bytes[8];

    dg_open(&a, loop, NULL, &nobody);
    dg_send(&a, "x", NULL);
    int fd = dg_plain(AF_INET, &nobody);
    dg_send(&a, "y", NULL);
    CHECK_INT(recv(fd, bytes, sizeof bytes, 0), 1);
    CHECK_INT(bytes[0], 'y');
    dg_wait(loop, &a.errors, 1);
    CHECK_INT(a.error[0], -ECONNREFUSED);
    test_settle(loop);
    CHECK_INT(a.errors, 1);
}

static void
udp_lose_nothing(kolk_address (*address)(uint16_t port), int family)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = address(0);

    dg_open(&a, loop, &any, NULL);
    dg_open(&b, loop, &any, NULL);
    kolk_address to_b = dg_name(&b);
    int fd = dg_plain(family, &any);
    kolk_address nobody = dg_name_of(fd);
    test_close(fd);
    for (int i = 0; i < 3; i++) {
        dg_send(&a, "x", &nobody);
    }
    dg_send(&a, "y", &to_b);
    dg_wait(loop, &b.received, 1);
    dg_wait(loop, &a.errors, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(a.error[i], -ECONNREFUSED);
    }
    test_settle(loop);
    CHECK_INT(a.errors, 3);
    CHECK_INT(a.losses, 0);
}

TEST(no_icmp_error_of_an_unconnected_socket_is_lost)
{
    udp_lose_nothing(dg_ipv4, AF_INET);
}

TEST(no_icmp_error_of_ipv6_is_lost)
{
    udp_lose_nothing(dg_ipv6, AF_INET6);
}

/* An IPv6 socket that sends to a mapped IPv4 address. */
TEST(no_icmp_error_of_a_mapped_address_is_lost)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_parse("::", 0), nobody = dg_nobody();
    kolk_address to = dg_parse("::ffff:127.0.0.1", kolk_address_port(&nobody));

    dg_open(&a, loop, &any, NULL);
    dg_send(&a, "x", &to);
    dg_wait(loop, &a.errors, 1);
    CHECK_INT(a.error[0], -ECONNREFUSED);
}

static void
udp_send_again(struct dg *self, int error)
{
    (void)error;
    if (self->errors < 300) {
        CHECK_OK(kolk_datagram_send(self->datagram, large, sizeof large, NULL));
    }
}

static void
udp_note(kolk_call *call)
{
    *(int *)call->pointer += 1;
}

TEST(who_sends_again_what_failed_neither_recurses_nor_stops_the_loop)
{
    static kolk_call call;
    int ran = 0;
    kolk_loop *loop = test_loop_open();
    kolk_address nobody = dg_nobody();

    dg_open(&a, loop, NULL, &nobody);
    a.on_error = udp_send_again;
    kolk_call_init(&call, udp_note, NULL);
    call.pointer = &ran;
    CHECK_OK(kolk_call_soon(loop, &call));
    CHECK_OK(kolk_datagram_send(a.datagram, large, sizeof large, NULL));
    CHECK(a.errors < 100);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(ran, 1);
    dg_wait(loop, &a.errors, 300);
    CHECK_INT(a.losses, 0);
}

static void
udp_check_survives(int error)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, NULL, &to_a);
    dg_calls_fail_sends(1, error);
    dg_send(&b, "x", NULL);
    dg_wait(loop, &b.errors, 1);
    CHECK_INT(b.error[0], -error);
    dg_send(&b, "y", NULL);
    dg_wait(loop, &a.received, 1);
    CHECK_STR(a.bytes[0], "y");
    CHECK_INT(b.losses + b.errors, 1);
}

TEST(a_firewall_that_refuses_a_datagram_does_not_close_the_socket)
{
    udp_check_survives(EPERM);
}

TEST(a_full_device_does_not_close_the_socket)
{
    udp_check_survives(ENOBUFS);
}

TEST(a_network_that_cannot_be_reached_does_not_close_the_socket)
{
    udp_check_survives(ENETUNREACH);
}

/* ---- what cannot be sent now ---- */

/* `a` receives what `b` sends. */
static kolk_loop *
udp_open_pair(void)
{
    dg_calls_watch();
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);

    dg_open(&a, loop, &any, NULL);
    kolk_address to_a = dg_name(&a);
    dg_open(&b, loop, NULL, &to_a);
    return loop;
}

TEST(what_cannot_be_sent_now_is_copied_and_sent_in_order)
{
    kolk_loop *loop = udp_open_pair();
    char text[] = "0";

    dg_calls_fail_sends(1, EAGAIN);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "%d", i % 10);
        dg_send(&b, text, NULL);
    }
    memset(text, 'x', 1); /* is the caller's again */
    CHECK_INT(dg_calls.sends, 1);
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 100 * 9);
    dg_wait(loop, &a.received, 100);
    for (int i = 0; i < 100; i++) {
        CHECK_INT(a.bytes[i][0], '0' + i % 10);
    }
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
    CHECK_INT(b.errors + b.pauses, 0);
}

TEST(queued_datagrams_have_each_their_own_address)
{
    kolk_loop *loop = udp_open_pair();
    kolk_address any = dg_ipv4(0);

    dg_open(&c, loop, &any, NULL);
    kolk_address to_a = dg_name(&a), to_c = dg_name(&c);
    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&a, "1", &to_a);
    dg_send(&a, "2", &to_c);
    dg_send(&a, "3", &to_a);
    CHECK_OK(kolk_datagram_send(a.datagram, NULL, 0, &to_c));
    dg_wait(loop, &a.received, 2);
    dg_wait(loop, &c.received, 2);
    CHECK_STR(a.bytes[1], "3");
    CHECK_STR(c.bytes[0], "2");
    CHECK_INT(c.sizes[1], 0);
}

TEST(an_error_of_a_queued_datagram_does_not_stop_the_rest)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    dg_send(&b, "2", NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    dg_send(&b, "3", NULL);
    dg_wait(loop, &a.received, 3);
    CHECK_STR(a.bytes[0], "1");
    CHECK_STR(a.bytes[1], "2");
    CHECK_STR(a.bytes[2], "3");
    CHECK_INT(b.errors, 2);
    CHECK_INT(b.error[1], -EMSGSIZE);
    CHECK_INT(b.losses, 0);
}

TEST(marks_are_told_once_each)
{
    kolk_loop *loop = udp_open_pair();
    char kilobyte[1024] = {0};

    CHECK_ERR(kolk_datagram_set_write_limits(b.datagram, 1, 2), -EINVAL);
    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 4096, 2048));
    dg_calls_fail_sends(1, EAGAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(kolk_datagram_send(b.datagram, kilobyte, 1024, NULL));
    }
    CHECK_INT(b.pauses, 0);
    CHECK_OK(kolk_datagram_send(b.datagram, kilobyte, 1024, NULL));
    CHECK_INT(b.pauses, 1);
    CHECK_OK(kolk_datagram_send(b.datagram, kilobyte, 1024, NULL));
    CHECK_INT(b.pauses, 1);
    dg_wait(loop, &b.resumes, 1);
    dg_wait(loop, &a.received, 5);
    CHECK_INT(b.pauses, 1);
    CHECK_INT(b.resumes, 1);
}

TEST(empty_datagrams_that_wait_count_too)
{
    kolk_loop *loop = udp_open_pair();

    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 80, 0));
    dg_calls_fail_sends(1, EAGAIN);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(kolk_datagram_send(b.datagram, NULL, 0, NULL));
    }
    CHECK_INT(b.pauses, 1);
    dg_wait(loop, &b.resumes, 1);
    dg_wait(loop, &a.received, 20);
}

TEST(new_marks_count_at_once)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 0, 0));
    CHECK_INT(b.pauses, 1);
    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 100, 100));
    CHECK_INT(b.resumes, 1);
    dg_wait(loop, &a.received, 1);
}

/* "Writable" is not believed for ever. */
TEST(who_cannot_send_although_it_should_tries_at_times_only)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(12, EAGAIN);
    dg_send(&b, "1", NULL);
    for (int i = 0; i < 50; i++) {
        test_settle(loop); /* the clock stands still */
    }
    CHECK_INT(dg_calls.sends, 2);
    dg_wait(loop, &a.received, 1);
    CHECK_INT(dg_calls.sends, 13);
}

/* ---- the end ---- */

TEST(closing_sends_the_queue_first)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    kolk_datagram_close(b.datagram);
    CHECK(kolk_datagram_is_closing(b.datagram));
    CHECK_ERR(kolk_datagram_send(b.datagram, "3", 1, NULL), -ESHUTDOWN);
    CHECK_INT(b.losses, 0);
    kolk_datagram_close(b.datagram);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.lost, 0);
    dg_wait(loop, &a.received, 2);
    CHECK_STR(a.bytes[1], "2");
}

TEST(closing_with_nothing_to_send_is_told_in_the_next_turn)
{
    kolk_loop *loop = udp_open_pair();

    kolk_datagram_close(b.datagram);
    CHECK_INT(b.losses, 0);
    CHECK_OK(kolk_run_once(loop));
    CHECK_INT(b.losses, 1);
    CHECK_INT(b.lost, 0);
    kolk_datagram_close(b.datagram);
    kolk_datagram_abort(b.datagram);
    test_settle(loop);
    CHECK_INT(b.losses, 1);
}

TEST(aborting_sends_nothing)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    kolk_datagram_close(b.datagram);
    kolk_datagram_abort(b.datagram);
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
    CHECK_INT(b.losses, 0);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.lost, -ECANCELED);
    test_settle(loop);
    CHECK_INT(a.received, 0);
}

TEST(a_closed_socket_receives_nothing_more)
{
    kolk_loop *loop = udp_open_pair();

    dg_send(&b, "1", NULL);
    kolk_datagram_close(a.datagram);
    dg_wait(loop, &a.losses, 1);
    CHECK_INT(a.received, 0);
}

TEST(errors_of_the_queue_are_told_while_it_closes)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    dg_send(&b, "1", NULL);
    kolk_datagram_close(b.datagram);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.errors, 1);
    dg_wait(loop, &a.received, 1);
}

TEST(an_open_socket_ends_with_its_loop)
{
    kolk_loop *loop = udp_open_pair();
    kolk_address name;

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    kolk_datagram_abort(a.datagram);
    test_loop_close(loop);
    CHECK_INT(a.losses, 1);
    CHECK_INT(a.lost, -ECANCELED);
    CHECK_INT(b.losses, 1);
    CHECK_INT(b.lost, -ESHUTDOWN);

    /* Afterwards it is but memory. */
    CHECK_ERR(kolk_datagram_send(b.datagram, "1", 1, NULL), -ESHUTDOWN);
    CHECK_ERR(kolk_datagram_fileno(b.datagram), -EBADF);
    CHECK_ERR(kolk_datagram_sockname(b.datagram, &name), -EBADF);
    CHECK_OK(kolk_datagram_peername(b.datagram, &name));
    CHECK(kolk_datagram_is_closing(b.datagram));
    kolk_datagram_close(b.datagram);
    kolk_datagram_abort(b.datagram);
    kolk_datagram_set_protocol(b.datagram, NULL);
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
}

static int
udp_count(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    (void)visitor;
    return kind == KOLK_NODE_DATAGRAM && node == a.datagram;
}

TEST(a_visitor_is_shown_what_is_open)
{
    kolk_visitor visitor = {.fn = udp_count};
    kolk_loop *loop = udp_open_pair();

    CHECK_INT(kolk_loop_visit(loop, &visitor), 1);
    kolk_datagram_close(a.datagram);
    CHECK_INT(kolk_loop_visit(loop, &visitor), 1); /* until it is told */
    dg_wait(loop, &a.losses, 1);
    CHECK_INT(kolk_loop_visit(loop, &visitor), 0);
}

/* ---- callbacks that do what they like ---- */

static void
udp_abort_on_received(struct dg *self, const void *data, size_t size)
{
    (void)data, (void)size;
    kolk_datagram_abort(self->datagram);
}

TEST(who_aborts_while_it_is_told_of_one_is_told_of_no_more)
{
    kolk_loop *loop = udp_open_pair();

    a.on_received = udp_abort_on_received;
    for (int i = 0; i < 20; i++) {
        dg_send(&b, "1", NULL);
    }
    dg_wait(loop, &a.losses, 1);
    CHECK_INT(a.received, 1);
}

static void
udp_abort_on_error(struct dg *self, int error)
{
    (void)error;
    kolk_datagram_abort(self->datagram);
}

TEST(who_aborts_while_it_is_told_of_an_error_is_told_of_no_more)
{
    kolk_loop *loop = udp_open_pair();

    b.on_error = udp_abort_on_error;
    dg_calls_fail_sends(1, EAGAIN);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    }
    dg_send(&b, "1", NULL);
    dg_wait(loop, &b.losses, 1);
    test_settle(loop);
    CHECK_INT(b.errors, 1);
    CHECK_INT(a.received, 0);
}

static void
udp_abort(struct dg *self)
{
    kolk_datagram_abort(self->datagram);
}

TEST(who_aborts_when_it_shall_pause_has_not_sent)
{
    kolk_loop *loop = udp_open_pair();

    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 0, 0));
    b.on_pause = udp_abort;
    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    dg_wait(loop, &b.losses, 1);
    test_settle(loop);
    CHECK_INT(a.received, 0);
    CHECK_INT(b.resumes, 0);
}

TEST(who_aborts_when_it_may_resume_is_lost_once)
{
    kolk_loop *loop = udp_open_pair();

    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 10, 10));
    b.on_resume = udp_abort;
    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.lost, -ECANCELED);
    test_settle(loop);
    CHECK_INT(b.losses, 1);
}

/* The last reference is given up in the middle of what it is told. */
static void
udp_close_and_unref(struct dg *self, const void *data, size_t size)
{
    (void)data, (void)size;
    if (self->received == 1) {
        kolk_datagram_abort(self->datagram);
        kolk_datagram_unref(self->datagram);
    }
}

static void
udp_forget(struct dg *self)
{
    self->datagram = NULL;
}

TEST(the_last_reference_may_be_given_up_anywhere)
{
    kolk_loop *loop = udp_open_pair();

    a.on_received = udp_close_and_unref;
    a.on_lost = udp_forget;
    for (int i = 0; i < 20; i++) {
        dg_send(&b, "1", NULL);
    }
    dg_wait(loop, &a.losses, 1);
    CHECK_INT(a.received, 1);
}

static void
udp_run_inside(struct dg *self, const void *data, size_t size)
{
    char first = *(const char *)data;

    CHECK_INT(size, 1);
    if (self->received < 4) {
        int next = self->received + 1;

        while (self->received < next && kit_failures() == 0) {
            CHECK_OK(kolk_run_forever(self->loop));
        }
    }
    CHECK_INT(*(const char *)data, first);
}

TEST(what_was_received_stays_while_the_loop_runs_inside)
{
    kolk_loop *loop = udp_open_pair();

    a.on_received = udp_run_inside;
    for (int i = 0; i < 4; i++) {
        char text[] = {(char)('1' + i), '\0'};
        dg_send(&b, text, NULL);
    }
    dg_wait(loop, &a.received, 4);
    CHECK_STR(a.bytes[0], "1");
    CHECK_STR(a.bytes[3], "4");
}

static void
udp_lose_inside(struct dg *self, const void *data, size_t size)
{
    (void)data, (void)size;
    kolk_datagram_abort(self->datagram);
    kolk_datagram_unref(self->datagram);
    while (self->losses == 0 && kit_failures() == 0) {
        CHECK_OK(kolk_run_forever(self->loop));
    }
}

TEST(a_socket_may_be_lost_inside_of_what_it_is_told)
{
    kolk_loop *loop = udp_open_pair();

    a.on_received = udp_lose_inside;
    a.on_lost = udp_forget;
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    dg_wait(loop, &a.losses, 1);
    test_settle(loop);
    CHECK_INT(a.received, 1);
}

static void
udp_hand_over(struct dg *self, const void *data, size_t size)
{
    (void)data, (void)size;
    c.datagram = self->datagram;
    kolk_datagram_set_protocol(self->datagram, &c.protocol);
    CHECK_PTR(kolk_datagram_protocol_of(self->datagram), &c.protocol);
}

TEST(the_next_datagram_goes_to_the_next_protocol)
{
    kolk_loop *loop = udp_open_pair();

    dg_init(&c, loop);
    a.on_received = udp_hand_over;
    dg_send(&b, "1", NULL);
    dg_send(&b, "2", NULL);
    dg_wait(loop, &c.received, 1);
    CHECK_INT(a.received, 1);
    CHECK_STR(c.bytes[0], "2");
    kolk_datagram_close(a.datagram);
    dg_wait(loop, &c.losses, 1);
    CHECK_INT(a.losses, 0);
}

static const kolk_datagram_protocol_ops udp_deaf_ops = {.connection_lost =
                                                            dg_lost};

TEST(all_callbacks_but_the_last_may_be_missing)
{
    kolk_loop *loop = udp_open_pair();

    a.protocol.ops = b.protocol.ops = &udp_deaf_ops;
    CHECK_OK(kolk_datagram_set_write_limits(b.datagram, 0, 0));
    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    test_settle(loop);
    CHECK_INT(kolk_datagram_buffer_size(b.datagram), 0);
    kolk_datagram_close(a.datagram);
    kolk_datagram_close(b.datagram);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(a.losses, 1);
}

/* ---- receiving that fails ---- */

TEST(receiving_that_fails_is_told_and_does_not_keep_the_loop_busy)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls.fail_receives = 1000;
    dg_calls.receive_error = ENOMEM;
    dg_send(&b, "1", NULL);
    for (int i = 0; i < 50; i++) {
        test_settle(loop);
    }
    CHECK(dg_calls.receives <= 4);
    CHECK(a.errors >= 1 && a.errors <= 4);
    CHECK_INT(a.error[0], -ENOMEM);
    dg_calls.fail_receives = 0;
    dg_wait(loop, &a.received, 1);
    CHECK_INT(a.losses, 0);
}

TEST(a_socket_that_cannot_be_watched_says_so_and_tries_again)
{
    kolk_loop *loop = udp_open_pair();
    kolk_datagram_options options = {.local = dg_ipv4(0)};
    kolk_datagram *none;

    dg_calls.fail_controls = 1;
    CHECK_ERR(kolk_datagram_open(loop, &options, &a.protocol, &none), -ENOSPC);

    dg_send(&b, "1", NULL);
    kolk_datagram_set_protocol(a.datagram, NULL);
    dg_calls.fail_controls = 5;
    kolk_datagram_set_protocol(a.datagram, &a.protocol);
    CHECK_INT(a.errors, 0);
    dg_wait(loop, &a.received, 1);
    CHECK_INT(a.errors, 5);
    CHECK_INT(a.error[4], -ENOSPC);
}

/* The queue has gone, and the kernel will not hear of it. */
TEST(a_watch_that_cannot_be_changed_does_not_keep_the_loop_busy)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_send(&b, "1", NULL);
    dg_calls.fail_controls = 1000;
    dg_wait(loop, &a.received, 1);
    test_settle(loop);
    dg_calls.fail_controls = 0;
    kolk_address to_b = dg_name(&b);
    dg_send(&a, "2", &to_b);
    dg_wait(loop, &b.received, 1);
}

TEST(what_waits_is_sent_although_its_socket_cannot_be_watched)
{
    kolk_loop *loop = udp_open_pair();

    dg_calls_fail_sends(1, EAGAIN);
    dg_calls.fail_controls = 1000;
    dg_send(&b, "1", NULL);
    dg_wait(loop, &a.received, 1);
    CHECK_INT(b.errors, 0);
}

/* Its number may be another file by then, which stays open. */
TEST(a_descriptor_that_somebody_has_closed_is_not_closed_again)
{
    kolk_loop *loop = udp_open_pair();
    int fd = kolk_datagram_fileno(b.datagram);
    int pair[2];

    CHECK_INT(close(fd), 0);
    dg_send(&b, "1", NULL);
    CHECK(kolk_datagram_is_closing(b.datagram));
    CHECK_ERR(kolk_datagram_send(b.datagram, "2", 1, NULL), -ESHUTDOWN);
    test_socketpair(pair);
    CHECK_INT(pair[0], fd);
    dg_wait(loop, &b.losses, 1);
    CHECK_INT(b.lost, -EBADF);
    CHECK_INT(b.errors, 0);
    CHECK_INT(write(pair[0], "x", 1), 1);
}

TEST(who_finds_its_descriptor_closed_when_it_receives_leaves_it_alone)
{
    kolk_loop *loop = udp_open_pair();
    int fd = kolk_datagram_fileno(a.datagram);

    dg_calls.fail_receives = 1;
    dg_calls.receive_error = EBADF;
    dg_send(&b, "1", NULL);
    if (dg_wait(loop, &a.losses, 1)) {
        CHECK_INT(a.lost, -EBADF);
        CHECK_INT(a.received, 0);
        CHECK_INT(close(fd), 0);
    }
}

/* ---- fairness and cost ---- */

static int udp_in_turn, udp_most_in_turn;

static void
udp_count_in_turn(struct dg *self, const void *data, size_t size)
{
    (void)self, (void)data, (void)size;
    udp_in_turn++;
    udp_most_in_turn =
        udp_in_turn > udp_most_in_turn ? udp_in_turn : udp_most_in_turn;
}

TEST(a_flood_does_not_keep_others_from_running)
{
    kolk_loop *loop = udp_open_pair();
    int turns = 0;

    a.on_received = udp_count_in_turn;
    udp_in_turn = udp_most_in_turn = 0;
    while (turns < 300 && kit_failures() == 0) {
        for (int i = 0; i < 40; i++) {
            dg_send(&b, "1", NULL);
        }
        udp_in_turn = 0;
        CHECK_OK(kolk_run_once(loop));
        turns++;
    }
    CHECK(udp_most_in_turn <= 32);
    CHECK(udp_most_in_turn > 8); /* several at a time, where there are many */
}

static void
udp_answer(struct dg *self, const void *data, size_t size)
{
    CHECK_OK(kolk_datagram_send(self->datagram, data, size, &self->from));
}

static void
udp_answer_connected(struct dg *self, const void *data, size_t size)
{
    if (self->received < 1000) {
        CHECK_OK(kolk_datagram_send(self->datagram, data, size, NULL));
    }
}

/* No second receive to find out that there is no more, nor an epoll_ctl(). */
TEST(a_datagram_costs_one_receive_and_one_send)
{
    kolk_loop *loop = udp_open_pair();

    a.on_received = udp_answer;
    b.on_received = udp_answer_connected;
    dg_calls.sends = dg_calls.receives = dg_calls.controls = 0;
    dg_send(&b, "ping", NULL);
    dg_wait(loop, &b.received, 1000);
    CHECK_INT(dg_calls.sends, 2000);
    CHECK(dg_calls.receives < 2300);
    CHECK_INT(dg_calls.controls, 0);
}

/* ---- opening ---- */

TEST(a_socket_needs_an_address_of_one_family)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {0};
    kolk_datagram *none = NULL;

    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EINVAL);
    options.local = dg_ipv4(0);
    options.remote = dg_ipv6(1);
    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EINVAL);
    CHECK_PTR(none, NULL);
}

TEST(an_address_is_given_exactly_where_one_is_needed)
{
    kolk_loop *loop = udp_open_pair();
    kolk_address to_a = dg_name(&a), none = {0};

    CHECK_ERR(kolk_datagram_send(a.datagram, "x", 1, NULL), -EINVAL);
    CHECK_ERR(kolk_datagram_send(a.datagram, "x", 1, &none), -EINVAL);
    CHECK_ERR(kolk_datagram_send(b.datagram, "x", 1, &to_a), -EINVAL);
    CHECK_OK(kolk_datagram_send(b.datagram, "x", 1, &none));
    dg_wait(loop, &a.received, 1);
    CHECK_INT(a.errors + b.errors, 0);
}

TEST(a_port_is_not_taken_twice_unless_both_agree)
{
    kolk_loop *loop = udp_open_pair();
    kolk_datagram_options options = {.local = dg_name(&a)};
    kolk_datagram *none;

    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EADDRINUSE);
    options.reuse_port = true;
    CHECK_ERR(kolk_datagram_open(loop, &options, NULL, &none), -EADDRINUSE);
    options.local = dg_ipv4(0);
    dg_open_with(&c, loop, &options);
    options.local = dg_name(&c);
    CHECK_OK(kolk_datagram_open(loop, &options, NULL, &none));
    kolk_datagram_abort(none);
    kolk_datagram_unref(none);
}

TEST(a_broadcast_has_to_be_asked_for)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram_options options = {.local = dg_ipv4(0), .broadcast = true};
    int on = 0;
    socklen_t size = sizeof on;

    dg_open_with(&a, loop, &options);
    CHECK_INT(getsockopt(kolk_datagram_fileno(a.datagram), SOL_SOCKET,
                         SO_BROADCAST, &on, &size),
              0);
    CHECK_INT(on, 1);
    kolk_address to = dg_parse("255.255.255.255", 9);
    options.broadcast = false;
    dg_open_with(&b, loop, &options);
    dg_send(&b, "x", &to);
    dg_wait(loop, &b.errors, 1); /* no network, or no right to */
    CHECK_INT(b.losses, 0);
}

TEST(a_socket_that_exists_is_taken_over)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    CHECK_INT(bind(fd, (struct sockaddr *)&any.storage, any.size), 0);
    kolk_address name = dg_name_of(fd);
    dg_init(&a, loop);
    int err = kolk_datagram_open_fd(loop, fd, NULL, &a.protocol, &a.datagram);
    if (err < 0) {
        (void)close(fd);
    }
    CHECK_OK(err);
    test_later(dg_release, &a);
    CHECK_INT(kolk_datagram_fileno(a.datagram), fd);
    dg_open(&b, loop, NULL, &name);
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.received, 1);
    kolk_datagram_close(a.datagram);
    dg_wait(loop, &a.losses, 1);
    CHECK_ERR(fcntl(fd, F_GETFD) < 0 ? -errno : 0, -EBADF);
}

TEST(a_borrowed_datagram_socket_stays_open)
{
    kolk_loop *loop = test_loop_open();
    kolk_address any = dg_ipv4(0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    CHECK_INT(bind(fd, (struct sockaddr *)&any.storage, any.size), 0);
    kolk_address name = dg_name_of(fd);
    dg_init(&a, loop);
    const kolk_datagram_options options = {.borrowed = true};
    int err =
        kolk_datagram_open_fd(loop, fd, &options, &a.protocol, &a.datagram);
    if (err < 0) {
        (void)close(fd);
    }
    CHECK_OK(err);
    test_later(dg_release, &a);
    CHECK_INT(kolk_datagram_fileno(a.datagram), fd);
    dg_open(&b, loop, NULL, &name);
    dg_send(&b, "x", NULL);
    dg_wait(loop, &a.received, 1);
    kolk_datagram_close(a.datagram);
    dg_wait(loop, &a.losses, 1);
    CHECK_INT(kolk_datagram_fileno(a.datagram), -EBADF);
    CHECK_INT(close(fd), 0);
}

TEST(what_is_no_datagram_socket_is_refused_and_stays_open)
{
    kolk_loop *loop = test_loop_open();
    kolk_datagram *none;
    int pair[2], pipe[2];

    test_socketpair(pair);
    test_pipe(pipe);
    CHECK_ERR(kolk_datagram_open_fd(loop, pair[0], NULL, NULL, &none), -EINVAL);
    CHECK_ERR(kolk_datagram_open_fd(loop, pipe[0], NULL, NULL, &none),
              -ENOTSOCK);
    CHECK_ERR(kolk_datagram_open_fd(loop, -1, NULL, NULL, &none), -EBADF);
    CHECK_INT(write(pair[0], "x", 1), 1);

    kolk_datagram_options options = {.remote = dg_ipv6(9)};
    int fd = dg_plain(AF_INET, NULL);
    CHECK_ERR(kolk_datagram_open_fd(loop, fd, &options, NULL, &none), -EINVAL);
    CHECK_OK(fcntl(fd, F_GETFD));
}

/* ---- a socket without a protocol ---- */

TEST(without_a_protocol_the_kernel_keeps_what_comes)
{
    kolk_loop *loop = udp_open_pair();

    kolk_datagram_set_protocol(a.datagram, NULL);
    dg_send(&b, "1", NULL);
    test_settle(loop);
    CHECK_INT(dg_calls.receives, 0);
    kolk_datagram_set_protocol(a.datagram, &a.protocol);
    dg_wait(loop, &a.received, 1);
}

static struct {
    kolk_error_handler handler;
    int count;
    int error;
} udp_reports;

static void
udp_report(kolk_error_handler *handler, kolk_loop *loop,
           const kolk_report *report)
{
    (void)handler, (void)loop;
    udp_reports.count++;
    udp_reports.error = report->error;
}

TEST(errors_that_nobody_asks_for_are_kept_and_then_reported)
{
    kolk_loop *loop = udp_open_pair();

    udp_reports.handler.fn = udp_report;
    kolk_loop_set_error_handler(loop, &udp_reports.handler);
    kolk_datagram_set_protocol(b.datagram, NULL);
    for (int i = 0; i < 40; i++) {
        CHECK_OK(kolk_datagram_send(b.datagram, large, sizeof large, NULL));
    }
    CHECK_INT(udp_reports.count, 1);
    CHECK_INT(udp_reports.error, -EMSGSIZE);
    kolk_datagram_set_protocol(b.datagram, &b.protocol);
    CHECK_INT(b.errors, 0);
    dg_wait(loop, &b.errors, 32);
    test_settle(loop);
    CHECK_INT(b.errors, 32);
}
