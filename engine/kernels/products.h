/* Rows of floats, rounded to integers, times a matrix of 8-bit integers.
 *
 * Weights lie in blocks of 16 columns; within a block four neighbours of a column, a quad, are
 * together. */
#ifndef CYBERSOLVE_PRODUCTS_H
#define CYBERSOLVE_PRODUCTS_H

#include "rounding.h"
#ifdef IN_WORDS
#include "word_tiles.h"
#else
#include "quad_tiles.h"
#endif

#define CASE(r)                                                                                  \
    case r:                                                                                      \
        if (r <= ROWS) {                                                                         \
            multiply_tile(                                                                       \
                m, bytes, row_scales, stride, out, row, first, fetches && r >= FETCHING_ROWS, r, \
                vectors, ending);                                                                \
        }                                                                                        \
        break;

INLINED void multiply_rows(
    const Matrix *m, const uint8_t *bytes, const float *row_scales, int64_t stride,
    const Output *out, int64_t row, int64_t first, int fetches, int64_t rows, int vectors,
    Ending ending) {
    int64_t last = row + rows;
    for (; row < last; row += ROWS, bytes += ROWS * stride, row_scales += ROWS) {
        switch (last - row < ROWS ? last - row : ROWS) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
    }
}

/* Up to TASK_ROWS rows by the blocks from `begin` to `end`. */
INLINED void multiply_blocks(
    const Matrix *m, const uint8_t *bytes, const float *row_scales, int64_t stride,
    const Output *out, int64_t row, int64_t rows, int64_t begin, int64_t end, Ending ending) {
    int fetches = row == 0; /* the first tile's rows bring the chunk of weights into the cache */
    int per_vector = ending == GATED ? 2 : 1; /* vectors of weights for one of the output */
    int64_t first = begin / per_vector * PARTS, last = end / per_vector * PARTS;
    int64_t whole = TILE_VECTORS(ending) / per_vector;
    for (; first + whole <= last; first += whole) {
        int vectors = TILE_VECTORS(ending);
        multiply_rows(
            m, bytes, row_scales, stride, out, row, first, fetches, rows, vectors, ending);
    }
    if (whole <= (int)PARTS) return; /* all tiles are whole */
    int64_t one = ending == GATED ? 1 : PARTS;
    for (; first < last; first += one) {
        int vectors = (int)one * per_vector;
        multiply_rows(
            m, bytes, row_scales, stride, out, row, first, fetches, rows, vectors, ending);
    }
}

/* The rows of a tile, of which `bytes` and `scales` have the first, by the chunk of an index. */
static void multiply_chunk(
    const Product *p, const uint8_t *bytes, const float *scales, int64_t row, int64_t rows,
    int64_t chunk) {
    const Matrix *m = p->matrix;
    int64_t begin = chunk * p->chunk, stride = ROUNDED_BYTES(m->inputs);
    int64_t end = begin + p->chunk < m->blocks ? begin + p->chunk : m->blocks;
#define MULTIPLY(ending) \
    multiply_blocks(m, bytes, scales, stride, &p->out, row, rows, begin, end, ending)
    switch (p->ending) {
        case PLAIN: MULTIPLY(PLAIN); break;
        case ADDED: MULTIPLY(ADDED); break;
        case GATED: MULTIPLY(GATED); break;
    }
#undef MULTIPLY
}

/* Rounds `rows` rows from `row`. */
static void round_tile(
    const Product *p, int64_t row, int64_t rows, uint8_t *bytes, float *scales) {
    const Matrix *m = p->matrix;
    for (int64_t r = 0; r < rows; r++) {
        scales[r] =
            round_row(m, p->x + (row + r) * m->inputs, bytes + r * ROUNDED_BYTES(m->inputs));
    }
}

static int64_t rows_of_tile(const Product *p, int64_t row) {
    return p->rows - row < TASK_ROWS ? p->rows - row : TASK_ROWS;
}

static void round_rows(void *work, size_t tile) {
    const Product *p = work;
    int64_t row = (int64_t)tile * TASK_ROWS, stride = ROUNDED_BYTES(p->matrix->inputs);
    round_tile(
        p, row, rows_of_tile(p, row), p->rounded + row * stride, p->row_scales + row);
}

static void multiply(void *work, size_t index) {
    const Product *p = work;
    int64_t row = (int64_t)index % p->tiles * TASK_ROWS, chunk = (int64_t)index / p->tiles;
    int64_t rows = rows_of_tile(p, row), stride = ROUNDED_BYTES(p->matrix->inputs);
    if (p->rounded) {
        multiply_chunk(p, p->rounded + row * stride, p->row_scales + row, row, rows, chunk);
        return;
    }
    uint8_t bytes[TASK_ROWS * stride];
    float scales[TASK_ROWS];
    round_tile(p, row, rows, bytes, scales);
    multiply_chunk(p, bytes, scales, row, rows, chunk);
}

#endif
