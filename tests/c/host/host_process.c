/* host_process.c - a host whose loop tells it of the ends of its children.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/wait.h>

#include "host.h"

TEST(the_end_of_a_child_runs_code_of_the_language_with_its_lock)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *child = host_new(loop, HOST_CHILD, 'c', host_stop);
    CHECK_OK(host_spawn(child, "exit 3"));
    CHECK(child->is_lent);
    CHECK_OK(host_run(loop));
    CHECK_STR(host_notes, "c");
    CHECK(!child->is_lent);
    CHECK_INT(kolk_process_status(host_process_of(child)), 3);
    host_unref(child);
    host_loop_unref(loop);
    host_end();
}

TEST(an_exception_at_the_end_of_a_child_ends_the_run)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *child = host_new(loop, HOST_CHILD, 'c', host_raise);
    CHECK_OK(host_spawn(child, "exit 3"));
    CHECK_INT(host_run(loop), HOST_EXCEPTION);
    host_unref(child);
    host_loop_unref(loop);
    host_end();
}

/* A program that is loaded slowly must not keep the other threads waiting, and
 * nothing of the loop's is touched meanwhile: host_end() looks at that. */
TEST(the_lock_is_let_go_while_a_child_is_made)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *child = host_new(loop, HOST_CHILD, 'c', host_stop);
    int pairs = host_calls.pairs;
    CHECK_OK(host_spawn(child, "exit 3"));
    CHECK(host_calls.pairs > pairs);
    CHECK(host_calls.sleeps > 0);
    CHECK_OK(host_run(loop));
    host_unref(child);
    host_loop_unref(loop);
    host_end();
}

TEST(a_collector_finds_the_cycle_of_a_loop_and_a_child)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *child = host_new(loop, HOST_CHILD, 'c', NULL);
    CHECK_OK(host_spawn(child, "exit 3"));
    pid_t pid = kolk_process_pid(host_process_of(child));
    CHECK_INT(host_collect(), 0);
    host_unref(child);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 2);
    (void)waitpid(pid, NULL, 0); /* unless the closing has reaped it */
    host_end();
}

TEST(closing_the_loop_gives_the_child_back)
{
    host_begin();
    host_loop *loop = host_loop_new();
    host_object *child = host_new(loop, HOST_CHILD, 'c', NULL);
    CHECK_OK(host_spawn(child, "read x"));
    pid_t pid = kolk_process_pid(host_process_of(child));
    host_loop_close(loop); /* closes its input: so it ends */
    CHECK_INT(child->drops, 1);
    CHECK_INT(child->runs, 0);
    CHECK_ERR(kolk_process_status(host_process_of(child)), -ESHUTDOWN);
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    host_unref(child);
    host_loop_unref(loop);
    host_end();
}
