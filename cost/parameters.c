/* SPDX-License-Identifier: Apache-2.0 */
/* Counting parameters: of a model, and of what one GPU holds. */
#include "internal.h"

/* Matrices and biases of the attention, divided over the tensor ranks. */
static int64_t attention_parameters(const struct sp_model *model)
{
    int64_t query = model->heads * model->head_dim, kv = model->kv_heads * model->head_dim;
    int64_t bias = model->qkv_bias ? query + 2 * kv : 0;
    return model->hidden * (2 * query + 2 * kv) + bias;
}

/* Norms and the router, which every tensor rank holds. */
static int64_t copied_parameters(const struct sp_model *model)
{
    return 2 * model->hidden + (model->qk_norm ? 2 * model->head_dim : 0) + model->hidden * model->experts;
}

static int64_t mlp_parameters(const struct sp_model *model)
{
    return 3 * model->hidden * model->ffn;
}

int64_t sp_model_layer_parameters(const struct sp_model *model)
{
    int64_t mlps = model->experts > 0 ? model->experts : 1;
    return attention_parameters(model) + copied_parameters(model) + mlps * mlp_parameters(model);
}

int64_t sp_model_parameters(const struct sp_model *model)
{
    int64_t embedding = model->vocab * model->hidden;
    return model->layers * sp_model_layer_parameters(model) + model->hidden +
           (model->tied_embeddings ? 1 : 2) * embedding;
}

double sp_parameters_estimate(const struct sp_model *model)
{
    double width = 2 * (double)(model->heads + model->kv_heads) * (double)model->head_dim;
    double mlps = (double)(model->experts > 0 ? model->experts : 1) * 3 * (double)model->ffn;
    double layer = (double)model->hidden * (width + mlps + (double)model->experts + 2);
    return (double)model->layers * layer + 2 * (double)model->vocab * (double)model->hidden;
}

struct rank_parameters sp_parameters_layer(const struct sp_plan *plan)
{
    const struct sp_model *model = &plan->model;
    int64_t tensor = plan->parallel.tensor;
    struct rank_parameters ret = {
        .dense = sp_divide_up(attention_parameters(model), tensor) + copied_parameters(model),
        .expert = 0,
    };
    if (model->experts == 0)
        ret.dense += sp_divide_up(mlp_parameters(model), tensor);
    else
        ret.expert = sp_divide_up(model->experts * mlp_parameters(model), tensor * plan->parallel.expert);
    return ret;
}

bool sp_parameters_on_device(const struct sp_stage *stage, uint32_t device)
{
    if (stage->device == device)
        return true;
    for (uint32_t i = 0; i < stage->replica_count; i++)
        if (stage->replicas[i] == device)
            return true;
    return false;
}

/*
 * As the host backend holds them: the first stage has the input embedding whole, since no message brings its
 * rows; every device has its columns of the output matrix, or all of them where tokens are scattered.
 */
static int64_t spread_float32(const struct sp_plan *plan, uint32_t device)
{
    const struct sp_model *model = &plan->model;
    int64_t share = plan->vocabulary == SP_VOCABULARY_SCATTER ? 1 : plan->parallel.pipeline;
    bool input = sp_parameters_on_device(&plan->stages[0], device);
    return model->hidden * (sp_divide_up(model->vocab, share) + (input ? model->vocab : 0));
}

/* Spread: every device holds its share. Else the first stage has the input embedding, the last the output's.
 */
int64_t sp_parameters_vocabulary(const struct sp_plan *plan, uint32_t device)
{
    const struct sp_model *model = &plan->model;
    int64_t tensor = plan->parallel.tensor;
    int64_t matrix = model->vocab * model->hidden;
    if (sp_vocabulary_is_spread(plan->vocabulary) && sp_is_float32(plan))
        return spread_float32(plan, device);
    if (sp_vocabulary_is_spread(plan->vocabulary))
        return sp_divide_up((model->tied_embeddings ? 1 : 2) * matrix, tensor * plan->parallel.pipeline);
    bool input = sp_parameters_on_device(&plan->stages[0], device);
    bool output = sp_parameters_on_device(&plan->stages[plan->stage_count - 1], device);
    int copies = input && output && !model->tied_embeddings ? 2 : input || output ? 1 : 0;
    return copies * sp_divide_up(matrix, tensor);
}
