/* host_datagram.c - datagram sockets of a host without stacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket is an object that the loop has a reference to as long as it is open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

static host_loop *loop;
static host_object *here, *there;
static kolk_address here_name;

static kolk_datagram_options
socket_options(void)
{
    kolk_datagram_options options = {0};

    CHECK_OK(kolk_address_parse("127.0.0.1", 0, &options.local));
    return options;
}

/* Two sockets, and what `here` runs. */
static void
socket_begin(host_fn *fn)
{
    host_begin();
    loop = host_loop_new();
    here = host_new(loop, HOST_SOCKET, 'h', fn);
    there = host_new(loop, HOST_SOCKET, 't', NULL);
    kolk_datagram_options options = socket_options();
    CHECK_OK(host_open(here, &options));
    CHECK_OK(host_open(there, &options));
    CHECK_OK(kolk_datagram_sockname(host_datagram_of(here), &here_name));
}

static void
socket_end(void)
{
    host_unref(here);
    host_unref(there);
    host_loop_unref(loop);
    host_end();
}

static int
socket_send(host_object *self)
{
    CHECK_OK(kolk_datagram_send(host_datagram_of(self), "x", 1, &here_name));
    return 0;
}

TEST(a_datagram_runs_code_of_the_language_with_its_lock)
{
    socket_begin(host_stop);
    CHECK_OK(socket_send(there));
    CHECK_OK(host_run_or_tire(loop));
    CHECK_OK(socket_send(there));
    CHECK_OK(host_run_or_tire(loop));
    CHECK_STR(host_notes, "hh");
    CHECK(here->is_lent);
    socket_end();
}

TEST(an_exception_of_a_datagrams_callback_ends_the_run)
{
    socket_begin(host_raise);
    CHECK_OK(socket_send(there));
    CHECK_INT(host_run_or_tire(loop), HOST_EXCEPTION);
    CHECK_OK(socket_send(there));
    CHECK_INT(host_run_or_tire(loop), HOST_EXCEPTION);
    socket_end();
}

TEST(a_host_hears_of_errors)
{
    socket_begin(host_stop);
    here->fn = host_stop;
    static char large[70000];
    CHECK_OK(kolk_datagram_send(host_datagram_of(here), large, sizeof large,
                                &here_name));
    CHECK_INT(((host_socket *)here)->error, -EMSGSIZE);
    CHECK_INT(here->runs, 1);
    CHECK(here->is_lent);
    socket_end();
}

static int
socket_stop_when_lost(host_object *self)
{
    return host_stop(self);
}

TEST(a_socket_that_is_closed_comes_back_to_the_host)
{
    socket_begin(NULL);
    here->on_drop = there->on_drop = socket_stop_when_lost;
    kolk_datagram_close(host_datagram_of(here));
    CHECK(here->is_lent);
    CHECK_OK(host_run_or_tire(loop));
    CHECK(!here->is_lent);
    CHECK_INT(((host_socket *)here)->error, 0);
    host_cancel(there);
    CHECK_OK(host_run_or_tire(loop));
    CHECK_INT(((host_socket *)there)->error, -ECANCELED);
    CHECK_INT(here->drops + there->drops, 2);
    socket_end();
}

TEST(closing_the_loop_gives_sockets_back)
{
    socket_begin(NULL);
    CHECK_OK(socket_send(there));
    host_loop_close(loop);
    CHECK_INT(here->drops, 1);
    CHECK_INT(here->runs, 0);
    CHECK_INT(((host_socket *)here)->error, -ESHUTDOWN);
    socket_end();
}

/* The loop leads to the socket, the socket to its loop, and nobody else to
 * either. */
TEST(a_collector_finds_the_cycle_of_a_loop_and_its_sockets)
{
    socket_begin(NULL);
    CHECK_INT(host_collect(), 0);
    host_unref(here);
    host_unref(there);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 3);
    host_end();
}

TEST(a_collector_may_run_while_a_datagram_is_told)
{
    socket_begin(host_collects);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(socket_send(there));
    }
    while (here->runs < 5 && kit_failures() == 0) {
        CHECK_OK(host_run_once(loop));
    }
    CHECK_INT(loop->collected, 0);
    socket_end();
}

/* ---- a child process ---- */

static int child_wrong;

#define EXPECT(condition) child_expect((condition), __LINE__, #condition)

static void
child_expect(bool holds, int line, const char *text)
{
    if (!holds) {
        child_wrong++;
        (void)fprintf(stderr, "in the child, line %d: %s\n", line, text);
    }
}

static void
child_try(void)
{
    kolk_datagram_options options = {.local = here_name};
    kolk_datagram *none, *datagram = host_datagram_of(here);
    int fd = kolk_datagram_fileno(datagram);

    EXPECT(kolk_datagram_open(loop->loop, &options, NULL, &none)
           == -KOLK_EFORK);
    EXPECT(kolk_datagram_open_fd(loop->loop, fd, NULL, NULL, &none)
           == -KOLK_EFORK);
    EXPECT(kolk_datagram_send(datagram, "x", 1, &here_name) == -KOLK_EFORK);
    kolk_datagram_close(datagram);
    kolk_datagram_abort(datagram);
    EXPECT(!kolk_datagram_is_closing(datagram));
    kolk_datagram_set_protocol(datagram, NULL);
    kolk_datagram_set_protocol(datagram, &((host_socket *)here)->protocol);
    EXPECT(host_collect() == 0);
}

static pid_t child_pid;

static int
child_fork(host_object *self)
{
    if (child_pid == 0 && self->runs == 1) {
        (void)fflush(NULL);
        child_pid = fork();
        if (child_pid == 0) {
            child_try();
        }
    }
    return child_pid == 0 ? 0 : HOST_EXCEPTION;
}

/* Two datagrams are there; the child is made while the first is told, and must
 * not take the second one. */
TEST_TIME(a_child_does_nothing_to_the_sockets_of_its_parent)
{
    char path[64];
    int status = -1;
    kolk_datagram_options options = {0};

    socket_begin(child_fork);
    (void)snprintf(path, sizeof path, "/tmp/kolk-host-%ld", (long)getpid());
    CHECK_OK(kolk_address_unix(path, strlen(path), &options.local));
    host_object *file = host_new(loop, HOST_SOCKET, 'f', NULL);
    CHECK_OK(host_open(file, &options));
    CHECK_OK(socket_send(there));
    CHECK_OK(socket_send(there));
    int err = host_run_or_tire(loop);
    if (child_pid == 0) {
        EXPECT(err == -KOLK_EFORK);
        EXPECT(here->runs == 1);
        host_loop_close(loop);
        EXPECT(here->drops == 1);
        EXPECT(kolk_datagram_fileno(host_datagram_of(here)) == -EBADF);
        EXPECT(access(path, F_OK) == 0);
        _exit(child_wrong != 0);
    }
    CHECK_INT(err, HOST_EXCEPTION);
    CHECK_INT(waitpid(child_pid, &status, 0), child_pid);
    CHECK_INT(status, 0);
    here->fn = host_stop;
    CHECK_OK(host_run_or_tire(loop));
    CHECK_OK(socket_send(there));
    CHECK_OK(host_run_or_tire(loop));
    CHECK_INT(here->runs, 3);
    host_unref(file);
    host_loop_close(loop);
    CHECK_INT(access(path, F_OK), -1);
    socket_end();
}
