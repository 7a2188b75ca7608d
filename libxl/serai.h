/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libserai: domains on a Xen-ABI hypervisor, as GObjects.
 *
 * Who owns what.  A plain description (#SeraiConfig, #SeraiDevice, #SeraiHostInfo and the other structs
 * with public fields) belongs to whoever created or received it and is released with its own _free
 * function; its strings belong to it and are released with g_free() before they are replaced.  Functions
 * that take a description copy what they keep.  #SeraiHost and #SeraiDomain are objects with references;
 * a domain keeps its host alive.  Closing the last reference to either changes nothing in the hypervisor:
 * domains live on and are found again by serai_host_list_domains().
 *
 * Threads.  Every function may be called from any thread, on the same object at once.  No lock is held
 * while a callback or a signal handler runs.  Signals of #SeraiHost are emitted in the main context that
 * was the thread-default one when the host was opened.
 *
 * Waiting.  What may wait (for memory, a disk, a guest) comes three times: _async with _finish for a
 * main loop, and _sync for worker threads.  Progress is reported in the caller's context for _async and in
 * the calling thread for _sync.  Cancellation leaves the old state: a domain that was being created is gone,
 * one
 * that was being saved runs on.  A cancelled call fails with %G_IO_ERROR_CANCELLED.
 */
#ifndef SERAI_H
#define SERAI_H

#include <serai-error.h>
#include <serai-device.h>
#include <serai-config.h>
#include <serai-host.h>
#include <serai-domain.h>
#include <serai-save.h>
#include <serai-qmp.h>
#include <serai-io.h>

#endif
