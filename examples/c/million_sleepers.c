/* million_sleepers.c - a million tasks, all asleep at once, and their price.
 *
 *     million_sleepers [COUNT]
 *
 * A sleeper is a whole coroutine with a guarded stack of its own, of which it
 * pays for the pages it has touched: about 4 KiB, page tables included. All of
 * them sleep until the same moment, and are woken in the order in which they
 * fell asleep.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>
#include <stdlib.h>

struct night {
    unsigned long count, asleep, most, woken;
    kolk_time morning;
    bool in_order;
};

/* What the process has in memory, its page tables too, in KiB. */
static double
memory_used(void)
{
    char line[256];
    double pages = 0, tables = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        (void)sscanf(line, "VmRSS: %lf", &pages);
        (void)sscanf(line, "VmPTE: %lf", &tables);
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return pages + tables;
}

static int
sleeper_run(void *arg)
{
    struct night *night = arg;
    unsigned long place = night->asleep++;
    night->most = night->asleep - night->woken;
    int err = kolk_sleep_until(night->morning);
    night->in_order &= place == night->woken++;
    return err;
}

static int
night_run(void *arg)
{
    struct night *night = arg;
    double before = memory_used(), count = (double)night->count;
    kolk_time evening = kolk_now(NULL);
    int err = 0;
    KOLK_GROUP(sleepers);
    /* Time for all of them to fall asleep, and a second more. */
    night->morning = evening + KOLK_S(1) + KOLK_US(5) * (kolk_time)count;
    for (unsigned long i = 0; i < night->count && err == 0; i++) {
        err = kolk_group_spawn_with(&sleepers, &kolk_eager, sleeper_run, night,
                                    NULL);
    }
    kolk_time dark = kolk_now(NULL);
    (void)printf("asleep in %.2f s, %.0f bytes each\n",
                 (double)(dark - evening) / 1e9,
                 (memory_used() - before) * 1024 / count);
    err = kolk_group_end(&sleepers, err);
    kolk_time begin = night->morning > dark ? night->morning : dark;
    (void)printf("awake, and gone, in %.2f s\n",
                 (double)(kolk_now(NULL) - begin) / 1e9);
    return err;
}

int
main(int argc, char **argv)
{
    struct night night = {.count = 1000000, .in_order = true};
    if (argc > 1) {
        night.count = strtoul(argv[1], NULL, 10);
    }
    if (night.count == 0) {
        (void)fprintf(stderr, "usage: million_sleepers [COUNT]\n");
        return 2;
    }
    int err = kolk_run(night_run, &night);
    if (err < 0) {
        (void)fprintf(stderr, "million_sleepers: %s\n", kolk_strerror(err));
        return 1;
    }
    (void)printf("%lu sleepers, %lu at once, %lu woken%s\n", night.count,
                 night.most, night.woken, night.in_order ? " in order" : "");
    return night.woken != night.count || !night.in_order;
}
