/* stack.c - memory for coroutines' stacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A slab is one mapping cut into up to 64 stacks. A stack is *cold* as long as
 * it holds no memory: its slab has a bit for each. Taking one warms it up; it
 * is given back to a list of warm ones, whose links stand on the stacks
 * themselves, on the page that the next user touches first. A list longer than
 * need be goes cold again when the loop has nothing to do, and a slab that is
 * cold altogether is unmapped, which gives back the page tables too. Not as
 * stacks are given back: with 100,000 tasks that come and go, a page fault and
 * two system calls each made that seven times slower. So an idle
 * stack costs the pages it has touched and its share of page tables, and
 * nothing on the heap but a bit in its slab.
 *
 * Invariant: above every end that was handed out stands a stack_cell. It
 * belongs to this file while the stack is in use as well.
 */
#include "coro/stack.h"

#include "base/ring.h"
#include "base/sys.h"
#include "coro/announce.h"
#include "coro/guard.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STACK_SLAB_COUNT = 64, /* bits of stack_slab.cold */
    STACK_SLAB_SIZE = 8 * 1024 * 1024,
    /* Where on its page a stack may end. Half of a small page: with less,
     * some thousand tasks compete for a part of the cache (2,000 of them
     * yielding: 21 ns each, 42 with places 64 bytes apart); with more, an idle
     * one is likelier to need a second page. */
    STACK_PLACES = 16,
    STACK_PLACE = 128, /* bytes between them: two lines, fetched together */
    STACK_CELL = 32,   /* bytes of a stack_cell, keeps the alignment */
};

struct stack_slab {
    kolk_link link;      /* in kolk__stacks.slabs */
    kolk_link cold_link; /* in kolk__stacks.cold, or in no ring */
    char *base;
    uint64_t cold;    /* which stacks hold no memory */
    uint64_t guarded; /* which have their guard, cold or not */
    uint64_t cut;     /* which have it by mprotect() */
};

struct stack_cell {
    union {
        struct { /* of the pool's size */
            struct stack_slab *slab;
            struct stack_cell *next; /* while free */
        };
        kolk_link link; /* mapped alone: in kolk__stacks.alone */
    };
    size_t size; /* mapped alone */
    unsigned announced;
    unsigned char index; /* in the slab */
    unsigned char guard; /* kolk__guard */
};

_Static_assert(sizeof(struct stack_cell) <= STACK_CELL, "a cell has its room");

struct kolk__stacks {
    struct stack_cell *free; /* warm; last in, first out */
    size_t free_count;
    size_t size; /* of a stack, whole pages */
    size_t page;
    unsigned slab_count; /* stacks in a slab */
    uint64_t all_cold;   /* stack_slab.cold of a new one */
    bool is_watched;     /* reuse has to be announced */
    kolk_link cold;      /* slabs with a cold stack */
    kolk_link slabs;
    kolk_link alone; /* stacks of another size, in use */
};

/* ---- where things are ---- */

static size_t
stack_round(size_t size, size_t page)
{
    return (size + page - 1) & ~(page - 1);
}

/* What `size` as the user gave it comes to. Beyond all bounds it is something
 * that cannot be mapped. */
static size_t
stack_size_of(const kolk__stacks *stacks, size_t size)
{
    if (size == 0) {
        return stacks->size;
    }
    if (size < KOLK__STACK_MIN) {
        size = KOLK__STACK_MIN;
    } else if (size > SIZE_MAX / 2) {
        size = SIZE_MAX / 2;
    }
    size = stack_round(size, stacks->page);
    return size < 2 * stacks->page ? 2 * stacks->page : size;
}

static char *
stack_limit(const kolk__stacks *stacks, const char *end)
{
    return (char *)end + (stacks->page - ((uintptr_t)end & (stacks->page - 1)));
}

static struct stack_cell *
stack_cell_at(const kolk__stacks *stacks, char *limit)
{
    size_t place = (uintptr_t)limit / stacks->size % STACK_PLACES * STACK_PLACE;

    return (struct stack_cell *)(void *)(limit - place - STACK_CELL);
}

static void *
stack_map(size_t size)
{
    void *base = kolk__sys.mmap(
        NULL, size, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (base == MAP_FAILED) {
        return NULL;
    }
    /* A huge page would make every stack in it resident. Kernels without huge
     * pages refuse, which is as good. */
    (void)kolk__sys.madvise(base, size, MADV_NOHUGEPAGE);
    return base;
}

static void
stack_unmap(const kolk__stacks *stacks, char *base, size_t size)
{
    if (stacks->is_watched) {
        kolk__announce_reused(base, base + size);
    }
    (void)kolk__sys.munmap(base, size); /* fails for wrong arguments only */
}

/* ---- stacks of the pool's size ---- */

static bool
slab_open(kolk__stacks *stacks)
{
    size_t size = stacks->slab_count * stacks->size;

    struct stack_slab *slab = kolk__sys.calloc(1, sizeof *slab);
    if (slab == NULL) {
        return false;
    }
    slab->base = stack_map(size);
    if (slab->base == NULL) {
        kolk__sys.free(slab);
        return false;
    }
    slab->cold = stacks->all_cold;
    kolk__ring_push(&stacks->slabs, &slab->link);
    kolk__ring_push(&stacks->cold, &slab->cold_link);
    return true;
}

static bool
slab_is_cold(const kolk__stacks *stacks, const struct stack_slab *slab)
{
    return slab->cold == stacks->all_cold;
}

static char *
slab_limit(const kolk__stacks *stacks, const struct stack_slab *slab,
           unsigned index)
{
    return slab->base + (index + 1) * stacks->size;
}

static void
slab_close(kolk__stacks *stacks, struct stack_slab *slab)
{
    for (unsigned i = 0; i < stacks->slab_count; i++) {
        if ((slab->cold >> i & 1) == 0) {
            char *limit = slab_limit(stacks, slab, i);
            kolk__announce_unmapped(stack_cell_at(stacks, limit)->announced);
        }
    }
    kolk__guard_forget(__builtin_popcountll(slab->cut));
    kolk__ring_remove(&slab->cold_link);
    kolk__ring_unlink(&slab->link);
    stack_unmap(stacks, slab->base, stacks->slab_count * stacks->size);
    kolk__sys.free(slab);
}

static kolk__guard
slab_guard(kolk__stacks *stacks, struct stack_slab *slab, unsigned index)
{
    uint64_t bit = (uint64_t)1 << index;

    if ((slab->guarded & bit) == 0) {
        kolk__guard guard = kolk__guard_install(
            slab->base + index * stacks->size, stacks->page);
        slab->guarded |= guard == KOLK__GUARD_NONE ? 0 : bit;
        slab->cut |= guard == KOLK__GUARD_CUT ? bit : 0;
    }
    return (slab->guarded & bit) == 0 ? KOLK__GUARD_NONE
           : (slab->cut & bit) == 0   ? KOLK__GUARD_ADVISE
                                      : KOLK__GUARD_CUT;
}

/* A stack that was cold, ready for use; NULL without memory. */
static struct stack_cell *
stack_warm(kolk__stacks *stacks)
{
    if (kolk__ring_is_empty(&stacks->cold) && !slab_open(stacks)) {
        return NULL;
    }
    struct stack_slab *slab =
        KOLK_CONTAINER_OF(stacks->cold.next, struct stack_slab, cold_link);
    unsigned index = (unsigned)__builtin_ctzll(slab->cold);
    kolk__guard guard = slab_guard(stacks, slab, index);

    slab->cold &= ~((uint64_t)1 << index);
    if (slab->cold == 0) {
        kolk__ring_remove(&slab->cold_link);
    }
    char *limit = slab_limit(stacks, slab, index);
    struct stack_cell *cell = stack_cell_at(stacks, limit);
    cell->slab = slab;
    cell->index = (unsigned char)index;
    cell->guard = (unsigned char)guard;
    cell->announced =
        kolk__announce_mapped(limit - stacks->size + stacks->page, limit);
    return cell;
}

static void
stack_push(kolk__stacks *stacks, struct stack_cell *cell)
{
    cell->next = stacks->free;
    stacks->free = cell;
    stacks->free_count++;
}

static struct stack_cell *
stack_pop(kolk__stacks *stacks)
{
    struct stack_cell *cell = stacks->free;

    stacks->free = cell->next;
    stacks->free_count--;
    return cell;
}

/* Gives the memory of a stack back to the kernel, not its addresses. */
static void
stack_chill(kolk__stacks *stacks, struct stack_cell *cell)
{
    struct stack_slab *slab = cell->slab;
    unsigned index = cell->index, announced = cell->announced;
    char *bottom = slab->base + index * stacks->size + stacks->page;

    if (kolk__sys.madvise(bottom, stacks->size - stacks->page, MADV_DONTNEED)
        < 0) {
        stack_push(stacks, cell);
        return;
    }
    kolk__announce_unmapped(announced);
    slab->cold |= (uint64_t)1 << index;
    if (slab_is_cold(stacks, slab)) {
        slab_close(stacks, slab);
    } else if (!kolk__link_is_linked(&slab->cold_link)) {
        kolk__ring_push(&stacks->cold, &slab->cold_link);
    }
}

/* ---- stacks of another size ---- */

static struct stack_cell *
stack_open_alone(kolk__stacks *stacks, size_t size)
{
    char *base = stack_map(size);

    if (base == NULL) {
        return NULL;
    }
    kolk__guard guard = kolk__guard_install(base, stacks->page);
    struct stack_cell *cell =
        (struct stack_cell *)(void *)(base + size - STACK_CELL);
    cell->size = size;
    cell->guard = (unsigned char)guard;
    cell->announced = kolk__announce_mapped(base + stacks->page, base + size);
    kolk__ring_push(&stacks->alone, &cell->link);
    return cell;
}

static void
stack_close_alone(kolk__stacks *stacks, struct stack_cell *cell)
{
    size_t size = cell->size;

    kolk__guard_forget(cell->guard == KOLK__GUARD_CUT);
    kolk__announce_unmapped(cell->announced);
    kolk__ring_unlink(&cell->link);
    stack_unmap(stacks, (char *)cell + STACK_CELL - size, size);
}

/* ---- the pool ---- */

int
kolk__stacks_open(size_t size, kolk__stacks **out)
{
    if (size < KOLK__STACK_MIN || size > SIZE_MAX / 2) {
        return -EINVAL;
    }
    kolk__stacks *stacks = kolk__sys.calloc(1, sizeof *stacks);
    if (stacks == NULL) {
        return -ENOMEM;
    }
    stacks->page = (size_t)sysconf(_SC_PAGESIZE);
    stacks->size = stack_size_of(stacks, size);
    stacks->is_watched = kolk__announce_is_watched();
    size_t count = STACK_SLAB_SIZE / stacks->size;
    stacks->slab_count = count > STACK_SLAB_COUNT ? STACK_SLAB_COUNT
                         : count == 0             ? 1
                                                  : (unsigned)count;
    stacks->all_cold = UINT64_MAX >> (STACK_SLAB_COUNT - stacks->slab_count);
    kolk__ring_init(&stacks->cold);
    kolk__ring_init(&stacks->slabs);
    kolk__ring_init(&stacks->alone);
    *out = stacks;
    return 0;
}

void
kolk__stacks_close(kolk__stacks *stacks)
{
    while (!kolk__ring_is_empty(&stacks->slabs)) {
        slab_close(stacks, KOLK_CONTAINER_OF(stacks->slabs.next,
                                             struct stack_slab, link));
    }
    while (!kolk__ring_is_empty(&stacks->alone)) {
        struct stack_cell *cell =
            KOLK_CONTAINER_OF(stacks->alone.next, struct stack_cell, link);
        stack_close_alone(stacks, cell);
    }
    kolk__sys.free(stacks);
}

static char *
stack_bottom(const kolk__stacks *stacks, const char *end, size_t size)
{
    return stack_limit(stacks, end) - size + stacks->page;
}

static __attribute__((noinline)) char *
stack_take_slow(kolk__stacks *stacks, size_t size, char **bottom)
{
    struct stack_cell *cell;

    size = stack_size_of(stacks, size);
    if (size != stacks->size) {
        cell = stack_open_alone(stacks, size);
    } else if (stacks->free != NULL) {
        cell = stack_pop(stacks);
    } else {
        cell = stack_warm(stacks);
    }
    if (cell == NULL) {
        return NULL;
    }
    char *end = (char *)cell;
    char *lowest = stack_bottom(stacks, end, size);
    if (stacks->is_watched) {
        kolk__announce_reused(lowest, end);
    }
    if (bottom != NULL) {
        *bottom = lowest;
    }
    return end;
}

/* A warm stack is the common case, and the only one that has to be fast. */
char *
kolk__stack_take(kolk__stacks *stacks, size_t size, char **bottom)
{
    if (size != 0 || stacks->free == NULL || stacks->is_watched) {
        return stack_take_slow(stacks, size, bottom);
    }
    char *end = (char *)stack_pop(stacks);
    if (bottom != NULL) {
        *bottom = stack_bottom(stacks, end, stacks->size);
    }
    return end;
}

static __attribute__((noinline)) void
stack_give_slow(kolk__stacks *stacks, struct stack_cell *cell, size_t size)
{
    size = stack_size_of(stacks, size);
    if (cell->guard == KOLK__GUARD_NONE) {
        kolk__guard_check(stack_limit(stacks, (char *)cell) - size);
    }
    if (size != stacks->size) {
        stack_close_alone(stacks, cell);
    } else {
        stack_push(stacks, cell);
    }
}

void
kolk__stack_give(kolk__stacks *stacks, char *end, size_t size)
{
    struct stack_cell *cell = (struct stack_cell *)(void *)end;

    if (size != 0 || cell->guard == KOLK__GUARD_NONE) {
        stack_give_slow(stacks, cell, size);
        return;
    }
    stack_push(stacks, cell);
}

bool
kolk__stack_is_kept(const kolk__stacks *stacks, size_t size)
{
    return size == 0 || stack_size_of(stacks, size) == stacks->size;
}

static __attribute__((noinline)) void
stacks_chill_some(kolk__stacks *stacks)
{
    for (int i = 0;
         i < KOLK__STACKS_TRIM && stacks->free_count > KOLK__STACKS_KEPT; i++) {
        stack_chill(stacks, stack_pop(stacks));
    }
}

void
kolk__stacks_trim(kolk__stacks *stacks)
{
    if (stacks->free_count > KOLK__STACKS_KEPT) {
        stacks_chill_some(stacks);
    }
}

bool
kolk__stack_is_overflow(const kolk__stacks *stacks, const char *end,
                        size_t size, const void *address)
{
    uintptr_t guard =
        (uintptr_t)stack_limit(stacks, end) - stack_size_of(stacks, size);

    return (uintptr_t)address - guard < stacks->page;
}
