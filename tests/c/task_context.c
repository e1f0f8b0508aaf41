/* task_context.c - variables with a value per task.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <errno.h>
#include <stdint.h>

static char initial[] = "initial", one[] = "one", two[] = "two", x[] = "x";

static const kolk_var color = {.name = "color", .initial = initial};
static const kolk_var shape = {.name = "shape"};

static void
context_is(const char *expected)
{
    CHECK_STR(kolk_var_get(&color), expected);
}

/* ---- who sees what ---- */

static int
context_child(void *arg)
{
    context_is(arg); /* as it was when it was spawned */
    CHECK_OK(kolk_var_set(&color, x, NULL));
    tasks_pass(1);
    context_is("x");
    return 0;
}

static int
context_parent(void *arg)
{
    void *old = NULL;

    (void)arg;
    context_is("initial");
    CHECK_PTR(kolk_var_get(&shape), NULL);
    CHECK_OK(kolk_var_set(&color, one, &old));
    CHECK_STR(old, "initial");
    kolk_task *child = tasks_spawn(context_child, one);
    CHECK_OK(kolk_var_set(&color, two, &old));
    CHECK_STR(old, "one");
    CHECK_OK(kolk_spawn_eager(context_child, two, NULL));
    context_is("two");
    CHECK_OK(child != NULL ? kolk_await(child) : 0);
    context_is("two");
    CHECK_OK(kolk_var_set(&color, old, NULL));
    context_is("one");
    return 0;
}

TEST(a_task_inherits_a_snapshot_and_keeps_its_changes_to_itself)
{
    tasks_run(context_parent, NULL);
}

static void
context_callback(kolk_call *call)
{
    (void)call;
    context_is("initial");
    CHECK_OK(kolk_var_set(&color, two, NULL));
    context_is("two");
    CHECK_OK(kolk_spawn(context_child, two, NULL));
}

static int
context_callbacks(void *arg)
{
    static kolk_call calls[2];

    (void)arg;
    CHECK_OK(kolk_var_set(&color, one, NULL));
    kolk_call_init(&calls[0], context_callback, NULL);
    CHECK_OK(kolk_call_soon(kolk_current_loop(), &calls[0]));
    tasks_pass(3);
    context_is("one");
    return 0;
}

TEST(callbacks_share_the_loops_own_values)
{
    tasks_run(context_callbacks, NULL);
    context_is("initial"); /* no loop runs */
    CHECK_ERR(kolk_var_set(&color, one, NULL), -KOLK_EMISUSE);
}

static int
context_many(void *arg)
{
    enum { COUNT = 50 };
    static kolk_var vars[COUNT];
    static int values[COUNT];

    (void)arg;
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(kolk_var_set(&vars[i], &values[i], NULL));
        if (i % 10 == 5) {
            (void)tasks_spawn(context_child, initial); /* takes a snapshot */
        }
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK_PTR(kolk_var_get(&vars[i]), &values[i]);
    }
    tasks_pass(2);
    return 0;
}

TEST(many_variables_have_room)
{
    tasks_run(context_many, NULL);
}

/* ---- values that are counted ---- */

struct context_value {
    int refs;
};

static void
context_value_ref(void *object)
{
    ((struct context_value *)object)->refs++;
}

static void
context_value_unref(void *object)
{
    ((struct context_value *)object)->refs--;
}

static const kolk_var counted = {
    .name = "counted",
    .ref = context_value_ref,
    .unref = context_value_unref,
};

static int
context_set_counted(void *arg)
{
    tasks_pass(1);
    CHECK_OK(kolk_var_set(&counted, arg, NULL));
    tasks_pass(2);
    return 0;
}

static int
context_counts(void *arg)
{
    struct context_value *values = arg;

    CHECK_OK(kolk_var_set(&counted, &values[0], NULL));
    CHECK_INT(values[0].refs, 1);
    CHECK_OK(kolk_var_set(&counted, &values[0], NULL));
    CHECK_INT(values[0].refs, 1);
    kolk_task *child = tasks_spawn(context_set_counted, &values[1]);
    CHECK_INT(values[0].refs, 1); /* one array for both */
    tasks_pass(2);
    CHECK_INT(values[0].refs, 1);
    CHECK_INT(values[1].refs, 1);
    CHECK_OK(kolk_var_set(&counted, &values[2], NULL));
    CHECK_INT(values[0].refs, 0);
    CHECK_OK(child != NULL ? kolk_await(child) : 0);
    CHECK_INT(values[1].refs, 0);
    return 0;
}

TEST(a_value_is_kept_as_long_as_a_task_can_see_it)
{
    static struct context_value values[3];

    for (int i = 0; i < 3; i++) {
        values[i].refs = 0;
    }
    tasks_run(context_counts, values);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(values[i].refs, 0);
    }
}
