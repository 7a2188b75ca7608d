/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550 serial port: output by polling, input by interrupt into a small ring. */
#ifndef SERAI_X86_SERIAL_H
#define SERAI_X86_SERIAL_H

#include "base/types.h"

/*
 * @config: "baud[,DPS[,io-base[,irq]]]" as com1= takes it; NULL or "" for 115200,8n1,0x3f8,4.
 * False: there is no such port.
 */
bool serial_init(const char *config, unsigned default_port, unsigned default_irq);
void serial_write(const char *s, size_t n);
/* Characters typed so far; returns how many were copied. */
size_t serial_read(char *buf, size_t size);
/* The port's interrupt (ISA number) for x86/irq.c; 0 when there is no port. */
unsigned serial_irq(void);
/* The first of its eight I/O ports; 0 when there is no port. */
u16 serial_io_base(void);
/* Called from the interrupt: moves what came into the ring. */
void serial_interrupt(void);
/* Turns on the receive interrupt. */
void serial_interrupt_enable(void);
/* Called with each byte that came; true when it was consumed: hypercall/debug-keys.c. */
extern bool (*serial_input_hook)(char c);
/* Called when there is more to read than before. */
extern void (*serial_received_hook)(void);

#endif
