/* process_stdio.c - which descriptors a child has.
 *
 * SPDX-License-Identifier: MIT
 */
#include "children.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct child child;

/* ---- kinds of streams ---- */

TEST(pipes_lead_from_and_to_the_child)
{
    kolk_loop *loop = test_loop_open();
    char output[64], error[64];
    kolk_process_options options = {
        .shell = "read a; echo out $a; echo err $a >&2",
        .input = {KOLK_STDIO_PIPE, 0},
        .output = {KOLK_STDIO_PIPE, 0},
        .error = {KOLK_STDIO_PIPE, 0},
    };

    CHECK_OK(child_try(&child, loop, &options));
    int fds[3];
    for (int i = 0; i < 3; i++) {
        CHECK_OK(fds[i] = kolk_process_take_pipe(child.process, i));
        CHECK((fcntl(fds[i], F_GETFL) & O_NONBLOCK) != 0);
        CHECK((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
        CHECK_ERR(kolk_process_take_pipe(child.process, i), -EBADF);
    }
    CHECK_INT(write(fds[0], "x\n", 2), 2);
    CHECK_INT(close(fds[0]), 0);
    child_read(fds[1], output, sizeof output);
    child_read(fds[2], error, sizeof error);
    CHECK_STR(output, "out x\n");
    CHECK_STR(error, "err x\n");
    CHECK_INT(child_wait(&child), 0);
}

TEST(only_pipes_can_be_taken)
{
    kolk_process_options options = {.shell = "exit 0",
                                    .output = {KOLK_STDIO_NULL, 0}};

    CHECK_OK(child_try(&child, test_loop_open(), &options));
    CHECK_INT(child_wait(&child), 0);
    for (int i = -1; i <= 3; i++) {
        CHECK_ERR(kolk_process_take_pipe(child.process, i), -EBADF);
    }
}

TEST(the_error_stream_may_go_where_the_output_goes)
{
    kolk_process_options options = {.shell = "echo out; echo err >&2",
                                    .error = {KOLK_STDIO_OUTPUT, 0}};

    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_STR(child.output, "out\nerr\n");
}

TEST(null_is_empty_and_takes_everything)
{
    kolk_process_options options = {.shell =
                                        "cat; echo x; readlink /proc/$$/fd/2",
                                    .input = {KOLK_STDIO_NULL, 0},
                                    .error = {KOLK_STDIO_NULL, 0}};

    CHECK_INT(child_run(&child, test_loop_open(), &options), 0);
    CHECK_STR(child.output, "x\n/dev/null\n");
}

/* A pair of sockets cannot be opened there. */
TEST(dev_stdout_works_in_the_child)
{
    CHECK_INT(child_shell(&child, test_loop_open(), "echo x >/dev/stdout"), 0);
    CHECK_STR(child.output, "x\n");
}

static int
memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    CHECK_OK(fd);
    test_own(fd);
    return fd;
}

TEST(a_descriptor_of_ours_can_be_a_stream_of_the_child)
{
    char text[16] = "";
    int file = memory_file("file"), input = memory_file("input");
    kolk_process_options options = {.shell = "cat; echo y >&2",
                                    .input = {KOLK_STDIO_FD, input},
                                    .output = {KOLK_STDIO_FD, file},
                                    .error = {KOLK_STDIO_FD, file}};

    CHECK_INT(pwrite(input, "x\n", 2, 0), 2);
    CHECK_OK(child_try(&child, test_loop_open(), &options));
    CHECK_INT(child_wait(&child), 0);
    CHECK_INT(pread(file, text, sizeof text, 0), 4);
    CHECK_STR(text, "x\ny\n");
    CHECK((fcntl(file, F_GETFD) & FD_CLOEXEC) != 0); /* ours is as it was */
}

/* ---- numbers that overlap ---- */

enum { REPORT_FD = 9 };

/* Our own standard streams, put aside. */
static int aside[3];

static void
aside_end(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        (void)dup2(aside[i], i);
        (void)close(aside[i]);
    }
}

static void
aside_begin(void)
{
    for (int i = 0; i < 3; i++) {
        aside[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
        CHECK(aside[i] >= 100);
    }
    test_later(aside_end, NULL);
}

/* Starts a shell that says into REPORT_FD what its streams are, and collects
 * that; an error is a text, too. Nothing is checked, since our own streams may
 * be elsewhere. */
static void
describe(kolk_loop *loop, const kolk_process_options *streams, int report,
         char out[256])
{
    static const int keep[] = {REPORT_FD};
    kolk_process_options options = *streams;

    options.shell = "(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 >&9);"
                    "exit 0";
    options.fds = keep;
    options.fd_count = 1;
    *out = '\0';
    if (ftruncate(report, 0) < 0 || lseek(report, 0, SEEK_SET) < 0) {
        return;
    }
    int err = child_try(&child, loop, &options);
    if (err < 0) {
        (void)snprintf(out, 256, "%s", kolk_error_name(err));
        return;
    }
    (void)child_wait(&child);
    ssize_t count = pread(report, out, 255, 0);
    out[count > 0 ? count : 0] = '\0';
}

static void
report_make(int *report)
{
    *report = memory_file("report");
    CHECK_INT(dup2(*report, REPORT_FD), REPORT_FD);
    test_own(REPORT_FD);
}

/* Each stream of the child is any of our three, in every combination. */
TEST(streams_that_are_given_in_every_order_arrive)
{
    static const char *const names[] = {"a", "b", "c"};
    char said[27][256], expected[256];
    kolk_loop *loop = test_real_loop_open();
    int report;

    report_make(&report);
    int files[3];
    for (int i = 0; i < 3; i++) {
        files[i] = memory_file(names[i]);
    }
    aside_begin();
    for (int i = 0; i < 3; i++) {
        (void)dup3(files[i], i, O_CLOEXEC);
    }
    for (int i = 0; i < 27; i++) {
        kolk_process_options options = {
            .input = {KOLK_STDIO_FD, i / 9},
            .output = {KOLK_STDIO_FD, i / 3 % 3},
            .error = {KOLK_STDIO_FD, i % 3},
        };
        describe(loop, &options, report, said[i]);
    }
    for (int i = 0; i < 3; i++) {
        (void)dup2(aside[i], i);
    }
    for (int i = 0; i < 27; i++) {
        (void)snprintf(expected, sizeof expected,
                       "/memfd:%s (deleted)\n/memfd:%s (deleted)\n"
                       "/memfd:%s (deleted)\n",
                       names[i / 9], names[i / 3 % 3], names[i % 3]);
        CHECK_STR(said[i], expected);
    }
}

TEST(the_error_stream_follows_an_output_that_was_the_input)
{
    char said[256];
    kolk_loop *loop = test_real_loop_open();
    int report;

    report_make(&report);
    int file = memory_file("a"), other = memory_file("b");
    aside_begin();
    (void)dup3(file, 0, O_CLOEXEC);
    (void)dup3(other, 2, O_CLOEXEC);
    kolk_process_options options = {.input = {KOLK_STDIO_FD, 2},
                                    .output = {KOLK_STDIO_FD, 0},
                                    .error = {KOLK_STDIO_OUTPUT, 0}};
    describe(loop, &options, report, said);
    for (int i = 0; i < 3; i++) {
        (void)dup2(aside[i], i);
    }
    CHECK_STR(said, "/memfd:b (deleted)\n/memfd:a (deleted)\n"
                    "/memfd:a (deleted)\n");
}

/* With any of our standard streams closed, the pipes' own ends get those
 * numbers. */
static void
pipes_without_streams(void)
{
    char got[8][16] = {{0}}, error[8][16] = {{0}};
    int status[8];
    kolk_loop *loop = test_real_loop_open();
    kolk_process_options options = {.shell = "cat; cat >&2 </dev/null; exit 4",
                                    .input = {KOLK_STDIO_PIPE, 0},
                                    .output = {KOLK_STDIO_PIPE, 0},
                                    .error = {KOLK_STDIO_PIPE, 0}};

    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    aside_begin();
    for (int closed = 0; closed < 8; closed++) {
        for (int i = 0; i < 3; i++) {
            if ((closed >> i & 1) != 0) {
                (void)close(i);
            }
        }
        status[closed] = child_try(&child, loop, &options);
        if (status[closed] == 0) {
            int input = kolk_process_take_pipe(child.process, 0);
            status[closed] = (int)write(input, "text", 4);
            (void)close(input);
            child_read(kolk_process_take_pipe(child.process, 1), got[closed],
                       sizeof got[0]);
            child_read(kolk_process_take_pipe(child.process, 2), error[closed],
                       sizeof error[0]);
            status[closed] = child_wait(&child);
        }
        for (int i = 0; i < 3; i++) {
            (void)dup2(aside[i], i);
        }
    }
    for (int closed = 0; closed < 8; closed++) {
        CHECK_INT(status[closed], 4);
        CHECK_STR(got[closed], "text");
        CHECK_STR(error[closed], "");
    }
}

TEST(pipes_work_where_our_own_streams_are_closed)
{
    pipes_without_streams();
}

TEST(pipes_work_where_our_own_streams_are_closed_and_children_copied)
{
    child_set_way(CHILD_COPIED);
    pipes_without_streams();
}

TEST(pipes_work_where_our_own_streams_are_closed_and_children_forked)
{
    child_set_way(CHILD_FORKED);
    pipes_without_streams();
}

/* A stream that we have not got, the child has not got either: least of all
 * what has got its number since. */
TEST(a_closed_stream_that_is_inherited_stays_closed)
{
    static const int keep[] = {REPORT_FD};
    char said[64];
    kolk_process_options options = {.shell = "(ls /proc/$$/fd >&9); exit 0",
                                    .output = {KOLK_STDIO_PIPE, 0},
                                    .error = {KOLK_STDIO_PIPE, 0},
                                    .fds = keep,
                                    .fd_count = 1};
    int report;

    report_make(&report);
    aside_begin();
    (void)close(0);
    kolk_loop *loop = test_real_loop_open(); /* takes the number */
    int err = child_try(&child, loop, &options);
    int status = err == 0 ? child_wait(&child) : err;
    ssize_t count = pread(report, said, sizeof said - 1, 0);
    said[count > 0 ? count : 0] = '\0';
    test_loop_close(loop);
    (void)dup2(aside[0], 0);
    CHECK_INT(status, 0);
    CHECK_STR(said, "1\n2\n9\n");
}

/* ---- nothing else ---- */

static const char list_fds[] = "ls /proc/$$/fd; exit 0";

/* Descriptors that exec would not close, scattered. */
static void
open_many(void)
{
    static const int numbers[] = {3, 7, 9, 10, 11, 63, 64, 65, 200, 500};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (fcntl(numbers[i], F_GETFD) < 0) {
            CHECK_INT(dup2(STDERR_FILENO, numbers[i]), numbers[i]);
            test_own(numbers[i]);
        }
    }
}

TEST(no_descriptor_leaks_into_a_child)
{
    kolk_loop *loop = test_loop_open();

    open_many();
    CHECK_INT(child_shell(&child, loop, list_fds), 0);
    CHECK_STR(child.output, "0\n1\n2\n");
}

TEST(a_child_gets_the_descriptors_that_it_is_given_under_their_numbers)
{
    static const int keep[] = {65, 10, 500, 10, 9};
    static const int one[] = {3};
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {
        .shell = list_fds, .fds = keep, .fd_count = 5};

    open_many();
    CHECK_INT(fcntl(10, F_SETFD, FD_CLOEXEC), 0);
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "0\n1\n10\n2\n500\n65\n9\n");
    CHECK_INT(fcntl(10, F_GETFD), FD_CLOEXEC);
    options.fds = one;
    options.fd_count = 1;
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "0\n1\n2\n3\n");
}

static int
no_close_range(unsigned first, unsigned last, int flags)
{
    (void)first, (void)last, (void)flags;
    errno = ENOSYS;
    return -1;
}

TEST(without_close_range_no_descriptor_leaks_either)
{
    static const int keep[] = {10, 99};
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {
        .shell = list_fds, .fds = keep, .fd_count = 2};

    open_many();
    for (int fd = 90; fd < 190; fd++) { /* more than are read at once */
        CHECK_INT(dup2(STDERR_FILENO, fd), fd);
        test_own(fd);
    }
    kolk__sys.close_range = no_close_range;
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "0\n1\n10\n2\n99\n");
    CHECK_INT(child_shell(&child, loop, list_fds), 0);
    CHECK_STR(child.output, "0\n1\n2\n");
}

static void
list_fds_by(enum child_way way)
{
    static const int keep[] = {10, 500};
    static const char *const argv[] = {"no-such-program", NULL};
    kolk_loop *loop = test_loop_open();
    kolk_process_options options = {
        .shell = list_fds, .fds = keep, .fd_count = 2};

    open_many();
    child_set_way(way);
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "0\n1\n10\n2\n500\n");
    kolk__sys.close_range = no_close_range;
    CHECK_INT(child_run(&child, loop, &options), 0);
    CHECK_STR(child.output, "0\n1\n10\n2\n500\n");
    options.shell = NULL;
    options.argv = argv;
    CHECK_ERR(child_try(&child, loop, &options), -ENOENT);
}

TEST(no_descriptor_leaks_into_a_child_with_memory_of_its_own)
{
    list_fds_by(CHILD_COPIED);
}

TEST(no_descriptor_leaks_into_a_forked_child)
{
    list_fds_by(CHILD_FORKED);
}

/* Other children that are alive do not hold this one's pipes. */
TEST(a_pipe_ends_with_its_child_although_another_one_is_alive)
{
    static struct child other;
    kolk_loop *loop = test_loop_open();
    kolk_process_options reader = {.shell = "cat >/dev/null",
                                   .input = {KOLK_STDIO_PIPE, 0}};

    CHECK_OK(child_try(&other, loop, &reader));
    CHECK_OK(child_try(&child, loop, &reader));
    int fd = kolk_process_take_pipe(other.process, 0);
    CHECK_OK(fd);
    CHECK_INT(close(fd), 0);
    CHECK_INT(child_wait(&other), 0); /* would wait for ever */
    CHECK_OK(fd = kolk_process_take_pipe(child.process, 0));
    CHECK_INT(close(fd), 0);
    CHECK_INT(child_wait(&child), 0);
}
