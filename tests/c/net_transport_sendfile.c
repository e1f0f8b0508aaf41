/* net_transport_sendfile.c - files are sent between what is written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talker.h"

#include "calls.h"

enum { FILE_SIZE = 3000000 };

static char file_bytes[FILE_SIZE], file_got[FILE_SIZE + 1000];

/* A file with a pattern in it, the test's. */
static int
file_open(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    CHECK_OK(fd);
    test_own(fd);
    for (size_t i = 0; i < FILE_SIZE; i++) {
        file_bytes[i] = (char)(i % 253);
    }
    size_t written = 0;
    while (written < FILE_SIZE && kit_failures() == 0) {
        ssize_t n = write(fd, file_bytes + written, FILE_SIZE - written);

        CHECK(n > 0);
        written += (size_t)n;
    }
    return fd;
}

struct file_sent {
    kolk_sendfile sendfile;
    int ends, drops, steps;
    uint64_t seen; /* at the last progress */
    uint64_t cancel_at;
};

static void
file_ended(kolk_sendfile *sendfile)
{
    KOLK_CONTAINER_OF(sendfile, struct file_sent, sendfile)->ends++;
}

static void
file_moved(kolk_sendfile *sendfile)
{
    struct file_sent *self =
        KOLK_CONTAINER_OF(sendfile, struct file_sent, sendfile);

    CHECK(sendfile->sent > self->seen);
    self->seen = sendfile->sent;
    self->steps++;
    if (self->cancel_at > 0 && sendfile->sent >= self->cancel_at) {
        kolk_sendfile_cancel(sendfile);
    }
}

static void
file_dropped(kolk_sendfile *sendfile)
{
    KOLK_CONTAINER_OF(sendfile, struct file_sent, sendfile)->drops++;
}

static void
file_init(struct file_sent *self)
{
    *self = (struct file_sent){.ends = 0};
    kolk_sendfile_init(&self->sendfile, file_ended, file_moved, file_dropped);
}

/* Takes `size` bytes from the other end, in which the loop's turns send them.
 */
static size_t
file_receive(struct talker *talker, int fd, size_t size)
{
    size_t taken = 0;

    for (int i = 0; i < 200000 && taken < size && kit_failures() == 0; i++) {
        taken += talker_take(fd, file_got + taken, size - taken);
        talker_pass(talker, 1);
    }
    return taken;
}

static void
file_play(kolk_loop *loop, int fds[2], int file)
{
    struct talker *talker = talker_new(loop);
    struct file_sent sent;

    file_init(&sent);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_write(talker->transport, "head ", 5));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     UINT64_MAX));
    CHECK_OK(kolk_transport_write(talker->transport, " tail", 5));
    CHECK_INT(sent.ends, 0);
    CHECK_INT(file_receive(talker, fds[1], FILE_SIZE + 10), FILE_SIZE + 10);
    talker_pass(talker, 2);
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.result, 0);
    CHECK_INT(sent.sendfile.sent, FILE_SIZE);
    CHECK_INT(sent.seen, FILE_SIZE);
    CHECK(sent.steps > 1);
    CHECK(memcmp(file_got, "head ", 5) == 0);
    CHECK(memcmp(file_got + 5, file_bytes, FILE_SIZE) == 0);
    CHECK(memcmp(file_got + 5 + FILE_SIZE, " tail", 5) == 0);
    kolk_transport_close(talker->transport);
    CHECK_INT(talker_wait(talker), 0);
}

TEST(a_file_is_sent_between_what_was_written_before_and_after)
{
    kolk_loop *loop = test_real_loop_open();
    int file = file_open();
    int fds[2];

    talker_tcp_pair(fds);
    file_play(loop, fds, file);
    test_socketpair(fds);
    file_play(loop, fds, file);
}

static ssize_t
file_no_sendfile(int out, int in, off_t *offset, size_t size)
{
    (void)out, (void)in, (void)offset, (void)size;
    errno = EINVAL;
    return -1;
}

TEST(where_sendfile_does_not_go_the_file_is_read_and_written)
{
    kolk_loop *loop = test_real_loop_open();
    int file = file_open();
    int fds[2];

    kolk__sys.sendfile = file_no_sendfile;
    talker_tcp_pair(fds);
    file_play(loop, fds, file);
}

TEST(a_file_goes_into_a_pipe)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    kolk_transport_options options = {.write_only = true};
    struct file_sent sent;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    test_pipe(fds);
    CHECK_OK(talker_open(talker, fds[1], &options));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file,
                                     1000, 500000));
    kolk_transport_close(talker->transport); /* after all of it */
    CHECK_INT(file_receive(talker, fds[0], 500000), 500000);
    CHECK(memcmp(file_got, file_bytes + 1000, 500000) == 0);
    CHECK_INT(talker_wait(talker), 0);
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.sent, 500000);
}

TEST(a_file_that_is_shorter_ends_early)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct file_sent sent;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file,
                                     FILE_SIZE - 100, 5000));
    CHECK_INT(file_receive(talker, fds[1], 100), 100);
    talker_pass(talker, 3);
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.result, 0);
    CHECK_INT(sent.sendfile.sent, 100);

    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file,
                                     FILE_SIZE + 5000, 5000));
    talker_pass(talker, 3);
    CHECK_INT(sent.ends, 2);
    CHECK_INT(sent.sendfile.sent, 0);
}

TEST(what_cannot_be_sent_is_refused)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct file_sent sent, second;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    file_init(&second);
    test_socketpair(fds);
    (void)talker_fill(fds[0]);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_ERR(kolk_transport_sendfile(talker->transport, &sent.sendfile, fds[1],
                                      0, 10),
              -EINVAL);
    CHECK_ERR(
        kolk_transport_sendfile(talker->transport, &sent.sendfile, -1, 0, 10),
        -EBADF);
    CHECK_ERR(kolk_transport_sendfile(talker->transport, &sent.sendfile, file,
                                      -1, 10),
              -EINVAL);
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     10));
    CHECK_ERR(kolk_transport_sendfile(talker->transport, &second.sendfile, file,
                                      0, 10),
              -EALREADY);
    CHECK_ERR(
        kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0, 10),
        -EALREADY);
    CHECK_ERR(kolk_transport_take_fd(talker->transport), -EBUSY);
    kolk_transport_abort(talker->transport);
    CHECK_ERR(kolk_transport_sendfile(talker->transport, &second.sendfile, file,
                                      0, 10),
              -ESHUTDOWN);
    CHECK_INT(talker_wait(talker), -ECANCELED);
    talker_pass(talker, 2);
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.result, -ECANCELED);
    CHECK_INT(sent.sendfile.sent, 0);
    CHECK_INT(second.ends, 0);
}

/* Cancels after `at` bytes, and checks that what was written meanwhile comes
 * right after those that were sent. */
static void
file_cancel(kolk_loop *loop, int file)
{
    struct talker *talker = talker_new(loop);
    struct file_sent sent;
    int fds[2];

    file_init(&sent);
    sent.cancel_at = 200000;
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     UINT64_MAX));
    CHECK_OK(kolk_transport_write(talker->transport, " tail", 5));
    size_t taken = 0;
    for (int i = 0; i < 20000 && sent.ends == 0; i++) {
        taken += talker_take(fds[1], file_got + taken, FILE_SIZE - taken);
        talker_pass(talker, 1);
    }
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.result, -ECANCELED);
    CHECK(sent.sendfile.sent < FILE_SIZE);
    size_t wanted = (size_t)sent.sendfile.sent + 5;
    for (int i = 0; i < 20000 && taken < wanted; i++) {
        taken += talker_take(fds[1], file_got + taken, FILE_SIZE - taken);
        talker_pass(talker, 1);
    }
    CHECK_INT(taken, wanted);
    CHECK(memcmp(file_got, file_bytes, wanted - 5) == 0);
    CHECK(memcmp(file_got + wanted - 5, " tail", 5) == 0);
    kolk_sendfile_cancel(&sent.sendfile); /* a no-op */
    kolk_transport_abort(talker->transport);
    CHECK_INT(talker_wait(talker), -ECANCELED);
}

TEST(a_file_can_be_cut_off)
{
    kolk_loop *loop = test_real_loop_open();
    int file = file_open();

    file_cancel(loop, file);
    kolk__sys.sendfile = file_no_sendfile;
    file_cancel(loop, file);
}

TEST(a_reset_ends_the_file)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct file_sent sent;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    talker_tcp_pair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     UINT64_MAX));
    CHECK_OK(kolk_transport_write(talker->transport, "never", 5));
    talker_pass(talker, 2);
    talker_reset(fds[1]);
    int err = talker_wait(talker);
    CHECK(err == -ECONNRESET || err == -EPIPE);
    talker_pass(talker, 2);
    CHECK_INT(sent.ends, 1);
    CHECK_INT(sent.sendfile.result, err);
    CHECK(sent.sendfile.sent < FILE_SIZE);
}

/* Opens a connection with a file on its way, and closes the loop. */
static void
file_close_loop(bool copies)
{
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct file_sent sent;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    if (copies) {
        kolk__sys.sendfile = file_no_sendfile;
    }
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     UINT64_MAX));
    CHECK_OK(kolk_transport_write(talker->transport, "behind", 6));
    talker_pass(talker, 1);
    test_loop_close(loop);
    CHECK_INT(talker->losses, 1);
    CHECK_INT(talker->error, -ESHUTDOWN);
    CHECK_INT(sent.ends, 0);
    CHECK_INT(sent.drops, 1);
}

TEST(closing_the_loop_gives_the_file_back)
{
    file_close_loop(false);
    file_close_loop(true);
}

TEST(writes_behind_a_file_count_for_the_marks)
{
    static char bytes[100000];
    kolk_loop *loop = test_real_loop_open();
    struct talker *talker = talker_new(loop);
    struct file_sent sent;
    int file = file_open();
    int fds[2];

    file_init(&sent);
    test_socketpair(fds);
    CHECK_OK(talker_open(talker, fds[0], NULL));
    CHECK_OK(kolk_transport_sendfile(talker->transport, &sent.sendfile, file, 0,
                                     UINT64_MAX));
    CHECK_OK(kolk_transport_write(talker->transport, bytes, sizeof bytes));
    CHECK_STR(talker->trace, "p");
    CHECK_INT(kolk_transport_buffer_size(talker->transport), sizeof bytes);
    CHECK_INT(file_receive(talker, fds[1], FILE_SIZE), FILE_SIZE);
    for (int i = 0; i < 1000 && talker->trace[1] == '\0'; i++) {
        (void)talker_take(fds[1], bytes, sizeof bytes);
        talker_pass(talker, 1);
    }
    CHECK_STR(talker->trace, "pr");
    talker_pass(talker, 1);
    CHECK_INT(sent.ends, 1);
}
