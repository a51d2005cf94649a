/* Tiles of products of 8-bit integers for levels without VNNI, eight inputs at a time.
 *
 * `vpmaddubsw` multiplies bytes and adds up two products in a word of 16 bits. Two of its results, of
 * two quads, are added in words too before `vpmaddwd` widens them: five instructions for what takes
 * six one quad at a time. Words hold the sums of four products because loading pairs only such quads
 * (pairing.h). Which two are paired differs from block to block, so a tile is one block of the
 * output. */
#ifndef CYBERSOLVE_WORD_TILES_H
#define CYBERSOLVE_WORD_TILES_H

#include "endings.h"

enum {
    NEED_PAIRS = 1,          /* whether these products need quads in pairs */
    FETCHED_AHEAD = 1 << 14, /* bytes: tiles are in the order of the weights */
    FETCHING_ROWS = 1,       /* the fewest rows of a tile that fetches */
};

/* Vectors of weights of a tile. */
#define TILE_VECTORS(ending) (PARTS * ((ending) == GATED ? 2 : 1))

/* Sums are s<row><part>. */
#define START(r) Integers s##r##0 = start[0], s##r##1 = start[PARTS - 1];
#define ADD_PAIR(r)                                                         \
    if (r < rows) {                                                         \
        Integers x = every_quad(of_first + r * stride);                     \
        Integers y = every_quad(of_second + r * stride);                    \
        s##r##0 = add_words(s##r##0, x, first0, y, second0);                \
        if (PARTS > 1) s##r##1 = add_words(s##r##1, x, first1, y, second1); \
    }
#define KEEP(r)                                                                          \
    if (r < rows) {                                                                      \
        Floats of_row = every(row_scales[r]);                                            \
        products[r][0] = to_floats(s##r##0) * load(scales) * of_row;                     \
        if (PARTS > 1) {                                                                 \
            products[r][PARTS - 1] = to_floats(s##r##1) * load(scales + LANES) * of_row; \
        }                                                                                \
    }

/* `rows` rows by one block of weights. */
INLINED void multiply_block(
    const Matrix *m, const uint8_t *bytes, const float *row_scales, int64_t stride, int64_t block,
    int fetches, int rows, Floats products[][PARTS]) {
    const int8_t *weight = m->weight + block * m->quads * QUAD * BLOCK;
    const int8_t *ahead = weight + FETCHED_AHEAD;
    const float *scales = m->scales + block * BLOCK;
    const Pair *pair = m->pairs + m->pair_begins[block];
    const Pair *end = m->pairs + m->pair_begins[block + 1];
    Integers start[PARTS];
    for (int part = 0; part < PARTS; part++) {
        start[part] = load_integers(m->starts + block * BLOCK + part * LANES);
    }
    EACH_ROW(START)
    for (; pair < end; pair++, ahead += 2 * QUAD * BLOCK) {
        int64_t quad = pair->first, other = pair->second;
        const uint8_t *of_first = bytes + quad * QUAD, *of_second = bytes + other * QUAD;
        const int8_t *first = weight + quad * QUAD * BLOCK;
        /* Past the last quad the inputs are zeros; there are no weights. */
        const int8_t *second = weight + (other < m->quads ? other : quad) * QUAD * BLOCK;
        if (fetches) {
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(ahead + QUAD * BLOCK, 0, 2);
        }
        Bytes first0 = load_weights(first), second0 = load_weights(second);
        Bytes first1 = first0, second1 = second0;
        if (PARTS > 1) {
            first1 = load_weights(first + LANES * QUAD);
            second1 = load_weights(second + LANES * QUAD);
        }
        EACH_ROW(ADD_PAIR)
    }
    EACH_ROW(KEEP)
}

/* `rows` rows from `row`, whose integers begin `stride` apart and whose scales follow each other, by
 * the block of the output that begins with vector `first` of each row; and what follows the product.
 * With `fetches` weights are fetched ahead. `rows` and `ending` are constants where it is inlined. */
INLINED void multiply_tile(
    const Matrix *m, const uint8_t *bytes, const float *row_scales, int64_t stride,
    const Output *out, int64_t row, int64_t first, int fetches, int rows, int vectors,
    Ending ending) {
    (void)vectors;
    Floats products[ROWS][PARTS], up[ROWS][PARTS];
    int64_t block = first / PARTS;
    if (ending == GATED) {
        multiply_block(m, bytes, row_scales, stride, 2 * block, fetches, rows, products);
        multiply_block(m, bytes, row_scales, stride, 2 * block + 1, fetches, rows, up);
    } else {
        multiply_block(m, bytes, row_scales, stride, block, fetches, rows, products);
    }
    for (int r = 0; r < rows; r++) {
        for (int part = 0; part < PARTS; part++) {
            Floats value = products[r][part];
            if (ending == GATED) value = gelu(value) * up[r][part];
            write_vector(m, out, row + r, first + part, ending, value);
        }
    }
}

#endif
