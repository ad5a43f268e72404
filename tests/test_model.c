/* SPDX-License-Identifier: Apache-2.0 */
/* Model files: the presets' published sizes, and what is refused. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/arena.h"
#include "slimpipe/model.h"

struct published {
    char name[24];
    int64_t parameters;
};

/* Parameters of the published checkpoints (safetensors totals on their Hugging Face pages). */
ParameterizedTestParameters(model, published_parameter_count)
{
    static struct published rows[] = {
        {"llama-2-7b", 6738415616},      {"llama-2-13b", 13015864320},     {"llama-3.1-8b", 8030261248},
        {"llama-3.1-70b", 70553706496},  {"llama-3.1-405b", 405853388800}, {"mixtral-8x7b", 46702792704},
        {"mixtral-8x22b", 140620634112}, {"mistral-7b", 7248023552},       {"qwen2.5-7b", 7615616512},
        {"qwen3-8b", 8190735360},        {"qwen3-30b-a3b", 30532122624},
    };
    return cr_make_param_array(struct published, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct published *row, model, published_parameter_count)
{
    struct sp_model model;
    struct sp_error error;
    cr_assert_eq(sp_model_read(row->name, &model, &error), SP_OK, "%s", error.message);
    cr_assert_str_eq(model.name, row->name);
    cr_assert_eq(sp_model_parameters(&model), row->parameters, "%s: %lld", row->name,
                 (long long)sp_model_parameters(&model));
}

/* The SlimPipe authors' models: 13B, 70B and 149B with tied embeddings over 128256 tokens. */
Test(model, paper_models_are_tied)
{
    static const char *const names[] = {"paper-13b", "paper-70b", "paper-149b"};
    static const double billions[] = {13, 70, 149};
    for (int i = 0; i < 3; i++) {
        struct sp_model model;
        cr_assert_eq(sp_model_read(names[i], &model, NULL), SP_OK);
        cr_assert(model.tied_embeddings);
        cr_assert_eq(model.vocab, 128256);
        cr_assert_float_eq((double)sp_model_parameters(&model) / 1e9 / billions[i], 1, 0.05);
    }
}

Test(model, experts_and_widths_are_read)
{
    struct sp_model model;
    cr_assert_eq(sp_model_read("qwen3-30b-a3b", &model, NULL), SP_OK);
    cr_assert_str_eq(model.architecture, "Qwen3MoeForCausalLM");
    cr_assert_eq(model.experts, 128);
    cr_assert_eq(model.experts_per_token, 8);
    cr_assert_eq(model.ffn, 768);
    cr_assert_eq(model.head_dim, 128);
    cr_assert(model.qk_norm && !model.qkv_bias);
    cr_assert_eq(sp_model_read("qwen2.5-7b", &model, NULL), SP_OK);
    cr_assert(model.qkv_bias && !model.qk_norm);
    cr_assert_eq(model.head_dim, 128);
}

/* A config with one line changed or added. */
static enum sp_status read_text(const char *text, struct sp_model *model, struct sp_error *error)
{
    char folder[] = "/tmp/slimpipe-model-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *stream = fopen(path, "w");
    cr_assert(stream);
    fputs(text, stream);
    fclose(stream);
    enum sp_status status = sp_model_read(path, model, error);
    remove(path);
    remove(folder);
    return status;
}

static const char tail[] = "\"hidden_size\": 64, \"intermediate_size\": 128, \"num_hidden_layers\": 2, "
                           "\"vocab_size\": 100}";

Test(model, absent_and_null_fields_have_defaults)
{
    struct sp_model model;
    struct sp_error error;
    char text[512];
    snprintf(text, sizeof text,
             "{\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": 4, \"head_dim\": null, "
             "\"num_key_value_heads\": null, \"rope_parameters\": {\"rope_theta\": 5e5}, \"extra\": [1], %s",
             tail);
    cr_assert_eq(read_text(text, &model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(model.kv_heads, 4);
    cr_assert_eq(model.head_dim, 16);
    cr_assert_eq(model.rope_theta, 5e5);
    cr_assert_eq(model.norm_epsilon, 1e-6);
    cr_assert(!model.tied_embeddings);
    cr_assert(strncmp(model.name, "slimpipe-model-", 15) == 0);
}

struct refused {
    char head[160];
    char expected[64];
};

ParameterizedTestParameters(model, refused_by_field)
{
    static struct refused rows[] = {
        {"", "architectures"},
        {"\"architectures\": [],", "one architecture"},
        {"\"architectures\": [\"GPT2LMHeadModel\"],", "LlamaForCausalLM"},
        {"\"architectures\": [\"LlamaForCausalLM\"],", "num_attention_heads"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": 5,", "hidden_size"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": 4, \"num_key_value_heads\": 3,",
         "divisor of num_attention_heads"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": 0,", "1"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": \"4\",", "number"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"hidden_act\": \"gelu\",", "silu"},
        {"\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": true,", "attention_bias"},
        {"\"architectures\": [\"MistralForCausalLM\"], \"sliding_window\": 4096,", "sliding window"},
        {"\"architectures\": [\"MixtralForCausalLM\"], \"num_attention_heads\": 4,", "num_local_experts"},
        {"\"architectures\": [\"Qwen3MoeForCausalLM\"], \"num_attention_heads\": 4,",
         "moe_intermediate_size"},
        {"\"architectures\": [\"Qwen3MoeForCausalLM\"], \"mlp_only_layers\": [0],", "expected []"},
    };
    return cr_make_param_array(struct refused, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct refused *row, model, refused_by_field)
{
    struct sp_model model = {.layers = -1};
    struct sp_error error;
    char text[512], line[1600];
    snprintf(text, sizeof text, "{%s %s", row->head, tail);
    cr_assert_eq(read_text(text, &model, &error), SP_INPUT);
    cr_assert(strstr(sp_error_text(&error, line, sizeof line), row->expected), "%s", line);
    cr_assert_eq(model.layers, -1);
}

Test(model, too_many_parameters)
{
    struct sp_model model;
    struct sp_error error;
    cr_assert_eq(read_text("{\"architectures\": [\"LlamaForCausalLM\"], \"num_attention_heads\": 16, "
                           "\"hidden_size\": 16777216, \"intermediate_size\": 16777216, "
                           "\"num_hidden_layers\": 16777216, \"vocab_size\": 1}",
                           &model, &error),
                 SP_INPUT);
    cr_assert(strstr(error.message, "parameters"), "%s", error.message);
}

Test(model, unknown_preset_lists_those_there_are)
{
    struct sp_model model;
    struct sp_error error;
    cr_assert_eq(sp_model_read("llama-9", &model, &error), SP_INPUT);
    cr_assert(strstr(error.message, "llama-9"));
    cr_assert(strstr(error.message, "llama-2-13b, llama-2-7b, llama-3.1-405b"), "%s", error.message);
    cr_assert_eq(sp_model_read("nowhere/config.json", &model, &error), SP_IO);
}

Test(model, every_allocation_may_fail)
{
    struct sp_model model;
    enum sp_status status = SP_MEMORY;
    for (int64_t i = 0; status == SP_MEMORY && i < 1000; i++) {
        sp_alloc_fail_after(i);
        status = sp_model_read("llama-2-7b", &model, NULL);
        sp_alloc_fail_after(-1);
    }
    cr_assert_eq(status, SP_OK);
}
