/* A level: the arithmetic of all operators, for processors with certain instructions.
 *
 * Each operator checks its inputs once for all levels (attention.c, candidates.c,
 * cross_attention.c, linear.c, likeliest.c), describes the work in one of the structures here and has
 * the session's threads call the level's task with every index of the work. */
#ifndef CYBERSOLVE_LEVEL_H
#define CYBERSOLVE_LEVEL_H

#include "task.h"

#include <stddef.h>
#include <stdint.h>

enum {
    BLOCK = 16,       /* columns of weights that lie together */
    QUAD = 4,         /* inputs of a column that lie together */
    TILE_BLOCKS = 4,  /* a task of a product has a multiple of these, but for the last */
    TASK_ROWS = 6,    /* of a product */
    WEIGHT_LIMIT = 63, /* the largest magnitude of a weight */
    LARGEST_D_KV = 256,
    KEYS_OF_PANEL = 64, /* that the encoder's attention transposes at a time */
    HEADS_TOGETHER = 4, /* the most heads whose queries one task of the decoder's attention has */
    ROWS_TOGETHER = 4,  /* the most rows of one source in a task of cross-attention */
};

/* Tasks of a row, or of readers, in the decoder's attention. */
#define HEAD_GROUPS(heads) (((heads) + HEADS_TOGETHER - 1) / HEADS_TOGETHER)

/* The least magnitude that is scaled to 127: a token of zeros stays zeros. */
#define LEAST_SCALED 1e-30f

/* Two quads of a block, which levels without VNNI multiply together. `second` is the number of quads
 * where `first` is alone. */
typedef struct {
    uint16_t first, second;
} Pair;

/* Weights of integers (blocks, quads, BLOCK, QUAD) or of floats (blocks, inputs, BLOCK), and what
 * surrounds their product. Quads, scales, starts, factors and `by_row` are of integers. */
typedef struct {
    int64_t inputs, columns, blocks, quads;
    const int8_t *weight; /* within WEIGHT_LIMIT */
    const float *floats;  /* in place of `weight`; NULL where that is used */
    float *scales;        /* of each sum, beside the row's own where they are `by_row` */
    int32_t *starts;      /* what each sum begins with, so that the level's `zero` does not count */
    float *factors;       /* of each input, before rounding */
    Pair *pairs;          /* of the quads of each block; NULL where the level needs none */
    int64_t *pair_begins; /* where the pairs of each block do, and end */
    int normed;           /* whether inputs are divided by their root mean square */
    int by_row;           /* whether each row is rounded by its own largest input, and scaled back */
    float epsilon;        /* added to the mean square */
} Matrix;

typedef enum {
    PLAIN,
    ADDED, /* a residual is added */
    GATED, /* blocks are gate, up, gate, up: the active gate times what goes up */
} Ending;

typedef struct {
    float *values;
    const float *residual; /* where it is ADDED */
} Output;

/* Index `i`: TASK_ROWS rows, the (i % tiles)th, by `chunk` blocks, the (i / tiles)th. Where several
 * tasks multiply the same rows by integers, `rounded` has these rounded, ROUNDED_BYTES each, and
 * `row_scales` what their sums are multiplied by; tasks with the tiles as their indices write both
 * before. Elsewhere both are NULL. */
typedef struct {
    const Matrix *matrix;
    Ending ending;
    const float *x;
    Output out;
    int64_t rows, tiles, chunk;
    uint8_t *rounded;
    float *row_scales;
} Product;

/* With room for a quad of zeros past the last. */
#define ROUNDED_BYTES(inputs) (((inputs) + QUAD + 63) / 64 * 64)

/* Index: a row times HEAD_GROUPS. Its new key and value are put at `past`, and its query sees all up
 * to there. Biases are (heads, distances) by distance back, the farthest first, for all beyond too;
 * where `distances` is 0, (columns, heads, columns) by past and column. */
typedef struct {
    int64_t heads, columns, d_kv, distances;
    const float *joint, *biases;
    const int32_t *past;
    float *keys, *values, *mixed;
} CachedAttention;

/* Up to ROWS_TOGETHER rows that read the same source. */
typedef struct {
    int32_t source, count, rows[ROWS_TOGETHER];
} Readers;

/* Index: readers times HEAD_GROUPS. Keys and values are floats; or, where they have scales, one for
 * each key of a head, 8-bit integers. Where `readers` is NULL each row reads the source of its own
 * number. */
typedef struct {
    int64_t heads, length, d_kv;
    const Readers *readers;
    const float *query;
    const void *keys, *values;
    const float *key_scales, *value_scales;
    const int32_t *lengths;
    float *mixed;
} CrossAttention;

/* Index: a token, of whose `lines` heads of d_kv numbers each becomes integers with a scale. */
typedef struct {
    int64_t tokens, lines, d_kv;
    const float *x;
    int8_t *integers; /* (lines, tokens, d_kv) */
    float *scales;    /* (lines, tokens) */
} HeadQuantisation;

/* Index: row * heads + head. */
typedef struct {
    int64_t heads, d_kv, longest;
    const float *joint;
    const float *biases; /* (heads, 2 * longest - 1) by distance, from 1 - longest on, and a panel */
    const int32_t *lengths;
    const int64_t *begins; /* where the tokens of each row do */
    float *mixed;
} EncoderAttention;

/* Index: a row. */
typedef struct {
    int64_t width;
    const float *logits;
    int64_t *best;
    float *logprobs;
} Likeliest;

/* The logits of a row (`rows` of them, one for each index) after the `many` adjustments of the
 * index: of token `tokens[i]` first `biases[i]` is added, then what is below 0 is multiplied by
 * `penalties[i]` and the rest divided by it. */
typedef struct {
    int64_t width, many;
    const float *logits;
    const int64_t *rows, *tokens;
    const float *biases, *penalties;
    int failed; /* where memory was missing */
} Adjusted;

/* Index: a row of the outputs. */
typedef struct {
    Adjusted of;
    int64_t count;
    const int32_t *normalised; /* 1: adjustments are of log-probabilities, 0: of logits */
    int64_t *best;
    float *scores, *logprobs;
} Candidates;

/* Index: a row of the outputs. */
typedef struct {
    Adjusted of;
    const float *temperatures, *uniforms;
    int64_t *drawn;
    float *logprobs, *totals;
} Draw;

typedef struct {
    const char *name;
    int32_t zero; /* is added to rounded inputs */
    int in_words; /* whether its products need quads in pairs */
    Task round_rows, multiply, multiply_floats, attend_cached, attend_cross, attend_encoder,
        quantise_heads, find_likeliest, find_candidates, draw_tokens;
} Level;

/* GCC knows AVX-VNNI from 11 on. */
#if defined(__x86_64__) && __GNUC__ >= 11
#define COMPILES_AVXVNNI 1
#else
#define COMPILES_AVXVNNI 0
#endif

extern const Level LEVEL_AVX512VNNI, LEVEL_AVX512, LEVEL_AVXVNNI, LEVEL_AVX2;
extern const Level LEVEL_I8MM, LEVEL_DOTPROD;

/* The level of the kernels that are made from now on; NULL where this processor has none. */
const Level *current_level(void);

#endif
