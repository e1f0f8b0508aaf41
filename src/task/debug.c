/* debug.c - looking at tasks: the dump, and whose stack has overflowed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <kolk/debug.h>

#include "base/sys.h"
#include "coro/overflow.h"
#include "coro/stack.h"
#include "task/park.h"

/* ---- the dump ---- */

static const char *
dump_state(const kolk__coro *coro)
{
    if (coro->is_parked) {
        return "waiting";
    }
    return kolk__call_is_linked(&coro->call) ? "ready" : "running";
}

/* How many requests to cancel are pending, the scopes' included. */
static int
dump_requests(const kolk__coro *coro)
{
    int requests = coro->cancels;

    for (const kolk_scope *scope = coro->scope; scope != NULL;
         scope = scope->outer) {
        requests += scope->requested;
    }
    return requests;
}

static int
dump_write(int fd, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t n = kolk__sys.write(fd, line, size);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            line += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

static int
dump_task(kolk__coro *coro, int fd)
{
    char line[512];
    bool waits = coro->is_parked;
    int n = snprintf(
        line, sizeof line, "%s: %s%s%s, %d requests to cancel, spawned at %s\n",
        kolk__coro_name(coro), dump_state(coro), waits ? " for " : "",
        waits ? coro->reason : "", dump_requests(coro), coro->site);
    size_t size = n < (int)sizeof line ? (size_t)n : sizeof line - 1;

    return dump_write(fd, line, size);
}

int
kolk_loop_dump(kolk_loop *loop, int fd)
{
    kolk__task_state *state = loop->task_state;
    int err = 0;

    if (state == NULL) {
        return 0;
    }
    for (kolk_link *link = state->all.next; link != &state->all && err == 0;
         link = link->next) {
        err = dump_task(KOLK_CONTAINER_OF(link, kolk__coro, all), fd);
    }
    return err;
}

/* ---- overflows ---- */

/* Appends `text` to the string in `buffer`; safe in a signal handler. */
static void
overflow_append(char *buffer, size_t size, const char *text)
{
    size_t used = strlen(buffer);

    while (*text != '\0' && used + 1 < size) {
        buffer[used++] = *text++;
    }
    buffer[used] = '\0';
}

/* The name of a task that was given none. */
static void
overflow_append_id(char *buffer, size_t size, uint64_t id)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + id % 10);
        id /= 10;
    } while (id > 0);
    overflow_append(buffer, size, "task-");
    overflow_append(buffer, size, &digits[at]);
}

static const char *
overflow_describe(const void *address, char *buffer, size_t size)
{
    const kolk__coro *coro = kolk__current_coro();

    if (coro == NULL
        || !kolk__stack_is_overflow(coro->loop->stacks, coro->stack_end,
                                    coro->stack_size, address)) {
        return NULL;
    }
    buffer[0] = '\0';
    overflow_append(buffer, size, "task \"");
    if (coro->name[0] != '\0') {
        overflow_append(buffer, size, coro->name);
    } else {
        overflow_append_id(buffer, size, coro->id);
    }
    overflow_append(buffer, size, "\", spawned at ");
    overflow_append(buffer, size, coro->site);
    return buffer;
}

int
kolk_report_overflow(void)
{
    return kolk__overflow_watch(overflow_describe);
}
