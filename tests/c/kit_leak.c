/* kit_leak.c - what a test has taken, and not given back.
 *
 * SPDX-License-Identifier: MIT
 *
 * Blocks carry a header that links them, so that what is missing at the end
 * can be named. Mappings are counted in bytes, since they may be given back in
 * parts. Descriptors are compared with those at the start. No child may be
 * left.
 *
 * A test that a failed check has ended could not give back what it owns. So
 * blocks that its stack or its static variables lead to are then no leaks:
 * those are looked through for anything that may be a pointer. Nor are
 * descriptors that it has opened without the library.
 */
#include "kit.h"

#include "kit_sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEAK_FD_MAX = 4096, LEAK_NAMED_MAX = 8 };

struct leak_block {
    alignas(max_align_t) struct leak_block *next;
    struct leak_block *previous;
    size_t size;
    void *caller;
    uint64_t magic;
    bool is_held; /* by the test */
};

static const uint64_t LEAK_MAGIC = 0x6b6f6c6b6b6f6c6b;

static struct {
    char fds[LEAK_FD_MAX]; /* open at the start */
    int64_t mapped;        /* bytes, any thread */
    bool is_early;         /* the test did not come to its end */
    pthread_mutex_t lock;
    struct leak_block *blocks; /* guarded by lock */
} leak = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- memory ---- */

static void *
leak_block_link(struct leak_block *block, size_t size, void *caller)
{
    if (block == NULL) {
        return NULL;
    }
    *block = (struct leak_block){
        .size = size, .caller = caller, .magic = LEAK_MAGIC};
    pthread_mutex_lock(&leak.lock);
    block->next = leak.blocks;
    if (leak.blocks != NULL) {
        leak.blocks->previous = block;
    }
    leak.blocks = block;
    pthread_mutex_unlock(&leak.lock);
    return block + 1;
}

static struct leak_block *
leak_block_unlink(void *memory)
{
    struct leak_block *block = (struct leak_block *)memory - 1;

    if (block->magic != LEAK_MAGIC) {
        (void)fprintf(stderr, "kit: %p was not allocated here\n", memory);
        abort();
    }
    pthread_mutex_lock(&leak.lock);
    if (block->previous != NULL) {
        block->previous->next = block->next;
    } else {
        leak.blocks = block->next;
    }
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
    pthread_mutex_unlock(&leak.lock);
    block->magic = 0;
    return block;
}

static void *
leak_malloc(size_t size)
{
    if (kit_sys_fails("malloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return leak_block_link(malloc(sizeof(struct leak_block) + size), size,
                           __builtin_return_address(0));
}

static void *
leak_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (kit_sys_fails("calloc")
        || __builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return leak_block_link(calloc(1, sizeof(struct leak_block) + bytes), bytes,
                           __builtin_return_address(0));
}

static void
leak_free(void *memory)
{
    if (memory != NULL) {
        free(leak_block_unlink(memory));
    }
}

static void *
leak_realloc(void *memory, size_t size)
{
    void *caller = __builtin_return_address(0);

    if (kit_sys_fails("realloc")) {
        errno = ENOMEM;
        return NULL;
    }
    struct leak_block *old = memory != NULL ? leak_block_unlink(memory) : NULL;
    struct leak_block *block = realloc(old, sizeof *block + size);
    return leak_block_link(block, size, caller);
}

static void *
leak_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (kit_sys_fails("mmap")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = kit_sys_real.mmap(addr, size, prot, flags, fd, offset);
    if (memory != MAP_FAILED && (flags & MAP_FIXED) == 0) {
        __atomic_add_fetch(&leak.mapped, (int64_t)size, __ATOMIC_RELAXED);
    }
    return memory;
}

static int
leak_munmap(void *addr, size_t size)
{
    int result = kit_sys_real.munmap(addr, size);

    if (result == 0) {
        __atomic_sub_fetch(&leak.mapped, (int64_t)size, __ATOMIC_RELAXED);
    }
    return result;
}

/* ---- descriptors ---- */

/* Calls `fn` for each open descriptor. */
static int
leak_each_fd(int (*fn)(int fd))
{
    DIR *dir = opendir("/proc/self/fd");
    int sum = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < LEAK_FD_MAX) {
            sum += fn(fd);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return sum;
}

static int
leak_fd_note(int fd)
{
    leak.fds[fd] = 1;
    return 0;
}

static int
leak_fd_check(int fd)
{
    char path[64], target[128];

    if (leak.fds[fd] || (leak.is_early && !kit_sys_has_opened(fd))) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, target, sizeof target);
    (void)fprintf(stderr, "kit: descriptor %d is left open: %.*s\n", fd,
                  (int)(len > 0 ? len : 0), target);
    return 1;
}

/* ---- children ---- */

/* Has a child been left, running or a zombie? */
static int
leak_child_check(void)
{
    siginfo_t info = {0};

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) {
        return 0;
    }
    (void)fprintf(stderr, "kit: %s is left\n",
                  info.si_pid != 0 ? "a zombie" : "a running child");
    return 1;
}

/* ---- what a test holds ---- */

/* Marks each block that a word in [from, to) points into. Reads what
 * AddressSanitizer puts between variables, too. */
static bool __attribute__((no_sanitize("address")))
leak_hold(const void *from, const void *to)
{
    const char *const *words = from, *const *end = to;
    bool found = false;

    for (; words < end; words++) {
        for (struct leak_block *at = leak.blocks; at; at = at->next) {
            const char *memory = (const char *)(at + 1);
            if (!at->is_held && *words >= memory
                && *words <= memory + at->size) {
                at->is_held = true;
                found = true;
            }
        }
    }
    return found;
}

/* The ends of the program's static variables, as the linker calls them. */
extern char __data_start[] __attribute__((weak));
extern char _end[];

static void
leak_hold_all(const void *stack, const void *stack_end)
{
    bool more = leak_hold(stack, stack_end);

    if ((uintptr_t)__data_start != 0) { /* not every C library has it */
        more |= leak_hold(__data_start, _end);
    }
    while (more) {
        more = false;
        for (struct leak_block *at = leak.blocks; at; at = at->next) {
            const char *memory = (const char *)(at + 1);
            more |= at->is_held && leak_hold(memory, memory + at->size / 8 * 8);
        }
    }
}

/* ---- start and end ---- */

void
kit_leak_init(void)
{
    (void)leak_each_fd(leak_fd_note);
    kolk__sys.malloc = leak_malloc;
    kolk__sys.calloc = leak_calloc;
    kolk__sys.realloc = leak_realloc;
    kolk__sys.free = leak_free;
    kolk__sys.mmap = leak_mmap;
    kolk__sys.munmap = leak_munmap;
}

/* Names the blocks that are lost; returns how many. */
static int
leak_report_blocks(void)
{
    int lost = 0;

    pthread_mutex_lock(&leak.lock);
    for (struct leak_block *block = leak.blocks; block; block = block->next) {
        if (!block->is_held && lost++ < LEAK_NAMED_MAX) {
            (void)fprintf(stderr, "kit: %zu bytes at %p are lost; from %p\n",
                          block->size, (void *)(block + 1), block->caller);
        }
    }
    pthread_mutex_unlock(&leak.lock);
    return lost;
}

int
kit_leak_fini(const void *stack, const void *stack_end)
{
    leak.is_early = stack != NULL;
    int others = leak_each_fd(leak_fd_check);

    if (leak.is_early) {
        leak_hold_all(stack, stack_end);
    } else {
        others += leak_child_check();
    }
    int lost = leak_report_blocks();
    int64_t mapped = __atomic_load_n(&leak.mapped, __ATOMIC_RELAXED);
    if (mapped != 0) {
        (void)fprintf(stderr, "kit: %lld bytes are still mapped\n",
                      (long long)mapped);
        others++;
    }
    if (lost + others > 0) {
        (void)fprintf(stderr, "kit: leaks: %d blocks, %d other\n", lost,
                      others);
    }
    return lost + others;
}
