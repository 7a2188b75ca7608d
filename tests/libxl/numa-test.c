/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the builder asks the hypervisor for: memory in the largest extents there are, on the nodes it was
 * told, and the virtual NUMA topology that a guest is shown.  A spy stands at the door.
 */
#include "common.h"

#define MIB (1UL << 20)

/* Extents of one request to populate: how large, and where they are to lie. */
typedef struct {
    uint32_t order;
    uint32_t flags;
    uint64_t count;
} Extents;

static GArray *asked;    /* of Extents */
static uint32_t largest; /* what the pretend machine has no extents above of */
static uint32_t distances[4], vcpu_nodes[2], nodes[2];
static xen_vmemrange_t ranges[2];

static void
look_at_topology(const struct xen_domctl *op)
{
    g_assert_cmpuint(op->u.vnuma.nr_vnodes, ==, 2);
    g_assert_cmpuint(op->u.vnuma.nr_vcpus, ==, 2);
    g_assert_cmpuint(op->u.vnuma.nr_vmemranges, ==, 2);
    memcpy(distances, op->u.vnuma.vdistance.p, sizeof(distances));
    memcpy(vcpu_nodes, op->u.vnuma.vcpu_to_vnode.p, sizeof(vcpu_nodes));
    memcpy(nodes, op->u.vnuma.vnode_to_pnode.p, sizeof(nodes));
    memcpy(ranges, op->u.vnuma.vmemrange.p, sizeof(ranges));
}

static gboolean
spy(unsigned int number, const uint64_t args[5])
{
    if (number == __HYPERVISOR_domctl && ((struct xen_domctl *)args[0])->cmd == XEN_DOMCTL_setvnumainfo)
        look_at_topology((struct xen_domctl *)args[0]);
    if (number == __HYPERVISOR_memory_op && args[0] == XENMEM_populate_physmap) {
        const struct xen_memory_reservation *r = (struct xen_memory_reservation *)args[1];
        const Extents extents = {r->extent_order, r->mem_flags, r->nr_extents};

        if (r->extent_order > largest)
            return TRUE; /* none populated */
        g_array_append_val(asked, extents);
    }
    return FALSE;
}

static void
set_up(Fixture *f, gconstpointer data)
{
    fixture_set_up(f, data);
    asked = g_array_new(FALSE, FALSE, sizeof(Extents));
    largest = 18;
    serai_fake_set_spy(f->host->hv, spy);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    serai_fake_set_spy(f->host->hv, NULL);
    g_array_unref(asked);
    fixture_tear_down(f, data);
}

static void
create_and_destroy(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SeraiDomain) domain = serai_domain_create_sync(f->host, f->config, NULL, NULL, NULL, &error);

    g_assert_no_error(error);
    g_assert_true(serai_domain_destroy_sync(domain, NULL, NULL));
}

/* "12x1 9x3": orders and how many extents of each, in the order they were asked for. */
static char *
orders(void)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < asked->len; i++) {
        const Extents *e = &g_array_index(asked, Extents, i);

        g_string_append_printf(text, "%s%ux%lu", i ? " " : "", e->order, (unsigned long)e->count);
    }
    return g_string_free(text, FALSE);
}

static void
large_extents_come_first(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = NULL;

    f->config->max_memory_kib = 23 << 10;
    create_and_destroy(f);
    text = orders();
    g_assert_cmpstr(text, ==, "12x1 9x3 0x256");
    for (guint i = 0; i < asked->len; i++)
        g_assert_cmphex(g_array_index(asked, Extents, i).flags & XENMEMF_exact_node_request, ==, 0);
}

static void
a_machine_in_pieces_gives_small_ones(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = NULL;

    largest = 0;
    create_and_destroy(f);
    text = orders();
    g_assert_cmpstr(text, ==, "0x4096");
}

static void
add_node(SeraiConfig *config, guint64 mib, const char *vcpus, guint near, guint far)
{
    SeraiVnumaNode *node = serai_vnuma_node_new();

    node->memory_kib = mib << 10;
    node->vcpus = g_bytes_new_static(vcpus, 1);
    node->pnode = 0;
    node->distances = g_array_new(FALSE, FALSE, sizeof(guint));
    g_array_append_val(node->distances, near);
    g_array_append_val(node->distances, far);
    g_ptr_array_add(config->vnuma, node);
}

static void
a_guest_is_shown_its_nodes_and_has_its_memory_there(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = NULL;

    add_node(f->config, 12, "\x01", 10, 21);
    add_node(f->config, 4, "\x02", 31, 10);
    create_and_destroy(f);

    g_assert_cmpuint(ranges[0].start, ==, 0);
    g_assert_cmpuint(ranges[0].end, ==, 12 * MIB);
    g_assert_cmpuint(ranges[0].nid, ==, 0);
    g_assert_cmpuint(ranges[1].start, ==, 12 * MIB);
    g_assert_cmpuint(ranges[1].end, ==, 16 * MIB);
    g_assert_cmpuint(ranges[1].nid, ==, 1);
    g_assert_cmpuint(vcpu_nodes[0], ==, 0);
    g_assert_cmpuint(vcpu_nodes[1], ==, 1);
    g_assert_cmpuint(nodes[0], ==, 0);
    g_assert_cmpuint(nodes[1], ==, 0);
    g_assert_cmpuint(distances[0], ==, 10);
    g_assert_cmpuint(distances[1], ==, 21);
    g_assert_cmpuint(distances[2], ==, 31);
    g_assert_cmpuint(distances[3], ==, 10);

    /* Each node by itself, and nowhere else. */
    text = orders();
    g_assert_cmpstr(text, ==, "9x6 9x2");
    for (guint i = 0; i < asked->len; i++)
        g_assert_cmphex(g_array_index(asked, Extents, i).flags, ==, XENMEMF_exact_node(0));
}

#define T(name) g_test_add("/libxl/numa/" #name, Fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    T(large_extents_come_first);
    T(a_machine_in_pieces_gives_small_ones);
    T(a_guest_is_shown_its_nodes_and_has_its_memory_there);
    return g_test_run();
}
