/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "settings.h"

/* Brings renames to their end that a daemon which was killed had begun; before definitions are loaded. */
void xenDefineFinishRenames(const xenSettings *settings);
