/* soak.h - thousands of connections, after which everything is back.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kit finds what is missing at the end of a test, when the loop is closed.
 * Here the loop goes on: what it has kept of connections that have gone, by
 * descriptor or by memory, would grow with a program's life.
 */
#pragma once

#include "tasks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SOAK_IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SOAK_IS_SANITIZED true
#endif
#endif
#ifndef SOAK_IS_SANITIZED
#define SOAK_IS_SANITIZED false
#endif

/* Connections that are open at a time; what these need stays in the loop. */
enum { SOAK_CLIENTS = 32 };

/* One connection from its beginning to its end, the `number`th. In a task. */
typedef void soak_fn(size_t number, void *arg);

struct soak {
    soak_fn *fn;
    void *arg;
    size_t next, count;
};

static inline int
soak_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* that of the folder */

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

/* Bytes that were allocated and not freed; 0 where nobody can tell. */
static inline size_t
soak_allocated(void)
{
#if defined(__GLIBC__)
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

/* Pages that are in memory, in bytes. */
static inline size_t
soak_resident(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t size = 0, resident = 0;

    if (file != NULL) {
        if (fscanf(file, "%zu %zu", &size, &resident) != 2) {
            resident = 0;
        }
        (void)fclose(file);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static inline int
soak_client(void *arg)
{
    struct soak *self = arg;

    while (self->next < self->count && kit_failures() == 0) {
        self->fn(self->next++, self->arg);
    }
    return 0;
}

/* `count` connections, some at a time, until the last has gone. */
static inline void
soak_round(struct soak *self, size_t count)
{
    kolk_task *tasks[SOAK_CLIENTS] = {NULL};

    self->next = 0;
    self->count = count;
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        CHECK_OK(kolk_spawn(soak_client, self, &tasks[i]));
    }
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        if (tasks[i] != NULL) {
            CHECK_OK(kolk_join(tasks[i]));
            kolk_future_unref(tasks[i]);
        }
    }
}

/* Waits until `what()` is `goal`, for some seconds: the other side of a
 * connection ends later. */
static inline void
soak_settle(int (*what)(void), int goal)
{
    for (int i = 0; i < 5000 && what() > goal && kit_failures() == 0; i++) {
        CHECK_OK(kolk_sleep(KOLK_MS(1)));
    }
}

/* Some things a loop makes when it first needs them, as the ring of io_uring:
 * it waits for something now. */
static inline void
soak_wake_up(void)
{
    kolk_timeout timeout;
    int fds[2];
    char byte;

    test_socketpair(fds);
    if (CHECK_OK(kolk_timeout_begin(&timeout, kolk_now(NULL) + KOLK_MS(1)))) {
        int result = kolk_recv(fds[0], &byte, 1, 0);

        CHECK_ERR(kolk_timeout_end(&timeout, result), -ETIMEDOUT);
    }
    kolk_forget(kolk_current_loop(), fds[0]);
    test_close(fds[0]);
    test_close(fds[1]);
}

/* In a task: runs `fn` so often, scaled, and checks that the descriptors
 * are those of the beginning, and memory what it was after the first ones. */
static inline void
soak_run(const char *name, size_t count, soak_fn *fn, void *arg)
{
    struct soak soak = {.fn = fn, .arg = arg};

    soak_wake_up();
    int idle = soak_descriptors();
    count = test_count(count);
    /* What a loop keeps for the next connections is some blocks and stacks,
     * however many there were. */
    size_t bound = 512 * (size_t)1024 + 8 * count;
    soak_round(&soak, 4 * (size_t)SOAK_CLIENTS); /* fills the loop's caches */
    soak_settle(soak_descriptors, idle);
    /* A loop may have made its timer meanwhile, which it keeps. */
    int kept = soak_descriptors();
    CHECK(kept <= idle + 1);
    idle = kept;
    size_t allocated = soak_allocated(), resident = soak_resident();
    soak_round(&soak, count);
    soak_settle(soak_descriptors, idle);
    for (int i = 0; i < 1000 && soak_allocated() > allocated + bound; i++) {
        CHECK_OK(kolk_sleep(KOLK_MS(1))); /* what goes after its descriptor */
    }
    size_t more = soak_allocated(), pages = soak_resident();
    CHECK_INT(soak_descriptors(), idle);
    more = more > allocated ? more - allocated : 0;
    pages = pages > resident ? pages - resident : 0;
    printf("%s: %zu connections, %zu bytes more, %zu KiB more in memory\n",
           name, count, more, pages / 1024);
    CHECK(more <= bound);
    /* Sanitizers keep what was freed. */
    if (!SOAK_IS_SANITIZED) {
        CHECK(pages < (size_t)8 * 1024 * 1024);
    }
}
