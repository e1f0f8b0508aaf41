/* http_file.c - from the target of a request to an open file.
 *
 * What a path means is for the kernel to say: the file is opened first, and
 * then asked where it is. So no spelling of a path and no symbolic link leads
 * out of the root, and nothing can be exchanged between a check and its use.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
file_type(const char *path)
{
    static const char *const types[][2] = {
        {".css", "text/css"},          {".html", "text/html; charset=utf-8"},
        {".jpg", "image/jpeg"},        {".js", "text/javascript"},
        {".json", "application/json"}, {".md", "text/plain; charset=utf-8"},
        {".pdf", "application/pdf"},   {".png", "image/png"},
        {".svg", "image/svg+xml"},     {".txt", "text/plain; charset=utf-8"},
        {".woff2", "font/woff2"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof *types; i++) {
        if (strcasecmp(dot, types[i][0]) == 0) {
            return types[i][1];
        }
    }
    return "application/octet-stream";
}

/* Cuts the query off and undoes %xx. Is the rest a path that leads down? */
static bool
target_decode(char *target)
{
    char *out = target;
    for (const char *in = target; *in != 0 && *in != '?'; in++, out++) {
        *out = *in;
        if (*in == '%') {
            if (!isxdigit((unsigned char)in[1])
                || !isxdigit((unsigned char)in[2])) {
                return false;
            }
            char digits[3] = {in[1], in[2], 0};
            *out = (char)strtol(digits, NULL, 16);
            in += 2;
        }
        if (*out == 0) {
            return false; /* the kernel would see a shorter path */
        }
    }
    *out = 0;
    return *target == '/' && strstr(target, "/../") == NULL
           && (out - target < 3 || strcmp(out - 3, "/..") != 0);
}

/* Is what `fd` refers to below `root`? */
static bool
file_is_below(int fd, const char *root)
{
    char link[64], path[PATH_MAX];
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path);
    return size > (ssize_t)length && memcmp(path, root, length) == 0
           && path[length] == '/';
}

int
http_file_open(const char *root, char *target, struct http_file *out)
{
    static const char *const tails[] = {"", "/index.html"};
    char path[2 * PATH_MAX];
    struct stat info = {.st_mode = S_IFDIR};
    if (!target_decode(target)) {
        return -EINVAL;
    }
    for (int i = 0; i < 2 && S_ISDIR(info.st_mode); i++) {
        (void)snprintf(path, sizeof path, "%s%s%s", root, target, tails[i]);
        /* A pipe or a device must neither wait nor do anything. */
        int fd = kolk_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
        if (fd < 0) {
            return fd;
        }
        if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)
            && file_is_below(fd, root)) {
            *out = (struct http_file){fd, info.st_size, file_type(path)};
            return 0;
        }
        (void)kolk_close(fd);
    }
    return -ENOENT;
}
