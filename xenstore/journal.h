/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What brings the store back after a kill: a state file, and a journal of every call made to the
 * store since.  The store does the same again when it gets the same calls in the same order, so the journal
 * holds what came in, not what came of it.
 */
#pragma once

#include <sys/socket.h>

#include "state.h"

enum journal_type {
    JOURNAL_OPEN = 1,  /* a socket client connected */
    JOURNAL_CLOSE,     /* and went */
    JOURNAL_INPUT,     /* bytes of a client */
    JOURNAL_STEP,      /* one request of a client was processed; payload if the world had a say */
    JOURNAL_SENT,      /* a client took bytes */
    JOURNAL_RESET,     /* a domain asked to begin anew on its ring */
    JOURNAL_INTRODUCE, /* a domain without a request for it: the initial one */
    JOURNAL_GONE,      /* a domain is no more */
    JOURNAL_SHUTDOWN,
    JOURNAL_TICK,
};

#define JOURNAL_READ_BYTES 65536

/*
 * The one transfer on a socket that is under way.  It lies in the journal's mapping, and @message is what
 * sendmmsg() and recvmmsg() are given: the kernel itself notes the bytes that went, before the process can be
 * killed.  With @end, where the journal ended then, it is clear whether a record of it followed.
 */
struct journal_transfer {
    uint64_t end;
    uint32_t client;
    uint32_t type; /* JOURNAL_INPUT, JOURNAL_SENT, or 0 */
    struct mmsghdr message;
    char data[JOURNAL_READ_BYTES];
};

struct journal_introduce {
    uint32_t domid;
    uint32_t port;
    uint64_t gfn;
    uint32_t in_base, out_base;
};

struct journal {
    int directory; /* -1: there is none, and nothing is kept */
    int lock;
    int fd;
    char *map;
    uint64_t tail;
    uint64_t allocated;
    uint64_t generation;
    uint64_t state_bytes;
    uint64_t patience;      /* a checkpoint that failed is not tried again before the journal is this long */
    bool failed;            /* nothing is kept until a checkpoint succeeds */
    bool look;              /* for journal_check(): no file is changed */
    unsigned long failures; /* mem_failures() up to which state and journal tell the truth */
};

/* Takes the directory for this process.  -EBUSY if another one has it. */
int journal_open(struct journal *journal, const char *path);
void journal_close(struct journal *journal);

/*
 * Brings the store back, or begins an empty one when there is nothing.  A damaged file is renamed to
 * NAME.damaged and named in @log; of a damaged journal the part before the damage is used.  Files of another
 * version are left as they are, with -EPROTONOSUPPORT: a program that knows them loses nothing.
 */
int journal_recover(struct journal *journal, struct store *store, void (*log)(const char *text));

/* Whether journal_recover() would bring everything back: 0, or -errno; what is wrong goes to @log. */
int journal_check(const char *path, void (*log)(const char *text));

/*
 * A replay would not fail where an allocation failed.  So if one did since the last record, the whole state
 * is written instead; to be called before anything of it can be seen outside.
 */
void journal_settle(struct journal *journal, struct store *store);

/* Appends one record: visible to who comes after us as soon as this returns, also if we are killed. */
void journal_append(struct journal *journal, enum journal_type type, uint32_t client, const void *data,
                    size_t length);
/* The record of one processed request, from store->outcome. */
void journal_append_step(struct journal *journal, const struct store *store, uint32_t client);

/* Notes that a transfer begins; its message has one part, for the caller to fill or to send. */
struct journal_transfer *journal_begin_transfer(struct journal *journal, enum journal_type type,
                                                uint32_t client, struct iovec *part);

/* Writes the whole store and begins an empty journal. */
int journal_checkpoint(struct journal *journal, struct store *store);
bool journal_wants_checkpoint(const struct journal *journal);

/* Replays the records of a journal's bytes; returns the offset of the first that is damaged, or @size. */
size_t journal_replay(struct store *store, const char *data, size_t size, const char **ret_reason);
