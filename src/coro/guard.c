/* guard.c - the page below a stack.
 *
 * SPDX-License-Identifier: MIT
 *
 * A guard by MADV_GUARD_INSTALL lives in the page table and leaves the mapping
 * whole; it has to be tried out, because emulators accept any advice. A guard
 * by mprotect() cuts the mapping in two, of which the kernel allows a process
 * 65,530, so that is for older kernels, and only up to a number. The rest has
 * no guard: there the page at the bottom is never used, and must still be all
 * zeroes when the stack is given back.
 */
#include "coro/guard.h"

#include "base/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* since Linux 6.13 */
#endif

enum {
    /* Guards by mprotect(), each of which takes two mappings: some are left
     * for the rest of the process. */
    GUARD_CUTS = 24576,
    GUARD_CHECKED = 4096, /* bytes; the smallest page there is */
};

/* Whether this kernel knows guards by advice. */
enum guard_advice { GUARD_UNKNOWN, GUARD_WORKS, GUARD_REFUSED };

/* Shared by all threads, each field by itself. */
static struct {
    int advice; /* enum guard_advice */
    int cuts;
    bool is_missing; /* somewhere */
} guard_seen;

/* Does the kernel refuse to read `page`? Unlike reading it here, asking for it
 * to be written somewhere survives. */
static enum guard_advice
guard_verify(const char *page)
{
    int fd = kolk__sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        return GUARD_UNKNOWN;
    }
    ssize_t result = kolk__sys.write(fd, page, sizeof(uint64_t));
    bool faulted = result < 0 && errno == EFAULT;
    (void)kolk__sys.close(fd); /* holds nothing that could get lost */
    return faulted ? GUARD_WORKS : GUARD_REFUSED;
}

static bool
guard_advise(char *page, size_t size)
{
    int advice = __atomic_load_n(&guard_seen.advice, __ATOMIC_RELAXED);

    if (advice == GUARD_REFUSED) {
        return false;
    }
    bool is_installed = kolk__sys.madvise(page, size, MADV_GUARD_INSTALL) == 0;
    if (advice == GUARD_UNKNOWN) {
        if (is_installed) {
            advice = guard_verify(page);
        } else if (errno == EINVAL) {
            advice = GUARD_REFUSED;
        }
        __atomic_store_n(&guard_seen.advice, advice, __ATOMIC_RELAXED);
    }
    return is_installed && advice == GUARD_WORKS;
}

static bool
guard_cut(char *page, size_t size)
{
    int cuts = __atomic_add_fetch(&guard_seen.cuts, 1, __ATOMIC_RELAXED);

    if (cuts <= GUARD_CUTS && kolk__sys.mprotect(page, size, PROT_NONE) == 0) {
        return true;
    }
    kolk__guard_forget(1);
    return false;
}

kolk__guard
kolk__guard_install(char *page, size_t size)
{
    if (guard_advise(page, size)) {
        return KOLK__GUARD_ADVISE;
    }
    if (guard_cut(page, size)) {
        return KOLK__GUARD_CUT;
    }
    __atomic_store_n(&guard_seen.is_missing, true, __ATOMIC_RELAXED);
    return KOLK__GUARD_NONE;
}

void
kolk__guard_forget(int cuts)
{
    (void)__atomic_sub_fetch(&guard_seen.cuts, cuts, __ATOMIC_RELAXED);
}

/* Reading a page that was never written takes no memory. */
void
kolk__guard_check(const char *page)
{
    static const char message[] =
        "kolk: a coroutine has written below its stack\n";

    if (page[0] != 0 || memcmp(page, page + 1, GUARD_CHECKED - 1) != 0) {
        (void)!kolk__sys.write(STDERR_FILENO, message, sizeof message - 1);
        abort(); /* nobody knows whose memory it was */
    }
}

const char *
kolk__guard_name(void)
{
    static const char *const names[] = {
        [GUARD_UNKNOWN] = "unknown",
        [GUARD_WORKS] = "madvise",
        [GUARD_REFUSED] = "mprotect",
    };

    if (__atomic_load_n(&guard_seen.is_missing, __ATOMIC_RELAXED)) {
        return "none";
    }
    return names[__atomic_load_n(&guard_seen.advice, __ATOMIC_RELAXED)];
}
