/* http_documents.c - files to ask a server for, read without the server.
 *
 * Plain blocking calls, before any loop runs: this is the other way to the
 * same bytes, to compare with.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_documents.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* `path` with all but the plainest characters as %xx, or NULL. */
static char *
target_encode(const char *path)
{
    char *target = malloc(3 * strlen(path) + 2);
    char *out = target;
    if (target == NULL) {
        return NULL;
    }
    *out++ = '/';
    for (; *path != 0; path++) {
        unsigned char byte = (unsigned char)*path;
        if (isalnum(byte) || strchr("/._-", byte) != NULL) {
            *out++ = *path;
        } else {
            out += sprintf(out, "%%%02X", byte);
        }
    }
    *out = 0;
    return target;
}

static int
document_read(struct document *document, const char *name)
{
    int err = -EIO;
    FILE *file = fopen(name, "rbe");
    if (file == NULL) {
        return -errno;
    }
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        document->size = size > 0 ? (size_t)size : 0;
        document->bytes = malloc(document->size + 1);
        if (document->bytes == NULL) {
            err = -ENOMEM;
        } else if (fread(document->bytes, 1, document->size, file)
                   == document->size) {
            err = 0;
        }
    }
    (void)fclose(file);
    return err;
}

static int
documents_add_file(struct documents *documents, const char *name,
                   const char *path)
{
    struct document *all =
        realloc(documents->all, (documents->count + 1) * sizeof *all);
    if (all == NULL) {
        return -ENOMEM;
    }
    documents->all = all;
    struct document *document = &all[documents->count++];
    *document = (struct document){.target = target_encode(path)};
    return document->target == NULL ? -ENOMEM : document_read(document, name);
}

static int
documents_add_folder(struct documents *documents, const char *root,
                     const char *path, DIR *folder)
{
    int err = 0;
    struct dirent *entry;
    while (err == 0 && (entry = readdir(folder)) != NULL) {
        char inner[PATH_MAX];
        if (entry->d_name[0] != '.') {
            int size = snprintf(inner, sizeof inner, "%s%s%s", path,
                                *path != 0 ? "/" : "", entry->d_name);
            err = size < PATH_MAX ? documents_add(documents, root, inner)
                                  : -ENAMETOOLONG;
        }
    }
    return err;
}

int
documents_add(struct documents *documents, const char *root, const char *path)
{
    char name[2 * PATH_MAX];
    (void)snprintf(name, sizeof name, "%s/%s", root, path);
    DIR *folder = opendir(name);
    if (folder != NULL) {
        int err = documents_add_folder(documents, root, path, folder);
        (void)closedir(folder);
        return err;
    }
    int err = documents_add_file(documents, name, path);
    if (err < 0) {
        (void)fprintf(stderr, "%s: %s\n", name, strerror(-err));
    }
    return err;
}

void
documents_fini(struct documents *documents)
{
    for (size_t i = 0; i < documents->count; i++) {
        free(documents->all[i].target);
        free(documents->all[i].bytes);
    }
    free(documents->all);
    *documents = (struct documents){.all = NULL};
}
