/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 16550 and its like (National Semiconductor PC16550D).  The log's lock orders writers. */
#include "x86/serial.h"
#include "base/string.h"
#include "x86/asm.h"
#include "base/spinlock.h"

enum { REG_DATA = 0, REG_IER = 1, REG_FCR = 2, REG_LCR = 3, REG_MCR = 4, REG_LSR = 5, REG_SCRATCH = 7 };

#define LSR_DATA_READY 0x01
#define LSR_THR_EMPTY  0x20
#define CLOCK_HZ       115200u
#define RING_SIZE      256u
#define SPIN_MAX       1000000u /* a port that never drains must not hang the machine */

bool (*serial_input_hook)(char c);
void (*serial_received_hook)(void);

static u16 port;
static unsigned irq;
static char ring[RING_SIZE];
static u32 ring_head, ring_tail;
static spinlock_t ring_lock = SPINLOCK_INIT;

bool
serial_init(const char *config, unsigned default_port, unsigned default_irq)
{
    const char *s = config ? config : "";
    u64 baud = 115200, base = default_port, line = default_irq;
    u8 lcr = 0x03; /* 8n1 */

    if (*s >= '0' && *s <= '9')
        baud = str_to_u64(s, &s);
    while (*s && *s != ',')
        s++;
    if (*s == ',' && s[1] && s[1] != ',') {
        s++;
        lcr = (*s >= '5' && *s <= '8' ? *s - '5' : 3);
        lcr |= s[0] && s[1] == 'o' ? 0x08 : s[0] && s[1] == 'e' ? 0x18 : 0;
        lcr |= s[0] && s[1] && s[2] == '2' ? 0x04 : 0;
        while (*s && *s != ',')
            s++;
    }
    if (*s == ',')
        base = str_to_u64(s + 1, &s);
    if (*s == ',')
        line = str_to_u64(s + 1, &s);
    if (!base || base > 0xfff8 || !baud || baud > CLOCK_HZ)
        return false;

    outb(base + REG_SCRATCH, 0x5a);
    if (inb(base + REG_SCRATCH) != 0x5a)
        return false;
    outb(base + REG_IER, 0);
    outb(base + REG_LCR, 0x80);
    outb(base + REG_DATA, CLOCK_HZ / baud);
    outb(base + REG_IER, CLOCK_HZ / baud >> 8);
    outb(base + REG_LCR, lcr);
    outb(base + REG_FCR, 0x07);
    outb(base + REG_MCR, 0x0b);
    port = base;
    irq = line < 16 ? line : 0;
    return true;
}

static void
write_byte(char c)
{
    for (unsigned i = 0; i < SPIN_MAX && !(inb(port + REG_LSR) & LSR_THR_EMPTY); i++)
        cpu_pause();
    outb(port + REG_DATA, c);
}

void
serial_write(const char *s, size_t n)
{
    if (!port)
        return;
    for (; n; n--, s++) {
        if (*s == '\n')
            write_byte('\r');
        write_byte(*s);
    }
}

u16
serial_io_base(void)
{
    return port;
}

unsigned
serial_irq(void)
{
    return port ? irq : 0;
}

void
serial_interrupt_enable(void)
{
    if (port && irq)
        outb(port + REG_IER, 1);
}

void
serial_interrupt(void)
{
    bool received = false;

    if (!port)
        return;
    for (unsigned i = 0; i < RING_SIZE && inb(port + REG_LSR) & LSR_DATA_READY; i++) {
        char c = inb(port + REG_DATA);

        if (serial_input_hook && serial_input_hook(c))
            continue;
        spin_lock(&ring_lock);
        if (ring_head - ring_tail < RING_SIZE)
            ring[ring_head++ % RING_SIZE] = c;
        spin_unlock(&ring_lock);
        received = true;
    }
    if (received && serial_received_hook)
        serial_received_hook();
}

size_t
serial_read(char *buf, size_t size)
{
    size_t n = 0;

    spin_lock(&ring_lock);
    while (n < size && ring_tail != ring_head)
        buf[n++] = ring[ring_tail++ % RING_SIZE];
    spin_unlock(&ring_lock);
    return n;
}
