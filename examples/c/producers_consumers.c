/* producers_consumers.c - work handed over by a queue.
 *
 * The queue holds four items: producers that are ahead wait until there is
 * room, consumers that are ahead wait until there is work, and nobody has to
 * be told. Items are copied in and out. When every item has been worked on,
 * kolk_queue_shutdown() sends the consumers home.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <kolk.h>
#include <stdio.h>

enum { PRODUCERS = 3, CONSUMERS = 5, ITEMS = 1000, ROOM = 4 };

struct item {
    int producer, number;
};

struct plant {
    kolk_queue *queue;
    int started; /* producers */
    int made, used;
    long sum;
    size_t fullest;
};

static int
producer_run(void *arg)
{
    struct plant *plant = arg;
    struct item item = {.producer = plant->started++};
    for (item.number = 1; item.number <= ITEMS; item.number++) {
        int err = kolk_queue_put(plant->queue, &item);
        if (err < 0) {
            return err;
        }
        plant->made++;
    }
    return 0;
}

static int
consumer_run(void *arg)
{
    struct plant *plant = arg;
    struct item item;
    int err;
    while ((err = kolk_queue_get(plant->queue, &item)) == 0) {
        size_t size = kolk_queue_size(plant->queue);
        plant->fullest = size > plant->fullest ? size : plant->fullest;
        plant->used++;
        plant->sum += item.number;
        (void)kolk_queue_task_done(plant->queue);
    }
    return err == -ESHUTDOWN ? 0 : err;
}

/* Each group ends when its tasks have: first the producers, then the queue,
 * then the consumers. */
static int
plant_run(void *arg)
{
    struct plant *plant = arg;
    int err = 0;
    KOLK_GROUP(consumers);
    for (int i = 0; i < CONSUMERS && err == 0; i++) {
        err = kolk_group_spawn(&consumers, consumer_run, plant, NULL);
    }
    KOLK_GROUP(producers);
    for (int i = 0; i < PRODUCERS && err == 0; i++) {
        err = kolk_group_spawn(&producers, producer_run, plant, NULL);
    }
    err = kolk_group_end(&producers, err);
    if (err == 0) {
        err = kolk_queue_join(plant->queue);
    }
    kolk_queue_shutdown(plant->queue, false);
    return kolk_group_end(&consumers, err);
}

int
main(void)
{
    kolk_queue_options options = {.item_size = sizeof(struct item),
                                  .maxsize = ROOM};
    struct plant plant = {.queue = NULL};
    int err = kolk_queue_new(&options, &plant.queue);
    if (err == 0) {
        err = kolk_run(plant_run, &plant);
        (void)kolk_queue_free(plant.queue);
    }
    if (err < 0) {
        (void)fprintf(stderr, "plant: %s\n", kolk_strerror(err));
    }
    (void)printf("%d made, %d used, sum %ld, at most %zu waiting\n", plant.made,
                 plant.used, plant.sum, plant.fullest);
    return err < 0 || plant.fullest > ROOM;
}
