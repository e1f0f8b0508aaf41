/* kolk_queue.c - what does it cost to pass one item from a task to another?
 *
 * SPDX-License-Identifier: MIT
 *
 * One put and one get, through a queue with room for N items.
 */
#include "bench_kolk.h"

static size_t queue_room;

static int
queue_produce(void *arg)
{
    kolk_queue *queue = arg;

    for (int64_t i = 0; i < BENCH_QUEUE_ITEMS; i++) {
        bench_ok("kolk_queue_put", kolk_queue_put(queue, &i));
    }
    return 0;
}

static int
queue_consume(void *arg)
{
    kolk_queue *queue = arg;
    int64_t item;

    for (int64_t i = 0; i < BENCH_QUEUE_ITEMS; i++) {
        bench_ok("kolk_queue_get", kolk_queue_get(queue, &item));
        if (item != i) {
            bench_die("items out of order", EINVAL);
        }
    }
    return 0;
}

static int
queue_main(void *unused)
{
    kolk_queue_options options = {
        .item_size = sizeof(int64_t),
        .maxsize = queue_room,
        .order = KOLK_FIFO,
    };
    kolk_queue *queue;

    (void)unused;
    bench_ok("kolk_queue_new", kolk_queue_new(&options, &queue));
    kolk_task *producer = bench_spawn(queue_produce, queue);
    kolk_task *consumer = bench_spawn(queue_consume, queue);
    int64_t start = bench_cpu();
    bench_join(producer);
    bench_join(consumer);
    bench_print("queue", (long)queue_room,
                (double)(bench_cpu() - start) / BENCH_QUEUE_ITEMS);
    return kolk_queue_free(queue);
}

int
main(int argc, char **argv)
{
    queue_room = (size_t)bench_size(argc, argv, 1, 1);
    return bench_ok("kolk_run", kolk_run(queue_main, NULL));
}
