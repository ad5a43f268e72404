/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/timeline.h"

#include "slimpipe/arena.h"

enum sp_status sp_timeline_init(struct sp_timeline *timeline, const struct sp_program *program,
                                const char *source, struct sp_error *error)
{
    /* An empty program has a timeline too, and sp_alloc(0) may be NULL. */
    size_t count = program->instruction_count ? program->instruction_count : 1;
    int64_t *start_ns = sp_alloc(count, sizeof *start_ns);
    int64_t *end_ns = sp_alloc(count, sizeof *end_ns);
    if (!start_ns || !end_ns) {
        sp_free(start_ns);
        sp_free(end_ns);
        return sp_error_set(error, SP_MEMORY, "no memory for the times of %u instructions",
                            program->instruction_count);
    }
    *timeline =
        (struct sp_timeline){.program = program, .start_ns = start_ns, .end_ns = end_ns, .source = source};
    return SP_OK;
}

void sp_timeline_finish(struct sp_timeline *timeline)
{
    if (!timeline)
        return;
    sp_free(timeline->start_ns);
    sp_free(timeline->end_ns);
    *timeline = (struct sp_timeline){0};
}
