/* spawn_plan.c - what a child needs to know, worked out before it is made.
 *
 * SPDX-License-Identifier: MIT
 *
 * A program whose name has no slash is looked for in each folder of PATH: that
 * of the environment it gets, which need not be ours. Only the child can look,
 * since it may have another folder and other rights by then. So it is given
 * every name to try.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "process/spawn.h"

static const char plan_shell[] = "/bin/sh";
static const char plan_default_path[] = "/bin:/usr/bin";

static const char *
plan_path(const char *const *environment)
{
    static const char name[] = "PATH=";

    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, sizeof name - 1) == 0) {
            return *environment + sizeof name - 1;
        }
    }
    return plan_default_path;
}

/* Writes `file` in the folder that `path` begins with, and a zero; returns what
 * follows that. An empty folder is the one that the child starts in. */
static char *
plan_join(char *out, const char *path, size_t length, const char *file)
{
    if (length > 0) {
        memcpy(out, path, length);
        out += length;
        *out++ = '/';
    }
    size_t size = strlen(file) + 1;
    memcpy(out, file, size);
    return out + size;
}

/* All names that `file` may have. NULL if there is no memory. */
static char *
plan_search(const char *file, const char *path)
{
    size_t folders = 1;

    for (const char *at = path; *at != '\0'; at++) {
        folders += *at == ':';
    }
    /* In place of its colon or end, each folder has a slash. */
    char *names =
        kolk__sys.malloc(strlen(path) + 1 + folders * (strlen(file) + 1) + 1);
    if (names == NULL) {
        return NULL;
    }
    char *out = names;
    for (size_t i = 0; i < folders; i++) {
        size_t length = strcspn(path, ":");

        out = plan_join(out, path, length, file);
        path += length + 1; /* past the last one, which is the last time */
    }
    *out = '\0';
    return names;
}

static char *
plan_names(const char *file, const char *const *environment)
{
    if (*file != '\0' && strchr(file, '/') == NULL) {
        return plan_search(file, plan_path(environment));
    }
    size_t size = strlen(file) + 1;
    char *names = kolk__sys.malloc(size + 1);
    if (names != NULL) {
        memcpy(names, file, size);
        names[size] = '\0';
    }
    return names;
}

/* sh -c TEXT ARGUMENTS... NULL if there is no memory. */
static const char **
plan_shell_argv(const kolk_process_options *options)
{
    size_t count = 0;

    while (options->argv != NULL && options->argv[count] != NULL) {
        count++;
    }
    const char **argv = kolk__sys.malloc((count + 4) * sizeof *argv);
    if (argv == NULL) {
        return NULL;
    }
    argv[0] = plan_shell;
    argv[1] = "-c";
    argv[2] = options->shell;
    for (size_t i = 0; i < count; i++) {
        argv[3 + i] = options->argv[i];
    }
    argv[3 + count] = NULL;
    return argv;
}

void
kolk__spawn_plan_keep(struct kolk__spawn_plan *plan, int fd)
{
    size_t at = plan->fd_count++;

    while (at > 0 && plan->fds[at - 1] > fd) {
        plan->fds[at] = plan->fds[at - 1];
        at--;
    }
    plan->fds[at] = fd;
}

/* What has to be made for the plan, besides what stands in the options. */
static bool
plan_fill(struct kolk__spawn_plan *plan, const kolk_process_options *options)
{
    const char *file = options->file;

    if (options->shell != NULL) {
        plan->shell_argv = plan_shell_argv(options);
        plan->argv = plan->shell_argv;
        file = file != NULL ? file : plan_shell;
        if (plan->argv == NULL) {
            return false;
        }
    } else {
        plan->argv = options->argv;
        file = file != NULL ? file : options->argv[0];
    }
    plan->names = plan_names(file, plan->environment);
    plan->fds = kolk__sys.malloc((options->fd_count + 1) * sizeof plan->fds[0]);
    if (plan->names == NULL || plan->fds == NULL) {
        return false;
    }
    for (size_t i = 0; i < options->fd_count; i++) {
        kolk__spawn_plan_keep(plan, options->fds[i]);
    }
    return true;
}

int
kolk__spawn_plan_init(struct kolk__spawn_plan *plan,
                      const kolk_process_options *options, const int stdio[3])
{
    *plan = (struct kolk__spawn_plan){
        .environment = options->environment != NULL
                           ? options->environment
                           : (const char *const *)environ,
        .folder = options->folder,
        .stdio = {stdio[0], stdio[1], stdio[2]},
        .parent = getpid(),
        .new_session = options->new_session,
        .new_group = options->new_group,
        .kill_with_us = options->kill_with_us,
        .channel = -1,
    };
    if (!plan_fill(plan, options)) {
        kolk__spawn_plan_fini(plan);
        return -ENOMEM;
    }
    return 0;
}

void
kolk__spawn_plan_fini(struct kolk__spawn_plan *plan)
{
    kolk__sys.free(plan->names);
    kolk__sys.free(plan->shell_argv);
    kolk__sys.free(plan->fds);
}
