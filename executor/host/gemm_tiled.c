/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix product for where there is no BLAS. Blocks of A and B are packed, so that the inner product
 * reads both in order, and stay in the second-level cache while they are used.
 */
#include <stdalign.h>

#include "level.h"
#include "micro.h"

enum {
    BLOCK_ROWS = 16 * MICRO_ROWS,
    BLOCK_COLUMNS = 256,
    BLOCK_DEPTH = 256,
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * A block of alpha · A in the order in which A is stored. The pitch of the block is no power of two, or its
 * rows would fight for the same lines of the cache.
 */
static struct strided pack_a(int64_t rows, int64_t depth, float alpha, struct strided a, float *block)
{
    bool transposed = a.row == 1;
    int64_t outer = transposed ? depth : rows, inner = transposed ? rows : depth;
    int64_t pitch = inner + LANES, from_pitch = transposed ? a.column : a.row;
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < inner; j++)
            block[i * pitch + j] = alpha * a.data[i * from_pitch + j];
    return transposed ? (struct strided){block, 1, pitch} : (struct strided){block, pitch, 1};
}

/* Panels of MICRO_COLUMNS columns, the last filled up with zeros. */
static void pack_b(int64_t depth, int64_t columns, struct strided b, float *panel)
{
    for (int64_t first = 0; first < columns; first += MICRO_COLUMNS, panel += depth * MICRO_COLUMNS) {
        int64_t count = smaller(MICRO_COLUMNS, columns - first);
        const float *from = b.data + first * b.column;
        for (int64_t k = 0; b.column == 1 && k < depth; k++)
            memcpy(panel + k * MICRO_COLUMNS, from + k * b.row, (size_t)count * sizeof *panel);
        for (int64_t j = 0; b.column != 1 && j < count; j++)
            for (int64_t k = 0; k < depth; k++)
                panel[k * MICRO_COLUMNS + j] = from[k * b.row + j * b.column];
        for (int64_t k = 0; count < MICRO_COLUMNS && k < depth; k++)
            memset(panel + k * MICRO_COLUMNS + count, 0, (size_t)(MICRO_COLUMNS - count) * sizeof *panel);
    }
}

/* One packed block of A times one of B. */
static void multiply_block(int64_t rows, int64_t columns, int64_t depth, struct strided a, const float *b,
                           float *c, int64_t c_pitch)
{
    for (int64_t j = 0; j < columns; j += MICRO_COLUMNS)
        micro_multiply(rows, smaller(MICRO_COLUMNS, columns - j), depth, a, b + j * depth, MICRO_COLUMNS,
                       c + j, c_pitch, true);
}

static void scale(int64_t rows, int64_t columns, float beta, float *c, int64_t c_pitch)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            c[i * c_pitch + j] = beta == 0 ? 0 : beta * c[i * c_pitch + j];
}

static struct strided operand(struct sp_host_matrix matrix)
{
    return matrix.transposed ? (struct strided){matrix.data, 1, matrix.pitch}
                             : (struct strided){matrix.data, matrix.pitch, 1};
}

static struct strided part(struct strided matrix, int64_t row, int64_t column)
{
    matrix.data += row * matrix.row + column * matrix.column;
    return matrix;
}

void LEVEL(gemm)(int64_t rows, int64_t columns, int64_t depth, float alpha, struct sp_host_matrix a,
                 struct sp_host_matrix b, float beta, float *c, int64_t c_pitch)
{
    alignas(64) float block_a[(BLOCK_ROWS + LANES) * (BLOCK_DEPTH + LANES)],
        block_b[BLOCK_DEPTH * BLOCK_COLUMNS];
    struct strided left = operand(a), right = operand(b);
    if (beta != 1)
        scale(rows, columns, beta, c, c_pitch);
    for (int64_t j = 0; j < columns; j += BLOCK_COLUMNS)
        for (int64_t k = 0; k < depth; k += BLOCK_DEPTH) {
            int64_t width = smaller(BLOCK_COLUMNS, columns - j), length = smaller(BLOCK_DEPTH, depth - k);
            pack_b(length, width, part(right, k, j), block_b);
            for (int64_t i = 0; i < rows; i += BLOCK_ROWS) {
                int64_t height = smaller(BLOCK_ROWS, rows - i);
                struct strided block = pack_a(height, length, alpha, part(left, i, k), block_a);
                multiply_block(height, width, length, block, block_b, c + i * c_pitch + j, c_pitch);
            }
        }
}
