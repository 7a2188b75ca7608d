/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A circular doubly linked list whose links live inside the objects.  The list takes no lock and owns
 * nothing.  A node that is in no list points to itself.
 */
#ifndef SERAI_BASE_LIST_H
#define SERAI_BASE_LIST_H

#include "base/types.h"

struct list {
    struct list *next, *prev;
};

/* clang-format off */
#define LIST_INIT(head) {&(head), &(head)}
/* clang-format on */

static inline void
list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool
list_empty(const struct list *head)
{
    return head->next == head;
}

/* Puts @node between @prev and its successor. */
static inline void
list_add_after(struct list *node, struct list *prev)
{
    node->next = prev->next;
    node->prev = prev;
    prev->next->prev = node;
    prev->next = node;
}

static inline void
list_add_tail(struct list *node, struct list *head)
{
    list_add_after(node, head->prev);
}

/* Takes @node out; it may be taken out twice. */
static inline void
list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)

#define list_for_each(pos, head, member)                                                   \
    for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head); \
         pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* As above, and @pos may be taken out in the body. */
#define list_for_each_safe(pos, tmp, head, member)                    \
    for (pos = list_entry((head)->next, __typeof__(*pos), member),    \
        tmp = list_entry(pos->member.next, __typeof__(*pos), member); \
         &pos->member != (head); pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))

#endif
