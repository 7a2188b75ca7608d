/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pretend machine for tests and for serai_host_open("fake"): a hypervisor whose domains have memory and
 * vCPU state but do not execute, a store, and backends and guests that agree to everything.
 */
#ifndef SERAI_FAKE_H
#define SERAI_FAKE_H

#include "private/hypercall.h"
#include "private/store.h"

#define SERAI_FAKE_CPUS  4
#define SERAI_FAKE_PAGES (4UL << 20) /* 16 GiB, given out as they are touched */

/* Both are closed by their own close functions, the store first. */
SeraiHv *serai_fake_hv_new(void);
SeraiStore *serai_fake_store_new(SeraiHv *hv);

/* Makes the nth hypercall from now on fail with @err; 0 for none.  Counts on every call of the door. */
void serai_fake_fail(SeraiHv *hv, guint nth, int err);
/* Shows @spy each hypercall before it is done, under the lock; those for which it says TRUE are not done, and
 * return 0.  NULL for none. */
typedef gboolean (*SeraiFakeSpy)(unsigned int number, const uint64_t args[5]);
void serai_fake_set_spy(SeraiHv *hv, SeraiFakeSpy spy);
guint serai_fake_calls(SeraiHv *hv);
/* Whether frames hold something when they are given out, as another hypervisor's may.  At first they do not.
 */
void serai_fake_set_dirty(SeraiHv *hv, gboolean dirty);
/* Frames that belong to nobody: equal before and after whatever is created and destroyed. */
guint64 serai_fake_free_pages(SeraiHv *hv);
guint serai_fake_domains(SeraiHv *hv);
/* PCI devices that domains have. */
guint serai_fake_devices(SeraiHv *hv);
/* The guest stops by itself. */
void serai_fake_shutdown(SeraiHv *hv, uint32_t domid, uint32_t reason);
/* How many nodes the store holds. */
guint serai_fake_nodes(SeraiStore *store);
/* Makes the nth commit from now on fail with EAGAIN. */
void serai_fake_conflict(SeraiStore *store, guint nth);
/* For the store: what the guest does when it is told to shut down. */
gboolean serai_fake_guest_request(SeraiHv *hv, uint32_t domid, const char *request);
/* Called, without locks, when a domain stopped or died. */
void serai_fake_set_exception(SeraiHv *hv, void (*func)(gpointer data), gpointer data);

#endif
