/* announce.c - telling the sanitizers and Valgrind about stacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * Valgrind takes a large change of the stack pointer for a switch only where
 * it knows both stacks. Its requests are a few instructions that do nothing
 * elsewhere; they stand where stacks are mapped, not where they are used.
 */
#include "coro/announce.h"

#if defined(__has_include) && __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define ANNOUNCE_VALGRIND 1
#endif

#ifdef KOLK__ASAN
_Thread_local kolk__fiber *kolk__announce_left;
#endif

unsigned
kolk__announce_mapped(char *bottom, char *end)
{
    (void)bottom, (void)end;
#ifdef ANNOUNCE_VALGRIND
    return (unsigned)VALGRIND_STACK_REGISTER(bottom, end - 1);
#else
    return 0;
#endif
}

void
kolk__announce_unmapped(unsigned id)
{
    (void)id;
#ifdef ANNOUNCE_VALGRIND
    VALGRIND_STACK_DEREGISTER(id);
#endif
}

void
kolk__announce_reused(char *bottom, char *end)
{
    (void)bottom, (void)end;
#ifdef KOLK__ASAN
    __asan_unpoison_memory_region(bottom, (size_t)(end - bottom));
#endif
#ifdef ANNOUNCE_VALGRIND
    (void)VALGRIND_MAKE_MEM_UNDEFINED(bottom, end - bottom);
#endif
}

bool
kolk__announce_is_watched(void)
{
#ifdef KOLK__ASAN
    return true;
#elif defined(ANNOUNCE_VALGRIND)
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}
