/* folder.h - a folder of the test's own, removed at its end with all that is
 * in it.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder_name[64];

/* Calls `fn` with each file's name, and counts them. */
static inline int
folder_each(void (*fn)(const char *name))
{
    DIR *dir = opendir(folder_name);
    int count = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0
            && strcmp(entry->d_name, "..") != 0) {
            count++;
            if (fn != NULL) {
                fn(entry->d_name);
            }
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

/* The path of `name` in the folder; four of them are valid at a time. */
static inline const char *
folder_path(const char *name)
{
    static char paths[4][sizeof folder_name + 256];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder_name, name);
    return path;
}

static inline void
folder_unlink(const char *name)
{
    (void)unlink(folder_path(name));
}

static inline void
folder_remove(void *unused)
{
    (void)unused;
    (void)folder_each(folder_unlink);
    (void)rmdir(folder_name);
}

/* Makes it. */
static inline void
folder_open(void)
{
    (void)strcpy(folder_name, "/tmp/kolk-test-XXXXXX");
    CHECK(mkdtemp(folder_name) != NULL);
    test_later(folder_remove, NULL);
}

static inline bool
folder_has(const char *name)
{
    struct stat info;

    return lstat(folder_path(name), &info) == 0;
}

static inline int
folder_count(void)
{
    return folder_each(NULL);
}
