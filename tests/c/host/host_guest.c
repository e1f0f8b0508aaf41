/* host_guest.c - the loop as a guest in the host's own poll(2).
 *
 * SPDX-License-Identifier: MIT
 *
 * The host waits, without its lock, for its own descriptors and for the
 * loop's; the loop never sleeps, so its hooks are never called.
 */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"

static struct {
    host_loop *loop;
    int fds[2]; /* the host's own */
    int own;    /* bytes that came by them */
} guest;

static void
guest_open(void)
{
    guest.loop = host_loop_new();
    test_pipe(guest.fds);
}

/* One round of the host: waits, and does what there is to do. Returns what the
 * loop's turn did. */
static int
guest_round(int timeout_ms)
{
    struct pollfd fds[2] = {
        {.fd = guest.fds[0], .events = POLLIN},
        {.fd = kolk_loop_fileno(guest.loop->loop), .events = POLLIN},
    };
    char byte;

    CHECK_OK(fds[1].fd);
    host_lock_give();
    int count = poll(fds, 2, timeout_ms);
    host_lock_take();
    CHECK_OK(count);
    if (fds[0].revents != 0) {
        CHECK_INT(read(guest.fds[0], &byte, 1), 1);
        guest.own++;
    }
    return fds[1].revents != 0 ? host_run_once(guest.loop) : 0;
}

/* Does the loop have anything to do? */
static bool
guest_is_ready(void)
{
    struct pollfd fd = {.fd = kolk_loop_fileno(guest.loop->loop),
                        .events = POLLIN};

    CHECK_OK(fd.fd);
    return poll(&fd, 1, 0) == 1;
}

static void
guest_close(void)
{
    CHECK_INT(host_calls.pairs, 0);
    host_loop_unref(guest.loop);
    host_end();
}

TEST_TIME(a_loop_and_its_host_share_one_poll)
{
    host_begin();
    guest_open();
    host_object *timer = host_new(guest.loop, HOST_TIMER, 't', host_collects);
    host_object *op = host_new(guest.loop, HOST_OP, 'o', host_collects);
    int fds[2];

    test_socketpair(fds);
    CHECK_OK(host_recv(op, fds[0]));
    CHECK_OK(host_call_at(timer, kolk_now(guest.loop->loop) + KOLK_MS(5)));
    host_soon_new(guest.loop, 'a', host_collects);
    CHECK_INT(write(guest.fds[1], "h", 1), 1);
    while (timer->runs == 0) {
        CHECK_OK(guest_round(10000));
    }
    CHECK_INT(guest.own, 1);
    CHECK_INT(write(fds[1], "x", 1), 1);
    while (op->runs == 0) {
        CHECK_OK(guest_round(10000));
    }
    CHECK_STR(host_notes, "ato");
    CHECK_INT(guest.loop->collected, 0);
    CHECK(!guest_is_ready());
    host_unref(timer);
    host_unref(op);
    guest_close();
}

/* Each turn leaves the descriptor true for what the next one has to do. */
static int
guest_again(host_object *self)
{
    return self->runs < 4 ? host_soon(self) : 0;
}

TEST(each_turn_tells_the_host_of_the_next)
{
    host_begin();
    guest_open();
    host_object *handle = host_new(guest.loop, HOST_HANDLE, 'a', guest_again);

    CHECK(!guest_is_ready());
    CHECK_OK(host_soon(handle));
    for (int turn = 1; turn <= 4; turn++) {
        CHECK(guest_is_ready());
        CHECK_INT(guest_round(0), turn < 4);
        CHECK_INT(handle->runs, turn);
    }
    CHECK(!guest_is_ready());
    CHECK_OK(host_turn_end(handle));
    CHECK(guest_is_ready());
    host_cancel(handle);
    (void)guest_round(0); /* may be told once too often, not for ever */
    CHECK(!guest_is_ready());
    host_unref(handle);
    guest_close();
}

TEST(an_exception_in_a_guest_leaves_it_ready)
{
    host_begin();
    guest_open();
    host_soon_new(guest.loop, 'a', host_raise);
    host_soon_new(guest.loop, 'b', NULL);
    host_object *end = host_new(guest.loop, HOST_HANDLE, 'e', NULL);
    CHECK_OK(host_turn_end(end));
    host_unref(end);
    CHECK_INT(guest_round(0), HOST_EXCEPTION);
    CHECK_STR(host_notes, "a");
    CHECK(guest_is_ready());
    CHECK_INT(guest_round(0), 0);
    CHECK_STR(host_notes, "abe");
    CHECK(!guest_is_ready());
    guest_close();
}

static void *
guest_push(void *arg)
{
    host_object *handle = arg;

    host_lock_take();
    CHECK_OK(host_push(kolk_loop_inbox(guest.loop->loop), handle));
    host_lock_give();
    return NULL;
}

TEST_TIME(another_thread_wakes_the_host)
{
    pthread_t thread;
    host_begin();
    guest_open();
    host_object *handle = host_new(guest.loop, HOST_HANDLE, 'i', NULL);
    CHECK(!guest_is_ready());
    CHECK_INT(pthread_create(&thread, NULL, guest_push, handle), 0);
    while (handle->runs == 0) {
        CHECK_OK(guest_round(10000));
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(!guest_is_ready());
    host_unref(handle);
    guest_close();
}

static int
guest_task(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        host_note('k');
        int err = kolk_sleep(KOLK_MS(1));
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

TEST_TIME(tasks_of_a_guest_sleep_in_the_hosts_poll)
{
    kolk_task *task;
    host_begin();
    guest_open();
    CHECK_OK(kolk_spawn_with(guest.loop->loop, NULL, guest_task, NULL, &task));
    while (!kolk_future_is_done(task)) {
        CHECK_OK(guest_round(10000));
    }
    CHECK_INT(kolk_future_result(task), 0);
    CHECK_STR(host_notes, "kkk");
    kolk_future_unref(task);
    guest_close();
}
