/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "driver.h"

/* Opens the hypervisor and listens to it; @pretend for a machine inside this process. */
int xenMonitorStart(xenDriver *driver, bool pretend);
/* From now on events are acted upon; those that came earlier are not lost, as reconnecting asks anyway. */
void xenMonitorListen(xenDriver *driver);
void xenMonitorStop(xenDriver *driver);
