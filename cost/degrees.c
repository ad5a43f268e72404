/* SPDX-License-Identifier: Apache-2.0 */
/* Parallel degrees that the model cannot be divided by. */
#include "internal.h"

#include <inttypes.h>

static enum sp_status divides(const char *degree, int64_t divisor, const char *what, int64_t number,
                              struct sp_error *error)
{
    if (number % divisor == 0)
        return SP_OK;
    return sp_error_set(error, SP_INPUT,
                        "the %s degree %" PRId64 " does not divide the model's %" PRId64 " %s", degree,
                        divisor, number, what);
}

static enum sp_status check_experts(const struct sp_plan *plan, struct sp_error *error)
{
    const struct sp_parallel *parallel = &plan->parallel;
    if (plan->model.experts == 0)
        return parallel->expert == 1
                   ? SP_OK
                   : sp_error_set(error, SP_INPUT,
                                  "the expert degree is %" PRId64 ", but %s has no experts: expected 1",
                                  parallel->expert, plan->model.name);
    if (parallel->context * parallel->data % parallel->expert != 0)
        return sp_error_set(error, SP_INPUT,
                            "the expert degree %" PRId64
                            " does not divide context times data degree, %" PRId64 ", where its ranks lie",
                            parallel->expert, parallel->context * parallel->data);
    return divides("expert", parallel->expert, "experts", plan->model.experts, error);
}

enum sp_status sp_degrees_check(const struct sp_plan *plan, struct sp_error *error)
{
    const struct sp_model *model = &plan->model;
    int64_t tensor = plan->parallel.tensor;
    enum sp_status status = divides("tensor", tensor, "heads", model->heads, error);
    if (status == SP_OK && tensor % model->kv_heads != 0)
        status = divides("tensor", tensor, "key/value heads", model->kv_heads, error);
    if (status == SP_OK)
        status = divides("tensor", tensor, "columns of the MLP", model->ffn, error);
    if (status == SP_OK)
        status = check_experts(plan, error);
    return status;
}
