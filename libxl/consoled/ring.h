/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two rings of a console (<xen/io/console.h>) and what is kept of one until somebody reads it.  No I/O.
 */
#ifndef CONSOLED_RING_H
#define CONSOLED_RING_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/io/console.h>

#define KEEP_SIZE (60U << 10)

/*
 * What a guest wrote and nobody has read: the newest KEEP_SIZE bytes.  It lies in memory that outlives the
 * daemon; so do the numbers that say what of it the log file has.
 * @ring_taken is where the guest's ring was read up to: the guest is told after the bytes are here, so after
 * a crash in between this number says which bytes not to take twice.
 */
typedef struct {
    uint32_t magic;
    uint32_t ring_taken;
    uint64_t written; /* bytes ever put in */
    uint64_t read;    /* bytes ever taken out, or lost because they were too old */
    uint64_t dropped; /* of those, lost */
    uint64_t logged;  /* bytes ever handed to the log */
    uint8_t data[KEEP_SIZE];
} Keep;

#define KEEP_MAGIC 0x53434b32U
#define KEEP_PAGES ((sizeof(Keep) + 4095) / 4096)

/* Sets up memory that was zero, and leaves one alone that is in use and sane. */
void keep_init(Keep *keep, uint32_t ring_taken);
/* The next stretch of bytes; 0 when there are none. */
size_t keep_peek(const Keep *keep, const uint8_t **ret_data);
void keep_take(Keep *keep, size_t size);
void keep_put(Keep *keep, const uint8_t *data, size_t size);
/* The same for the log, which reads all of it once.  Killed between the two, a daemon leaves the stretch to
 * its successor: better logged twice than never. */
size_t keep_unlogged(const Keep *keep, const uint8_t **ret_data);
void keep_logged(Keep *keep, size_t size);

/*
 * Moves at most @most bytes from the guest's ring into @keep.  Returns how many; -1 when the guest's numbers
 * are impossible: its ring is then taken as empty.
 */
int ring_receive(struct xencons_interface *ring, Keep *keep, size_t most);
/* How many bytes the guest could be sent, and sending them.  Returns how many were. */
size_t ring_room(struct xencons_interface *ring);
size_t ring_send(struct xencons_interface *ring, const uint8_t *data, size_t size);

/* --- how fast a guest may be ------------------------------------------------------------------ */

typedef struct {
    gint64 last_us;
    gint64 tokens;
} Rate;

#define RATE_BYTES_PER_SECOND (512 << 10)
#define RATE_BURST            (512 << 10)

/* How many bytes may be taken now. */
gsize rate_allow(Rate *rate, gint64 now_us);
void rate_spend(Rate *rate, gsize bytes);

#endif
