/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The surroundings that code compiled for user space expects (the decompression libraries): SSE registers,
 * and a canary at %fs:0x28.  Only on the boot CPU and before any guest has run, since no register is saved.
 */
#ifndef SERAI_X86_LIBC_ENV_H
#define SERAI_X86_LIBC_ENV_H

void libc_env_enter(void);
void libc_env_leave(void);

#endif
