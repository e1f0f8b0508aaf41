/* host_transport.c - connections of a host without stacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A connection is an object that the loop has a reference to as long as it is
 * open. What the host writes is memory of its own, which it lends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

static host_loop *loop;
static host_object *here;
static int peer; /* the other end */

/* A connection, and what data run. */
static void
wire_begin(host_fn *fn)
{
    int fds[2];

    host_begin();
    loop = host_loop_new();
    here = host_new(loop, HOST_TRANSPORT, 'h', fn);
    test_socketpair(fds);
    peer = fds[1];
    CHECK_OK(host_open_fd(here, fds[0]));
    test_disown(fds[0]);
}

static void
wire_end(void)
{
    host_unref(here);
    host_loop_unref(loop);
    host_end();
}

static host_transport *
wire_here(void)
{
    return (host_transport *)here;
}

static void
wire_send(void)
{
    CHECK_INT(write(peer, "x", 1), 1);
}

TEST(data_run_code_of_the_language_with_its_lock)
{
    wire_begin(host_stop);
    wire_send();
    CHECK_OK(host_run_or_tire(loop));
    wire_send();
    CHECK_OK(host_run_or_tire(loop));
    CHECK_STR(host_notes, "hh");
    CHECK_INT(wire_here()->received, 2);
    CHECK(here->is_lent);
    wire_end();
}

TEST(an_exception_of_a_protocol_ends_the_run)
{
    wire_begin(host_raise);
    wire_send();
    CHECK_INT(host_run_or_tire(loop), HOST_EXCEPTION);
    wire_send();
    CHECK_INT(host_run_or_tire(loop), HOST_EXCEPTION);
    wire_end();
}

/* ---- memory of the host's that is written ---- */

/* A piece of a bytes object, to which it holds a reference. */
struct wire_bytes {
    kolk_chunk chunk;
    host_object *owner;
};

static int wire_releases;

static void
wire_released(kolk_chunk *chunk)
{
    struct wire_bytes *self =
        KOLK_CONTAINER_OF(chunk, struct wire_bytes, chunk);

    CHECK(host_lock_is_mine());
    wire_releases++;
    host_unref(self->owner);
    free(self);
}

/* Writes `size` bytes that `owner` stands for. */
static int
wire_write(host_object *owner, const void *data, size_t size)
{
    struct wire_bytes *bytes = calloc(1, sizeof *bytes);

    if (bytes == NULL) {
        abort();
    }
    bytes->chunk =
        (kolk_chunk){.data = data, .size = size, .released = wire_released};
    bytes->owner = owner;
    host_ref(owner);
    int err =
        kolk_transport_write_chunk(host_transport_of(here), &bytes->chunk);
    if (err < 0) {
        host_unref(owner);
        free(bytes);
    }
    return err;
}

static int
wire_answer(host_object *self)
{
    CHECK_OK(wire_write(self, "answer", 6));
    CHECK_INT(wire_releases, 0); /* joined, to the end of the turn */
    return host_stop(self);
}

TEST(memory_that_was_written_is_released_with_the_lock)
{
    char got[8] = "";

    wire_begin(wire_answer);
    wire_send();
    CHECK_OK(host_run_or_tire(loop));
    CHECK_INT(wire_releases, 1);
    CHECK_INT(read(peer, got, sizeof got), 6);
    wire_end();
}

TEST(closing_the_loop_gives_connections_and_their_memory_back)
{
    static char large[1000000];

    wire_begin(NULL);
    CHECK_OK(wire_write(here, large, sizeof large));
    CHECK_INT(wire_releases, 0);
    host_loop_close(loop);
    CHECK_INT(wire_releases, 1);
    CHECK_INT(here->drops, 1);
    CHECK_INT(wire_here()->error, -ESHUTDOWN);
    CHECK_ERR(wire_write(here, large, 1), -ESHUTDOWN);
    wire_end();
}

TEST(a_connection_that_is_aborted_comes_back_to_the_host)
{
    static char large[1000000];

    wire_begin(NULL);
    here->on_drop = host_stop;
    CHECK_OK(wire_write(here, large, sizeof large));
    host_cancel(here);
    CHECK_INT(wire_releases, 1);
    CHECK(here->is_lent);
    CHECK_OK(host_run_or_tire(loop));
    CHECK(!here->is_lent);
    CHECK_INT(wire_here()->error, -ECANCELED);
    wire_end();
}

/* ---- the collector ---- */

/* The loop leads to the connection, the connection to its loop, and nobody else
 * to either. */
TEST(a_collector_finds_the_cycle_of_a_loop_and_its_connections)
{
    wire_begin(NULL);
    CHECK_INT(host_collect(), 0);
    host_unref(here);
    CHECK_INT(host_collect(), 0);
    host_loop_unref(loop);
    CHECK_INT(host_collect(), 2);
    host_end();
}

TEST(a_collector_may_run_while_data_are_told)
{
    wire_begin(host_collects);
    for (int i = 0; i < 5; i++) {
        wire_send();
        CHECK_OK(host_run_once(loop));
    }
    while (wire_here()->received < 5 && kit_failures() == 0) {
        CHECK_OK(host_run_once(loop));
    }
    CHECK_INT(loop->collected, 0);
    wire_end();
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
    kolk_transport *none, *transport = host_transport_of(here);
    char byte;

    EXPECT(kolk_transport_open(loop->loop, peer, NULL, &wire_here()->protocol,
                               &none)
           == -KOLK_EFORK);
    EXPECT(kolk_transport_write(transport, "x", 1) == -KOLK_EFORK);
    EXPECT(kolk_transport_try_read(transport, &byte, 1) == -KOLK_EFORK);
    EXPECT(kolk_transport_write_eof(transport) == -KOLK_EFORK);
    EXPECT(kolk_transport_take_fd(transport) == -KOLK_EFORK);
    kolk_transport_flush(transport);
    kolk_transport_pause_reading(transport);
    kolk_transport_resume_reading(transport);
    kolk_transport_close(transport);
    kolk_transport_abort(transport);
    EXPECT(!kolk_transport_is_closing(transport));
    kolk_transport_set_protocol(transport, &wire_here()->protocol);
    EXPECT(host_collect() == 0);
}

static pid_t child_pid;

/* Joins some bytes, and makes a child, which must not send them. */
static int
child_fork(host_object *self)
{
    if (child_pid != 0 || self->runs != 1) {
        return 0;
    }
    CHECK_OK(kolk_transport_write(host_transport_of(self), "once", 4));
    (void)fflush(NULL);
    child_pid = fork();
    if (child_pid == 0) {
        child_try();
        return 0;
    }
    return HOST_EXCEPTION;
}

TEST_TIME(a_child_does_nothing_to_the_connections_of_its_parent)
{
    char got[16] = "";
    int status = -1;

    wire_begin(child_fork);
    wire_send();
    int err = host_run_or_tire(loop);
    if (child_pid == 0) {
        EXPECT(err == -KOLK_EFORK);
        EXPECT(here->runs == 1);
        host_loop_close(loop);
        EXPECT(here->drops == 1);
        EXPECT(kolk_transport_fileno(host_transport_of(here)) == -EBADF);
        _exit(child_wrong != 0);
    }
    CHECK_INT(err, HOST_EXCEPTION);
    CHECK_INT(waitpid(child_pid, &status, 0), child_pid);
    CHECK_INT(status, 0);
    CHECK_INT(read(peer, got, sizeof got), 4);
    CHECK_STR(got, "once");
    here->fn = host_stop;
    wire_send();
    CHECK_OK(host_run_or_tire(loop));
    CHECK_INT(here->runs, 2);
    wire_end();
}
