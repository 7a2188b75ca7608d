/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few functions of <string.h> and <stdio.h> that a freestanding program has to bring itself. */
#ifndef SERAI_BASE_STRING_H
#define SERAI_BASE_STRING_H

#include "base/types.h"

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t n);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *haystack, const char *needle);

/* Copies @src, cut to @size - 1 characters, always ended by NUL; returns the length of @src. */
size_t str_copy(char *dst, const char *src, size_t size);

/* Whether the @length characters at @word are @name, all of it. */
static inline bool
str_is(const char *word, size_t length, const char *name)
{
    return strlen(name) == length && !strncmp(word, name, length);
}

/* Whether they say no to an option of the command line. */
static inline bool
str_is_off(const char *word, size_t length)
{
    return str_is(word, length, "0") || str_is(word, length, "no") || str_is(word, length, "off") ||
           str_is(word, length, "false") || str_is(word, length, "disable");
}

/* printf's common subset: %c %s %.*s %d %i %u %x %X %p %% with 0, -, width, precision, l, ll, z, h. */
int vsnprintf(char *buf, size_t size, const char *fmt, va_list args) __printf(3, 0);
int snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

/* Reads a number in base 10, 16 (0x) or 8 (0) and leaves *@end behind it; no overflow wraps: it saturates. */
u64 str_to_u64(const char *s, const char **end);

#endif
