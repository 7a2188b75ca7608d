/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real door: libxencall and libxenforeignmemory, which are safe to use from any thread.
 */
#include "private/hypercall.h"

#include <sys/mman.h>
#include <unistd.h>
#include <xencall.h>
#include <xenforeignmemory.h>

typedef struct {
    SeraiHv base;
    xencall_handle *call;
    xenforeignmemory_handle *memory;
} XenHv;

static long
xen_call(SeraiHv *hv, unsigned int number, const uint64_t a[5])
{
    XenHv *self = (XenHv *)hv;
    long rc;

    /* The library's plain calls return int; what counts frames needs the long one. */
    if (number == __HYPERVISOR_memory_op)
        rc = xencall2L(self->call, number, a[0], a[1]);
    else
        rc = xencall5(self->call, number, a[0], a[1], a[2], a[3], a[4]);
    return rc == -1 ? -errno : rc;
}

static void *
xen_buffer_alloc(SeraiHv *hv, size_t pages)
{
    void *buffer = xencall_alloc_buffer_pages(((XenHv *)hv)->call, pages);

    if (buffer)
        memset(buffer, 0, pages << SERAI_PAGE_SHIFT);
    return buffer;
}

static void
xen_buffer_free(SeraiHv *hv, void *buffer, size_t pages)
{
    xencall_free_buffer_pages(((XenHv *)hv)->call, buffer, pages);
}

static void *
xen_map(SeraiHv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames, int *errs)
{
    return xenforeignmemory_map(((XenHv *)hv)->memory, domid, prot, count, frames, errs);
}

static void
xen_unmap(SeraiHv *hv, void *address, size_t count)
{
    xenforeignmemory_unmap(((XenHv *)hv)->memory, address, count);
}

static void *
xen_map_grants(SeraiHv *hv, uint32_t domid, void **ret_handle)
{
    void *table = NULL;

    *ret_handle = xenforeignmemory_map_resource(((XenHv *)hv)->memory, domid, XENMEM_resource_grant_table,
                                                XENMEM_resource_grant_table_id_shared, 0, 1, &table,
                                                PROT_READ | PROT_WRITE, 0);
    return *ret_handle ? table : NULL;
}

static void
xen_unmap_grants(SeraiHv *hv, void *handle)
{
    xenforeignmemory_unmap_resource(((XenHv *)hv)->memory, handle);
}

static void
xen_close(SeraiHv *hv)
{
    XenHv *self = (XenHv *)hv;

    if (self->call)
        xencall_close(self->call);
    if (self->memory)
        xenforeignmemory_close(self->memory);
    g_free(self);
}

static const SeraiHvOps xen_ops = {
    .call = xen_call,
    .buffer_alloc = xen_buffer_alloc,
    .buffer_free = xen_buffer_free,
    .map = xen_map,
    .unmap = xen_unmap,
    .map_grants = xen_map_grants,
    .unmap_grants = xen_unmap_grants,
    .close = xen_close,
};

SeraiHv *
serai_hv_open(GError **error)
{
    XenHv *self;

    /* Asked first, so that the libraries need not complain on standard error on an ordinary machine. */
    if (access("/dev/xen/privcmd", F_OK) < 0 && access("/proc/xen/privcmd", F_OK) < 0) {
        g_set_error_literal(error, SERAI_ERROR, SERAI_ERROR_NO_HYPERVISOR,
                            _("This system does not run as the control domain of a Xen hypervisor."));
        return NULL;
    }
    self = g_new0(XenHv, 1);
    self->base.ops = &xen_ops;
    self->call = xencall_open(NULL, 0);
    if (self->call)
        self->memory = xenforeignmemory_open(NULL, 0);
    if (!self->memory) {
        int err = errno;

        xen_close(&self->base);
        serai_set_errno(error, err, _("Cannot open the door to the hypervisor"));
        return NULL;
    }
    return &self->base;
}

void
serai_hv_close(SeraiHv *hv)
{
    if (hv)
        hv->ops->close(hv);
}
