/* sync.c - sequences of spawn, lock, queue, event, cancel and timeout.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input is a program. Its steps spawn tasks, each of which waits for one
 * thing under a timeout, and then do what ends such waits, several in a turn or
 * with turns in between, on virtual time. Each wait has to return what the
 * model says, and after each step the primitives have to look like the model's.
 */
#include "sync_model.h"

enum { FUZZ_STEPS = 400, FUZZ_TURNS = 1000, FUZZ_NO_ITEM = -7 };

enum fuzz_kind {
    FUZZ_LOCK,
    FUZZ_CONDITION,
    FUZZ_SEMAPHORE,
    FUZZ_EVENT,
    FUZZ_BARRIER,
    FUZZ_GET,
    FUZZ_PUT,
    FUZZ_JOIN,
    FUZZ_KINDS,
};

struct fuzz_slot {
    kolk_task *task; /* NULL: free */
    kolk_future *go; /* lets a holder go on */
    enum fuzz_kind kind;
    kolk_time delay;    /* of its timeout; KOLK_NEVER: none */
    kolk_time deadline; /* while its timeout is open, else KOLK_NEVER */
    uint64_t started;   /* when, among timeouts */
};

static struct {
    const uint8_t *at, *end;
    kolk_loop *loop;
    kolk_clock clock;
    kolk_time now;
    uint64_t starts;
    struct fuzz_slot slots[MODEL_TASKS];

    kolk_lock lock;
    kolk_condition condition;
    kolk_semaphore semaphore;
    kolk_event event;
    kolk_barrier barrier;
    kolk_queue *queue;
} fuzz;

static uint8_t
fuzz_byte(void)
{
    return (uint8_t)(fuzz.at < fuzz.end ? *fuzz.at++ : 0);
}

/* ---- the tasks ---- */

/* The wait of `who` has returned `result`: is that what the model says? */
static void
fuzz_returned(int who, int result)
{
    struct model_task *task = &model.tasks[who];

    model_check(task->is_granted);
    model_check(task->result == result);
    task->is_granted = task->is_firm = false;
}

/* The first wait of a task. */
static int
fuzz_wait(int who, enum fuzz_kind kind)
{
    bool is_cancelled = kolk_is_cancelled();
    int item = model.tasks[who].item;

    switch (kind) {
    case FUZZ_SEMAPHORE:
        model_take(who, is_cancelled);
        return kolk_semaphore_acquire(&fuzz.semaphore);
    case FUZZ_EVENT:
        model_watch(who, is_cancelled);
        return kolk_event_wait(&fuzz.event);
    case FUZZ_BARRIER:
        model_arrive(who, is_cancelled);
        return kolk_barrier_wait(&fuzz.barrier);
    case FUZZ_PUT:
        model_put(who, is_cancelled);
        return kolk_queue_put(fuzz.queue, &item);
    case FUZZ_JOIN:
        model_join(who, is_cancelled);
        return kolk_queue_join(fuzz.queue);
    case FUZZ_GET: {
        model_get(who, is_cancelled);
        item = FUZZ_NO_ITEM;
        int err = kolk_queue_get(fuzz.queue, &item);
        int expected = err == 0 ? model.tasks[who].item : FUZZ_NO_ITEM;
        model_check(item == expected);
        return err;
    }
    default:
        model_lock(who, is_cancelled);
        return kolk_lock_acquire(&fuzz.lock);
    }
}

/* Gives back what the wait has got, after a while. */
static void
fuzz_give_back(struct fuzz_slot *slot, int result)
{
    if (result != 0 && slot->kind != FUZZ_CONDITION) {
        return;
    }
    if (slot->kind == FUZZ_SEMAPHORE || slot->kind == FUZZ_LOCK) {
        (void)!kolk_join(slot->go); /* a cancelled one does not hold on */
    }
    if (slot->kind == FUZZ_SEMAPHORE) {
        model_release();
        model_check(kolk_semaphore_release(&fuzz.semaphore) == 0);
    } else if (slot->kind == FUZZ_LOCK || slot->kind == FUZZ_CONDITION) {
        model_unlock();
        model_check(kolk_lock_release(&fuzz.lock) == 0);
    }
}

static int
fuzz_task(void *arg)
{
    struct fuzz_slot *slot = arg;
    int who = (int)(slot - fuzz.slots);
    kolk_timeout timeout;
    bool has_lock = true;

    slot->deadline = kolk_time_add(fuzz.now, slot->delay);
    slot->started = ++fuzz.starts;
    model_check(kolk_timeout_begin(&timeout, slot->deadline) == 0);
    int result = fuzz_wait(who, slot->kind);
    fuzz_returned(who, result);
    if (slot->kind == FUZZ_CONDITION) {
        has_lock = result == 0;
        if (has_lock) {
            model_sleep(who, kolk_is_cancelled());
            result = kolk_condition_wait(&fuzz.condition, &fuzz.lock);
            fuzz_returned(who, result);
        }
    }
    bool is_own = kolk_task_cancelling(kolk_current_task()) == 0;
    int expected = result == -ECANCELED && is_own ? -ETIMEDOUT : result;
    slot->deadline = KOLK_NEVER;
    model_check(kolk_timeout_end(&timeout, result) == expected);
    if (has_lock) {
        fuzz_give_back(slot, result);
    }
    return 0;
}

/* ---- the steps ---- */

static void
fuzz_free(struct fuzz_slot *slot)
{
    kolk_future_unref(slot->task);
    kolk_future_unref(slot->go);
    *slot = (struct fuzz_slot){.deadline = KOLK_NEVER};
}

static void
fuzz_spawn(uint8_t byte)
{
    struct fuzz_slot *slot = &fuzz.slots[byte % MODEL_TASKS];
    int who = (int)(slot - fuzz.slots);
    uint8_t delay = fuzz_byte();

    if (slot->task != NULL) {
        if (!kolk_future_is_done(slot->task)) {
            return;
        }
        fuzz_free(slot);
    }
    slot->kind = (enum fuzz_kind)(fuzz_byte() % FUZZ_KINDS);
    slot->delay = delay < 128 ? 1 + delay % 8 : KOLK_NEVER;
    slot->deadline = KOLK_NEVER;
    model.tasks[who] = (struct model_task){.item = fuzz_byte()};
    model_check(kolk_future_new(fuzz.loop, &slot->go) == 0);
    model_check(kolk_spawn_with(fuzz.loop, NULL, fuzz_task, slot, &slot->task)
                == 0);
}

static void
fuzz_cancel(struct fuzz_slot *slot)
{
    if (slot->task != NULL && !kolk_future_is_done(slot->task)) {
        model_cancel((int)(slot - fuzz.slots));
        model_check(kolk_task_cancel(slot->task) == 1);
    }
}

/* Lets one holder go on, or all of them. */
static void
fuzz_go(uint8_t byte)
{
    for (int i = 0; i < MODEL_TASKS; i++) {
        struct fuzz_slot *slot = &fuzz.slots[i];

        if (slot->task != NULL && (byte >= 128 || byte % MODEL_TASKS == i)) {
            (void)!kolk_future_set_result(slot->go, 0, NULL); /* or it is */
        }
    }
}

static void
fuzz_settle(void)
{
    int turns = 0;

    while (kolk_run_once(fuzz.loop) > 0) {
        model_check(++turns < FUZZ_TURNS);
    }
}

/* The open timeout that is due first, started before all others of its
 * deadline; or NULL. */
static struct fuzz_slot *
fuzz_first_timeout(void)
{
    struct fuzz_slot *first = NULL;

    for (int i = 0; i < MODEL_TASKS; i++) {
        struct fuzz_slot *slot = &fuzz.slots[i];

        if (slot->task == NULL || slot->deadline == KOLK_NEVER) {
            continue;
        }
        if (first == NULL || slot->deadline < first->deadline
            || (slot->deadline == first->deadline
                && slot->started < first->started)) {
            first = slot;
        }
    }
    return first;
}

/* Moves the clock to the next deadline; all timeouts that are due pass in one
 * turn, before any task runs. */
static void
fuzz_advance(void)
{
    struct fuzz_slot *slot;

    fuzz_settle();
    slot = fuzz_first_timeout();
    if (slot == NULL) {
        return;
    }
    if (slot->deadline > fuzz.now) {
        fuzz.now = slot->deadline;
    }
    while (slot != NULL && slot->deadline <= fuzz.now) {
        model_cancel((int)(slot - fuzz.slots));
        slot->deadline = KOLK_NEVER; /* once */
        slot = fuzz_first_timeout();
    }
    fuzz_settle();
}

static void
fuzz_try_put(uint8_t byte)
{
    int item = byte;

    int expected = model_try_put(item);
    model_check(kolk_queue_try_put(fuzz.queue, &item) == expected);
}

static void
fuzz_try_get(void)
{
    int item = FUZZ_NO_ITEM, wanted = FUZZ_NO_ITEM;

    int expected = model_try_get(&wanted);
    model_check(kolk_queue_try_get(fuzz.queue, &item) == expected);
    model_check(item == wanted);
}

static void
fuzz_step_queue(uint8_t step, uint8_t byte)
{
    int expected;

    switch (step) {
    case 0:
    case 1:
        fuzz_try_put(byte);
        break;
    case 2:
        fuzz_try_get();
        break;
    case 3:
        expected = model_task_done();
        model_check(kolk_queue_task_done(fuzz.queue) == expected);
        break;
    default:
        if (byte % 16 == 0) {
            model_shutdown(byte >= 128);
            kolk_queue_shutdown(fuzz.queue, byte >= 128);
        }
        break;
    }
}

static void
fuzz_step_others(uint8_t step, uint8_t byte)
{
    switch (step) {
    case 0:
        model_notify(byte % 4);
        kolk_condition_notify(&fuzz.condition, byte % 4);
        break;
    case 1:
        model_set(true);
        kolk_event_set(&fuzz.event);
        break;
    case 2:
        model_set(false);
        kolk_event_clear(&fuzz.event);
        break;
    case 3:
        model_release();
        model_check(kolk_semaphore_release(&fuzz.semaphore) == 0);
        break;
    case 4:
        model_check(kolk_semaphore_try_acquire(&fuzz.semaphore)
                    == (model.value > 0 ? 0 : -EBUSY));
        model.value -= model.value > 0;
        break;
    default:
        model_break(byte >= 128);
        if (byte >= 128) {
            kolk_barrier_abort(&fuzz.barrier);
        } else {
            kolk_barrier_reset(&fuzz.barrier);
        }
        break;
    }
}

static void
fuzz_step(void)
{
    uint8_t step = fuzz_byte() % 20, byte = fuzz_byte();
    struct fuzz_slot *slot = &fuzz.slots[byte % MODEL_TASKS];

    if (step < 4) {
        fuzz_spawn(byte);
    } else if (step < 6) {
        fuzz_cancel(slot);
    } else if (step == 6) {
        fuzz_go(byte);
    } else if (step == 7) {
        model_check(kolk_run_once(fuzz.loop) >= 0);
    } else if (step == 8) {
        fuzz_advance();
    } else if (step < 15) {
        fuzz_step_others((uint8_t)(step - 9), byte);
    } else {
        fuzz_step_queue((uint8_t)(step - 15), byte);
    }
}

static void
fuzz_compare(void)
{
    int maxsize = model.maxsize;

    model_check(kolk_lock_is_locked(&fuzz.lock) == (model.owner >= 0));
    model_check(model.owner < 0
                || fuzz.lock.owner == fuzz.slots[model.owner].task);
    model_check((int)kolk_semaphore_value(&fuzz.semaphore) == model.value);
    model_check(kolk_event_is_set(&fuzz.event) == model.is_set);
    model_check(kolk_barrier_is_broken(&fuzz.barrier) == model.is_broken);
    model_check((int)fuzz.barrier.waiting == model.parties.count);
    model_check((int)kolk_queue_size(fuzz.queue) == model.count);
    model_check(kolk_queue_is_empty(fuzz.queue) == (model.count == 0));
    model_check(kolk_queue_is_full(fuzz.queue) == (model.count == maxsize));
}

/* ---- a run ---- */

static kolk_time
fuzz_clock_now(kolk_clock *clock)
{
    (void)clock;
    return fuzz.now;
}

static void
fuzz_begin(void)
{
    int value = fuzz_byte() % 3, maxsize = fuzz_byte() % 4;
    kolk_queue_options options = {
        .item_size = sizeof(int),
        .maxsize = (size_t)maxsize,
        .order = (kolk_queue_order)(fuzz_byte() % 3),
    };

    if (options.order == KOLK_PRIORITY_ORDER) {
        options.compare = model_compare;
    }
    memset(&model, 0, sizeof model);
    model.owner = -1;
    model.value = value;
    model.order = options.order;
    model.maxsize = maxsize == 0 ? MODEL_ITEMS : maxsize;
    fuzz.lock = (kolk_lock)KOLK_LOCK_INIT;
    fuzz.condition = (kolk_condition)KOLK_CONDITION_INIT;
    fuzz.semaphore = (kolk_semaphore)KOLK_SEMAPHORE_INIT((size_t)value);
    fuzz.event = (kolk_event)KOLK_EVENT_INIT;
    fuzz.barrier = (kolk_barrier)KOLK_BARRIER_INIT(MODEL_PARTIES);
    model_check(kolk_queue_new(&options, &fuzz.queue) == 0);
    fuzz.clock = (kolk_clock){.now = fuzz_clock_now};
    fuzz.now = 0;
    model_check(kolk_loop_open(NULL, &fuzz.loop) == 0);
    kolk_loop_set_clock(fuzz.loop, &fuzz.clock);
}

/* Cancels all that is left; then nobody may hold or wait for anything. */
static void
fuzz_finish(void)
{
    for (int i = 0; i < MODEL_TASKS; i++) {
        fuzz_cancel(&fuzz.slots[i]);
    }
    fuzz_settle();
    model_check(kolk_all_tasks(fuzz.loop, NULL, 0) == 0);
    for (int i = 0; i < MODEL_TASKS; i++) {
        fuzz_free(&fuzz.slots[i]);
    }
    fuzz_compare();
    model_check(model.owner < 0);
    model_check(kolk_loop_close(fuzz.loop) == 0);
    model_check(kolk_queue_free(fuzz.queue) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz.at = data;
    fuzz.end = data + size;
    fuzz_begin();
    for (int i = 0; i < FUZZ_STEPS && fuzz.at < fuzz.end; i++) {
        fuzz_step();
        fuzz_compare();
    }
    fuzz_finish();
    return 0;
}
