/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two files that build hypercalls share: memory that the hypervisor may touch, and the call itself.
 */
#ifndef SERAI_HYPERCALL_INTERNAL_H
#define SERAI_HYPERCALL_INTERNAL_H

#include "private/hypercall.h"

/* Memory for one call, given back when it goes out of scope. */
typedef struct {
    SeraiHv *hv;
    void *data;
    size_t pages;
} Buffer;

static inline void
buffer_clear(Buffer *buffer)
{
    if (buffer->data)
        buffer->hv->ops->buffer_free(buffer->hv, buffer->data, buffer->pages);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Buffer, buffer_clear)

gboolean serai_hv_buffer_init(Buffer *buffer, SeraiHv *hv, size_t size, GError **error);
long serai_hv_call(SeraiHv *hv, unsigned int number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
/* @ret_errno, when wanted, is 0 or the errno value; @error is set in any failure. */
gboolean serai_hv_domctl(SeraiHv *hv, struct xen_domctl *op, int *ret_errno, GError **error);
/* A call whose argument is one structure, copied in and out.  Returns what the hypervisor returned. */
long serai_hv_struct_call(SeraiHv *hv, unsigned int number, uint64_t cmd, void *arg, size_t size,
                          GError **error);

#define buffer_init serai_hv_buffer_init
#define hypercall   serai_hv_call
#define domctl      serai_hv_domctl
#define struct_call serai_hv_struct_call

#endif
