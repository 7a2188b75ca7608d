/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns no state.  See perms.h for the model.
 */
#include "perms.h"
#include "mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct perms *
perms_new(const struct perm *entries, size_t count)
{
    struct perms *perms = mem_alloc(sizeof(*perms) + count * sizeof(*entries));

    if (!perms)
        return NULL;
    perms->ref = 1;
    perms->count = count;
    memcpy(perms->entry, entries, count * sizeof(*entries));
    return perms;
}

struct perms *
perms_ref(struct perms *perms)
{
    perms->ref++;
    return perms;
}

void
perms_put(struct perms *perms)
{
    if (perms && !--perms->ref)
        mem_free(perms);
}

struct perms *
perms_inherit(struct perms *parent, const struct credentials *who)
{
    struct perms *perms;

    if (who->privileged || parent->entry[0].domid == who->domid)
        return perms_ref(parent);
    perms = perms_new(parent->entry, parent->count);
    if (perms)
        perms->entry[0].domid = who->domid;
    return perms;
}

struct perms *
perms_without(struct perms *perms, uint16_t domid)
{
    struct perms *rest = perms_new(perms->entry, perms->count);
    unsigned int i;

    if (!rest)
        return NULL;
    rest->count = 1;
    for (i = 1; i < perms->count; i++) {
        if (perms->entry[i].domid != domid)
            rest->entry[rest->count++] = perms->entry[i];
    }
    return rest;
}

unsigned int
perms_access(const struct perms *perms, const struct credentials *who)
{
    unsigned int i;

    if (who->privileged || perms->entry[0].domid == who->domid || perms->entry[0].domid == who->target)
        return PERM_BOTH | PERM_OWNER;
    for (i = 1; i < perms->count; i++) {
        if (perms->entry[i].domid == who->domid || perms->entry[i].domid == who->target)
            return perms->entry[i].access;
    }
    return perms->entry[0].access;
}

uint64_t
perms_mask(const struct perms *perms)
{
    uint64_t mask = 0;
    unsigned int i;

    for (i = 0; i < perms->count; i++)
        mask |= UINT64_C(1) << (perms->entry[i].domid % 64);
    return mask;
}

static const char letters[] = "nrwb";

int
perm_parse(const char *text, struct perm *ret_perm)
{
    const char *letter = *text ? strchr(letters, *text) : NULL;
    unsigned int domid = 0;

    if (!letter || !*++text || strlen(text) > 5)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        domid = domid * 10 + (*text - '0');
    }
    if (domid > UINT16_MAX)
        return -EINVAL;
    *ret_perm = (struct perm){.domid = domid, .access = letter - letters};
    return 0;
}

size_t
perm_format(const struct perm *perm, char *text)
{
    return snprintf(text, PERM_TEXT_BYTES, "%c%u", letters[perm->access & PERM_BOTH], perm->domid) + 1;
}
