/* Rows of floats, rounded to integers, times a matrix of 8-bit integers.
 *
 * Weights lie in blocks of 16 columns; within a block four neighbours of a column are together. One
 * instruction, or three, multiply such a vector with four inputs and add up in 32 bits, exactly. */
#ifndef CYBERSOLVE_PRODUCTS_H
#define CYBERSOLVE_PRODUCTS_H

#include "exponential.h"
#include "rounding.h"
#include "tiles.h"

enum {
    PARTS = BLOCK / LANES, /* vectors of a block */
    /* Weights of the next tile that are fetched while a tile is computed: of more the second-level
     * cache of some processors has no room. */
    MOST_FETCHED = 1 << 16,
};

/* -- what follows a product -------------------------------------------------------------------- */

/* `gelu_new`, the approximation by tanh: x times the logistic function of 2 sqrt(2 / pi) u, where
 * u is x + 0.044715 x^3. */
INLINED Floats gelu(Floats x) {
    const float factor = -2.0f * 0.7978845608f * LOG2_E;
    Floats slope = fused(x * x, every(0.044715f * factor), every(factor));
    return x / (power_of_two(x * slope) + every(1.0f));
}

/* `vector`: which of the row's, counted in LANES. */
INLINED void write_vector(
    const Matrix *m, const Output *out, int64_t row, int64_t vector, Ending ending, Floats value) {
    int64_t left = m->columns - vector * LANES, at = row * m->columns + vector * LANES;
    if (left >= LANES) { /* without a mask it is faster */
        if (ending == ADDED) value = value + load(out->residual + at);
        store(out->values + at, value);
    } else if (left > 0) { /* the last block is filled up with columns that are not written */
        Mask present = first_lanes(left);
        if (ending == ADDED) value = value + load_part(present, out->residual + at);
        store_part(present, out->values + at, value);
    }
}

/* The first `vectors` of a row's vectors of sums: those of a tile. */
INLINED void write_row(
    const Matrix *m, const Output *out, int64_t row, int64_t first, int vectors, Ending ending,
    Floats v0, Floats v1, Floats v2, Floats v3) {
    if (ending == GATED) {
        write_vector(m, out, row, first, ending, gelu(v0) * v1);
        if (vectors > 2) write_vector(m, out, row, first + 1, ending, gelu(v2) * v3);
    } else {
        write_vector(m, out, row, first, ending, v0);
        if (vectors > 1) write_vector(m, out, row, first + 1, ending, v1);
        if (vectors > 2) write_vector(m, out, row, first + 2, ending, v2);
        if (vectors > 3) write_vector(m, out, row, first + 3, ending, v3);
    }
}

/* -- products ---------------------------------------------------------------------------------- */

/* Vectors of weights, of which a tile has VECTORS, lie in blocks. A gated tile has two vectors of
 * the output: gate and up of the first, then of the second. */
#define BLOCK_IN_TILE(v) (ending == GATED ? (v) % 2 + (v) / 2 / PARTS * 2 : (v) / PARTS)
#define PART_IN_TILE(v) (ending == GATED ? (v) / 2 % PARTS : (v) % PARTS)

/* Sums are s<row><vector>. */
#define DECLARE(r) Integers s##r##0, s##r##1, s##r##2, s##r##3;
#define START(r)        \
    s##r##0 = start[0]; \
    s##r##1 = start[1]; \
    s##r##2 = start[2]; \
    s##r##3 = start[3];
#define ADD_QUAD(r)                                           \
    if (r < rows) {                                           \
        __auto_type x = every_quad(bytes + r * stride);       \
        MULTIPLY_ADD(s##r##0, x, w0);                         \
        if (vectors > 1) MULTIPLY_ADD(s##r##1, x, w1);        \
        if (vectors > 2) MULTIPLY_ADD(s##r##2, x, w2);        \
        if (vectors > 3) MULTIPLY_ADD(s##r##3, x, w3);        \
    }
/* The same, vector after vector of the weights, for levels with three ROWS. */
#define QUAD_OF(r) Integers x##r = every_quad(bytes + (r < rows ? r : 0) * stride);
#define ADD_VECTOR(v)                                      \
    if (vectors > v) {                                     \
        Bytes w = load_weights(weight + offset[v]);        \
        MULTIPLY_ADD(s0##v, x0, w);                        \
        if (rows > 1) MULTIPLY_ADD(s1##v, x1, w);          \
        if (rows > 2) MULTIPLY_ADD(s2##v, x2, w);          \
    }
/* Two rows by two columns at a time: of rows `r` and `q`, sums `s<r>` are of the first two columns of
 * each vector, `s<q>` of the other two, until all are added. */
#define EACH_PAIR(DO) DO(0, 1) DO(2, 3) DO(4, 5)
#define ADD_PAIR_BY(r, q, v)                                    \
    if (vectors > v) {                                          \
        s##r##v = multiply_add_pairs(s##r##v, x, low##v);       \
        s##q##v = multiply_add_pairs(s##q##v, x, high##v);      \
    }
#define ADD_PAIR(r, q)                                                                        \
    if (r < rows) {                                                                           \
        Bytes x = two_rows(bytes + r * stride, bytes + q * stride);                           \
        ADD_PAIR_BY(r, q, 0) ADD_PAIR_BY(r, q, 1) ADD_PAIR_BY(r, q, 2) ADD_PAIR_BY(r, q, 3)   \
    }
#define PART_PAIR(r, q)                         \
    if (r < rows) {                             \
        part_rows(&s##r##0, &s##q##0);          \
        part_rows(&s##r##1, &s##q##1);          \
        part_rows(&s##r##2, &s##q##2);          \
        part_rows(&s##r##3, &s##q##3);          \
    }
#define SCALED(sum, v) (to_floats(sum) * scale[v] * of_row)
#define WRITE_ROW(r)                                                                       \
    if (r < rows) {                                                                        \
        Floats of_row = every(row_scales[r]);                                              \
        write_row(                                                                         \
            m, out, row + r, first, vectors, ending,                                       \
            SCALED(s##r##0, 0), SCALED(s##r##1, 1), SCALED(s##r##2, 2), SCALED(s##r##3, 3)); \
    }

/* `rows` rows from `row`, whose integers begin `stride` apart and whose scales follow each other, by
 * `vectors` vectors of weights, whose output begins with vector `first` of each row; and what
 * follows the product. The numbers of both and `ending` are constants where it is inlined.
 *
 * With `fetches` the next tile's weights are fetched meanwhile, but not by AVX-VNNI (BY_VECTORS) nor
 * by i8mm (BY_PAIRS): what it gains is known of AVX-512 with VNNI (decision 40), and of these two
 * levels there was no processor to measure it on. */
INLINED void multiply_tile(
    const Matrix *m, const uint8_t *bytes, const float *row_scales, int64_t stride,
    const Output *out, int64_t row, int64_t first, int fetches, int rows, int vectors,
    Ending ending) {
    int64_t block = first / PARTS * (ending == GATED ? 2 : 1), part = first % PARTS;
    int64_t size = m->quads * QUAD * BLOCK; /* of a block, in bytes */
    int64_t next = (BLOCK_IN_TILE(vectors - 1) + 1) * size;
    fetches = fetches && next <= MOST_FETCHED;
    (void)fetches;
    Integers start[VECTORS];
    Floats scale[VECTORS];
    int64_t offset[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        int used = v < vectors ? v : 0; /* of those that are left out the first */
        int64_t at = (block + BLOCK_IN_TILE(used)) * BLOCK + (part + PART_IN_TILE(used)) * LANES;
        start[v] = load_integers(m->starts + at);
        scale[v] = load(m->scales + at);
        offset[v] = BLOCK_IN_TILE(used) * size + PART_IN_TILE(used) * LANES * QUAD;
    }
    EACH_ROW(DECLARE)
    EACH_ROW(START)
    const int8_t *weight = m->weight + block * size + part * LANES * QUAD;
#ifdef BY_PAIRS
    for (int64_t quad = 0; quad < m->quads; quad += 2) {
        Bytes low0, low1, low2, low3, high0, high1, high2, high3;
        int last = quad + 1 == m->quads;
        two_quads(weight, last, &low0, &high0);
        two_quads(weight + offset[1], last, &low1, &high1);
        two_quads(weight + offset[2], last, &low2, &high2);
        two_quads(weight + offset[3], last, &low3, &high3);
        EACH_PAIR(ADD_PAIR)
        weight += 2 * QUAD * BLOCK, bytes += 2 * QUAD;
    }
    EACH_PAIR(PART_PAIR)
#elif defined(BY_VECTORS)
    for (int64_t quad = 0; quad < m->quads; quad++, weight += QUAD * BLOCK, bytes += QUAD) {
        QUAD_OF(0) QUAD_OF(1) QUAD_OF(2)
        ADD_VECTOR(0) ADD_VECTOR(1) ADD_VECTOR(2) ADD_VECTOR(3)
    }
#else
    for (int64_t quad = 0; quad < m->quads; quad++, weight += QUAD * BLOCK, bytes += QUAD) {
        Bytes w0 = load_weights(weight), w1 = w0, w2 = w0, w3 = w0;
        if (vectors > 1) w1 = load_weights(weight + offset[1]);
        if (vectors > 2) w2 = load_weights(weight + offset[2]);
        if (vectors > 3) w3 = load_weights(weight + offset[3]);
        if (fetches) {
            for (int v = 0; v < vectors; v++) {
                if (PART_IN_TILE(v) == 0) __builtin_prefetch(weight + next + offset[v], 0, 2);
            }
        }
        EACH_ROW(ADD_QUAD)
    }
#endif
    EACH_ROW(WRITE_ROW)
}

#define CASE(r)                                                                              \
    case r:                                                                                  \
        if (r <= ROWS) {                                                                     \
            multiply_tile(                                                                   \
                m, bytes, row_scales, stride, out, row, first, r > 1 && fetches, r, vectors, \
                ending);                                                                     \
        }                                                                                    \
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
    int64_t whole = VECTORS / per_vector;
    for (; first + whole <= last; first += whole) {
        multiply_rows(
            m, bytes, row_scales, stride, out, row, first, fetches, rows, VECTORS, ending);
    }
    if ((int)PARTS >= VECTORS) return; /* all tiles are whole */
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
