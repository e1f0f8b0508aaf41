/* process.c - children, awaited: their end, and their pipes as streams.
 *
 * SPDX-License-Identifier: MIT
 *
 * A stream over a pipe is kept by the process, and lent. Whoever closes it
 * takes it away from there, so it is freed once.
 */
#include <errno.h>

#include "await/stream.h"
#include "process/process.h"
#include "task/park.h"

/* ---- the end ---- */

struct process_wait {
    kolk__process_waiter waiter;
    kolk_process *process;
    kolk__coro *coro;
};

static void
process_wake(kolk__process_waiter *waiter)
{
    const struct process_wait *wait =
        KOLK_CONTAINER_OF(waiter, struct process_wait, waiter);

    kolk__wake(wait->coro, wait->process->status);
}

static void
process_interrupt(kolk__coro *coro)
{
    struct process_wait *wait = coro->object;

    kolk__process_wait_end(wait->process, &wait->waiter);
    kolk__wake(coro, -ECANCELED);
}

int
kolk_process_wait(kolk_process *process)
{
    kolk__coro *coro =
        kolk__coro_or_misuse("kolk_process_wait() outside a task");
    struct process_wait wait = {
        .waiter.wake = process_wake, .process = process, .coro = coro};

    if (coro == NULL) {
        return -KOLK_EMISUSE;
    }
    if (process->status != -EAGAIN) {
        return process->status;
    }
    if (process->loop != coro->loop) {
        return kolk__misuse(coro->loop, "waiting for another loop's child");
    }
    if (coro->is_cancelled) {
        return kolk__wait_refused(coro);
    }
    kolk__process_wait_begin(process, &wait.waiter);
    return kolk__park(coro, "process", process_interrupt, &wait);
}

/* ---- streams ---- */

static void
process_free_streams(kolk_process *process)
{
    for (int i = 0; i < 3; i++) {
        kolk_stream_free(process->streams[i]);
    }
}

kolk_stream *
kolk_process_stream(kolk_process *process, int number)
{
    kolk_stream *stream;

    if (number < 0 || number > 2) {
        return NULL;
    }
    if (process->streams[number] != NULL || process->pipes[number] < 0
        || process->loop == NULL
        || kolk__loop_check(process->loop, "kolk_process_stream()") < 0) {
        return process->streams[number];
    }
    const kolk_stream_options options = {
        .limit = process->limit,
        .transport = {.read_only = number != 0, .write_only = number == 0}};
    kolk_forget(process->loop, process->pipes[number]);
    if (kolk__stream_new(process->loop, process->pipes[number], &options,
                         &stream)
        < 0) {
        return NULL;
    }
    process->pipes[number] = -1;
    process->streams[number] = stream;
    stream->lent = &process->streams[number];
    process->free_streams = process_free_streams;
    return stream;
}
