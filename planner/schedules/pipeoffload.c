/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PipeOffload: GIS whose activations go to host memory. Full offload moves every chunk and holds about four
 * units; half offload moves the first half of each device's chunks, which live longest and free the most for
 * each byte that is copied.
 */
#include "gis.h"
#include "schedules.h"

static enum sp_status check_full(const struct sp_shape *shape, struct sp_error *error)
{
    return sp_gis_check("po-f", shape, error);
}

static enum sp_status check_half(const struct sp_shape *shape, struct sp_error *error)
{
    if (shape->chunks < 2)
        return sp_error_set(error, SP_INPUT,
                            "po-h: one chunk per device; expected at least 2, to offload half");
    return sp_gis_check("po-h", shape, error);
}

static enum sp_status order_full(const struct sp_shape *shape, struct sp_order_builder *builder,
                                 struct sp_error *error)
{
    (void)error;
    sp_gis_push(shape, shape->group ? shape->group : shape->devices, shape->chunks, builder);
    return SP_OK;
}

static enum sp_status order_half(const struct sp_shape *shape, struct sp_order_builder *builder,
                                 struct sp_error *error)
{
    (void)error;
    sp_gis_push(shape, shape->group ? shape->group : (shape->devices + 1) / 2, shape->chunks / 2, builder);
    return SP_OK;
}

const struct sp_schedule sp_schedule_po_f = {
    .name = "po-f",
    .description = "GIS with every unit offloaded: a few units held, whatever p, v and m",
    .source = "PipeOffload, arXiv 2503.01328, section 4",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_OFFLOADS | SP_SCHEDULE_USES_GROUP,
    .default_chunks = 2,
    .check = check_full,
    .order = order_full,
};

const struct sp_schedule sp_schedule_po_h = {
    .name = "po-h",
    .description = "GIS-H with the longest-lived half of the chunks offloaded",
    .source = "PipeOffload, arXiv 2503.01328, section 4",
    .traits = SP_SCHEDULE_CHUNKS | SP_SCHEDULE_SPLITS_W | SP_SCHEDULE_OFFLOADS | SP_SCHEDULE_USES_GROUP,
    .default_chunks = 2,
    .check = check_half,
    .order = order_half,
};
