/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PIRQ numbers: mapping, binding, EOI, over pretend interrupts. */
#include "domain/evtchn.h"
#include "domain/page.h"
#include "domain/permission.h"
#include "domain/pirq.h"
#include "x86/irq.h"
#include "x86/paging.h"
#include "fake.h"

#include <glib.h>
#include <string.h>

#define GSIS 24u

static struct irq irqs[256];
static unsigned ended, freed;
static u32 sent_port;
static struct domain *d;

u32
irq_gsi_count(void)
{
    return GSIS;
}

struct irq *
irq_at(u32 number)
{
    return number < ARRAY_SIZE(irqs) && irqs[number].kind != IRQ_UNUSED ? &irqs[number] : NULL;
}

u32
irq_number(const struct irq *irq)
{
    return irq - irqs;
}

bool
irq_is_ours(u32 number)
{
    return number == 4;
}

int
irq_start(struct irq *irq, unsigned cpu, void (*handler)(struct irq *irq, void *data), void *data)
{
    irq->is_on = true;
    irq->handler = handler;
    irq->data = data;
    irq->cpu = cpu;
    return 0;
}

void
irq_stop(struct irq *irq)
{
    irq->is_on = false;
}

void
irq_end(struct irq *irq)
{
    ended++;
}

void
irq_move(struct irq *irq, unsigned cpu)
{
    irq->cpu = cpu;
}

static int
alloc(enum irq_kind kind, unsigned count)
{
    for (unsigned i = GSIS; i + count <= ARRAY_SIZE(irqs); i++) {
        unsigned n = 0;

        while (n < count && irqs[i + n].kind == IRQ_UNUSED)
            n++;
        if (n < count)
            continue;
        for (n = 0; n < count; n++)
            irqs[i + n] = (struct irq){.kind = kind, .index_in_block = n, .block = count};
        return i;
    }
    return -ENOSPC;
}

int
irq_alloc_msi(struct pci_address pci, unsigned count, unsigned cpu)
{
    return alloc(IRQ_MSI, count);
}

int
irq_alloc_msix(struct pci_address pci, unsigned entry, volatile u32 *msix_entry, unsigned cpu)
{
    return alloc(IRQ_MSIX, 1);
}

void
irq_free_msi(struct irq *irq)
{
    unsigned count = irq->block;

    irq -= irq->index_in_block;
    freed++;
    for (unsigned i = 0; i < count; i++) {
        g_assert_false(irq[i].is_on);
        irq[i].kind = IRQ_UNUSED;
    }
}

unsigned
pci_find_capability(struct pci_address pci, u8 id)
{
    return 0x40;
}

u32
pci_read(struct pci_address pci, unsigned reg, unsigned size)
{
    return reg == 0x42 ? 7 : 0x2003; /* 8 entries, at 0x2000 in BAR 3 */
}

bool
iomem_permitted(const struct domain *domain, u64 first, u64 last)
{
    return first >= 0xfe000;
}

bool
irq_permitted(const struct domain *domain, u32 irq)
{
    return irq != 5;
}

bool
evtchn_send_pirq(struct domain *domain, u32 port)
{
    sent_port = port;
    return true;
}

int
page_get_writable(struct frame *frame, const struct domain *domain)
{
    return 0;
}

void *
paging_map_device(maddr_t maddr, u64 size)
{
    static u8 table[4096];

    return table;
}

int
page_put_type_slow(struct frame *frame)
{
    return 0;
}

void
page_destroy(struct frame *frame, u64 count)
{
}

static void
start(void)
{
    fake_domains_forget();
    fake_machine_init(64, 2);
    d = fake_domain_new(0, 2);
    memset(irqs, 0, sizeof(irqs));
    for (unsigned i = 0; i < GSIS; i++)
        irqs[i] = (struct irq){.kind = IRQ_PIN, .level = i >= 16, .block = 1};
    ended = freed = 0;
    g_assert_cmpint(pirq_domain_init(d), ==, 0);
    fake_run_as(d->vcpus[0], 0);
}

static void
pins_keep_their_numbers(void)
{
    s32 pirq = -1;

    start();
    g_assert_cmpint(pirq_map_gsi(d, 9, &pirq), ==, 0);
    g_assert_cmpint(pirq, ==, 9);
    g_assert_cmpint(pirq_map_gsi(d, 9, &pirq), ==, 0); /* again, the same */
    pirq = 10;
    g_assert_cmpint(pirq_map_gsi(d, 9, &pirq), ==, -EBUSY);
    pirq = 9;
    g_assert_cmpint(pirq_map_gsi(d, 10, &pirq), ==, -EBUSY);
    pirq = -1;
    g_assert_cmpint(pirq_map_gsi(d, 4, &pirq), ==, -EPERM); /* the hypervisor's own */
    g_assert_cmpint(pirq_map_gsi(d, 5, &pirq), ==, -EPERM);
    g_assert_cmpint(pirq_map_gsi(d, GSIS, &pirq), ==, -EINVAL);
    pirq = pirq_count(d);
    g_assert_cmpint(pirq_map_gsi(d, 11, &pirq), ==, -EINVAL);
    g_assert_cmpint(pirq_unmap(d, 9), ==, 0);
    g_assert_cmpint(pirq_unmap(d, 9), ==, -EINVAL);
    g_assert_cmpint(pirq_unmap(d, pirq_count(d)), ==, -EINVAL);
    g_assert_cmpint(pirq_map_gsi(fake_domain_new(1, 1), 9, &pirq), ==, -EINVAL);
    pirq_domain_fini(d);
}

static void
messages_of_a_block_come_and_go_together(void)
{
    struct pci_address pci = {0, 0, 0x18};
    s32 first = -1, one = -1, taken;

    start();
    g_assert_cmpint(pirq_map_msi(d, pci, 4, &first), ==, 0);
    g_assert_cmpint(first, >=, GSIS);
    g_assert_cmpint(pirq_map_msix(d, pci, 3, 0xfe000000, &one), ==, 0);
    g_assert_cmpint(one, ==, first + 4);
    g_assert_cmpint(pirq_map_msix(d, pci, 8, 0xfe000000, &one), ==, -EINVAL); /* beyond the table */
    g_assert_cmpint(pirq_map_msix(d, pci, 3, 0x1000, &one), ==, -EPERM);      /* memory */
    g_assert_cmpint(pirq_map_msix(d, pci, 3, 0x80000000, &one), ==, -EPERM);  /* not the domain's */
    g_assert_cmpint(pirq_map_msix(d, pci, 3, 0xfe000008, &one), ==, -EINVAL);

    taken = first + 2;
    g_assert_cmpint(pirq_map_msi(d, pci, 2, &taken), ==, -EBUSY);
    g_assert_cmpuint(freed, ==, 1);
    taken = pirq_count(d) - 1;
    g_assert_cmpint(pirq_map_msi(d, pci, 2, &taken), ==, -EINVAL);
    g_assert_cmpuint(freed, ==, 2);

    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(freed, ==, 2);
        g_assert_cmpint(pirq_unmap(d, first + (i ^ 1)), ==, 0);
    }
    g_assert_cmpuint(freed, ==, 3);
    pirq_domain_fini(d);
    g_assert_cmpuint(freed, ==, 4);
}

static void
levels_wait_for_the_guest_edges_do_not(void)
{
    s32 level = -1, edge = -1;

    start();
    g_assert_cmpint(pirq_bind(d->vcpus[1], 17, 7, false), ==, -EINVAL);
    pirq_map_gsi(d, 17, &level);
    pirq_map_gsi(d, 3, &edge);
    d->vcpus[1]->cpu = 1;
    g_assert_cmpint(pirq_bind(d->vcpus[1], level, 7, true), ==, 0);
    g_assert_cmpint(pirq_bind(d->vcpus[1], level, 8, true), ==, -EEXIST);
    g_assert_cmpint(pirq_bind(d->vcpus[0], edge, 9, false), ==, 0);
    g_assert_cmpuint(irqs[17].cpu, ==, 1);
    irqs[17].handler(&irqs[17], irqs[17].data);
    g_assert_cmpuint(sent_port, ==, 7);

    g_assert_true(pirq_needs_eoi(d, level));
    g_assert_false(pirq_needs_eoi(d, edge));
    g_assert_false(pirq_needs_eoi(d, ~0u));
    pirq_eoi(d, level);
    pirq_eoi(d, edge);
    pirq_eoi(d, ~0u);
    g_assert_cmpuint(ended, ==, 1);

    pirq_rebind_vcpu(d, level, d->vcpus[0]);
    g_assert_cmpuint(irqs[17].cpu, ==, 0);
    pirq_unbind(d, level);
    g_assert_false(irqs[17].is_on);
    pirq_eoi(d, level);
    g_assert_cmpuint(ended, ==, 1);
    g_assert_cmpint(pirq_unmap(d, edge), ==, 0); /* while bound: silenced */
    g_assert_false(irqs[3].is_on);
    pirq_unbind(d, edge);
    pirq_domain_fini(d);
}

static void
the_eoi_page_says_which_need_it(void)
{
    u64 *page = direct_ptr(mfn_to_maddr(_mfn(7)));
    s32 level = -1, other = -1;

    start();
    pirq_map_gsi(d, 17, &level);
    pirq_map_gsi(d, 18, &other);
    pirq_bind(d->vcpus[0], level, 7, true);
    frame_of(_mfn(7))->count = FRAME_STATE_DOMAIN | FRAME_ALLOCATED | 5;
    frame_of(_mfn(7))->type = FRAME_TYPE_WRITABLE | FRAME_TYPE_VALIDATED | 5;
    g_assert_cmpint(pirq_set_eoi_page(d, _mfn(1ull << 39), false), ==, -EINVAL);
    g_assert_cmpint(pirq_set_eoi_page(d, _mfn(7), false), ==, 0);
    g_assert_cmphex(page[0], ==, 1u << 17);
    pirq_bind(d->vcpus[0], other, 8, true);
    g_assert_cmphex(page[0], ==, 3u << 17);
    pirq_unbind(d, level);
    g_assert_cmphex(page[0], ==, 2u << 17);
    g_assert_cmpint(pirq_set_eoi_page(d, _mfn(7), false), ==, -EBUSY);
    pirq_domain_fini(d);
}

static void
reserved_numbers_are_not_given_twice(void)
{
    s32 a = -1, b = -1, c = -1;

    start();
    g_assert_cmpint(pirq_reserve(d, true, &a), ==, 0);
    g_assert_cmpint(pirq_reserve(d, true, &b), ==, 0);
    g_assert_cmpint(a, !=, b);
    g_assert_cmpint(pirq_map_msi(d, (struct pci_address){0}, 1, &c), ==, 0);
    g_assert_cmpint(c, >, MAX(a, b));
    g_assert_cmpint(pirq_unmap(d, a), ==, 0);
    g_assert_cmpint(pirq_reserve(d, true, &c), ==, 0);
    g_assert_cmpint(c, ==, a);
    for (unsigned i = 0; i < pirq_count(d); i++)
        if (pirq_reserve(d, true, &c))
            break;
    g_assert_cmpint(pirq_reserve(d, true, &c), ==, -ENOSPC);
    pirq_domain_fini(d);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/pirq/" #f, f)
    T(pins_keep_their_numbers);
    T(messages_of_a_block_come_and_go_together);
    T(levels_wait_for_the_guest_edges_do_not);
    T(the_eoi_page_says_which_need_it);
    T(reserved_numbers_are_not_given_twice);
    return g_test_run();
}
