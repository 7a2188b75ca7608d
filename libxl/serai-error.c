/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "private/private.h"

G_DEFINE_QUARK(serai - error - quark, serai_error)
