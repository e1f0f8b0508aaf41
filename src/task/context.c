/* context.c - variables with a value per task. See kolk/context.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A context is an array of (variable, value), shared by everybody who took a
 * snapshot of it: that is one more reference, so spawning costs an increment.
 * Whoever sets a variable while others share the array gets a copy first. NULL
 * is the empty context.
 *
 * An array holds one reference to each of its values. They are let go last,
 * when the context is whole again, because that runs code of the user's.
 */
#include <errno.h>

#include "base/sys.h"
#include "task/task.h"

struct context_entry {
    const kolk_var *var;
    void *value;
};

struct kolk__context {
    size_t refs;
    size_t count;
    size_t capacity;
    struct context_entry entries[];
};

enum { CONTEXT_FIRST_CAPACITY = 4 };

static void
context_value_ref(const kolk_var *var, void *value)
{
    if (var->ref != NULL) {
        var->ref(value);
    }
}

static void
context_value_unref(const kolk_var *var, void *value)
{
    if (var->unref != NULL) {
        var->unref(value);
    }
}

struct kolk__context *
kolk__context_ref(struct kolk__context *context)
{
    if (context != NULL) {
        context->refs++;
    }
    return context;
}

void
kolk__context_unref(struct kolk__context *context)
{
    if (context == NULL || --context->refs > 0) {
        return;
    }
    for (size_t i = 0; i < context->count; i++) {
        context_value_unref(context->entries[i].var, context->entries[i].value);
    }
    kolk__sys.free(context);
}

static struct context_entry *
context_find(struct kolk__context *context, const kolk_var *var)
{
    size_t count = context != NULL ? context->count : 0;

    for (size_t i = 0; i < count; i++) {
        if (context->entries[i].var == var) {
            return &context->entries[i];
        }
    }
    return NULL;
}

/* A context of one reference with what `from` has, and room for one more;
 * NULL without memory. */
static struct kolk__context *
context_copy(const struct kolk__context *from)
{
    size_t count = from != NULL ? from->count : 0;
    size_t capacity =
        count < CONTEXT_FIRST_CAPACITY ? CONTEXT_FIRST_CAPACITY : 2 * count;
    struct kolk__context *context = kolk__sys.malloc(
        sizeof *context + capacity * sizeof context->entries[0]);

    if (context == NULL) {
        return NULL;
    }
    *context =
        (struct kolk__context){.refs = 1, .count = count, .capacity = capacity};
    for (size_t i = 0; i < count; i++) {
        context->entries[i] = from->entries[i];
        context_value_ref(context->entries[i].var, context->entries[i].value);
    }
    return context;
}

/* Makes `*place` a context that nobody shares, with room for one more entry.
 * Returns what was there before, for the caller to let go, or NULL; `*place`
 * stays as it is if there is no memory, and `*err` says so. */
static struct kolk__context *
context_own(struct kolk__context **place, int *err)
{
    struct kolk__context *old = *place;

    *err = 0;
    if (old != NULL && old->refs == 1 && old->count < old->capacity) {
        return NULL;
    }
    struct kolk__context *context = context_copy(old);
    if (context == NULL) {
        *err = -ENOMEM;
        return NULL;
    }
    *place = context;
    return old;
}

/* Where the current context is kept: the task's, or the loop's own for
 * callbacks. */
static int
context_place(struct kolk__context ***out)
{
    kolk_loop *loop = kolk__this_thread.loop;

    if (loop == NULL) {
        (void)kolk__misuse(NULL, "kolk_var_set() without a loop");
        return -KOLK_EMISUSE;
    }
    if (loop->current != NULL) {
        *out = &loop->current->context;
        return 0;
    }
    int err = kolk__task_state_open(loop);
    if (err < 0) {
        return err;
    }
    *out = &loop->task_state->context;
    return 0;
}

void *
kolk_var_get(const kolk_var *var)
{
    kolk_loop *loop = kolk__this_thread.loop;
    struct kolk__context *context = NULL;

    if (loop != NULL && loop->current != NULL) {
        context = loop->current->context;
    } else if (loop != NULL && loop->task_state != NULL) {
        context = loop->task_state->context;
    }
    const struct context_entry *entry = context_find(context, var);
    return entry != NULL ? entry->value : var->initial;
}

int
kolk_var_set(const kolk_var *var, void *value, void **old)
{
    struct kolk__context **place;
    int err = context_place(&place);

    if (err < 0) {
        return err;
    }
    struct kolk__context *left = context_own(place, &err);
    if (err < 0) {
        return err;
    }
    struct context_entry *entry = context_find(*place, var);
    bool is_new = entry == NULL;
    void *before = is_new ? var->initial : entry->value;
    if (is_new) {
        entry = &(*place)->entries[(*place)->count++];
        entry->var = var;
    }
    entry->value = value;
    if (old != NULL) {
        *old = before;
    }
    context_value_ref(var, value);
    if (!is_new) {
        context_value_unref(var, before);
    }
    kolk__context_unref(left);
    return 0;
}
