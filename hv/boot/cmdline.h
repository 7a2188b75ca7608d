/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hypervisor's command line; docs/manual describes each option. */
#ifndef SERAI_BOOT_CMDLINE_H
#define SERAI_BOOT_CMDLINE_H

#include "boot/dom0.h"

#define CMDLINE_MAX 2048u

struct cmdline {
    char text[CMDLINE_MAX]; /* as given, for XENVER_commandline */
    char console[64];       /* console=com1,vga */
    char com1[64];
    char com2[64];
    char vga[64];
    u32 max_cpus;  /* maxcpus=, nosmp; 0: all */
    bool smt_off;  /* smt=off: siblings stay parked */
    bool watchdog; /* NMI watchdog of the hypervisor */
    struct dom0_options dom0;
};
extern struct cmdline cmdline;

/*
 * Reads @text (the first word, the image's name, is skipped when @skip_name).  What it does not know is
 * reported by cmdline_report(), once there is a console to report to.
 */
void cmdline_parse(const char *text, bool skip_name);
void cmdline_report(void);

#endif
