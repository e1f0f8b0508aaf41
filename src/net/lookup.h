/* lookup.h - what the other files of names and connections use of lookup.c.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <kolk/lookup.h>

/* What the resolver's `code` is as an error; `system` is errno after it. */
int kolk__resolve_error(int code, int system);

/* Can the resolver answer without asking anybody? Then it has: `*result` is 0
 * or an error, and on success `*out` the caller's to free. */
bool kolk__lookup_at_once(const char *host, const char *service,
                          const struct addrinfo *hints, int *result,
                          struct addrinfo **out);

/* Ends `lookup` at once: neither of its functions runs. A no-op if it is not
 * pending. */
void kolk__lookup_forget(kolk_loop *loop, kolk_lookup *lookup);
