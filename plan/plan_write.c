/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical form: one way to write a plan, so that equal plans are equal bytes. */
#include <string.h>

#include "plan_fields.h"
#include "slimpipe/file.h"
#include "tokens.h"

static void write_header(struct sp_json_writer *writer, const struct sp_plan *plan)
{
    sp_json_put_string(writer, "format", "slimpipe-plan");
    sp_json_put_whole(writer, "version", SP_PLAN_VERSION);
    sp_json_put_string(writer, "schedule", plan->schedule);
    sp_plan_write_fields(writer, "parallel", sp_plan_parallel_fields, plan, &plan->parallel);
    sp_plan_write_fields(writer, "workload", sp_plan_workload_fields, plan, &plan->workload);
    sp_json_begin_array(writer, "slices", true);
    for (uint32_t i = 0; i < plan->slice_count; i++)
        sp_json_put_whole(writer, NULL, plan->slice_tokens[i]);
    sp_json_end_array(writer);
}

static void write_costs(struct sp_json_writer *writer, const struct sp_plan *plan)
{
    if (plan->has_model) {
        sp_plan_write_fields(writer, "model", sp_plan_model_fields, plan, &plan->model);
        sp_plan_write_fields(writer, "cluster", sp_plan_cluster_fields, plan, &plan->cluster);
        sp_plan_write_fields(writer, "profile", sp_plan_profile_fields, plan, &plan->profile);
    } else {
        sp_plan_write_fields(writer, "pass_costs", sp_plan_cost_fields, plan, plan->costs);
    }
    sp_plan_write_fields(writer, "options", sp_plan_option_fields, plan, plan);
}

static void write_stage(struct sp_json_writer *writer, const struct sp_plan *plan,
                        const struct sp_stage *stage)
{
    sp_json_begin_line_object(writer, NULL);
    sp_json_put_whole(writer, "device", stage->device);
    if (plan->has_model) {
        sp_json_begin_array(writer, "layers", true);
        sp_json_put_whole(writer, NULL, stage->layer_begin);
        sp_json_put_whole(writer, NULL, stage->layer_count);
        sp_json_end_array(writer);
    }
    sp_json_put_string(writer, "recompute", sp_recompute_names[stage->recompute]);
    sp_json_put_whole(writer, "offload_permille", stage->offload_permille);
    sp_json_put_string(writer, "train", sp_train_names[stage->train]);
    if (stage->replica_count > 0) {
        sp_json_begin_array(writer, "replicas", true);
        for (uint32_t i = 0; i < stage->replica_count; i++)
            sp_json_put_whole(writer, NULL, stage->replicas[i]);
        sp_json_end_array(writer);
    }
    sp_json_end_object(writer);
}

static void write_stages(struct sp_json_writer *writer, const struct sp_plan *plan)
{
    sp_json_begin_array(writer, "stages", false);
    for (uint32_t i = 0; i < plan->stage_count; i++)
        write_stage(writer, plan, &plan->stages[i]);
    sp_json_end_array(writer);
    if (!plan->path_begin)
        return;
    sp_json_begin_array(writer, "paths", false);
    for (int64_t i = 0; i < plan->workload.microbatches; i++) {
        sp_json_begin_array(writer, NULL, true);
        for (uint32_t j = plan->path_begin[i]; j < plan->path_begin[i + 1]; j++)
            sp_json_put_whole(writer, NULL, plan->path_stages[j]);
        sp_json_end_array(writer);
    }
    sp_json_end_array(writer);
}

static void put_pass(struct sp_json_writer *writer, const struct sp_plan *plan, const struct sp_pass *pass)
{
    char text[32];
    sp_pass_text(pass, plan->slice_count, text, sizeof text);
    sp_json_put_piece(writer, text, strlen(text));
}

static void put_text(struct sp_json_writer *writer, const char *text)
{
    sp_json_put_piece(writer, text, strlen(text));
}

static void write_order(struct sp_json_writer *writer, const struct sp_plan *plan)
{
    const struct sp_order *order = &plan->order;
    sp_json_begin_array(writer, "order", false);
    for (uint32_t device = 0; device < order->device_count; device++) {
        sp_json_begin_string(writer, NULL);
        for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
            bool joined = order->passes[i].joined;
            if (i > order->begin[device])
                put_text(writer, " ");
            if (joined)
                put_text(writer, "(");
            put_pass(writer, plan, &order->passes[i]);
            if (joined) {
                put_text(writer, ";");
                put_pass(writer, plan, &order->passes[++i]);
                put_text(writer, ")OVERLAP_F_B");
            }
        }
        sp_json_end_string(writer);
    }
    sp_json_end_array(writer);
}

/* The device that runs part number i; parts stand by device, so the search goes on from the last one. */
static bool is_on_device(const struct sp_pass_table *table, const struct sp_plan *plan, uint64_t number,
                         uint32_t device)
{
    const struct sp_pass *pass = &plan->exchange[number].pass;
    uint64_t index = sp_pass_table_find(table, pass->kind, pass->stage, pass->microbatch, pass->slice);
    return index < plan->order.begin[device + 1];
}

static void write_parts(struct sp_json_writer *writer, const struct sp_plan *plan,
                        const struct sp_pass_table *table)
{
    uint64_t number = 0;
    for (uint32_t device = 0; device < plan->order.device_count && plan->exchange_count > 0; device++) {
        sp_json_begin_string(writer, NULL);
        for (bool first = true; number < plan->exchange_count; number++, first = false) {
            char text[PART_TEXT_SIZE];
            if (!is_on_device(table, plan, number, device))
                break;
            if (!first)
                put_text(writer, " ");
            put_text(writer, sp_part_text(&plan->exchange[number], plan->slice_count, text));
        }
        sp_json_end_string(writer);
    }
}

static void write_document(FILE *stream, const struct sp_plan *plan, const struct sp_pass_table *table)
{
    struct sp_json_writer writer;
    sp_json_writer_init(&writer, stream);
    sp_json_begin_object(&writer, NULL);
    write_header(&writer, plan);
    write_costs(&writer, plan);
    write_stages(&writer, plan);
    write_order(&writer, plan);
    sp_json_begin_object(&writer, "exchange");
    sp_json_put_string(&writer, "policy", plan->exchange_policy);
    sp_json_begin_array(&writer, "parts", false);
    write_parts(&writer, plan, table);
    sp_json_end_array(&writer);
    sp_json_end_object(&writer);
    sp_json_end_object(&writer);
    sp_json_writer_finish(&writer);
}

enum sp_status sp_plan_print(const struct sp_plan *plan, FILE *stream, struct sp_error *error)
{
    struct sp_pass_table *table = NULL;
    struct sp_arena *scratch = NULL;
    if (plan->exchange_count > 0) {
        scratch = sp_arena_create();
        table = scratch ? sp_pass_table_create(plan, scratch) : NULL;
        if (!table) {
            sp_arena_destroy(scratch);
            return sp_error_set(error, SP_MEMORY, "out of memory while writing a plan");
        }
    }
    write_document(stream, plan, table);
    sp_arena_destroy(scratch);
    return SP_OK;
}

enum sp_status sp_plan_write(const struct sp_plan *plan, const char *path, struct sp_error *error)
{
    struct sp_file file;
    enum sp_status status = sp_file_create(path, &file, error);
    if (status)
        return status;
    status = sp_plan_print(plan, file.stream, error);
    if (!status)
        status = sp_file_commit(&file, error);
    sp_file_discard(&file);
    return status;
}
