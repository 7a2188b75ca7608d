/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt's private headers ask of their build.  No structure's layout depends on any of these;
 * they only keep the headers from redefining what the C library already has.
 */
#pragma once

/* The gettext domain of every message of the driver. */
#define PACKAGE "serai"

/* Names for the ends of enumerations, which the private headers use throughout. */
#define VIR_ENUM_SENTINELS 1

#define WITH_GETUID                   1
#define WITH_GETEUID                  1
#define WITH_GETGID                   1
#define WITH_GETEGID                  1
#define WITH_NET_IF_H                 1
#define WITH_STRUCT_IFREQ             1
#define WITH_LIBINTL_H                1
#define WITH_SUGGEST_ATTRIBUTE_FORMAT 1
