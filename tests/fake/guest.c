/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory is the process's own.  The kernel does the copying (process_vm_readv on ourselves), so an
 * address that is not mapped is an error and not a signal.
 */
#define _GNU_SOURCE
#include <sys/uio.h>
#include <unistd.h>

#include "x86/usercopy.h"
#include "fake.h"
#include "fake-private.h"

#include <stdlib.h>
#include <string.h>

void (*fake_guest_access_hook)(u64 address, size_t size, bool write);
unsigned fake_guest_reads, fake_guest_writes;
unsigned fake_guest_fault_in;
static u64 owned_start, owned_end;

void
fake_reset_guest(void)
{
    fake_guest_access_hook = NULL;
    fake_guest_reads = fake_guest_writes = fake_guest_fault_in = 0;
    owned_start = owned_end = 0;
}

void
fake_guest_owns(const void *memory, size_t size)
{
    owned_start = (u64)memory;
    owned_end = owned_start + size;
}

static bool
access_faults(u64 address, size_t size, bool write)
{
    if (fake_guest_access_hook)
        fake_guest_access_hook(address, size, write);
    if (owned_end && (address < owned_start || address > owned_end - size))
        return true;
    return fake_guest_fault_in && !--fake_guest_fault_in;
}

FAKE size_t
usercopy_in(void *dst, const void *src, size_t size)
{
    struct iovec local = {dst, size}, remote = {(void *)src, size};
    ssize_t n;

    fake_guest_reads++;
    if (access_faults((u64)src, size, false))
        return size;
    n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    return n < 0 ? size : size - (size_t)n;
}

FAKE size_t
usercopy_out(void *dst, const void *src, size_t size)
{
    struct iovec local = {(void *)src, size}, remote = {dst, size};
    ssize_t n;

    fake_guest_writes++;
    if (access_faults((u64)dst, size, true))
        return size;
    n = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    return n < 0 ? size : size - (size_t)n;
}

FAKE size_t
usercopy_clear(void *dst, size_t size)
{
    void *zeroes = calloc(1, size ? size : 1);
    size_t left = usercopy_out(dst, zeroes, size);

    free(zeroes);
    return left;
}
