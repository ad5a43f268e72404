/* SPDX-License-Identifier: Apache-2.0 */
/* Inside executor/: what the registries list. */
#ifndef SLIMPIPE_EXECUTOR_REGISTRY_H
#define SLIMPIPE_EXECUTOR_REGISTRY_H

#include "slimpipe/executor.h"

extern const struct sp_backend sp_backend_null, sp_backend_host;
extern const struct sp_transport sp_transport_threads;

#endif
