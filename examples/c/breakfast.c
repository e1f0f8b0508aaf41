/* breakfast.c - three dishes at once.
 *
 * A task is a C function that may wait in the middle. While the eggs boil, the
 * toast and the coffee go on: breakfast takes as long as its slowest dish, in
 * one thread. kolk_gather() waits for all of them, and gives their results in
 * the order of the arguments, whatever the order in which they were ready.
 *
 * SPDX-License-Identifier: MIT
 */
#include <kolk.h>
#include <stdio.h>

struct dish {
    const char *name;
    int minutes; /* of 50 ms */
};

/* Returns how long it took, in minutes. */
static int
dish_make(void *arg)
{
    const struct dish *dish = arg;
    (void)printf("%s: begun\n", dish->name);
    int err = kolk_sleep(KOLK_MS(50) * dish->minutes);
    if (err < 0) {
        return err;
    }
    (void)printf("%s: ready\n", dish->name);
    return dish->minutes;
}

static int
breakfast_make(void *arg)
{
    static struct dish dishes[] = {{"eggs", 6}, {"toast", 2}, {"coffee", 4}};
    enum { COUNT = sizeof dishes / sizeof *dishes };
    kolk_task *tasks[COUNT];
    int minutes[COUNT] = {0}, count = 0, err = 0, sum = 0;
    (void)arg;

    kolk_time start = kolk_now(NULL);
    while (count < COUNT && err == 0) {
        err = kolk_spawn(dish_make, &dishes[count], &tasks[count]);
        count += err == 0;
    }
    if (err == 0) {
        err = kolk_gather(tasks, COUNT, minutes);
    }
    for (int i = 0; i < count; i++) {
        kolk_future_unref(tasks[i]);
    }
    if (err < 0) {
        return err;
    }
    for (int i = 0; i < COUNT; i++) {
        sum += minutes[i];
    }
    (void)printf("%d minutes of work, breakfast after %.1f\n", sum,
                 (double)(kolk_now(NULL) - start) / (double)KOLK_MS(50));
    return 0;
}

int
main(void)
{
    int err = kolk_run(breakfast_make, NULL);
    if (err < 0) {
        (void)fprintf(stderr, "breakfast: %s\n", kolk_strerror(err));
    }
    return err < 0;
}
