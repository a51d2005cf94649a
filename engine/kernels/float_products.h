/* Rows of floats times a matrix of floats.
 *
 * Weights lie in blocks of 16 columns; within a block the 16 weights of an input are together. In
 * every tile a sum is added up in the order of the inputs, so that a row's bits do not depend on
 * the rows beside it. */
#ifndef CYBERSOLVE_FLOAT_PRODUCTS_H
#define CYBERSOLVE_FLOAT_PRODUCTS_H

#include "products.h"

/* A task's rows, which are multiplied by `factors` after all inputs were added. */
typedef struct {
    const Matrix *matrix;
    const float *x, *factors;
    const Output *out;
    int64_t first;
    int count, fetches; /* whether the next tile's weights are fetched */
} FloatRows;

#define INPUTS_OF(r) const float *x##r = of->x + (r < rows ? r : 0) * m->inputs;
#define ADD_INPUT(r)                     \
    if (r < rows) {                      \
        Floats x = every(x##r[input]);   \
        ADD_TO(r, x)                     \
    }
#define WRITE_SUMS(r)                                                              \
    if (r < rows) {                                                                \
        Floats scale = every(of->factors[r]);                                      \
        write_row(                                                                 \
            m, of->out, of->first + r, first, vectors, ending, f##r##0 * scale,    \
            f##r##1 * scale, f##r##2 * scale, f##r##3 * scale);                    \
    }

/* All rows, of which there are `rows`, by `vectors` vectors of weights, whose output begins with
 * vector `first` of each row; and what follows the product. Both numbers and `ending` are constants
 * where it is inlined. */
INLINED void multiply_float_tile(
    const FloatRows *of, int64_t first, int rows, int vectors, Ending ending) {
    const Matrix *m = of->matrix;
    int64_t block = first / PARTS * (ending == GATED ? 2 : 1), part = first % PARTS;
    int64_t size = m->inputs * BLOCK; /* of a block, in floats */
    int64_t next = (BLOCK_IN_TILE(vectors - 1) + 1) * size;
    int fetches = of->fetches && next <= MOST_FETCHED;
    int64_t offset[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        int used = v < vectors ? v : 0;
        offset[v] = BLOCK_IN_TILE(used) * size + PART_IN_TILE(used) * LANES;
    }
    EACH_ROW(INPUTS_OF)
    EACH_ROW(FLOAT_SUMS)
    const float *weight = m->floats + block * size + part * LANES;
    for (int64_t input = 0; input < m->inputs; input++, weight += BLOCK) {
        Floats v0 = load(weight), v1 = v0, v2 = v0, v3 = v0;
        if (vectors > 1) v1 = load(weight + offset[1]);
        if (vectors > 2) v2 = load(weight + offset[2]);
        if (vectors > 3) v3 = load(weight + offset[3]);
        if (fetches) {
            for (int v = 0; v < vectors; v++) {
                if (PART_IN_TILE(v) == 0) __builtin_prefetch(weight + next + offset[v], 0, 2);
            }
        }
        EACH_ROW(ADD_INPUT)
    }
    EACH_ROW(WRITE_SUMS)
}

/* Sums of more than ROWS rows by VECTORS vectors are too many for the level's registers. */
#define FLOAT_CASE(r)                                                            \
    case r:                                                                      \
        if (r <= ROWS || vectors < VECTORS) {                                    \
            multiply_float_tile(of, first, r, vectors, ending);                  \
        }                                                                        \
        break;

/* Tiles of `vectors` vectors of weights as long as they are whole. Returns where they end. */
INLINED int64_t multiply_float_tiles(
    const FloatRows *of, int64_t first, int64_t last, int vectors, Ending ending) {
    int64_t step = vectors / (ending == GATED ? 2 : 1);
    for (; first + step <= last; first += step) {
        switch (of->count) {
            FLOAT_CASE(1) FLOAT_CASE(2) FLOAT_CASE(3) FLOAT_CASE(4) FLOAT_CASE(5) FLOAT_CASE(6)
        }
    }
    return first;
}

/* The blocks from `begin` to `end`. */
INLINED void multiply_float_blocks(
    const FloatRows *of, int64_t begin, int64_t end, Ending ending) {
    int per_vector = ending == GATED ? 2 : 1; /* vectors of weights for one of the output */
    int64_t first = begin / per_vector * PARTS, last = end / per_vector * PARTS;
    if (of->count <= ROWS) first = multiply_float_tiles(of, first, last, VECTORS, ending);
    multiply_float_tiles(of, first, last, ending == GATED ? 2 : PARTS, ending);
}

static void multiply_floats(void *work, size_t index) {
    const Product *p = work;
    const Matrix *m = p->matrix;
    int64_t tile = (int64_t)index % p->tiles; /* tiles are of nearly the same number of rows */
    int64_t row = tile * p->rows / p->tiles, rows = (tile + 1) * p->rows / p->tiles - row;
    int64_t begin = (int64_t)index / p->tiles * p->chunk;
    int64_t end = begin + p->chunk < m->blocks ? begin + p->chunk : m->blocks;
    float factors[TASK_ROWS];
    /* The first tile's rows bring the chunk of weights into the cache. A single row is no slower
     * without. */
    FloatRows of = {
        m, p->x + row * m->inputs, factors, &p->out, row, (int)rows, tile == 0 && rows > 1};
    for (int64_t r = 0; r < rows; r++) {
        factors[r] = m->normed ? norm_of(of.x + r * m->inputs, m->inputs, m->epsilon) : 1.0f;
    }
    switch (p->ending) {
        case PLAIN: multiply_float_blocks(&of, begin, end, PLAIN); break;
        case ADDED: multiply_float_blocks(&of, begin, end, ADDED); break;
        case GATED: multiply_float_blocks(&of, begin, end, GATED); break;
    }
}

#endif
