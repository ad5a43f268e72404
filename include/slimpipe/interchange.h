/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of other frameworks, in as plans. */
#ifndef SLIMPIPE_INTERCHANGE_H
#define SLIMPIPE_INTERCHANGE_H

#include <stdint.h>

#include "slimpipe/plan.h"
#include "slimpipe/status.h"

/*
 * Reads the CSV of PyTorch's pipelining schedules (torch.distributed.pipelining, `_load_csv`): one line per
 * device, cells in execution order. A cell is `{stage}{kind}{microbatch}` with kind F, I, W or B, a pair
 * `(2F5;5B1)OVERLAP_F_B` of passes run as one, or blank. Cells SEND_F, RECV_F, SEND_B and RECV_B of the form
 * with communication are checked (each beside its pass, each with its other end, none missing once there is
 * one) and then left out, since a plan's messages follow from its passes; UNSHARD, RESHARD and REDUCE_GRAD
 * are left out.
 *
 * A stage lies on the device that runs its forward of the first microbatch; other devices that run it hold
 * replicas. Stages and microbatches are counted from the content. A stage without any backward is forward
 * only, one with I and no W computes input gradients only.
 *
 * costs: explicit costs with arrays of cost_stages entries, 1 (for all stages) or one per stage; copied. `-`
 * is standard input. SP_INPUT has line and column of the cell at fault.
 */
enum sp_status sp_import_torch(const char *path, const struct sp_pass_costs *costs, uint32_t cost_stages,
                               struct sp_plan **ret_plan, struct sp_error *error) SP_MUST_CHECK;

#endif
