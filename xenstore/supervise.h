/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where no service manager keeps descriptors: forks, returns in the child, and stays behind to start a
 * next child with the same connections whenever one dies by a signal.
 */
void supervise(void);
