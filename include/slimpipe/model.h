/* SPDX-License-Identifier: Apache-2.0 */
/* A decoder-only transformer's shape, read from a Hugging Face config.json. */
#ifndef SLIMPIPE_MODEL_H
#define SLIMPIPE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "slimpipe/status.h"

struct sp_model {
    char name[64];             /* preset name, or the file's */
    char architecture[48];     /* as in the config: LlamaForCausalLM, … */
    int64_t layers;            /* L, num_hidden_layers */
    int64_t hidden;            /* h, hidden_size */
    int64_t ffn;               /* f, intermediate size of one (expert) MLP, gated: three matrices h × f */
    int64_t heads;             /* query heads */
    int64_t kv_heads;          /* key/value heads; heads % kv_heads == 0 */
    int64_t head_dim;          /* hidden / heads where the config has none */
    int64_t vocab;             /* V */
    int64_t experts;           /* experts per layer; 0: dense */
    int64_t experts_per_token; /* top-k; 0: dense */
    bool tied_embeddings;      /* one matrix for input and output embedding */
    bool qkv_bias;             /* Qwen2 */
    bool qk_norm;              /* Qwen3 */
    double rope_theta;         /* rotary base */
    double norm_epsilon;       /* RMSNorm epsilon */
};

/*
 * Reads a Hugging Face config.json. name: a preset's name (found through sp_preset_find), or a path. SP_INPUT
 * names the field that is missing or unknown.
 */
enum sp_status sp_model_read(const char *name_or_path, struct sp_model *ret_model,
                             struct sp_error *error) SP_MUST_CHECK;

/* Parameters of one transformer layer, of the input embedding, and of the whole model (tied counted once). */
int64_t sp_model_layer_parameters(const struct sp_model *model);
int64_t sp_model_parameters(const struct sp_model *model);

#endif
