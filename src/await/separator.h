/* separator.h - where does a record end?
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk/stream.h>

/* Where in `data` the first of `count` separators ends, as the number of bytes
 * up to and with it; 0: none does. No separator ends in the first `searched`
 * bytes, which the caller knows from the last time, when there were no more:
 * so a record that comes in pieces is searched once. No separator is empty. */
size_t kolk__separator_find(const char *data, size_t size, size_t searched,
                            const kolk_bytes *separators, size_t count);
