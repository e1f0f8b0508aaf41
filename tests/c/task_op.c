/* task_op.c - operations awaited by tasks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "op_kit.h"

#include <stdlib.h>

#include <kolk/pool.h>
#include <kolk/scope.h>

#include "base/sys.h"

static int
run_main(kolk_loop *loop, kolk_task_fn *fn, void *arg)
{
    kolk_task *task;

    CHECK_OK(kolk_spawn_with(loop, NULL, fn, arg, &task));
    int result = kolk_run_until(loop, task);
    kolk_future_unref(task);
    return result;
}

static int
echo_serve(void *arg)
{
    int fd = *(int *)arg;
    char bytes[64];
    int count;

    while ((count = kolk_recv(fd, bytes, sizeof bytes, 0)) > 0) {
        int sent = 0;
        while (sent < count) {
            int some = kolk_send(fd, bytes + sent, (size_t)(count - sent), 0);
            if (!CHECK_OK(some)) {
                return some;
            }
            sent += some;
        }
    }
    op_disown(fd);
    return kolk_close(fd);
}

static int
echo_accept(void *arg)
{
    const struct sockaddr_in *address = arg;
    const kolk_spawn_options options = {.arg_size = sizeof(int)};
    int listener = *(const int *)(address + 1);
    kolk_task *server;

    int fd = op_own(kolk_accept(listener, NULL, NULL, 0));
    if (!CHECK_OK(fd)) {
        return fd;
    }
    int err = kolk_spawn_with(NULL, &options, echo_serve, &fd, &server);
    if (!CHECK_OK(err)) {
        return err;
    }
    err = kolk_join(server);
    kolk_future_unref(server);
    return err;
}

static int
echo_client(void *arg)
{
    struct {
        struct sockaddr_in address;
        int listener;
    } place;
    char bytes[64] = "";
    kolk_task *server;

    (void)arg;
    place.listener = test_listen(&place.address);
    if (!CHECK_OK(kolk_spawn(echo_accept, &place, &server))) {
        return -ECHILD;
    }
    int fd = op_socket(SOCK_NONBLOCK);
    CHECK_OK(kolk_connect(fd, (struct sockaddr *)&place.address,
                          sizeof place.address));
    for (int i = 0; i < 10; i++) {
        CHECK_INT(kolk_send(fd, "ping", 4, 0), 4);
        int count = 0;
        while (count < 4) {
            int some = kolk_recv(fd, bytes + count, sizeof bytes, 0);
            if (!CHECK(some > 0)) {
                break;
            }
            count += some;
        }
        CHECK_INT(count, 4);
    }
    op_disown(fd);
    CHECK_OK(kolk_close(fd));
    CHECK_OK(kolk_join(server));
    kolk_future_unref(server);
    op_disown(place.listener);
    return kolk_close(place.listener);
}

TEST(tasks_connect_accept_send_and_receive)
{
    CHECK_OK(run_main(test_real_loop_open(), echo_client, NULL));
}

TEST(awaiting_outside_a_task_is_misuse)
{
    char byte;

    (void)test_loop_open();
    CHECK_ERR(kolk_recv(0, &byte, 1, 0), -KOLK_EMISUSE);
    CHECK_ERR(kolk_close(0), -KOLK_EMISUSE);
    CHECK_ERR(kolk_open("/", 0, 0), -KOLK_EMISUSE);
    CHECK_ERR(kolk_poll(0, KOLK_READABLE), -KOLK_EMISUSE);
}

/* ---- cancelling ---- */

static int
cancel_receive(void *arg)
{
    const int *fds = arg;
    char bytes[8] = "before";

    CHECK_ERR(kolk_recv(fds[0], bytes, sizeof bytes, 0), -ECANCELED);
    CHECK_STR(bytes, "before");
    /* The request is still pending: nothing that would wait does. */
    CHECK_ERR(kolk_recv(fds[0], bytes, sizeof bytes, 0), -ECANCELED);
    CHECK_INT(kolk_send(fds[0], "x", 1, 0), 1);
    CHECK_INT(write(fds[1], "after", 5), 5);
    CHECK_INT(kolk_recv(fds[0], bytes, sizeof bytes, 0), 5);
    CHECK_ERR(kolk_poll(fds[0], KOLK_READABLE), -ECANCELED);
    return 7;
}

static int
cancel_main(void *arg)
{
    kolk_task *task;

    if (!CHECK_OK(kolk_spawn(cancel_receive, arg, &task))) {
        return -ECHILD;
    }
    CHECK_OK(kolk_checkpoint());
    CHECK_OK(kolk_checkpoint());
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_join(task));
    int result = kolk_future_result(task);
    kolk_future_unref(task);
    return result;
}

TEST(cancelling_takes_the_buffer_back_and_then_returns)
{
    int fds[2];

    test_socketpair(fds);
    CHECK_INT(run_main(test_real_loop_open(), cancel_main, fds), 7);
}

static int
timeout_main(void *arg)
{
    const int *fds = arg;
    char byte;
    KOLK_TIMEOUT(timeout, KOLK_MS(5));

    int result = kolk_recv(fds[0], &byte, 1, 0);
    return kolk_timeout_end(&timeout, result);
}

TEST(a_timeout_ends_a_receive)
{
    int fds[2];

    test_socketpair(fds);
    CHECK_ERR(run_main(test_real_loop_open(), timeout_main, fds), -ETIMEDOUT);
}

/* ---- fairness ---- */

static int
count_turns(void *arg)
{
    int *turns = arg;

    while (*turns >= 0 && kolk_checkpoint() == 0) {
        ++*turns;
    }
    return 0;
}

static int
greedy_main(void *arg)
{
    const int *fds = arg;
    kolk_task *other;
    int turns = 0;

    if (!CHECK_OK(kolk_spawn(count_turns, &turns, &other))) {
        return -ECHILD;
    }
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(kolk_send(fds[0], "x", 1, MSG_DONTWAIT), 1);
        char byte;
        CHECK_INT(read(fds[1], &byte, 1), 1);
    }
    int result = turns;
    turns = -10;
    CHECK_OK(kolk_join(other));
    kolk_future_unref(other);
    return result;
}

TEST(a_task_that_never_waits_lets_the_others_run)
{
    int fds[2];

    test_socketpair(fds);
    CHECK(run_main(test_real_loop_open(), greedy_main, fds) >= 10);
}

/* ---- files ---- */

static int
file_main(void *arg)
{
    char bytes[16];
    const char *path = arg;

    int fd = op_own(kolk_open(path, O_RDWR, 0));
    CHECK_OK(fd);
    CHECK_INT(kolk_pwrite(fd, "hello", 5, 0), 5);
    CHECK_INT(kolk_fsync(fd), 0);
    CHECK_INT(kolk_pread(fd, bytes, sizeof bytes, 1), 4);
    CHECK(memcmp(bytes, "ello", 4) == 0);
    op_disown(fd);
    CHECK_OK(kolk_close(fd));
    CHECK_ERR(kolk_pread(fd, bytes, 1, 0), -EBADF);
    CHECK_ERR(kolk_open("/nowhere/at/all", O_RDONLY, 0), -ENOENT);
    CHECK_ERR(kolk_close(-1), -EBADF);

    /* Closing is done although a request is pending. */
    fd = op_own(kolk_open(path, O_RDONLY, 0));
    CHECK_OK(fd);
    CHECK_INT(kolk_task_cancel(kolk_current_task()), 1);
    CHECK_ERR(kolk_pread(fd, bytes, 1, 0), -ECANCELED);
    op_disown(fd);
    CHECK_INT(kolk_close(fd), 0);
    CHECK_INT(fcntl(fd, F_GETFD), -1);
    return 3;
}

TEST(tasks_use_regular_files)
{
    char path[] = "/tmp/kolk-test-XXXXXX";
    int fd = op_own(mkstemp(path));

    CHECK(fd >= 0);
    op_close_own(fd);
    CHECK_INT(run_main(test_real_loop_open(), file_main, path), 3);
    (void)unlink(path);
}

/* ---- blocking work ---- */

/* A job that waits until it is let go. */
struct gate {
    int fds[2];
    int freed; /* atomically */
    int begun; /* atomically */
};

static int
gate_pass(void *arg)
{
    struct gate *gate = arg;
    char byte;

    __atomic_store_n(&gate->begun, 1, __ATOMIC_RELEASE);
    while (read(gate->fds[0], &byte, 1) < 0 && errno == EAGAIN) {
        (void)usleep(100); /* closed: the test is over */
    }
    return 11;
}

static void
gate_free(void *arg)
{
    struct gate *gate = arg;

    __atomic_add_fetch(&gate->freed, 1, __ATOMIC_ACQ_REL);
}

static int
work_plain(void *arg)
{
    return *(const int *)arg;
}

static int
work_main(void *arg)
{
    int number = 42, error = -ENOTDIR;

    (void)arg;
    CHECK_INT(kolk_to_thread(work_plain, &number), 42);
    CHECK_ERR(kolk_to_thread(work_plain, &error), -ENOTDIR);
    CHECK_INT(kolk_run_in_pool(NULL, work_plain, &number), 42);
    return 0;
}

TEST(blocking_work_returns_its_result)
{
    CHECK_OK(run_main(test_real_loop_open(), work_main, NULL));
}

static int
gate_wait(void *arg)
{
    return kolk_to_thread(gate_pass, arg);
}

static int
gate_wait_given(void *arg)
{
    return kolk_run_in_pool_give(NULL, gate_pass, arg, gate_free);
}

static int
gate_wait_begun(struct gate *gate)
{
    for (int i = 0; i < 5000; i++) {
        if (__atomic_load_n(&gate->begun, __ATOMIC_ACQUIRE)) {
            return 0;
        }
        if (!CHECK_OK(kolk_sleep(KOLK_US(100))) || kit_failures() > 0) {
            break;
        }
    }
    return -ECANCELED;
}

static int
begun_main(void *arg)
{
    struct gate *gate = arg;
    kolk_task *task;

    if (!CHECK_OK(kolk_spawn(gate_wait, gate, &task))) {
        return -ECHILD;
    }
    CHECK_OK(gate_wait_begun(gate));
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_sleep(KOLK_MS(1)));
    CHECK(!kolk_future_is_done(task));
    CHECK_INT(write(gate->fds[1], "x", 1), 1);
    CHECK_OK(kolk_join(task));
    int result = kolk_future_result(task);
    kolk_future_unref(task);
    return result;
}

TEST(cancelling_work_that_has_begun_waits_for_it)
{
    struct gate gate = {.freed = 0};

    test_pipe(gate.fds);
    CHECK_INT(run_main(test_real_loop_open(), begun_main, &gate), 11);
}

static int
given_main(void *arg)
{
    struct gate *gate = arg;
    kolk_task *task;

    if (!CHECK_OK(kolk_spawn(gate_wait_given, gate, &task))) {
        return -ECHILD;
    }
    CHECK_OK(gate_wait_begun(gate));
    CHECK_INT(kolk_task_cancel(task), 1);
    CHECK_OK(kolk_join(task));
    CHECK_ERR(kolk_future_result(task), -ECANCELED);
    CHECK_INT(__atomic_load_n(&gate->freed, __ATOMIC_ACQUIRE), 0);
    kolk_future_unref(task);
    CHECK_INT(write(gate->fds[1], "xx", 2), 2);
    CHECK_INT(kolk_run_in_pool_give(NULL, gate_pass, gate, gate_free), 11);
    return 0;
}

TEST(cancelling_work_with_memory_given_returns_at_once)
{
    struct gate gate = {.freed = 0};
    kolk_loop *loop = test_real_loop_open();

    test_pipe(gate.fds);
    CHECK_OK(run_main(loop, given_main, &gate));
    test_loop_close(loop);
    CHECK_INT(gate.freed, 2);
}

static void
queued_check(struct gate *gate, kolk_task *tasks[3])
{
    CHECK_OK(kolk_checkpoint());
    CHECK_INT(kolk_task_cancel(tasks[1]), 1);
    CHECK_INT(kolk_task_cancel(tasks[2]), 1);
    CHECK_OK(kolk_join(tasks[1]));
    CHECK_OK(kolk_join(tasks[2]));
    CHECK_ERR(kolk_future_result(tasks[1]), -ECANCELED);
    CHECK_ERR(kolk_future_result(tasks[2]), -ECANCELED);
    CHECK_INT(__atomic_load_n(&gate->freed, __ATOMIC_ACQUIRE), 1);
    CHECK_INT(write(gate->fds[1], "x", 1), 1);
    CHECK_OK(kolk_join(tasks[0]));
    CHECK_INT(kolk_future_result(tasks[0]), 11);
}

static int
queued_main(void *arg)
{
    struct gate *gate = arg;
    kolk_task *tasks[3] = {NULL};

    if (CHECK_OK(kolk_spawn(gate_wait, gate, &tasks[0]))
        && CHECK_OK(gate_wait_begun(gate))
        && CHECK_OK(kolk_spawn(gate_wait, gate, &tasks[1]))
        && CHECK_OK(kolk_spawn(gate_wait_given, gate, &tasks[2]))) {
        queued_check(gate, tasks);
    }
    for (int i = 0; i < 3; i++) {
        kolk_future_unref(tasks[i]); /* NULL is none */
    }
    return 0;
}

TEST(work_that_has_not_begun_is_taken_back)
{
    struct gate gate = {.freed = 0};
    kolk_loop *loop = test_real_loop_open();

    test_pipe(gate.fds);
    CHECK_OK(kolk_loop_set_pool_threads(loop, 1));
    CHECK_OK(run_main(loop, queued_main, &gate));
}
