/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries out the policy of spec-policy.h on this machine. */
#ifndef SERAI_X86_SPEC_CTRL_H
#define SERAI_X86_SPEC_CTRL_H

#include "x86/spec-policy.h"

extern struct spec_policy spec_policy; /* never changes after spec_ctrl_init() */

/* Boot CPU, before its IDT and SYSCALL stub are made: chooses, says so in the log, and readies the ways in
 * and out. */
void spec_ctrl_init(void);
/* On each CPU, as it starts. */
void spec_ctrl_cpu_init(void);
/* Whether the ways in go through the scrubbing stubs of spec-entry.S. */
static inline bool
spec_scrubs_entry(void)
{
    return spec_policy.ibrs_entry || spec_policy.rsb_entry;
}
/* The indirect branches that another domain has trained are forgotten. */
void spec_ctrl_domain_switch(void);

#endif
