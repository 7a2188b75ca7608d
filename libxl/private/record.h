/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a domain: nodes of the store that only dom0 can read, from which any process of dom0 learns
 * what belongs to a domain, and from which recovery learns what a dead process left.
 *
 *   /serai/name/HEX-OF-NAME           the UUID; makes names unique
 *   /serai/domain/UUID/state          "building", "ready", "destroying"
 *   /serai/domain/UUID/owner          "PID START-TIME" of who builds or destroys it
 *   /serai/domain/UUID/saving         "PID START-TIME" of who saves it, while it sleeps for that
 *   /serai/domain/UUID/domid          its number, once the hypervisor gave one
 *   /serai/domain/UUID/name
 *   /serai/domain/UUID/config/N       the description without devices, in pieces of 2 KiB
 *   /serai/domain/UUID/device/K/ID    one device: kind and number as numbers
 *   /serai/domain/UUID/device/0/ID/claim  where a disk on a block device claims it: disk-claim.c
 *   /serai/block/MAJOR-MINOR/...      those claims
 *   /serai/console/DOMID/ID/...       what serai-consoled needs to serve one console
 */
#ifndef SERAI_RECORD_STORE_H
#define SERAI_RECORD_STORE_H

#include "private/host.h"

#define SERAI_RECORD_ROOT "/serai"

/* Reserves name and UUID, in one transaction.  Fails with SERAI_ERROR_EXISTS. */
gboolean serai_record_begin(SeraiHost *host, const SeraiConfig *config, GCancellable *cancellable,
                            GError **error);
/* Writes down the number as soon as there is one. */
gboolean serai_record_set_domid(SeraiHost *host, const char *uuid, uint32_t domid, GError **error);
/* The rest goes along with other writes. */
void serai_record_config(SeraiBatch *batch, const SeraiConfig *config);
gboolean serai_record_device(SeraiBatch *batch, const char *uuid, const SeraiDevice *device, GError **error);
char *serai_record_device_path(const char *uuid, const SeraiDevice *device);
void serai_record_device_remove(SeraiBatch *batch, const char *uuid, const SeraiDevice *device);
/* Below the record of a disk, and so gone with it. */
char *serai_record_claim_path(const char *uuid, int devid);
void serai_record_ready(SeraiBatch *batch, const char *uuid);
void serai_record_remove(SeraiBatch *batch, const char *uuid, const char *name);
void serai_record_rename(SeraiBatch *batch, const char *uuid, const char *from, const char *to);
/* Adds the condition that the domain is there and not being destroyed. */
void serai_record_expect_ready(SeraiBatch *batch, const char *uuid);
/* Begins to destroy domain @domid, or -1 for whatever number it has.  Fails with SERAI_ERROR_NO_DOMAIN when
 * there is no record, with SERAI_ERROR_INVALID_STATE when it is of a later domain with the same UUID, or when
 * it was to be @stale and another process has begun to make or destroy the domain. */
gboolean serai_record_destroying(SeraiHost *host, const char *uuid, int domid, gboolean stale,
                                 GError **error);
/* Adds the condition that nobody else has gone on with that since: else SERAI_ERROR_NO_DOMAIN. */
void serai_record_expect_ours(SeraiBatch *batch, const char *uuid);

/* NULL without @error when there is no record. */
SeraiConfig *serai_record_load(SeraiHost *host, const char *uuid, GError **error);
GPtrArray *serai_record_devices(SeraiHost *host, const char *uuid);
int serai_record_domid(SeraiHost *host, const char *uuid);
char *serai_record_uuid_of(SeraiHost *host, const char *name);
char *serai_record_name_key(const char *name);
/* Whether the process that owns the record still lives. */
gboolean serai_record_owner_lives(SeraiHost *host, const char *uuid);
/* Writes down that we are saving the domain, which sleeps meanwhile, or waking it; fails with
 * SERAI_ERROR_INVALID_STATE while another process, which lives, is at that.  Or that we are done. */
gboolean serai_record_set_saving(SeraiHost *host, const char *uuid, gboolean saving, GError **error);
/* Whether somebody who died was saving it. */
gboolean serai_record_save_was_cut_off(SeraiHost *host, const char *uuid);

#endif
