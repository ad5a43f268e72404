/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's pipelining CSV, computation alone. */
#include "export_torch.h"

#include "slimpipe/interchange.h"
#include "tokens.h"

bool sp_torch_has_word(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_F || pass->kind == SP_PASS_I || pass->kind == SP_PASS_W ||
           pass->kind == SP_PASS_B;
}

uint32_t sp_torch_microbatch(const struct sp_plan *plan, const struct sp_pass *pass)
{
    return pass->microbatch * plan->slice_count + pass->slice;
}

static char *put_pass(const struct sp_plan *plan, const struct sp_pass *pass, char *at)
{
    struct sp_pass whole = *pass;

    whole.microbatch = sp_torch_microbatch(plan, pass);
    sp_pass_text(&whole, 1, at, TORCH_CELL_SIZE / 3);
    while (*at)
        at++;
    return at;
}

static char *put_text(char *at, const char *text)
{
    while (*text)
        *at++ = *text++;
    *at = '\0';
    return at;
}

char *sp_torch_cell(const struct sp_plan *plan, const struct sp_pass *pass, char cell[TORCH_CELL_SIZE])
{
    char *at = cell;

    if (!pass->joined) {
        put_pass(plan, pass, at);
        return cell;
    }
    at = put_pass(plan, pass, put_text(at, "("));
    at = put_pass(plan, pass + 1, put_text(at, ";"));
    put_text(at, ")OVERLAP_F_B");
    return cell;
}

static void put_device(const struct sp_plan *plan, uint32_t device, FILE *stream)
{
    const struct sp_order *order = &plan->order;
    const char *comma = "";
    char cell[TORCH_CELL_SIZE];

    for (uint64_t i = order->begin[device]; i < order->begin[device + 1]; i++) {
        const struct sp_pass *pass = &order->passes[i];
        if (!sp_torch_has_word(pass))
            continue;
        fputs(comma, stream);
        fputs(sp_torch_cell(plan, pass, cell), stream);
        comma = ",";
        i += pass->joined;
    }
    fputc('\n', stream);
}

enum sp_status sp_export_torch(const struct sp_plan *plan, FILE *stream, struct sp_error *error)
{
    (void)error;
    for (uint32_t d = 0; d < plan->order.device_count; d++)
        put_device(plan, d, stream);
    return SP_OK;
}
