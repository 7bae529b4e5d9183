// SPDX-License-Identifier: GPL-3.0-or-later
// Shows /proc/modules, which a kernel without loadable modules does not have and over which nothing can be
// mounted there: every program of the node loads this, by /etc/ld.so.preload.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *seen(const char *path)
{
    return path && strcmp(path, "/proc/modules") == 0 ? "/run/machine/modules" : path;
}

#define MODE(flags) ({ int mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); } mode; })

#define OPEN(name) int name(const char *path, int flags, ...) { \
    static int (*real)(const char *, int, ...); \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    return real(seen(path), flags, MODE(flags)); }

#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { \
    static int (*real)(int, const char *, int, ...); \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    return real(folder, seen(path), flags, MODE(flags)); }

#define FOPEN(name) FILE *name(const char *path, const char *how) { \
    static FILE *(*real)(const char *, const char *); \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    return real(seen(path), how); }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)
