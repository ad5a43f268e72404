/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of other frameworks, in as plans and out of them. */
#ifndef SLIMPIPE_INTERCHANGE_H
#define SLIMPIPE_INTERCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

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

/*
 * Reads a timeline of AMD Primus' pipeline simulator: a directory of config.json (pp_size, vpp_size,
 * micro_batches) and pp_rank_0.json, pp_rank_1.json and so on, each with lists of starts and ends in
 * milliseconds, of which the first iteration counts. Passes of a device run in the order of their starts; a
 * forward and a backward with the same times are joined. A backward is B, or I where its microbatch and chunk
 * have a weight gradient too. Chunk c of device r is stage c·p + r, or, where odd chunks reach the last
 * device first, c·p + p − 1 − r for these.
 *
 * costs as above, or NULL: the means of the times in the file, and free messages.
 */
enum sp_status sp_import_primus(const char *directory, const struct sp_pass_costs *costs,
                                uint32_t cost_stages, struct sp_plan **ret_plan,
                                struct sp_error *error) SP_MUST_CHECK;

/*
 * Layers of each stage in Megatron-LM's pipeline layout (--pipeline-model-parallel-layout), such as
 * `Et*3|(t*4|)*6t*4L`: E embedding, t layer, L output layer, `|` between stages, `*n` repeats a letter or a
 * group in parentheses, commas mean nothing. *ret_layers is freed with sp_free.
 */
enum sp_status sp_megatron_layout_parse(const char *text, uint32_t *ret_count, uint32_t **ret_layers,
                                        struct sp_error *error) SP_MUST_CHECK;

/* --- Export --------------------------------------------------------------------------------------------- */

/*
 * torch: PyTorch's pipelining CSV, computation alone. torch-comms: with its SEND and RECV cells, placed as
 * PyTorch places them. megatron: command line options of Megatron-LM with its pipeline layout. primus: a
 * timeline as sp_import_primus reads it. chrome: Trace Event Format, as sp_timeline_write_trace.
 */
enum sp_export {
    SP_EXPORT_TORCH,
    SP_EXPORT_TORCH_COMMS,
    SP_EXPORT_MEGATRON,
    SP_EXPORT_PRIMUS,
    SP_EXPORT_CHROME,
    SP_EXPORTS
};
extern const char *const sp_export_names[SP_EXPORTS + 1];

/* What a format may have no words for: name, and what it becomes when it is left out. */
#define SP_LOSS_LIST(X)                                                                                      \
    X(SLICES, "slices", "each slice becomes a microbatch of its own, number microbatch x slices + slice")    \
    X(EXCHANGE, "the exchange", "every device computes its own attention")                                   \
    X(OUTPUT, "output layer passes (S, T)", "the last stage runs the output layer")                          \
    X(RECOMPUTE, "recompute passes (R)", "each recompute is part of its backward")                           \
    X(OFFLOAD, "offload", "activations stay on the device")                                                  \
    X(ORDER, "the order", "Megatron runs its own 1F1B; the layers of each stage are kept")

enum sp_loss {
#define X(name, text, becomes) SP_LOSS_##name,
    SP_LOSS_LIST(X)
#undef X
        SP_LOSSES
};
extern const char *const sp_loss_names[SP_LOSSES], *const sp_loss_texts[SP_LOSSES];

/*
 * What export in the format leaves out: bits 1 << enum sp_loss. SP_UNSUPPORTED, naming it, where something is
 * left out and lossy is false, or where the format cannot hold such a plan at all: other paths than all
 * stages in order; megatron and primus: stages on several devices, or placed in another way than theirs;
 * megatron: explicit costs, which have no layers.
 */
enum sp_status sp_export_check(const struct sp_plan *plan, enum sp_export format, bool lossy,
                               unsigned *ret_losses, struct sp_error *error) SP_MUST_CHECK;

/* For plans that sp_export_check passed. Errors of the stream are the caller's to look for. SP_MEMORY. */
enum sp_status sp_export_torch(const struct sp_plan *plan, FILE *stream,
                               struct sp_error *error) SP_MUST_CHECK;
enum sp_status sp_export_torch_comms(const struct sp_plan *plan, FILE *stream,
                                     struct sp_error *error) SP_MUST_CHECK;
void sp_export_megatron(const struct sp_plan *plan, FILE *stream);

#endif
