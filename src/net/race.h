/* race.h - attempts to connect, of which one wins.
 *
 * SPDX-License-Identifier: MIT
 *
 * The race of a connector: connect.c looks up its addresses and tells how it
 * has come out, race.c runs it.
 */
#pragma once

#include <kolk/connect.h>

#include "loop/handle.h"

typedef struct kolk__race kolk__race;

/* An address, and the attempt to connect to it. */
struct kolk__try {
    kolk_op op;
    kolk_timer timer; /* the pause before it is tried again */
    kolk_time pause;
    kolk__race *race;
    kolk_address address;
    int fd; /* -1: none */
};

struct kolk__race {
    kolk__handle handle;
    kolk_loop *loop;
    kolk_connector *connector;
    kolk_connect_options options;

    /* names: connect.c */
    kolk_lookup lookup, local_lookup;
    struct addrinfo *found, *local_found;
    unsigned lookups; /* under way */

    /* addresses: race.c */
    struct kolk__try *tries; /* in the order in which they start */
    size_t count;
    size_t next; /* the first that has not started */
    size_t open; /* those that have a socket */
    kolk_address *local;
    size_t local_count;
    kolk_address *found_addresses; /* room for them, before they are ordered */
    kolk_timer timer;              /* until the next one starts */

    /* the outcome */
    kolk_attempt *attempts; /* room for all that can fail */
    size_t attempt_count;
    kolk_address peer;
    int result;
    bool is_over;   /* `result` is settled, what is under way is to end */
    kolk_call call; /* queued when nothing is under way any more */
};

/* Makes room for so many addresses and what can go wrong with them. Returns 0
 * or -ENOMEM. */
int kolk__race_reserve(kolk__race *race, size_t count, size_t local_count);

/* Starts the first attempt; `from` are the addresses as they were found. */
void kolk__race_begin(kolk__race *race, const kolk_address *from);

/* Settles the result, and lets everything else end. */
void kolk__race_end(kolk__race *race, int result);

/* Ends it with an attempt that has connected without anybody knowing yet.
 * Returns whether there was one. */
bool kolk__race_end_won(kolk__race *race);

/* Closes every socket right away: the loop runs no more. */
void kolk__race_close(kolk__race *race);
