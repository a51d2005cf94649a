/* Four floats in a register of ARM64's NEON. */
#ifndef CYBERSOLVE_VECTORS_NEON_H
#define CYBERSOLVE_VECTORS_NEON_H

#include <arm_neon.h>
#include <stdint.h>

enum { LANES = 4 };

typedef float32x4_t Floats;
typedef int32x4_t Integers;
typedef int64_t Mask; /* how many of the lanes, the first, are in it */

static inline Mask first_lanes(int64_t count) { return count < LANES ? count : LANES; }

static inline Floats every(float x) { return vdupq_n_f32(x); }
static inline Floats load(const float *from) { return vld1q_f32(from); }
static inline void store(float *to, Floats x) { vst1q_f32(to, x); }

/* The first `count` lanes; the others are zero, and their memory is not read. */
static inline Floats load_bytes_part(int count, const int8_t *from) {
    int32_t four = 0;
    __builtin_memcpy(&four, from, (unsigned)count);
    int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

static inline Floats load_bytes(const int8_t *from) { return load_bytes_part(LANES, from); }

/* Zero in the lanes that are not in `present`; their memory is not read. */
static inline Floats load_part(Mask present, const float *from) {
    float lanes[LANES] = {0};
    for (Mask i = 0; i < present; i++) lanes[i] = from[i];
    return load(lanes);
}

static inline void store_part(Mask present, float *to, Floats x) {
    float lanes[LANES];
    store(lanes, x);
    for (Mask i = 0; i < present; i++) to[i] = lanes[i];
}

static inline Floats select_lanes(Mask from_first, Floats first, Floats second) {
    const int32x4_t numbers = {0, 1, 2, 3};
    return vbslq_f32(vcltq_s32(numbers, vdupq_n_s32((int32_t)from_first)), first, second);
}

/* a * b + c. */
static inline Floats fused(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
static inline Floats larger(Floats a, Floats b) { return vmaxq_f32(a, b); }
static inline Floats smaller(Floats a, Floats b) { return vminq_f32(a, b); }
static inline Floats magnitude(Floats x) { return vabsq_f32(x); }
static inline float sum_of(Floats x) { return vaddvq_f32(x); }
static inline float largest_of(Floats x) { return vmaxvq_f32(x); }

/* A bit for each lane. */
static inline unsigned lanes_at_least(Floats x, Floats least) {
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgeq_f32(x, least), bits));
}

static inline Floats nearest_whole(Floats x) { return vrndnq_f32(x); }

/* Within what an exponent can be: below is 0, above infinity. */
static inline Floats bounded_exponent(Floats x) {
    return larger(every(-127.0f), smaller(every(128.0f), x));
}

/* x * 2^whole, from -127, which is taken for zero, to 128, for infinity. */
static inline Floats times_power(Floats x, Floats whole) {
    Integers exponent = vaddq_s32(vcvtq_s32_f32(whole), vdupq_n_s32(127));
    return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

/* Lane i of the result is the sum of the lanes of v[i]. */
static inline Floats sums_of_lanes(const Floats v[LANES]) {
    return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3]));
}

/* Lane j of v[i] to lane i of v[j]. */
static inline void transpose(Floats v[LANES]) {
    Floats a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]);
    Floats c = vtrn1q_f32(v[2], v[3]), d = vtrn2q_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    v[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    v[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    v[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

/* -- integers ---------------------------------------------------------------------------------- */

enum {
    ZERO = 0, /* is added to inputs: the instructions take them as they are */
    ROWS = 6, /* of a tile: 24 sums and 4 vectors of weights in 32 registers */
};

typedef int8x16_t Bytes; /* of weights */

static inline Integers load_integers(const int32_t *from) { return vld1q_s32(from); }
static inline Bytes load_weights(const int8_t *from) { return vld1q_s8(from); }
static inline Floats to_floats(Integers x) { return vcvtq_f32_s32(x); }

/* The same four inputs in every lane. */
static inline Bytes every_quad(const uint8_t *from) {
    int32_t quad;
    __builtin_memcpy(&quad, from, sizeof quad);
    return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

/* Rounds lanes from -128 to 127 and writes them as bytes. */
static inline void store_rounded(uint8_t *to, Floats x) {
    int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(x));
    int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    __builtin_memcpy(to, &bytes, LANES);
}

/* The same: ZERO is 0. */
static inline void store_signed(int8_t *to, Floats x) { store_rounded((uint8_t *)to, x); }

#ifdef __ARM_FEATURE_MATMUL_INT8
/* All tiles are whole: of four vectors of weights. */
#define BY_PAIRS

/* Of four columns the weights of two quads, for the first two columns and for the others: eight
 * neighbours of each. Past the `last` quad of an odd number are zeros. */
static inline void two_quads(const int8_t *from, int last, Bytes *low, Bytes *high) {
    int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(from)), second = vdupq_n_s32(0);
    if (!last) second = vreinterpretq_s32_s8(vld1q_s8(from + 64));
    *low = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    *high = vreinterpretq_s8_s32(vzip2q_s32(first, second));
}

/* Eight inputs of each of two rows. */
static inline Bytes two_rows(const uint8_t *first, const uint8_t *second) {
    return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(first), vld1_u8(second)));
}

/* Adds the products of two rows and two columns: row 0 with both, then row 1. */
static inline Integers multiply_add_pairs(Integers sum, Bytes rows, Bytes columns) {
    return vmmlaq_s32(sum, rows, columns);
}

/* Two rows by two columns, twice, to a row of four columns, twice. */
static inline void part_rows(Integers *first, Integers *second) {
    Integers low = vcombine_s32(vget_low_s32(*first), vget_low_s32(*second));
    *second = vcombine_s32(vget_high_s32(*first), vget_high_s32(*second));
    *first = low;
}
#else
/* Adds to each lane of `sum` the products of its four bytes. */
#define MULTIPLY_ADD(sum, x, weight) sum = vdotq_s32(sum, x, weight)
#endif

#endif
