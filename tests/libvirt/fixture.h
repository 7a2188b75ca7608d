/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to the driver inside the test's own process, on a pretend machine, below a fresh directory.
 *
 * libvirt, the shim and the driver are the real ones; only the hypervisor is pretended, by libserai's own
 * "fake".
 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

/* One for the process, as libvirt embeds a driver once.  Aborts the test when it does not open. */
virConnectPtr fixture_open(int *argc, char ***argv);
void fixture_close(void);

/* The directory below which the driver keeps its files. */
const char *fixture_root(void);
/* Path of a file of the test's sources, or of the kernel that was built for it. */
char *fixture_source(const char *name);
const char *fixture_kernel(void);

/* Contents of a file, "@KERNEL@" and "@ROOT@" replaced by paths; for comparing, the other way round. */
char *fixture_read(const char *path);
char *fixture_unexpand(const char *text);

/* A call that must not fail. */
#define CHECK(call)                                             \
    do {                                                        \
        if ((call) < 0)                                         \
            g_error("%s: %s", #call, virGetLastErrorMessage()); \
    } while (0)

/* The text of libvirt's last error, cleared. */
char *fixture_error(void);
/* The last error says @part; clears it. */
void fixture_expect_failure(const char *part);

/* A domain of 64 MiB with the kernel, two vCPUs of four, and @devices. */
char *fixture_domain_xml(const char *name, const char *devices);
virDomainPtr fixture_define(virConnectPtr conn, const char *name, const char *devices);
/* Destroys it first if it runs; @domain is freed. */
void fixture_undefine(virDomainPtr domain);
