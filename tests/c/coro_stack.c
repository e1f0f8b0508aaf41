/* coro_stack.c - stacks are guarded, used again, and given back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "base/sys.h"
#include "coro/guard.h"
#include "coro/stack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 128 * 1024, SMALL = 64 * 1024, GUARD_INSTALL = 102 };

/* What a test replaces in the table, and how often it was called. */
static struct {
    struct kolk__sys real;
    int refused; /* how many calls of mprotect() succeed; -1: all */
    int chilled;
    size_t unmapped;
} fake;

static void
stacks_close_later(void *stacks)
{
    kolk__stacks_close(stacks);
}

static kolk__stacks *
stacks_open(size_t size)
{
    kolk__stacks *stacks = NULL;

    CHECK_OK(kolk__stacks_open(size, &stacks));
    test_later(stacks_close_later, stacks);
    return stacks;
}

static char *
stack_take(kolk__stacks *stacks, size_t size)
{
    char *end = kolk__stack_take(stacks, size, NULL);

    CHECK(end != NULL);
    return end;
}

/* How a child ends that calls `fn`. */
static int
status_of(void (*fn)(char *at), char *at)
{
    int status = -1;

    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        fn(at);
        _exit(6);
    }
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void
byte_write(char *at)
{
    *(volatile char *)at = 1;
}

static bool
is_deadly(char *at)
{
    int status = status_of(byte_write, at);

    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* ---- taking and giving ---- */

TEST_ONCE(a_pool_refuses_stacks_too_small)
{
    kolk__stacks *stacks = NULL;

    CHECK_ERR(kolk__stacks_open(KOLK__STACK_MIN - 1, &stacks), -EINVAL);
    CHECK_ERR(kolk__stacks_open(SIZE_MAX, &stacks), -EINVAL);
    CHECK_PTR(stacks, NULL);
}

TEST_ONCE(a_stack_has_the_size_asked_for)
{
    static const size_t sizes[] = {0, 16384, 65536, 1000000, 8 << 20};
    kolk__stacks *stacks = stacks_open(SIZE);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i] == 0 ? SIZE : sizes[i];
        char *bottom = NULL;
        char *end = kolk__stack_take(stacks, sizes[i], &bottom);
        CHECK(end != NULL);
        CHECK_INT((uintptr_t)end % 16, 0);
        CHECK_INT((uintptr_t)bottom % page, 0);
        /* The guard and the place on the page are the price. */
        CHECK((size_t)(end - bottom) + page + 2048 >= size);
        CHECK((size_t)(end - bottom) < size + page);
        memset(end - 1000, 1, 1000);
        memset(bottom, 1, 1000);
        kolk__stack_give(stacks, end, sizes[i]);
    }
}

TEST_ONCE(a_stack_of_an_impossible_size_is_refused)
{
    kolk__stacks *stacks = stacks_open(SIZE);

    CHECK_PTR(kolk__stack_take(stacks, SIZE_MAX, NULL), NULL);
    CHECK_PTR(kolk__stack_take(stacks, SIZE_MAX / 4, NULL), NULL);
}

TEST_ONCE(the_stack_given_back_last_is_taken_first)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    char *ends[100];

    for (int i = 0; i < 100; i++) {
        ends[i] = stack_take(stacks, 0);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(kolk__stack_is_kept(stacks, 0));
        kolk__stack_give(stacks, ends[i], 0);
    }
    for (int i = 99; i >= 0; i--) {
        CHECK_PTR(kolk__stack_take(stacks, 0, NULL), ends[i]);
    }
}

TEST_ONCE(neighbours_end_at_different_places_of_their_pages)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t places[16];

    for (int i = 0; i < 16; i++) {
        places[i] = (uintptr_t)stack_take(stacks, 0) % page;
        for (int j = 0; j < i; j++) {
            CHECK(places[i] != places[j]);
        }
    }
}

TEST_ONCE(what_stands_on_a_kept_stack_survives_its_giving_back)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    char *end = stack_take(stacks, 0);

    memset(end - 4000, 7, 4000);
    kolk__stack_give(stacks, end, 0);
    for (int i = 1; i <= 4000; i++) {
        CHECK_INT(end[-i], 7);
    }
}

TEST_ONCE(stacks_of_another_size_are_unmapped_at_once)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    char *ends[10];

    CHECK(!kolk__stack_is_kept(stacks, SMALL));
    CHECK(kolk__stack_is_kept(stacks, SIZE));
    for (int i = 0; i < 10; i++) {
        ends[i] = stack_take(stacks, SMALL);
    }
    for (int i = 0; i < 9; i++) {
        kolk__stack_give(stacks, ends[i], SMALL);
        CHECK(is_deadly(ends[i] - 8));
    }
    /* The last one goes with its pool. */
}

/* ---- guards ---- */

TEST_ONCE(the_page_below_a_stack_cannot_be_touched)
{
    static const size_t sizes[] = {0, SMALL};
    kolk__stacks *stacks = stacks_open(SIZE);

    for (int i = 0; i < 2; i++) {
        char *bottom;
        char *end = kolk__stack_take(stacks, sizes[i], &bottom);
        CHECK(end != NULL);
        CHECK(!is_deadly(bottom));
        CHECK(!is_deadly(end - 8));
        CHECK(is_deadly(bottom - 1));
        CHECK(is_deadly(bottom - sysconf(_SC_PAGESIZE)));
        CHECK(kolk__stack_is_overflow(stacks, end, sizes[i], bottom - 1));
        CHECK(!kolk__stack_is_overflow(stacks, end, sizes[i], bottom));
        CHECK(!kolk__stack_is_overflow(stacks, end, sizes[i], NULL));
        CHECK(!kolk__stack_is_overflow(stacks, end, sizes[i],
                                       bottom - sysconf(_SC_PAGESIZE) - 1));
    }
    CHECK(strcmp(kolk__guard_name(), "unknown") != 0);
    CHECK(strcmp(kolk__guard_name(), "none") != 0);
}

static void
resident_count(char *end, char *bottom, size_t *pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t count = ((size_t)(end - bottom) + page) / page;
    unsigned char resident[256];

    CHECK(count < sizeof resident);
    CHECK_INT(mincore(bottom, count * page, resident), 0);
    *pages = 0;
    for (size_t i = 0; i < count; i++) {
        *pages += resident[i] & 1;
    }
}

TEST_ONCE(a_stack_takes_no_more_memory_than_it_has_touched)
{
    kolk__stacks *stacks = stacks_open(SIZE);

    for (int i = 0; i < 100; i++) {
        size_t pages = 0;
        char *bottom;
        char *end = kolk__stack_take(stacks, 0, &bottom);
        CHECK(end != NULL);
        memset(end - 1024, 1, 1024);
        resident_count(end, bottom, &pages);
        CHECK_INT(pages, 1);
    }
}

/* `count` stacks that have been used, in an array for the caller to free. */
static char **
many_take(kolk__stacks *stacks, size_t count)
{
    char **ends = calloc(count, sizeof *ends);
    size_t taken = 0;

    CHECK(ends != NULL);
    while (taken < count
           && (ends[taken] = kolk__stack_take(stacks, 0, NULL)) != NULL) {
        ends[taken++][-1] = 1;
    }
    CHECK_INT(taken, count);
    return ends;
}

/* mprotect() alone would stop at half of vm.max_map_count. */
TEST_ONCE(forty_thousand_stacks_can_be_guarded)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    size_t count = test_count(40000);
    char **ends = many_take(stacks, count);

    free(ends);
    if (strcmp(kolk__guard_name(), "madvise") != 0) {
        printf("guards by %s here: not all have one\n", kolk__guard_name());
        return;
    }
    CHECK_STR(kolk__guard_name(), "madvise");
}

static int
madvise_refuses_guards(void *addr, size_t size, int advice)
{
    fake.chilled += advice == MADV_DONTNEED;
    if (advice == GUARD_INSTALL) {
        errno = EINVAL;
        return -1;
    }
    return fake.real.madvise(addr, size, advice);
}

/* What qemu's user mode does with every advice it does not know. */
static int
madvise_ignores_guards(void *addr, size_t size, int advice)
{
    return advice == GUARD_INSTALL ? 0 : fake.real.madvise(addr, size, advice);
}

static int
mprotect_some(void *addr, size_t size, int prot)
{
    if (fake.refused == 0) {
        errno = ENOMEM;
        return -1;
    }
    fake.refused -= fake.refused > 0;
    return fake.real.mprotect(addr, size, prot);
}

static void
fake_restore(void *unused)
{
    (void)unused;
    kolk__sys.madvise = fake.real.madvise;
    kolk__sys.mprotect = fake.real.mprotect;
    kolk__sys.mmap = fake.real.mmap;
    kolk__sys.munmap = fake.real.munmap;
}

static void
fake_install(int (*advise)(void *addr, size_t size, int advice), int refused)
{
    fake.real = kolk__sys;
    fake.refused = refused;
    kolk__sys.mprotect = mprotect_some;
    if (advise != NULL) {
        kolk__sys.madvise = advise;
    }
    test_later(fake_restore, NULL);
}

TEST_ONCE(an_older_kernel_guards_by_mprotect)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    char *bottom;

    fake_install(madvise_refuses_guards, -1);
    CHECK(kolk__stack_take(stacks, 0, &bottom) != NULL);
    CHECK_STR(kolk__guard_name(), "mprotect");
    CHECK(is_deadly(bottom - 1));
    CHECK(!is_deadly(bottom));
}

TEST_ONCE(an_advice_that_is_ignored_is_found_out)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    char *bottom;

    fake_install(madvise_ignores_guards, -1);
    CHECK(kolk__stack_take(stacks, 0, &bottom) != NULL);
    CHECK_STR(kolk__guard_name(), "mprotect");
    CHECK(is_deadly(bottom - 1));
}

/* Guards by mprotect() use mappings up, so they are used sparingly. */
TEST_ONCE(without_advice_there_are_stacks_for_all_and_mappings_left)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    size_t count = test_count(40000);

    fake_install(madvise_refuses_guards, -1);
    free(many_take(stacks, count));
    for (int i = 0; i < 1000; i++) {
        void *page = mmap(NULL, 4096, i % 2 == 0 ? PROT_READ : PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(page != MAP_FAILED);
    }
    CHECK_STR(kolk__guard_name(), count > 24576 ? "none" : "mprotect");
}

static void
stack_overflow_and_give(char *bottom)
{
    kolk__stacks *stacks = NULL;
    char *lowest;

    (void)!freopen("/dev/null", "w", stderr);
    (void)kolk__stacks_open(SIZE, &stacks);
    char *end = kolk__stack_take(stacks, 0, &lowest);
    if (bottom != NULL) {
        lowest[-16] = 1;
    }
    kolk__stack_give(stacks, end, 0);
}

TEST_ONCE(without_a_guard_an_overflow_is_found_at_the_end)
{
    char write_below[1];

    fake_install(madvise_refuses_guards, 0);
    int status = status_of(stack_overflow_and_give, write_below);
    CHECK(WIFSIGNALED(status));
    CHECK_INT(WTERMSIG(status), SIGABRT);
    status = status_of(stack_overflow_and_give, NULL);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 6);
}

/* Together more guards than there may be at once. */
TEST_ONCE(guards_by_mprotect_are_counted_back_when_unmapped)
{
    fake_install(madvise_refuses_guards, -1);
    for (int i = 0; i < 2; i++) {
        kolk__stacks *stacks = NULL;
        CHECK_OK(kolk__stacks_open(SIZE, &stacks));
        size_t count = 0;
        while (count < 20000 && kolk__stack_take(stacks, 0, NULL) != NULL) {
            count++;
        }
        char *alone = kolk__stack_take(stacks, SMALL, NULL);
        if (alone != NULL) {
            kolk__stack_give(stacks, alone, SMALL);
        }
        kolk__stacks_close(stacks);
        CHECK_INT(count, 20000);
        CHECK_STR(kolk__guard_name(), "mprotect");
    }
}

/* ---- giving memory back ---- */

static int
madvise_counted(void *addr, size_t size, int advice)
{
    fake.chilled += advice == MADV_DONTNEED;
    return fake.real.madvise(addr, size, advice);
}

static int
munmap_counted(void *addr, size_t size)
{
    fake.unmapped += size;
    return fake.real.munmap(addr, size);
}

TEST_ONCE(beyond_a_bound_free_stacks_give_their_memory_back)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    enum { COUNT = KOLK__STACKS_KEPT + 1000 };
    char **ends = many_take(stacks, COUNT);

    fake_install(madvise_counted, -1);
    kolk__sys.munmap = munmap_counted;
    for (int i = 0; i < COUNT; i++) {
        CHECK(kolk__stack_is_kept(stacks, 0));
        kolk__stack_give(stacks, ends[i], 0);
    }
    CHECK_INT(fake.chilled, 0);
    kolk__stacks_trim(stacks);
    CHECK_INT(fake.chilled, KOLK__STACKS_TRIM);
    for (int i = 0; i < COUNT / KOLK__STACKS_TRIM; i++) {
        kolk__stacks_trim(stacks);
    }
    CHECK_INT(fake.chilled, COUNT - KOLK__STACKS_KEPT);
    /* 1000 is 15 slabs and a part of one that was never used up. */
    CHECK_INT(fake.unmapped, (size_t)16 * 64 * SIZE);
    char *kept = ends[KOLK__STACKS_KEPT - 1];
    free(ends);
    CHECK_PTR(kolk__stack_take(stacks, 0, NULL), kept);
    free(many_take(stacks, COUNT)); /* cold ones can be taken again */
}

static int
madvise_keeps(void *addr, size_t size, int advice)
{
    if (advice == MADV_DONTNEED) {
        errno = EINVAL;
        return -1;
    }
    return fake.real.madvise(addr, size, advice);
}

TEST_ONCE(memory_that_cannot_be_given_back_is_kept)
{
    kolk__stacks *stacks = stacks_open(SIZE);
    enum { COUNT = KOLK__STACKS_KEPT + 10 };
    char **ends = many_take(stacks, COUNT);

    fake_install(madvise_keeps, -1);
    for (int i = 0; i < COUNT; i++) {
        kolk__stack_give(stacks, ends[i], 0);
    }
    for (int i = 0; i < COUNT; i++) {
        kolk__stacks_trim(stacks);
    }
    char *last = ends[COUNT - 1];
    free(ends);
    CHECK_PTR(kolk__stack_take(stacks, 0, NULL), last);
}

static void *
mmap_refused(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
    (void)addr, (void)size, (void)prot, (void)flags, (void)fd, (void)offset;
    errno = ENOMEM;
    return MAP_FAILED;
}

TEST_ONCE(without_memory_there_is_no_stack_and_then_there_is)
{
    kolk__stacks *stacks = stacks_open(SIZE);

    fake_install(NULL, -1);
    kolk__sys.mmap = mmap_refused;
    CHECK_PTR(kolk__stack_take(stacks, 0, NULL), NULL);
    CHECK_PTR(kolk__stack_take(stacks, SMALL, NULL), NULL);
    kolk__sys.mmap = fake.real.mmap;
    CHECK(kolk__stack_take(stacks, 0, NULL) != NULL);
    CHECK(kolk__stack_take(stacks, SMALL, NULL) != NULL);
}
