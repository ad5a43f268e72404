/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "linear.h"

void sp_host_embed(int64_t rows, int64_t hidden, const int32_t *ids, int64_t vocab_begin, int64_t count,
                   const float *table, float *x)
{
    for (int64_t r = 0; r < rows; r++, x += hidden) {
        int64_t at = ids[r] - vocab_begin;
        if (at >= 0 && at < count)
            memcpy(x, table + at * hidden, (size_t)hidden * sizeof *x);
        else
            memset(x, 0, (size_t)hidden * sizeof *x);
    }
}

void sp_host_embed_backward(int64_t rows, int64_t hidden, const int32_t *ids, int64_t vocab_begin,
                            int64_t count, const float *dx, float *dtable)
{
    for (int64_t r = 0; r < rows; r++, dx += hidden) {
        int64_t at = ids[r] - vocab_begin;
        if (at >= 0 && at < count)
            for (int64_t i = 0; i < hidden; i++)
                dtable[at * hidden + i] += dx[i];
    }
}

static struct sp_host_linear map_of(const struct sp_host_output *output)
{
    return (struct sp_host_linear){output->hidden, output->vocab_count, output->weight};
}

/* Column of the row's target in the range, or -1. */
static int64_t target_column(const struct sp_host_output *output, int64_t row)
{
    int64_t at = output->targets[row] - output->vocab_begin;
    return output->targets[row] >= 0 && at >= 0 && at < output->vocab_count ? at : -1;
}

void sp_host_output_logits(const struct sp_host_output *output, float *logits, float *ret_target)
{
    sp_host_linear(output->math, output->rows, map_of(output), output->x, 0, logits);
    for (int64_t r = 0; r < output->rows; r++) {
        int64_t column = target_column(output, r);
        ret_target[r] = column < 0 ? 0 : logits[r * output->vocab_count + column];
    }
}

void sp_host_output_lse(const struct sp_host_output *output, const float *logits, float *ret_lse)
{
    output->math->kernels->row_lse(output->rows, output->vocab_count, logits, ret_lse);
}

void sp_host_output_combine(int64_t rows, int64_t part_count, const float *parts, float *ret_lse)
{
    for (int64_t r = 0; r < rows; r++) {
        double most = (double)parts[r], sum = 0;
        for (int64_t i = 1; i < part_count; i++)
            most = fmax(most, (double)parts[i * rows + r]);
        for (int64_t i = 0; i < part_count; i++)
            sum += exp((double)parts[i * rows + r] - most);
        ret_lse[r] = (float)(most + log(sum));
    }
}

double sp_host_output_loss(int64_t rows, const int32_t *targets, const float *lse, const float *target)
{
    double sum = 0;
    for (int64_t r = 0; r < rows; r++)
        if (targets[r] >= 0)
            sum += (double)lse[r] - (double)target[r];
    return sum;
}

/* Softmax to gradient: minus one at the target; nothing for a row without one. */
static void subtract_targets(const struct sp_host_output *output, float scale, float *softmax)
{
    for (int64_t r = 0; r < output->rows; r++) {
        float *row = softmax + r * output->vocab_count;
        int64_t column = target_column(output, r);
        if (column >= 0)
            row[column] -= scale;
        else if (output->targets[r] < 0)
            memset(row, 0, (size_t)output->vocab_count * sizeof *row);
    }
}

void sp_host_output_gradient(const struct sp_host_output *output, const float *lse, float scale,
                             float *logits)
{
    output->math->kernels->row_softmax(output->rows, output->vocab_count, lse, scale, logits);
    subtract_targets(output, scale, logits);
}

void sp_host_output_input(const struct sp_host_output *output, const float *dlogits, float beta, float *dx)
{
    sp_host_linear_backward(output->math, output->rows, map_of(output), dlogits, beta, dx);
}

void sp_host_output_weight(const struct sp_host_output *output, const float *dlogits, float *dweight)
{
    sp_host_linear_weight(output->math, output->rows, map_of(output), output->x, dlogits, dweight);
}

void sp_host_output_product(const struct sp_host_output *output, const float *lse, float *logits,
                            float *ret_product)
{
    output->math->kernels->row_softmax(output->rows, output->vocab_count, lse, 1, logits);
    sp_host_output_input(output, logits, 0, ret_product);
}

void sp_host_output_join(const struct sp_host_output *output, const float *own_lse, const float *lse,
                         float scale, const float *product, float *logits, float *dx)
{
    int64_t hidden = output->hidden, columns = output->vocab_count;
    for (int64_t r = 0; r < output->rows; r++) {
        float factor = output->targets[r] < 0 ? 0 : scale * expf(own_lse[r] - lse[r]);
        int64_t column = target_column(output, r);
        for (int64_t i = 0; i < columns; i++)
            logits[r * columns + i] *= factor;
        for (int64_t i = 0; i < hidden; i++)
            dx[r * hidden + i] = factor * product[r * hidden + i];
        for (int64_t i = 0; column >= 0 && i < hidden; i++)
            dx[r * hidden + i] -= scale * output->weight[column * hidden + i];
    }
    subtract_targets(output, scale, logits);
}

/* The tile of the vocabulary that begins at column `first` of the range. */
static struct sp_host_output tile_of(const struct sp_host_output *output, int64_t first, int64_t tile)
{
    struct sp_host_output part = *output;
    part.vocab_begin += first;
    part.vocab_count = output->vocab_count - first < tile ? output->vocab_count - first : tile;
    part.weight += first * output->hidden;
    return part;
}

void sp_host_output_tiled_forward(const struct sp_host_output *output, int64_t tile, float *tiles,
                                  float *part_lse, float *ret_lse, float *ret_target)
{
    assert(tile > 0);
    for (int64_t r = 0; r < output->rows; r++) {
        ret_lse[r] = -INFINITY;
        ret_target[r] = 0;
    }
    for (int64_t first = 0; first < output->vocab_count; first += tile) {
        struct sp_host_output part = tile_of(output, first, tile);
        sp_host_linear(part.math, part.rows, map_of(&part), part.x, 0, tiles);
        sp_host_output_lse(&part, tiles, part_lse);
        for (int64_t r = 0; r < output->rows; r++) {
            int64_t column = target_column(&part, r);
            float pair[2] = {ret_lse[r], part_lse[r]};
            sp_host_output_combine(1, 2, pair, &ret_lse[r]);
            if (column >= 0)
                ret_target[r] = tiles[r * part.vocab_count + column];
        }
    }
}

void sp_host_output_tiled_backward(const struct sp_host_output *output, int64_t tile, const float *lse,
                                   float scale, float *tiles, float *dx, float *dweight)
{
    for (int64_t first = 0; first < output->vocab_count; first += tile) {
        struct sp_host_output part = tile_of(output, first, tile);
        sp_host_linear(part.math, part.rows, map_of(&part), part.x, 0, tiles);
        sp_host_output_gradient(&part, lse, scale, tiles);
        sp_host_output_input(&part, tiles, first == 0 ? 0 : 1, dx);
        sp_host_output_weight(&part, tiles, dweight + first * output->hidden);
    }
}
