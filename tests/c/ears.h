/* ears.h - nodes for signals that note that they ran, for tests.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "notes.h"

#include <signal.h>

struct ear {
    kolk_signal signal;
    char name;
    int runs, drops;
    void (*then)(struct ear *self); /* what it does when it runs, or NULL */
};

static inline void
ear_run(kolk_signal *signal)
{
    struct ear *self = KOLK_CONTAINER_OF(signal, struct ear, signal);

    self->runs++;
    note_add(self->name);
    if (self->then != NULL) {
        self->then(self);
    }
}

static inline void
ear_dropped(kolk_signal *signal)
{
    struct ear *self = KOLK_CONTAINER_OF(signal, struct ear, signal);

    CHECK(!kolk_signal_is_started(signal));
    self->drops++;
}

static inline void
ear_init(struct ear *self, char name)
{
    *self = (struct ear){.name = name};
    kolk_signal_init(&self->signal, ear_run, ear_dropped);
}

static inline void
ear_start(struct ear *self, kolk_loop *loop, char name, int signum)
{
    ear_init(self, name);
    CHECK_OK(kolk_signal_start(loop, &self->signal, signum));
    CHECK(kolk_signal_is_started(&self->signal));
}

/* The program's own handler. */
static volatile sig_atomic_t own_runs;

static inline void
own_handler(int signum)
{
    (void)signum;
    own_runs++;
}

static inline void
own_install(int signum)
{
    struct sigaction action = {.sa_handler = own_handler,
                               .sa_flags = SA_NODEFER};

    own_runs = 0;
    CHECK_INT(sigaction(signum, &action, NULL), 0);
}

static inline bool
own_is_there(int signum)
{
    struct sigaction now;

    CHECK_INT(sigaction(signum, NULL, &now), 0);
    return now.sa_handler == own_handler && now.sa_flags != 0;
}
