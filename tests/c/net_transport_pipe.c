/* net_transport_pipe.c - transports over pipes, and over other devices.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

static const kolk_transport_options pipe_reads = {.read_only = true};
static const kolk_transport_options pipe_writes = {.write_only = true};

TEST(a_pipe_carries_a_stream_from_one_end_to_the_other)
{
    static char sent[300000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *reader = talker_new(loop), *writer = talker_new(loop);
    int fds[2];

    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (char)(i % 251);
    }
    test_pipe(fds);
    CHECK_OK(talker_open(reader, fds[0], &pipe_reads));
    CHECK_OK(talker_open(writer, fds[1], &pipe_writes));
    CHECK_OK(kolk_transport_write(writer->transport, sent, 200000));
    CHECK(talker_wait_size(reader, 200000));
    CHECK(memcmp(reader->got, sent, 200000) == 0);
    kolk_transport_close(writer->transport);
    CHECK_INT(talker_wait(reader), 0);
    CHECK_STR(reader->trace, "del");
    CHECK_STR(writer->trace, "prl");
}

TEST(the_writing_end_hears_that_nobody_reads_any_more)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *writer = talker_new(loop);
    int fds[2];

    test_pipe(fds);
    CHECK_OK(talker_open(writer, fds[1], &pipe_writes));
    talker_pass(writer, 3);
    CHECK_INT(writer->losses, 0);
    test_close(fds[0]);
    CHECK_INT(talker_wait(writer), 0); /* nothing was left to be sent */
    CHECK_STR(writer->trace, "l");
}

TEST(the_writing_end_hears_that_something_was_left)
{
    static char sent[300000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *writer = talker_new(loop);
    int fds[2];

    test_pipe(fds);
    CHECK_OK(talker_open(writer, fds[1], &pipe_writes));
    CHECK_OK(kolk_transport_write(writer->transport, sent, sizeof sent));
    talker_pass(writer, 2);
    test_close(fds[0]);
    CHECK_INT(talker_wait(writer), -EPIPE);
}

TEST(the_end_of_a_pipes_stream_is_its_end)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *writer = talker_new(loop);
    char got[8] = "";
    int fds[2];

    test_pipe(fds);
    CHECK_OK(talker_open(writer, fds[1], &pipe_writes));
    CHECK(kolk_transport_can_write_eof(writer->transport));
    CHECK_OK(kolk_transport_write(writer->transport, "last", 4));
    CHECK_OK(kolk_transport_write_eof(writer->transport));
    CHECK_INT(talker_wait(writer), 0);
    CHECK_INT(read(fds[0], got, sizeof got), 4);
    CHECK_INT(read(fds[0], got, sizeof got), 0);
}

/* Two pipes, one each way: the transport's descriptors and the other side's. */
static void
pipe_pair(struct talker *talker, int *reads, int *writes)
{
    kolk_transport_options options = {0};
    int in[2], out[2];

    test_pipe(in);
    test_pipe(out);
    options.write_fd = out[1];
    CHECK_OK(talker_open(talker, in[0], &options));
    *reads = out[0];
    *writes = in[1];
}

TEST(two_pipes_make_a_connection)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int reads, writes;

    pipe_pair(talker, &reads, &writes);
    CHECK_INT(write(writes, "to", 2), 2);
    CHECK(talker_wait_size(talker, 2));
    CHECK_OK(kolk_transport_write(talker->transport, "fro", 3));
    CHECK_INT(read(reads, got, sizeof got), 3);
    CHECK_ERR(kolk_transport_take_fd(talker->transport), -EOPNOTSUPP);
    test_close(writes);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "del");
    CHECK_INT(read(reads, got, sizeof got), 0); /* both are closed */
}

TEST(of_two_pipes_one_can_end_before_the_other)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    char got[8] = "";
    int reads, writes;

    pipe_pair(talker, &reads, &writes);
    CHECK(kolk_transport_can_write_eof(talker->transport));
    CHECK_OK(kolk_transport_write(talker->transport, "bye", 3));
    CHECK_OK(kolk_transport_write_eof(talker->transport));
    CHECK_INT(read(reads, got, sizeof got), 3);
    CHECK_INT(read(reads, got, sizeof got), 0);
    CHECK_ERR(kolk_transport_write(talker->transport, "x", 1), -EPIPE);
    CHECK_INT(write(writes, "answer", 6), 6);
    CHECK(talker_wait_size(talker, 6));
    test_close(writes);
    CHECK_INT(talker_wait(talker), 0);
}

TEST(of_two_pipes_the_reader_goes_and_what_came_is_told_first)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int reads, writes;

    pipe_pair(talker, &reads, &writes);
    talker_pass(talker, 3);
    CHECK_INT(write(writes, "last", 4), 4);
    test_close(reads);
    CHECK_INT(talker_wait(talker), -EPIPE);
    CHECK_STR(talker->got, "last");
}

TEST(a_socket_that_only_writes_throws_away_what_comes)
{
    static char sent[200000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], &pipe_writes));
    CHECK(!kolk_transport_is_reading(talker->transport));
    CHECK_INT(write(fds[1], sent, 50000), 50000);
    talker_pass(talker, 20);
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_INT(read(fds[1], sent, 10), 1);
    CHECK_STR(talker->trace, "");
    test_close(fds[1]);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "l");
}

/* Devices that epoll does not know are ready always. */
TEST(the_null_device_takes_everything)
{
    static char sent[300000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);

    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    test_own(fd);
    CHECK_OK(talker_open(talker, fd, &pipe_writes));
    CHECK_OK(kolk_transport_write(talker->transport, sent, sizeof sent));
    CHECK_OK(kolk_transport_write(talker->transport, "x", 1));
    CHECK_INT(kolk_transport_buffer_size(talker->transport), 0);
    talker_pass(talker, 2);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
}

TEST(the_null_device_ends_at_once)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);

    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    test_own(fd);
    CHECK_OK(talker_open(talker, fd, &pipe_reads));
    CHECK_INT(talker_wait(talker), 0);
    CHECK_STR(talker->trace, "el");
}

/* Standard input is shared with the processes before and after. */
TEST(a_standard_descriptor_gets_its_mode_back)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    int fds[2];

    int before = dup(0);
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    test_own(fds[0]);
    test_own(fds[1]);
    CHECK_INT(dup2(fds[0], 0), 0);
    int err = talker_open(talker, 0, &pipe_reads);
    int mode = fcntl(fds[0], F_GETFL) & O_NONBLOCK;
    if (err == 0) {
        kolk_transport_abort(talker->transport);
        err = talker_wait(talker) == -ECANCELED ? 0 : -1;
    }
    CHECK_INT(dup2(before, 0), 0);
    CHECK_INT(close(before), 0);
    CHECK_OK(err);
    CHECK_INT(mode, O_NONBLOCK);
    CHECK_INT(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
}
