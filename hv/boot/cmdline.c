/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options, one row each.  A row's function gets the text after '=', "" where there is none. */
#include "boot/cmdline.h"
#include "base/log.h"
#include "base/string.h"
#include "x86/machine.h"
#include "x86/spec-policy.h"

#define UNKNOWN_MAX 16u

struct cmdline cmdline = {
    .console = "vga,com1",
    .dom0 = {DOM0_MEMORY_UNSET, DOM0_MEMORY_UNSET, DOM0_MEMORY_UNSET, 0, false},
};

static struct {
    const char *word, *why;
    unsigned length;
} unknown[UNKNOWN_MAX];
static unsigned unknown_count;

static bool
is_off(const char *value)
{
    return str_is_off(value, strlen(value));
}

static bool
option_console(const char *value)
{
    return str_copy(cmdline.console, value, sizeof(cmdline.console)) < sizeof(cmdline.console);
}

static bool
option_com1(const char *value)
{
    return str_copy(cmdline.com1, value, sizeof(cmdline.com1)) < sizeof(cmdline.com1);
}

static bool
option_com2(const char *value)
{
    return str_copy(cmdline.com2, value, sizeof(cmdline.com2)) < sizeof(cmdline.com2);
}

static bool
option_vga(const char *value)
{
    return str_copy(cmdline.vga, value, sizeof(cmdline.vga)) < sizeof(cmdline.vga);
}

static bool
option_dom0_mem(const char *value)
{
    return dom0_parse_memory(value, &cmdline.dom0);
}

/* "4", "2-4": the kernel gets the upper bound. */
static bool
option_dom0_max_vcpus(const char *value)
{
    const char *end;
    u64 n = str_to_u64(value, &end);

    if (*end == '-')
        n = str_to_u64(end + 1, &end);
    if (*end || !n || n > VCPU_MAX)
        return false;
    cmdline.dom0.max_vcpus = n;
    return true;
}

static bool
option_dom0_vcpus_pin(const char *value)
{
    cmdline.dom0.vcpus_pin = !is_off(value);
    return true;
}

static bool
option_maxcpus(const char *value)
{
    const char *end;
    u64 n = str_to_u64(value, &end);

    if (*end || !n || n > CPU_MAX)
        return false;
    cmdline.max_cpus = n;
    return true;
}

static bool
option_nosmp(const char *value)
{
    (void)value;
    cmdline.max_cpus = 1;
    return true;
}

static bool
parse_level(const char *value, enum log_level *level)
{
    static const char *const names[] = {"error", "warning", "info", "debug", "all", "none"};
    static const enum log_level levels[] = {LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_DEBUG, LOG_ERR};
    size_t n = 0;

    while (value[n] && value[n] != '/')
        n++;
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (n && n <= strlen(names[i]) && !strncmp(value, names[i], n)) {
            *level = levels[i];
            return true;
        }
    }
    return false;
}

static bool
option_loglvl(const char *value)
{
    return parse_level(value, &log_threshold);
}

static bool
option_guest_loglvl(const char *value)
{
    return parse_level(value, &log_guest_threshold);
}

static bool
option_noreboot(const char *value)
{
    machine_noreboot = !is_off(value);
    return true;
}

static bool
option_smt(const char *value)
{
    cmdline.smt_off = is_off(value);
    return true;
}

static bool
option_spec_ctrl(const char *value)
{
    return spec_options_parse(value, &spec_options);
}

static bool
option_watchdog(const char *value)
{
    cmdline.watchdog = !is_off(value);
    return true;
}

static const struct {
    const char *name;
    bool (*set)(const char *value);
} options[] = {
    {"console", option_console},
    {"com1", option_com1},
    {"com2", option_com2},
    {"vga", option_vga},
    {"dom0_mem", option_dom0_mem},
    {"dom0_max_vcpus", option_dom0_max_vcpus},
    {"dom0_vcpus_pin", option_dom0_vcpus_pin},
    {"maxcpus", option_maxcpus},
    {"nosmp", option_nosmp},
    {"loglvl", option_loglvl},
    {"guest_loglvl", option_guest_loglvl},
    {"noreboot", option_noreboot},
    {"smt", option_smt},
    {"spec-ctrl", option_spec_ctrl},
    {"watchdog", option_watchdog},
};

static void
complain(const char *word, size_t length, const char *why)
{
    if (unknown_count < UNKNOWN_MAX) {
        unknown[unknown_count].word = word;
        unknown[unknown_count].length = length;
        unknown[unknown_count++].why = why;
    }
}

static void
option_parse(const char *word, size_t length)
{
    size_t name_length = 0;
    char value[128] = "";

    while (name_length < length && word[name_length] != '=')
        name_length++;
    if (name_length < length)
        str_copy(value, word + name_length + 1, MIN(sizeof(value), length - name_length));
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        if (strlen(options[i].name) != name_length || strncmp(options[i].name, word, name_length))
            continue;
        if (!options[i].set(value))
            complain(word, length, "has a value that makes no sense; ignored");
        return;
    }
    complain(word, length, "is not an option of Serai; ignored");
}

void
cmdline_parse(const char *text, bool skip_name)
{
    const char *s;

    str_copy(cmdline.text, text, sizeof(cmdline.text));
    for (s = cmdline.text; *s;) {
        size_t length = 0;

        while (*s == ' ')
            s++;
        while (s[length] && s[length] != ' ')
            length++;
        if (length && !skip_name)
            option_parse(s, length);
        skip_name = false;
        s += length;
    }
}

void
cmdline_report(void)
{
    for (unsigned i = 0; i < unknown_count; i++)
        log_warn("command line: '%.*s' %s", (int)unknown[i].length, unknown[i].word, unknown[i].why);
}
