/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and layouts of the migration stream (version 3) that a saved image holds; described in
 * serai-save.c. */
#ifndef SERAI_STREAM_H
#define SERAI_STREAM_H

#include <glib.h>

#define SERAI_STREAM_MARKER  0xffffffffffffffffULL
#define SERAI_STREAM_ID      0x58454e46U
#define SERAI_STREAM_VERSION 3
#define SERAI_STREAM_TYPE_PV 1

enum {
    SERAI_RECORD_END = 0x00,
    SERAI_RECORD_PAGE_DATA = 0x01,
    SERAI_RECORD_PV_INFO = 0x02,
    SERAI_RECORD_PV_P2M_FRAMES = 0x03,
    SERAI_RECORD_VCPU_BASIC = 0x04,
    SERAI_RECORD_VCPU_EXTENDED = 0x05,
    SERAI_RECORD_VCPU_XSAVE = 0x06,
    SERAI_RECORD_SHARED_INFO = 0x07,
    SERAI_RECORD_TSC_INFO = 0x08,
    SERAI_RECORD_VCPU_MSRS = 0x0c,
    SERAI_RECORD_VERIFY = 0x0d,
    SERAI_RECORD_CHECKPOINT = 0x0e,
    SERAI_RECORD_STATIC_DATA_END = 0x10,
    SERAI_RECORD_CPUID_POLICY = 0x11,
    SERAI_RECORD_MSR_POLICY = 0x12,
};

/* A record of this type and above may be ignored by who does not know it. */
#define SERAI_RECORD_OPTIONAL 0x80000000U

/* The longest record that is written or accepted: 1024 pages and their numbers fit twice. */
#define SERAI_RECORD_MAX (8U << 20)

/* Pages in one PAGE_DATA record. */
#define SERAI_PAGE_BATCH 1024

typedef struct {
    guint64 marker;
    guint32 id;
    guint32 version;
    guint16 options;
    guint16 reserved1;
    guint32 reserved2;
} SeraiStreamHeader;
G_STATIC_ASSERT(sizeof(SeraiStreamHeader) == 24);

typedef struct {
    guint32 type;
    guint16 page_shift;
    guint16 reserved;
    guint32 xen_major;
    guint32 xen_minor;
} SeraiStreamDomain;
G_STATIC_ASSERT(sizeof(SeraiStreamDomain) == 16);

typedef struct {
    guint32 type;
    guint32 length;
} SeraiRecord;
G_STATIC_ASSERT(sizeof(SeraiRecord) == 8);

typedef struct {
    guint8 width;
    guint8 levels;
    guint8 reserved[6];
} SeraiRecordPvInfo;

typedef struct {
    guint32 start;
    guint32 end;
    guint64 frames[];
} SeraiRecordP2m;

typedef struct {
    guint32 vcpu;
    guint32 reserved;
} SeraiRecordVcpu;

typedef struct {
    guint32 mode;
    guint32 khz;
    guint64 nsec;
    guint32 incarnation;
    guint32 reserved;
} SeraiRecordTsc;

typedef struct {
    guint32 count;
    guint32 reserved;
    guint64 pfns[];
} SeraiRecordPages;

#define SERAI_PAGE_TYPE_SHIFT 60
#define SERAI_PAGE_PFN_MASK   0x000fffffffffffffULL

#endif
