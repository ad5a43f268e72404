/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hugging Face config.json to a model. The files are read as published: fields that do not matter here are
 * ignored, fields that change the computation in a way that is not modelled are refused.
 */
#include <string.h>

#include "internal.h"
#include "slimpipe/json.h"

enum moe { MOE_NONE, MOE_MIXTRAL, MOE_QWEN };

struct architecture {
    const char *name;
    enum moe moe;
    bool qkv_bias, qk_norm;
    double rope_theta, norm_epsilon; /* where the file has none */
};

static const struct architecture architectures[] = {
    {"LlamaForCausalLM", MOE_NONE, false, false, 1e4, 1e-6},
    {"MistralForCausalLM", MOE_NONE, false, false, 1e4, 1e-6},
    {"Qwen2ForCausalLM", MOE_NONE, true, false, 1e4, 1e-6},
    {"Qwen3ForCausalLM", MOE_NONE, false, true, 1e4, 1e-6},
    {"MixtralForCausalLM", MOE_MIXTRAL, false, false, 1e6, 1e-5},
    {"Qwen3MoeForCausalLM", MOE_QWEN, false, true, 1e4, 1e-6},
};
enum { ARCHITECTURES = sizeof architectures / sizeof *architectures };

/* Far above any model, and far below where counting parameters would overflow. */
#define WIDTH_LIMIT     (INT64_C(1) << 24)
#define PARAMETER_LIMIT 1e15

/* A document and its one object. */
struct reader {
    const struct sp_json *json;
    const struct sp_json_value *root;
    struct sp_error *error;
};

/* Published files spell "not set" as null too. */
static const struct sp_json_value *find(const struct reader *reader, const char *key)
{
    const struct sp_json_value *value = sp_json_find(reader->root, key);
    return value && sp_json_is_null(value) ? NULL : value;
}

static enum sp_status get_count(const struct reader *reader, const char *key, int64_t *ret_number)
{
    return sp_json_get_whole(reader->json, reader->root, key, 1, WIDTH_LIMIT, ret_number, reader->error);
}

static enum sp_status get_count_or(const struct reader *reader, const char *key, int64_t otherwise,
                                   int64_t *ret_number)
{
    if (find(reader, key))
        return get_count(reader, key, ret_number);
    *ret_number = otherwise;
    return SP_OK;
}

static enum sp_status get_flag_or(const struct reader *reader, const char *key, bool otherwise,
                                  bool *ret_flag)
{
    const struct sp_json_value *value = find(reader, key);
    if (value)
        return sp_json_bool(reader->json, value, ret_flag, reader->error);
    *ret_flag = otherwise;
    return SP_OK;
}

static enum sp_status get_real_or(const struct reader *reader, const struct sp_json_value *value,
                                  double otherwise, double least, double most, double *ret_number)
{
    if (value)
        return sp_json_real(reader->json, value, least, most, ret_number, reader->error);
    *ret_number = otherwise;
    return SP_OK;
}

static enum sp_status find_architecture(const struct reader *reader, const struct architecture **ret_known)
{
    const struct sp_json_value *list;
    enum sp_status status = sp_json_get(reader->json, reader->root, "architectures", &list, reader->error);
    if (status != SP_OK)
        return status;
    const struct sp_json_value *first = sp_json_is_array(list) ? sp_json_first(list) : NULL;
    if (!first || sp_json_size(list) != 1)
        return sp_json_error(reader->json, list, reader->error, "expected a list with one architecture");
    const char *names[ARCHITECTURES + 1] = {NULL};
    for (int i = 0; i < ARCHITECTURES; i++)
        names[i] = architectures[i].name;
    int index = 0;
    status = sp_json_choice(reader->json, first, names, &index, reader->error);
    if (status == SP_OK)
        *ret_known = &architectures[index];
    return status;
}

static enum sp_status refuse_flag(const struct reader *reader, const char *key)
{
    bool set = false;
    enum sp_status status = get_flag_or(reader, key, false, &set);
    if (status != SP_OK || !set)
        return status;
    return sp_json_error(reader->json, find(reader, key), reader->error,
                         "%s true is not modelled: expected false or no such field", key);
}

/* Sliding windows count unless they are switched off, as Qwen's files do. */
static enum sp_status refuse_window(const struct reader *reader)
{
    bool used = true;
    enum sp_status status = get_flag_or(reader, "use_sliding_window", true, &used);
    const struct sp_json_value *window = find(reader, "sliding_window");
    if (status != SP_OK || !window || !used)
        return status;
    return sp_json_error(reader->json, window, reader->error,
                         "attention in a sliding window is not modelled: expected null, for full attention");
}

static enum sp_status refuse_sparse_layers(const struct reader *reader)
{
    int64_t step = 1;
    enum sp_status status = get_count_or(reader, "decoder_sparse_step", 1, &step);
    if (status != SP_OK)
        return status;
    if (step != 1)
        return sp_json_error(reader->json, find(reader, "decoder_sparse_step"), reader->error,
                             "layers without experts among others are not modelled: expected 1");
    const struct sp_json_value *dense = find(reader, "mlp_only_layers");
    if (dense && sp_json_size(dense) > 0)
        return sp_json_error(reader->json, dense, reader->error,
                             "layers without experts among others are not modelled: expected []");
    return SP_OK;
}

static enum sp_status refuse_unmodelled(const struct reader *reader)
{
    const struct sp_json_value *activation = find(reader, "hidden_act");
    const char *name = "silu";
    enum sp_status status =
        activation ? sp_json_string(reader->json, activation, &name, reader->error) : SP_OK;
    if (status == SP_OK && strcmp(name, "silu") != 0)
        return sp_json_error(reader->json, activation, reader->error,
                             "activation \"%.40s\" is not modelled: expected \"silu\"", name);
    if (status == SP_OK)
        status = refuse_flag(reader, "attention_bias");
    if (status == SP_OK)
        status = refuse_flag(reader, "mlp_bias");
    if (status == SP_OK)
        status = refuse_window(reader);
    return status == SP_OK ? refuse_sparse_layers(reader) : status;
}

static enum sp_status read_heads(const struct reader *reader, struct sp_model *model)
{
    enum sp_status status = get_count(reader, "num_attention_heads", &model->heads);
    if (status == SP_OK)
        status = get_count_or(reader, "num_key_value_heads", model->heads, &model->kv_heads);
    if (status != SP_OK)
        return status;
    if (model->heads % model->kv_heads != 0)
        return sp_json_error(reader->json, find(reader, "num_key_value_heads"), reader->error,
                             "expected a divisor of num_attention_heads");
    if (!find(reader, "head_dim") && model->hidden % model->heads != 0)
        return sp_json_error(reader->json, find(reader, "num_attention_heads"), reader->error,
                             "expected a divisor of hidden_size, or head_dim");
    return get_count_or(reader, "head_dim", model->hidden / model->heads, &model->head_dim);
}

static enum sp_status read_mlp(const struct reader *reader, enum moe moe, struct sp_model *model)
{
    if (moe == MOE_NONE)
        return get_count(reader, "intermediate_size", &model->ffn);
    enum sp_status status =
        get_count(reader, moe == MOE_QWEN ? "moe_intermediate_size" : "intermediate_size", &model->ffn);
    if (status == SP_OK)
        status = get_count(reader, moe == MOE_QWEN ? "num_experts" : "num_local_experts", &model->experts);
    if (status == SP_OK)
        status = get_count(reader, "num_experts_per_tok", &model->experts_per_token);
    if (status == SP_OK && model->experts_per_token > model->experts)
        return sp_json_error(reader->json, find(reader, "num_experts_per_tok"), reader->error,
                             "expected no more than there are experts");
    return status;
}

/* Newer files keep the base in an object of rotary settings. */
static enum sp_status read_rotary(const struct reader *reader, double otherwise, struct sp_model *model)
{
    const struct sp_json_value *base = find(reader, "rope_theta");
    const struct sp_json_value *settings = find(reader, "rope_parameters");
    if (!base && settings)
        base = sp_json_find(settings, "rope_theta");
    return get_real_or(reader, base, otherwise, 1, 1e12, &model->rope_theta);
}

static enum sp_status check_size(const struct reader *reader, const struct sp_model *model)
{
    double parameters = sp_parameters_estimate(model);
    if (parameters <= PARAMETER_LIMIT)
        return SP_OK;
    return sp_json_error(reader->json, reader->root, reader->error,
                         "the model has %.3g parameters: expected at most %.0g", parameters, PARAMETER_LIMIT);
}

static enum sp_status read_fields(const struct reader *reader, struct sp_model *model)
{
    const struct architecture *known = NULL;
    enum sp_status status = find_architecture(reader, &known);
    if (status == SP_OK)
        status = refuse_unmodelled(reader);
    if (status == SP_OK)
        status = get_count(reader, "num_hidden_layers", &model->layers);
    if (status == SP_OK)
        status = get_count(reader, "hidden_size", &model->hidden);
    if (status == SP_OK)
        status = read_heads(reader, model);
    if (status == SP_OK)
        status = read_mlp(reader, known->moe, model);
    if (status == SP_OK)
        status = get_count(reader, "vocab_size", &model->vocab);
    if (status == SP_OK)
        status = get_flag_or(reader, "tie_word_embeddings", false, &model->tied_embeddings);
    if (status == SP_OK)
        status = read_rotary(reader, known->rope_theta, model);
    if (status == SP_OK)
        status = get_real_or(reader, find(reader, "rms_norm_eps"), known->norm_epsilon, 0, 1,
                             &model->norm_epsilon);
    if (status != SP_OK)
        return status;
    model->qkv_bias = known->qkv_bias;
    model->qk_norm = known->qk_norm;
    strcpy(model->architecture, known->name);
    return check_size(reader, model);
}

enum sp_status sp_model_read(const char *name_or_path, struct sp_model *ret_model, struct sp_error *error)
{
    char path[1024];
    enum sp_status status = sp_preset_find("models", name_or_path, path, sizeof path, error);
    struct sp_json *json = NULL;
    if (status == SP_OK)
        status = sp_json_read(path, &json, error);
    if (status != SP_OK)
        return status;
    struct sp_model model = {0};
    status = read_fields(&(struct reader){json, sp_json_root(json), error}, &model);
    sp_json_destroy(json);
    if (status != SP_OK)
        return status;
    sp_preset_name(path, model.name);
    *ret_model = model;
    return SP_OK;
}
