/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants against a model that keeps what is true of each reference in plain counts: random operations from
 * the vCPUs of three domains, hostile entries and deaths included; then threads at once, where only the end
 * can be checked.
 */
#include "grants.h"
#include "base/string.h"

#include <glib.h>
#include <pthread.h>

struct model_mapping {
    bool host, device, readonly;
    unsigned granter;
    u32 ref, handle;
    u64 addr;
};
struct model_ref {
    bool granted; /* the entry says so */
    bool readonly_entry;
    unsigned to, frame; /* as the entry says */
    unsigned readers, writers, pinned_frame, user;
};

static struct model_ref model[DOMAINS + 1][REFS];
static struct model_mapping mappings[DOMAINS + 1][256];
static unsigned mapping_count[DOMAINS + 1];

static unsigned
any(unsigned n)
{
    return (unsigned)g_test_rand_int_range(0, (gint32)n);
}

/* What a map or copy of (@granter, @ref) by @id must answer. */
static bool
model_allows(unsigned id, unsigned granter, u32 ref, bool writable)
{
    const struct model_ref *m = &model[granter][ref];

    if (m->readers + m->writers)
        return m->user == id && (!writable || m->writers || !m->readonly_entry);
    return m->granted && m->to == id && (!writable || !m->readonly_entry);
}

static void
model_pin(unsigned id, unsigned granter, u32 ref, bool writable, int n)
{
    struct model_ref *m = &model[granter][ref];

    if (!(m->readers + m->writers)) {
        m->user = id;
        m->pinned_frame = m->frame;
    }
    *(writable ? &m->writers : &m->readers) += n;
}

static void
step_grant(unsigned id, u32 ref)
{
    struct model_ref *m = &model[id][ref];

    if (entry_of(id, ref)->flags)
        return;
    *m = (struct model_ref){
        .granted = true,
        .readonly_entry = any(3) == 0,
        .to = 1 + any(DOMAINS),
        .frame = any(FRAMES),
    };
    grant_access(id, ref, m->to, frames[id][m->frame],
                 GTF_permit_access | (m->readonly_entry ? GTF_readonly : 0));
}

/* As a kernel ends access: by compare-and-exchange, if nobody reads or writes. */
static void
step_end(unsigned id, u32 ref)
{
    struct model_ref *m = &model[id][ref];
    u16 flags = entry_of(id, ref)->flags;
    bool busy = flags & (GTF_reading | GTF_writing);

    g_assert_cmpint(busy, ==, m->readers + m->writers != 0);
    g_assert_cmpint(!!(flags & GTF_writing), ==, m->writers != 0);
    if (!busy) {
        entry_of(id, ref)->flags = 0;
        *m = (struct model_ref){};
    }
}

static void
step_map(unsigned id, unsigned vcpu)
{
    unsigned granter = 1 + any(DOMAINS);
    u32 ref = any(REFS), kinds = 1 + any(3);
    bool readonly = any(2);
    u64 addr = 8 + 8 * any(SLOTS);
    struct gnttab_map_grant_ref op = {.host_addr = addr, .ref = ref, .dom = granter};
    bool allowed = model_allows(id, granter, ref, !readonly);

    op.flags = (kinds & 1 ? GNTMAP_device_map : 0) | (kinds & 2 ? GNTMAP_host_map : 0) |
               (readonly ? GNTMAP_readonly : 0);
    if (mapping_count[id] == ARRAY_SIZE(mappings[id]))
        return;
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_map_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, allowed ? GNTST_okay : GNTST_general_error);
    if (!allowed)
        return;
    model_pin(id, granter, ref, !readonly, (kinds & 1) + (kinds >> 1));
    g_assert_cmpuint(op.dev_bus_addr, ==, frames[granter][model[granter][ref].pinned_frame] << PAGE_SHIFT);
    mappings[id][mapping_count[id]++] = (struct model_mapping){
        .host = kinds & 2,
        .device = kinds & 1,
        .readonly = readonly,
        .granter = granter,
        .ref = ref,
        .handle = op.handle,
        .addr = addr,
    };
}

/* Whether the entry a mapping was made in still maps that frame so, by this mapping or a later one. */
static bool
model_slot_fits(unsigned id, const struct model_mapping *m)
{
    const struct slot *slot = &slots[id][m->addr / 8 - 1];

    return slot->present && slot->writable == !m->readonly &&
           slot->mfn == frames[m->granter][model[m->granter][m->ref].pinned_frame];
}

static void
step_overwrite(unsigned id)
{
    slot_overwrite(&slots[id][any(SLOTS)]);
}

static void
step_unmap(unsigned id, unsigned vcpu)
{
    struct gnttab_unmap_grant_ref op = {};
    struct model_mapping *m;
    unsigned which, parts;
    bool host, device, fits;

    if (!mapping_count[id])
        return;
    which = any(mapping_count[id]);
    m = &mappings[id][which];
    parts = 1 + any(3);
    host = m->host && (parts & 2);
    device = m->device && (parts & 1);
    fits = !host || model_slot_fits(id, m);
    op.handle = m->handle;
    op.host_addr = parts & 2 ? m->addr : 0;
    op.dev_bus_addr =
        parts & 1 ? frames[m->granter][model[m->granter][m->ref].pinned_frame] << PAGE_SHIFT : 0;
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_unmap_grant_ref, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, fits ? GNTST_okay : GNTST_general_error);
    if (!fits)
        return;
    model_pin(id, m->granter, m->ref, !m->readonly, -(host + device));
    m->host &= !host;
    m->device &= !device;
    if (!m->host && !m->device)
        *m = mappings[id][--mapping_count[id]];
}

static void
step_copy(unsigned id, unsigned vcpu)
{
    unsigned granter = 1 + any(DOMAINS), offset = any(PAGE_SIZE - 64);
    u32 ref = any(REFS);
    bool to_grant = any(2);
    const struct model_ref *m = &model[granter][ref];
    struct gnttab_copy op = {.len = 64, .flags = to_grant ? GNTCOPY_dest_gref : GNTCOPY_source_gref};
    unsigned frame = m->readers + m->writers ? m->pinned_frame : m->frame;
    bool allowed = model_allows(id, granter, ref, to_grant);
    u8 before[64];

    op.source = op.dest = (struct gnttab_copy_ptr){.u.ref = ref, .domid = granter, .offset = offset};
    *(to_grant ? &op.source : &op.dest) =
        (struct gnttab_copy_ptr){.u.gmfn = frames[id][0], .domid = DOMID_SELF, .offset = offset};
    memset(bytes(frames[id][0]) + offset, any(256), 64);
    memcpy(before, bytes(to_grant ? frames[id][0] : frames[granter][frame]) + offset, 64);
    fake_run_as(domains[id]->vcpus[vcpu], vcpu);
    g_assert_cmpint(call(GNTTABOP_copy, &op, 1), ==, 0);
    g_assert_cmpint(op.status, ==, allowed ? GNTST_okay : GNTST_general_error);
    if (allowed)
        g_assert_cmpint(memcmp(before, bytes(to_grant ? frames[granter][frame] : frames[id][0]) + offset, 64),
                        ==, 0);
}

static void
check_model(void)
{
    for (unsigned id = 1; id <= DOMAINS; id++) {
        u64 want[FRAMES] = {}, writable[FRAMES] = {};

        for (unsigned by = 1; by <= DOMAINS; by++) {
            for (unsigned i = 0; i < SLOTS; i++)
                for (unsigned f = 0; f < FRAMES; f++)
                    if (slots[by][i].present && slots[by][i].mfn == frames[id][f]) {
                        want[f]++;
                        writable[f] += slots[by][i].writable;
                    }
            for (unsigned i = 0; i < mapping_count[by]; i++)
                if (mappings[by][i].device && mappings[by][i].granter == id) {
                    want[model[id][mappings[by][i].ref].pinned_frame]++;
                    writable[model[id][mappings[by][i].ref].pinned_frame] += !mappings[by][i].readonly;
                }
        }
        for (u32 ref = 0; ref < REFS; ref++) {
            const struct grant_active *active = active_entry(domains[id]->grants, ref);
            const struct model_ref *m = &model[id][ref];

            g_assert_cmpuint(active->read_pins, ==, m->readers);
            g_assert_cmpuint(active->write_pins, ==, m->writers);
        }
        for (unsigned i = 0; i < FRAMES; i++) {
            g_assert_cmpuint(refs_of(frames[id][i]), ==, want[i] + 1);
            g_assert_cmpuint(frame_of(_mfn(frames[id][i]))->type & FRAME_TYPE_COUNT, ==, writable[i]);
        }
    }
}

static void
random_operations_agree_with_the_model(void)
{
    for (unsigned round = 0; round < 20; round++) {
        grants_begin();
        memset(model, 0, sizeof(model));
        memset(mapping_count, 0, sizeof(mapping_count));
        for (unsigned step = 0; step < 3000; step++) {
            unsigned id = 1 + any(DOMAINS), vcpu = any(VCPUS);

            switch (any(6)) {
            case 0:
                step_grant(id, any(REFS));
                break;
            case 1:
                step_end(id, any(REFS));
                break;
            case 2:
                step_map(id, vcpu);
                break;
            case 3:
                step_unmap(id, vcpu);
                break;
            case 4:
                step_copy(id, vcpu);
                break;
            case 5:
                step_overwrite(id);
                break;
            }
            if (step % 50 == 0)
                check_model();
        }
        check_model();
        end_domain(1 + any(DOMAINS)); /* one of them: its pins go, those on it stay */
        for (unsigned id = 1; id <= DOMAINS; id++)
            if (domains[id]->dying)
                while (mapping_count[id]) {
                    struct model_mapping *m = &mappings[id][--mapping_count[id]];

                    model_pin(id, m->granter, m->ref, !m->readonly, -(m->host + m->device));
                }
        check_model();
    }
}

/* --- threads --- */

static bool stop;

static void *
hammer(void *data)
{
    unsigned n = GPOINTER_TO_UINT(data);
    unsigned seed = n * 7919;
    u64 done = 0;

    fake_run_as(domains[2]->vcpus[n], n);
    while (!READ_ONCE(stop)) {
        struct grant_unmapped unmapped;
        struct gnttab_map_grant_ref op = {.flags = GNTMAP_device_map, .ref = rand_r(&seed) % REFS, .dom = 1};
        struct grant_copy_state state = {};
        struct gnttab_copy copy = {
            .source = {.u.ref = op.ref, .domid = 1},
            .dest = {.u.gmfn = frames[2][n], .domid = DOMID_SELF},
            .len = 8,
            .flags = GNTCOPY_source_gref,
        };

        op.flags |= rand_r(&seed) % 2 ? GNTMAP_readonly : 0;
        grant_map(&op);
        (void)grant_copy(&copy, &state);
        grant_copy_finish(&state);
        if (op.status != GNTST_okay)
            continue;
        done++;
        if (!(READ_ONCE(entry_of(1, op.ref)->flags) & GTF_reading))
            g_error("a mapped grant looks free");
        if (grant_unmap(op.handle, 0, op.dev_bus_addr, 0, &unmapped) != GNTST_okay)
            g_error("a handle of ours was refused");
        grant_unmap_finish(&unmapped, 1);
    }
    return (void *)done;
}

static void
threads_leave_nothing_behind(void)
{
    pthread_t threads[2];
    gint64 end = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
    u64 ended = 0;

    grants_begin();
    stop = false;
    for (unsigned n = 0; n < 2; n++)
        pthread_create(&threads[n], NULL, hammer, GUINT_TO_POINTER(n));
    fake_run_as(domains[1]->vcpus[0], 2);
    while (g_get_monotonic_time() < end) {
        u32 ref = any(REFS);
        u16 flags = READ_ONCE(entry_of(1, ref)->flags);

        if (!flags) {
            entry_of(1, ref)->domid = 2;
            entry_of(1, ref)->frame = (u32)frames[1][any(FRAMES)];
            __atomic_store_n(&entry_of(1, ref)->flags, GTF_permit_access, __ATOMIC_RELEASE);
        } else if (!(flags & (GTF_reading | GTF_writing)) &&
                   atomic_cmpxchg(&entry_of(1, ref)->flags, &flags, 0)) {
            ended++;
        }
    }
    WRITE_ONCE(stop, true);
    for (unsigned n = 0; n < 2; n++) {
        void *done;

        pthread_join(threads[n], &done);
        g_assert_cmpuint((u64)done, >, 100);
    }
    g_assert_cmpuint(ended, >, 100);
    for (u32 ref = 0; ref < REFS; ref++) {
        const struct grant_active *active = active_entry(domains[1]->grants, ref);

        g_assert_cmpuint(active->read_pins + active->write_pins, ==, 0);
        g_assert_cmphex(entry_of(1, ref)->flags & (GTF_reading | GTF_writing), ==, 0);
    }
    for (unsigned i = 0; i < FRAMES; i++)
        g_assert_cmpuint(refs_of(frames[1][i]), ==, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/grant-model/" #name, name)
    ADD(random_operations_agree_with_the_model);
    ADD(threads_leave_nothing_behind);
    int rc = g_test_run();

    grants_finish();
    return rc;
}
