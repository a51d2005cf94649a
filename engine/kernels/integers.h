/* Rows of floats to integers, and their products with a matrix of 8-bit integers.
 *
 * Weights lie in blocks of 16 columns; within a block four neighbours of a column are together:
 * (blocks, inputs / 4, 16, 4). One instruction multiplies such a vector with four inputs and adds
 * up in 32 bits, exactly. Inputs have 128 added, for that instruction wants them unsigned; what it
 * adds to each sum is known beforehand. */
#ifndef CYBERSOLVE_INTEGERS_H
#define CYBERSOLVE_INTEGERS_H

#include "vectors.h"

#include <math.h>

enum {
    ROWS = 6, /* whose sums, with BLOCKS, are in registers at a time: 24 of 32 */
    BLOCKS = 4,
    ZERO = 128, /* what is added to inputs */
};

typedef struct {
    int64_t inputs, columns;
    int64_t blocks, quads; /* of 16 columns; of four inputs */
    const int8_t *weight;
    float *scales;   /* of each sum; up to whole tiles, like `starts` */
    int32_t *starts; /* what each sum begins with, so that ZERO does not count */
    float *factors;  /* of each input, before rounding */
    int normed;      /* whether inputs are divided by their root mean square */
    float epsilon;   /* added to the mean square */
} Matrix;

/* -- from floats to integers ------------------------------------------------------------------- */

static float norm_of(const float *x, int64_t count, float epsilon) {
    __m512 squares = _mm512_setzero_ps();
    for (int64_t begin = 0; begin < count; begin += LANES) {
        __m512 part = _mm512_maskz_loadu_ps(first_lanes(count - begin), x + begin);
        squares = _mm512_fmadd_ps(part, part, squares);
    }
    return 1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)count + epsilon);
}

/* Writes whole vectors: `bytes` has room for the inputs up to a multiple of 16. */
static void round_row(const Matrix *m, const float *x, uint8_t *bytes) {
    __m512 norm = _mm512_set1_ps(m->normed ? norm_of(x, m->inputs, m->epsilon) : 1.0f);
    for (int64_t begin = 0; begin < m->inputs; begin += LANES) {
        __mmask16 present = first_lanes(m->inputs - begin);
        __m512 part = _mm512_mul_ps(_mm512_maskz_loadu_ps(present, x + begin), norm);
        part = _mm512_mul_ps(part, _mm512_maskz_loadu_ps(present, m->factors + begin));
        __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(part), _mm512_set1_epi32(ZERO));
        whole = _mm512_max_epi32(whole, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(bytes + begin), _mm512_cvtusepi32_epi8(whole));
    }
}

/* -- what follows a product -------------------------------------------------------------------- */

typedef enum {
    PLAIN,
    ADDED, /* a residual is added */
    GATED, /* blocks are gate, up, gate, up: the active gate times what goes up */
} Ending;

typedef struct {
    float *values;
    const float *residual; /* where it is ADDED */
} Output;

/* `gelu_new`, the approximation by tanh: x times the logistic function of 2 sqrt(2 / pi) u, where
 * u is x + 0.044715 x^3. */
static inline __m512 gelu(__m512 x) {
    const float factor = -2.0f * 0.7978845608f * LOG2_E;
    __m512 square = _mm512_mul_ps(x, x);
    __m512 slope = _mm512_fmadd_ps(
        square, _mm512_set1_ps(0.044715f * factor), _mm512_set1_ps(factor));
    __m512 power = power_of_two(_mm512_mul_ps(x, slope));
    return _mm512_div_ps(x, _mm512_add_ps(power, _mm512_set1_ps(1.0f)));
}

static inline __attribute__((always_inline)) void write_block(
    const Matrix *m, const Output *out, int64_t row, int64_t block, Ending ending, __m512 value) {
    int64_t left = m->columns - block * LANES, place = row * m->columns + block * LANES;
    if (left >= LANES) { /* without a mask it is faster */
        if (ending == ADDED) value = _mm512_add_ps(value, _mm512_loadu_ps(out->residual + place));
        _mm512_storeu_ps(out->values + place, value);
        return;
    }
    __mmask16 present = first_lanes(left);
    if (ending == ADDED) {
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(present, out->residual + place));
    }
    _mm512_mask_storeu_ps(out->values + place, present, value);
}

static inline __attribute__((always_inline)) void write_row(
    const Matrix *m, const Output *out, int64_t row, int64_t begin, int blocks, Ending ending,
    __m512 v0, __m512 v1, __m512 v2, __m512 v3) {
    if (ending == GATED) {
        write_block(m, out, row, begin / 2, ending, _mm512_mul_ps(gelu(v0), v1));
        if (blocks < BLOCKS) return;
        write_block(m, out, row, begin / 2 + 1, ending, _mm512_mul_ps(gelu(v2), v3));
        return;
    }
    write_block(m, out, row, begin, ending, v0);
    if (blocks > 1) write_block(m, out, row, begin + 1, ending, v1);
    if (blocks > 2) write_block(m, out, row, begin + 2, ending, v2);
    if (blocks > 3) write_block(m, out, row, begin + 3, ending, v3);
}

/* -- products ---------------------------------------------------------------------------------- */

/* Adds to each lane of `sum` the products of its four bytes. As an intrinsic, GCC 12 moves every
 * sum to another register and back. */
#define MULTIPLY_ADD(sum, x, weight) \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight))

/* Sums are variables by name, s<row><block>: of an array GCC keeps part in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define DECLARE(r) __m512i s##r##0, s##r##1, s##r##2, s##r##3;
#define START(r)        \
    s##r##0 = start[0]; \
    s##r##1 = start[1]; \
    s##r##2 = start[2]; \
    s##r##3 = start[3];
#define ADD_QUAD(r)                                                                       \
    if (r < rows) {                                                                       \
        __m512i x = _mm512_set1_epi32(*(const int32_t *)(bytes + r * stride + 4 * quad)); \
        MULTIPLY_ADD(s##r##0, x, w0);                                                     \
        if (blocks > 1) MULTIPLY_ADD(s##r##1, x, w1);                                     \
        if (blocks > 2) MULTIPLY_ADD(s##r##2, x, w2);                                     \
        if (blocks > 3) MULTIPLY_ADD(s##r##3, x, w3);                                     \
    }
#define SCALED(sum, b) _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale[b])
#define WRITE(r)                                                                             \
    if (r < rows) {                                                                          \
        write_row(                                                                           \
            m, out, row + r, begin, blocks, ending, SCALED(s##r##0, 0), SCALED(s##r##1, 1), \
            SCALED(s##r##2, 2), SCALED(s##r##3, 3));                                         \
    }

/* `rows` x `blocks` blocks, from `row` and block `begin`: products of `bytes`, whose rows begin
 * `stride` apart, and what follows them. The numbers of both and `ending` are constants where it
 * is inlined. */
static inline __attribute__((always_inline)) void multiply(
    const Matrix *m, const uint8_t *bytes, int64_t stride, const Output *out, int64_t row,
    int64_t begin, int rows, int blocks, Ending ending) {
    __m512i start[BLOCKS];
    __m512 scale[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) { /* there are whole tiles of both */
        start[b] = _mm512_loadu_si512(m->starts + (begin + b) * LANES);
        scale[b] = _mm512_loadu_ps(m->scales + (begin + b) * LANES);
    }
    EACH_ROW(DECLARE)
    EACH_ROW(START)
    int64_t size = m->quads * 4 * LANES; /* of a block, in bytes */
    const int8_t *weight = m->weight + begin * size;
    for (int64_t quad = 0; quad < m->quads; quad++, weight += 4 * LANES) {
        __m512i w0 = _mm512_loadu_si512(weight), w1 = w0, w2 = w0, w3 = w0;
        if (blocks > 1) w1 = _mm512_loadu_si512(weight + size);
        if (blocks > 2) w2 = _mm512_loadu_si512(weight + 2 * size);
        if (blocks > 3) w3 = _mm512_loadu_si512(weight + 3 * size);
        EACH_ROW(ADD_QUAD)
    }
    EACH_ROW(WRITE)
}

#define MULTIPLY(rows, blocks) multiply(m, bytes, stride, out, row, begin, rows, blocks, ending)
#define WITH_ROWS(blocks)                       \
    switch (rows) {                             \
        case 6: MULTIPLY(6, blocks); break;     \
        case 5: MULTIPLY(5, blocks); break;     \
        case 4: MULTIPLY(4, blocks); break;     \
        case 3: MULTIPLY(3, blocks); break;     \
        case 2: MULTIPLY(2, blocks); break;     \
        default: MULTIPLY(1, blocks); break;    \
    }

/* Up to ROWS rows by the blocks from `begin` to `end`. */
static inline __attribute__((always_inline)) void multiply_rows(
    const Matrix *m, const uint8_t *bytes, int64_t stride, const Output *out, int64_t row,
    int64_t begin, int64_t end, int rows, Ending ending) {
    for (; begin + BLOCKS <= end; begin += BLOCKS) WITH_ROWS(BLOCKS)
    int left = ending == GATED ? 2 : 1;
    for (; begin < end; begin += left) WITH_ROWS(left)
}

#endif
