/* SPDX-License-Identifier: Apache-2.0 */
#include "candidate.h"

struct sp_request sp_candidate_request(const struct sp_search_request *search,
                                       const struct candidate *candidate)
{
    struct sp_request request = search->base;
    bool sliced = candidate->slices > 1;
    request.schedule = candidate->schedule->name;
    request.parallel = candidate->parallel;
    request.gpus = 0;
    request.batch_tokens = 0;
    request.chunks = candidate->chunks;
    request.slices = candidate->slices;
    request.microbatches = candidate->microbatches;
    request.microbatch_sequences = candidate->microbatch_sequences;
    /* The output layer weighs on a last stage of its own; with several stages a device, others make up for
     * it. */
    if (candidate->chunks == 1 && !sliced && !request.stage_layers)
        request.stage_division = SP_STAGES_WORK;
    if (!(search->fixed & SP_FIXED_EXCHANGE))
        request.exchange = sliced && candidate->parallel.pipeline > 1 ? "optimal" : "none";
    return request;
}
