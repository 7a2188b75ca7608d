/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Console rings.  The guest writes its indexes whenever it likes, so each is read once, and a distance
 * between two that is larger than the ring is not believed.  No locks: one thread serves all consoles.
 */
#include "consoled/ring.h"

#include <string.h>

void
keep_init(Keep *keep, uint32_t ring_taken)
{
    if (keep->magic == KEEP_MAGIC && keep->read <= keep->written && keep->written - keep->read <= KEEP_SIZE &&
        keep->logged <= keep->written && keep->written - keep->logged <= KEEP_SIZE)
        return;
    memset(keep, 0, offsetof(Keep, data));
    keep->ring_taken = ring_taken;
    keep->magic = KEEP_MAGIC;
}

/* The bytes from number @from on that lie in one piece. */
static size_t
keep_stretch(const Keep *keep, uint64_t from, const uint8_t **ret_data)
{
    size_t at = from % KEEP_SIZE;

    *ret_data = keep->data + at;
    return MIN(keep->written - from, KEEP_SIZE - at);
}

size_t
keep_peek(const Keep *keep, const uint8_t **ret_data)
{
    return keep_stretch(keep, keep->read, ret_data);
}

size_t
keep_unlogged(const Keep *keep, const uint8_t **ret_data)
{
    return keep_stretch(keep, keep->logged, ret_data);
}

void
keep_logged(Keep *keep, size_t size)
{
    keep->logged += size;
}

void
keep_take(Keep *keep, size_t size)
{
    keep->read += size;
}

void
keep_put(Keep *keep, const uint8_t *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t at = keep->written % KEEP_SIZE;
        size_t n = MIN(size - done, KEEP_SIZE - at);

        /* Room first: what is overwritten must not count as unread even for a moment. */
        if (keep->written + n - keep->read > KEEP_SIZE) {
            uint64_t lost = keep->written + n - keep->read - KEEP_SIZE;

            keep->dropped += lost;
            keep->read += lost;
        }
        if (keep->written + n - keep->logged > KEEP_SIZE)
            keep->logged = keep->written + n - KEEP_SIZE;
        memcpy(keep->data + at, data + done, n);
        keep->written += n;
        done += n;
    }
}

int
ring_receive(struct xencons_interface *ring, Keep *keep, size_t most)
{
    XENCONS_RING_IDX prod = __atomic_load_n(&ring->out_prod, __ATOMIC_ACQUIRE), cons = keep->ring_taken;
    uint8_t chunk[sizeof(ring->out)];
    size_t n = prod - cons;

    if (n > sizeof(ring->out)) {
        keep->ring_taken = prod;
        __atomic_store_n(&ring->out_cons, prod, __ATOMIC_RELEASE);
        return -1;
    }
    n = MIN(n, most);
    for (size_t i = 0; i < n; i++)
        chunk[i] = ring->out[MASK_XENCONS_IDX(cons + i, ring->out)];
    keep_put(keep, chunk, n);
    keep->ring_taken = cons + n;
    __atomic_store_n(&ring->out_cons, cons + n, __ATOMIC_RELEASE);
    return n;
}

size_t
ring_room(struct xencons_interface *ring)
{
    XENCONS_RING_IDX cons = __atomic_load_n(&ring->in_cons, __ATOMIC_ACQUIRE), prod = ring->in_prod;
    XENCONS_RING_IDX used = prod - cons;

    return used > sizeof(ring->in) ? 0 : sizeof(ring->in) - used;
}

size_t
ring_send(struct xencons_interface *ring, const uint8_t *data, size_t size)
{
    XENCONS_RING_IDX prod = ring->in_prod;
    size_t n = MIN(size, ring_room(ring));

    for (size_t i = 0; i < n; i++)
        ring->in[MASK_XENCONS_IDX(prod + i, ring->in)] = data[i];
    __atomic_store_n(&ring->in_prod, prod + n, __ATOMIC_RELEASE);
    return n;
}

gsize
rate_allow(Rate *rate, gint64 now_us)
{
    if (!rate->last_us)
        rate->tokens = RATE_BURST;
    else
        rate->tokens =
            MIN(RATE_BURST, rate->tokens + (now_us - rate->last_us) * RATE_BYTES_PER_SECOND / G_USEC_PER_SEC);
    rate->last_us = now_us;
    return MAX(0, rate->tokens);
}

void
rate_spend(Rate *rate, gsize bytes)
{
    rate->tokens -= bytes;
}
