/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Permissions of a node: immutable, counted, shared by all nodes that inherited them.
 * The first entry names the owner, who may do everything, and what all others may do; the entries
 * after it say what one domain may do instead.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum perm_access {
    PERM_NONE = 0,
    PERM_READ = 1,
    PERM_WRITE = 2,
    PERM_BOTH = PERM_READ | PERM_WRITE,
    PERM_OWNER = 4,
};

struct perm {
    uint16_t domid;
    uint8_t access;
};

struct perms {
    uint32_t ref;
    uint16_t count;
    struct perm entry[];
};

/* Who asks: a domain, perhaps with the rights of the one it serves as device model for. */
struct credentials {
    uint16_t domid;
    uint16_t target; /* DOMID_INVALID when there is none */
    bool privileged;
};

struct perms *perms_new(const struct perm *entries, size_t count);
struct perms *perms_ref(struct perms *perms);
void perms_put(struct perms *perms);

/* Inherited permissions: the same, except that an unprivileged maker owns what it makes. */
struct perms *perms_inherit(struct perms *parent, const struct credentials *who);

/* The same permissions without the entries that @domid has; NULL for lack of memory. */
struct perms *perms_without(struct perms *perms, uint16_t domid);

unsigned int perms_access(const struct perms *perms, const struct credentials *who);

/* One bit for each domain named; two domains may share a bit, so a clear bit proves absence only. */
uint64_t perms_mask(const struct perms *perms);

/* Parses "r12": 0 or -EINVAL. */
int perm_parse(const char *text, struct perm *ret_perm);
/* Writes "r12" with its terminator; returns the bytes written, at most 7. */
size_t perm_format(const struct perm *perm, char *text);

#define PERM_TEXT_BYTES 8
