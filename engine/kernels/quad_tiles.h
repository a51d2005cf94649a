/* Tiles of products of 8-bit integers, four inputs at a time: one instruction multiplies a vector of
 * weights with them and adds up in 32 bits, exactly. */
#ifndef CYBERSOLVE_QUAD_TILES_H
#define CYBERSOLVE_QUAD_TILES_H

#include "endings.h"

enum {
    NEED_PAIRS = 0,    /* whether these products need quads in pairs */
    FETCHING_ROWS = 2, /* the fewest rows of a tile that fetches */
};

/* Vectors of weights of a tile. */
#define TILE_VECTORS(ending) VECTORS

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

#endif
