/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formatted output into a bounded buffer. */
#include "base/string.h"

struct output {
    char *buf;
    size_t size, length; /* length counts what would have been written, too */
};

struct spec {
    bool left, zero, negative, prefix;
    int width, precision;
    unsigned base;
    bool upper;
};

static void
put(struct output *out, char c)
{
    if (out->length < out->size)
        out->buf[out->length] = c;
    out->length++;
}

static void
put_padding(struct output *out, int count, char c)
{
    while (count-- > 0)
        put(out, c);
}

static void
put_text(struct output *out, const struct spec *spec, const char *s, int length)
{
    if (!spec->left)
        put_padding(out, spec->width - length, ' ');
    for (int i = 0; i < length; i++)
        put(out, s[i]);
    if (spec->left)
        put_padding(out, spec->width - length, ' ');
}

static void
put_number(struct output *out, const struct spec *spec, u64 value)
{
    const char *digits = spec->upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    bool hex = spec->base == 16 && spec->prefix && value;
    int n = 0, zeros, total, sign = spec->negative + 2 * hex;

    do {
        text[n++] = digits[value % spec->base];
        value /= spec->base;
    } while (value);

    zeros = spec->precision > n ? spec->precision - n : 0;
    if (spec->zero && !spec->left && spec->precision < 0)
        zeros = MAX(spec->width - n - sign, 0);
    total = n + zeros + sign;
    if (!spec->left)
        put_padding(out, spec->width - total, ' ');
    if (spec->negative)
        put(out, '-');
    if (hex) {
        put(out, '0');
        put(out, 'x');
    }
    put_padding(out, zeros, '0');
    while (n)
        put(out, text[--n]);
    if (spec->left)
        put_padding(out, spec->width - total, ' ');
}

/* Reads flags, width and precision; returns the character after them. */
static const char *
parse_spec(const char *fmt, struct spec *spec, va_list *args)
{
    *spec = (struct spec){.precision = -1, .base = 10};
    for (;; fmt++) {
        if (*fmt == '-')
            spec->left = true;
        else if (*fmt == '0')
            spec->zero = true;
        else if (*fmt == '#')
            spec->prefix = true;
        else if (*fmt != '+' && *fmt != ' ')
            break;
    }
    if (*fmt == '*') {
        spec->width = va_arg(*args, int);
        fmt++;
    }
    while (*fmt >= '0' && *fmt <= '9')
        spec->width = spec->width * 10 + *fmt++ - '0';
    if (*fmt == '.') {
        spec->precision = 0;
        if (*++fmt == '*') {
            spec->precision = va_arg(*args, int);
            fmt++;
        }
        while (*fmt >= '0' && *fmt <= '9')
            spec->precision = spec->precision * 10 + *fmt++ - '0';
    }
    return fmt;
}

static u64
take_number(va_list *args, int longs, bool is_signed, struct spec *spec)
{
    s64 value;

    if (!is_signed)
        return longs > 0 ? va_arg(*args, u64) : va_arg(*args, u32);
    value = longs > 0 ? va_arg(*args, s64) : va_arg(*args, s32);
    spec->negative = value < 0;
    return value < 0 ? -(u64)value : (u64)value;
}

static const char *
put_conversion(struct output *out, const char *fmt, va_list *args)
{
    struct spec spec;
    int longs = 0;
    const char *s;
    char c;

    fmt = parse_spec(fmt, &spec, args);
    for (; *fmt == 'l' || *fmt == 'z' || *fmt == 'h'; fmt++)
        longs += *fmt != 'h';
    switch (*fmt) {
    case 'c':
        c = va_arg(*args, int);
        put_text(out, &spec, &c, 1);
        break;
    case 's':
        s = va_arg(*args, const char *);
        s = s ? s : "(null)";
        put_text(out, &spec, s, spec.precision >= 0 ? (int)strnlen(s, spec.precision) : (int)strlen(s));
        break;
    case 'd':
    case 'i':
        put_number(out, &spec, take_number(args, longs, true, &spec));
        break;
    case 'X':
    case 'x':
    case 'p':
        spec.base = 16;
        spec.upper = *fmt == 'X';
        longs += *fmt == 'p';
        /* fall through */
    case 'u':
        put_number(out, &spec, take_number(args, longs, false, &spec));
        break;
    case '%':
        put(out, '%');
        break;
    default:
        return fmt; /* an unknown conversion prints nothing and takes nothing */
    }
    return fmt + 1;
}

int
vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct output out = {buf, size, 0};
    va_list copy;

    va_copy(copy, args);
    while (*fmt) {
        if (*fmt != '%')
            put(&out, *fmt++);
        else
            fmt = put_conversion(&out, fmt + 1, &copy);
    }
    va_end(copy);
    if (size)
        buf[MIN(out.length, size - 1)] = 0;
    return out.length;
}

int
snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(buf, size, fmt, args);
    va_end(args);
    return n;
}
