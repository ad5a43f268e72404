/* SPDX-License-Identifier: Apache-2.0 */
/* Slices and stages of equal work, from the model's FLOPs. */
#include "compose.h"
#include "divide.h"

const char *const sp_slice_division_names[] = {"equal", "work", "terapipe", NULL};
const char *const sp_stage_division_names[] = {"equal", "work", NULL};

/* Forward FLOPs of one layer: of a token, and of a query and key pair. */
struct layer_work {
    double token, pair;
};

static struct layer_work layer_work(const struct sp_model *model)
{
    double width = (double)(model->heads * model->head_dim), kv = (double)(model->kv_heads * model->head_dim);
    double hidden = (double)model->hidden, routed = model->experts ? (double)model->experts_per_token : 1;
    return (struct layer_work){
        .token = 2 * (hidden * (2 * width + 2 * kv) + 3 * hidden * (double)model->ffn * routed),
        .pair = 4 * width};
}

/* The forward time of a slice on one stage of average length, in nanoseconds of one device. */
struct slice_times {
    struct layer_work work;
    double tile, launch_ns, token_ns, pair_ns;
};

static int64_t slice_ns(void *context, uint32_t begin, uint32_t end)
{
    const struct slice_times *times = context;
    double length = (end - begin) * times->tile, past = begin * times->tile;
    return (int64_t)(times->launch_ns + times->token_ns * length +
                     times->pair_ns * length * (past + length / 2));
}

static double best_rate(const struct sp_cluster *cluster, const struct sp_efficiency *curve, int points)
{
    int64_t permille = points ? curve[points - 1].permille : 1000;
    return (double)cluster->matrix_flops / 1e9 * (double)permille / 1000;
}

static struct slice_times slice_times(const struct composing *composing, int64_t tile)
{
    const struct sp_request *request = composing->request;
    const struct sp_parallel *parallel = &composing->plan->parallel;
    double ranks = (double)(parallel->tensor * parallel->context);
    double chunks = request->chunks ? request->chunks : 1;
    double layers = (double)request->model->layers / (double)parallel->pipeline / chunks;
    struct layer_work work = layer_work(request->model);
    return (struct slice_times){
        .work = work,
        .tile = (double)tile,
        .launch_ns = layers * (double)request->profile->launch_ns,
        .token_ns = layers * work.token / ranks /
                    best_rate(request->cluster, request->profile->matrix, request->profile->matrix_points),
        .pair_ns =
            layers * work.pair / ranks /
            best_rate(request->cluster, request->profile->attention, request->profile->attention_points)};
}

/* Equal FLOPs, in units small enough for whole numbers: a pair's FLOPs. */
static int64_t slice_work(void *context, uint32_t begin, uint32_t end)
{
    const struct slice_times *times = context;
    double length = (end - begin) * times->tile, past = begin * times->tile;
    return (int64_t)(times->work.token / times->work.pair * length + length * (past + length / 2));
}

static enum sp_status run_division(struct composing *composing, int64_t tile, uint32_t tiles, uint32_t *count,
                                   uint32_t *ends)
{
    struct slice_times times = slice_times(composing, tile);
    int64_t value;
    if (composing->request->slice_division == SP_SLICES_WORK)
        return sp_divide_least_largest(tiles, *count, slice_work, &times, ends, &value, composing->error);
    return sp_divide_pipeline(tiles, (uint32_t)composing->plan->parallel.pipeline, 1, slice_ns, &times, ends,
                              count, &value, composing->error);
}

/* TeraPipe's programme grows with the square of the tiles: longer sequences get longer tiles. */
enum { TERAPIPE_TILES = 512 };

enum sp_status sp_compose_divide_slices(struct composing *composing, int64_t tile, uint32_t *count,
                                        int64_t **ret_tokens)
{
    const struct sp_request *request = composing->request;
    bool terapipe = request->slice_division == SP_SLICES_TERAPIPE;
    int64_t tokens = request->sequence_tokens;
    enum sp_status status;
    if (!request->model || !request->profile)
        return COMPOSE_FAIL(composing, "slice-division %s needs a model",
                            sp_slice_division_names[request->slice_division]);
    if (terapipe && *count)
        return COMPOSE_FAIL(composing, "slices %u: slice-division terapipe chooses their number itself",
                            *count);
    while (tokens % tile != 0)
        tile /= 2;
    while (terapipe && tokens / tile > TERAPIPE_TILES && tokens % (2 * tile) == 0)
        tile *= 2;
    uint32_t tiles = (uint32_t)(tokens / tile);
    if (!terapipe && *count > tiles)
        return COMPOSE_FAIL(composing, "slices %u: expected at most %u of at least %lld tokens", *count,
                            tiles, (long long)tile);
    uint32_t *ends = sp_arena_alloc(composing->plan->arena, tiles, sizeof *ends);
    if (!ends)
        return sp_error_set(composing->error, SP_MEMORY, "no memory for the slices");
    if ((status = run_division(composing, tile, tiles, count, ends)))
        return status;
    int64_t *lengths = sp_arena_alloc(composing->plan->arena, *count, sizeof *lengths);
    if (!lengths)
        return sp_error_set(composing->error, SP_MEMORY, "no memory for the slices");
    for (uint32_t i = 0; i < *count; i++)
        lengths[i] = (ends[i] - (i ? ends[i - 1] : 0)) * tile;
    *ret_tokens = lengths;
    return SP_OK;
}

/* Layers [begin, end) of the model in FLOPs of a mean token, the ends with their share of the vocabulary. */
struct stage_work {
    uint32_t layers;
    double layer, output;
};

static int64_t stage_work(void *context, uint32_t begin, uint32_t end)
{
    const struct stage_work *work = context;
    return (int64_t)((end - begin) * work->layer + (end == work->layers ? work->output : 0));
}

enum sp_status sp_compose_divide_stages(struct composing *composing, struct sp_stage *stages, uint32_t count)
{
    const struct sp_model *model = composing->request->model;
    bool output_inside = composing->plan->vocabulary == SP_VOCABULARY_LAST ||
                         composing->plan->vocabulary == SP_VOCABULARY_TILED;
    struct layer_work layer = layer_work(model);
    struct stage_work work = {.layers = (uint32_t)model->layers,
                              .layer = layer.token +
                                       layer.pair * (double)composing->plan->workload.sequence_tokens / 2,
                              .output = output_inside ? 2.0 * (double)(model->hidden * model->vocab) : 0};
    uint32_t *ends = sp_arena_alloc(composing->plan->arena, count, sizeof *ends);
    int64_t largest;
    enum sp_status status;
    if (!ends)
        return sp_error_set(composing->error, SP_MEMORY, "no memory for the stages");
    if ((status = sp_divide_least_largest(work.layers, count, stage_work, &work, ends, &largest,
                                          composing->error)))
        return status;
    for (uint32_t s = 0; s < count; s++)
        stages[s].layer_count = ends[s] - (s ? ends[s - 1] : 0);
    return SP_OK;
}
