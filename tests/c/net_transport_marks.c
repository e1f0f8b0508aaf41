/* net_transport_marks.c - the protocol hears when too much waits to be sent.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include "calls.h"

static char marks_bytes[1 << 20];

/* The other end takes everything, until nothing is left. */
static void
marks_drain(struct talker *talker, int fd)
{
    static char sink[1 << 18];

    for (int i = 0;
         i < 10000 && kolk_transport_buffer_size(talker->transport) > 0; i++) {
        (void)talker_take(fd, sink, sizeof sink);
        talker_pass(talker, 1);
    }
    talker_pass(talker, 1);
}

TEST(writing_pauses_above_the_high_mark_and_goes_on_below_the_low_one)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    size_t high, low;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_transport_write_limits(talker->transport, &high, &low);
    CHECK_INT(high, 64 * 1024);
    CHECK_INT(low, 16 * 1024);
    (void)talker_fill(kolk_transport_fileno(talker->transport));
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, high));
    CHECK_STR(talker->trace, "");
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 1));
    CHECK_STR(talker->trace, "p"); /* told inside of the call */
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, high));
    CHECK_STR(talker->trace, "p"); /* once */
    marks_drain(talker, fds[1]);
    CHECK_STR(talker->trace, "pr");
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes,
                                  sizeof marks_bytes));
    CHECK_STR(talker->trace, "prp");
    marks_drain(talker, fds[1]);
    CHECK_STR(talker->trace, "prpr");
}

static void
marks_resumed(struct talker *talker, char event)
{
    if (event == 'r') {
        talker->wanted = kolk_transport_buffer_size(talker->transport);
    }
}

TEST(writing_goes_on_when_no_more_than_the_low_mark_waits)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    static char sink[20000];
    int fds[2];

    test_socketpair(fds);
    (void)talker_fill(fds[0]);
    talker->on = marks_resumed;
    talker->wanted = SIZE_MAX;
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_set_write_limits(talker->transport, 200000, 1000));
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 300000));
    while (talker->wanted == SIZE_MAX && kit_failures() == 0) {
        CHECK_STR(talker->trace, "p");
        (void)talker_take(fds[1], sink, sizeof sink);
        talker_pass(talker, 1);
    }
    CHECK(talker->wanted <= 1000);
}

static void
marks_write_joined(kolk_call *call)
{
    struct talker *talker = (struct talker *)call->pointer;

    for (int i = 0; i < 63; i++) {
        CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 1024));
    }
    CHECK_INT(calls.writes, 0);
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 1024));
    CHECK(calls.writes == 1 || test_is_hard());
    CHECK_INT(calls.size, 64 * 1024);
    CHECK_STR(talker->trace, ""); /* the kernel has taken them */
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 1024));
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
    CHECK(calls.writes == 2 || test_is_hard());
}

/* So that a pause still means that the kernel has refused. */
TEST(joined_bytes_leave_before_they_reach_the_mark)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_call call;
    int fds[2];

    calls_begin();
    kolk_loop_set_write_delay(loop, KOLK_S(10));
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    kolk_call_init(&call, marks_write_joined, NULL);
    call.pointer = talker;
    CHECK_OK(kolk_call_soon(loop, &call));
    talker_pass(talker, 1);
}

static void
marks_write_one(kolk_call *call)
{
    struct talker *talker = (struct talker *)call->pointer;

    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
    CHECK_STR(talker->trace, "");
}

TEST(with_a_high_mark_of_zero_it_pauses_when_the_kernel_refuses)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_call call;
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_set_write_limits(talker->transport, 0, 0));
    kolk_call_init(&call, marks_write_one, NULL);
    call.pointer = talker;
    CHECK_OK(kolk_call_soon(loop, &call));
    talker_pass(talker, 1);
    (void)talker_fill(kolk_transport_fileno(talker->transport));
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_STR(talker->trace, "p");
    marks_drain(talker, fds[1]);
    CHECK_STR(talker->trace, "pr");
}

TEST(marks_can_be_moved_while_bytes_wait)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    (void)talker_fill(fds[0]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes, 30000));
    CHECK_STR(talker->trace, "");
    CHECK_ERR(kolk_transport_set_write_limits(talker->transport, 1, 2),
              -EINVAL);
    CHECK_OK(kolk_transport_set_write_limits(talker->transport, 20000, 10000));
    CHECK_STR(talker->trace, "p");
    CHECK_OK(kolk_transport_set_write_limits(talker->transport, 100000, 50000));
    CHECK_STR(talker->trace, "pr");
}

static void
marks_write_on(struct talker *talker, char event)
{
    if (event == 'r' && talker->wanted > 0) {
        talker->wanted--;
        CHECK_OK(kolk_transport_write(talker->transport, marks_bytes,
                                      sizeof marks_bytes));
    }
}

TEST(writing_from_within_resume_writing)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    talker->on = marks_write_on;
    talker->wanted = 3;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, marks_bytes,
                                  sizeof marks_bytes));
    for (int i = 0; i < 4; i++) {
        marks_drain(talker, fds[1]);
    }
    CHECK_STR(talker->trace, "prprprpr");
}
