/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small matrix product under the tiled product and the tiled attention: C (+)= A·B with a tile of C kept
 * in registers. Only files that are compiled once per level include this.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_MICRO_H
#define SLIMPIPE_EXECUTOR_HOST_MICRO_H

#include <stdbool.h>
#include <string.h>

#include "lanes.h"

/* Registers: MICRO_ROWS × MICRO_VECTORS for C, MICRO_VECTORS for a row of B, one for an element of A. */
#if defined(__AVX512F__)
enum { MICRO_ROWS = 8, MICRO_VECTORS = 2 };
#else
enum { MICRO_ROWS = 6, MICRO_VECTORS = 2 };
#endif
enum { MICRO_COLUMNS = MICRO_VECTORS * LANES };

/* Loops over a tile unroll wholly, so that the tile lives in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* One operand: element (i, j) is data[i * row + j * column]. */
struct strided {
    const float *data;
    int64_t row, column;
};

INLINE void clear_row(const int vectors, lanes *row)
{
    UNROLL
    for (int j = 0; j < vectors; j++)
        row[j] = (lanes){0};
}

INLINE void load_row(const int vectors, const float *from, lanes *row)
{
    UNROLL
    for (int j = 0; j < vectors; j++)
        row[j] = load(from + j * LANES);
}

INLINE void store_row(const int vectors, const lanes *row, float *to)
{
    UNROLL
    for (int j = 0; j < vectors; j++)
        store(to + j * LANES, row[j]);
}

INLINE void add_product(const int vectors, float left, const lanes *right, lanes *row)
{
    UNROLL
    for (int j = 0; j < vectors; j++)
        row[j] += left * right[j];
}

INLINE void add_row(const int vectors, const float *from, lanes *row)
{
    UNROLL
    for (int j = 0; j < vectors; j++)
        row[j] += load(from + j * LANES);
}

/* rows × vectors·LANES of C; rows and vectors are constants at every call. */
INLINE void micro_tile(const int rows, const int vectors, int64_t depth, struct strided a, const float *b,
                       int64_t b_row, float *c, int64_t c_row, bool add)
{
    lanes sum[MICRO_ROWS][MICRO_VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++)
        clear_row(vectors, sum[i]);
    for (int64_t k = 0; k < depth; k++) {
        lanes right[MICRO_VECTORS];
        load_row(vectors, b + k * b_row, right);
        UNROLL
        for (int i = 0; i < rows; i++)
            add_product(vectors, a.data[i * a.row + k * a.column], right, sum[i]);
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        if (add)
            add_row(vectors, c + i * c_row, sum[i]);
        store_row(vectors, sum[i], c + i * c_row);
    }
}

/* All rows of one group of columns. */
INLINE void micro_columns(const int vectors, int64_t rows, int64_t depth, struct strided a, const float *b,
                          int64_t b_row, float *c, int64_t c_row, bool add)
{
    int64_t i = 0;
    for (; i + MICRO_ROWS <= rows; i += MICRO_ROWS, a.data += MICRO_ROWS * a.row)
        micro_tile(MICRO_ROWS, vectors, depth, a, b, b_row, c + i * c_row, c_row, add);
    if (rows - i >= 4) {
        micro_tile(4, vectors, depth, a, b, b_row, c + i * c_row, c_row, add);
        i += 4;
        a.data += 4 * a.row;
    }
    for (; i < rows; i++, a.data += a.row)
        micro_tile(1, vectors, depth, a, b, b_row, c + i * c_row, c_row, add);
}

/* The last columns, fewer than LANES. */
static inline void micro_tail(int64_t rows, int64_t columns, int64_t depth, struct strided a, const float *b,
                              int64_t b_row, float *c, int64_t c_row, bool add)
{
    float row[LANES] = {0};
    for (int64_t i = 0; i < rows; i++, a.data += a.row) {
        if (add)
            memcpy(row, c + i * c_row, (size_t)columns * sizeof *row);
        micro_tile(1, 1, depth, a, b, b_row, row, LANES, add);
        memcpy(c + i * c_row, row, (size_t)columns * sizeof *row);
    }
}

/*
 * C (+)= A·B, rows × columns. B's rows must be readable up to a multiple of LANES columns; C's are touched
 * within `columns` only.
 */
static inline void micro_multiply(int64_t rows, int64_t columns, int64_t depth, struct strided a,
                                  const float *b, int64_t b_row, float *c, int64_t c_row, bool add)
{
    int64_t j = 0;
    for (; j + MICRO_COLUMNS <= columns; j += MICRO_COLUMNS)
        micro_columns(MICRO_VECTORS, rows, depth, a, b + j, b_row, c + j, c_row, add);
    for (; j + LANES <= columns; j += LANES)
        micro_columns(1, rows, depth, a, b + j, b_row, c + j, c_row, add);
    if (j < columns)
        micro_tail(rows, columns - j, depth, a, b + j, b_row, c + j, c_row, add);
}

#endif
