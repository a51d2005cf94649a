/* Eight floats in a register of AVX2, with FMA. */
#ifndef CYBERSOLVE_VECTORS_AVX2_H
#define CYBERSOLVE_VECTORS_AVX2_H

#include <immintrin.h>
#include <stdint.h>

enum { LANES = 8 };

typedef __m256 Floats;
typedef __m256i Integers; /* 32 bits a lane */
typedef __m256i Mask;     /* of lanes: all bits of those that are in it */

static inline Mask first_lanes(int64_t count) {
    static const int32_t lanes[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const Mask *)(lanes + LANES - (count < LANES ? count : LANES)));
}

static inline Floats every(float x) { return _mm256_set1_ps(x); }
static inline Floats load(const float *from) { return _mm256_loadu_ps(from); }
static inline void store(float *to, Floats x) { _mm256_storeu_ps(to, x); }

static inline Floats load_bytes(const int8_t *from) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)from);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* The first `count` lanes; the others are zero, and their memory is not read. */
static inline Floats load_bytes_part(int count, const int8_t *from) {
    int8_t lanes[LANES] = {0};
    __builtin_memcpy(lanes, from, (unsigned)count);
    return load_bytes(lanes);
}

/* Zero in the lanes that are not in `present`; their memory is not read. */
static inline Floats load_part(Mask present, const float *from) {
    return _mm256_maskload_ps(from, present);
}

static inline void store_part(Mask present, float *to, Floats x) {
    _mm256_maskstore_ps(to, present, x);
}

static inline Floats select_lanes(Mask from_first, Floats first, Floats second) {
    return _mm256_blendv_ps(second, first, _mm256_castsi256_ps(from_first));
}

/* a * b + c. */
static inline Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
static inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
static inline Floats magnitude(Floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

static inline float sum_of(Floats x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float largest_of(Floats x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* A bit for each lane. */
static inline unsigned lanes_at_least(Floats x, Floats least) {
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x, least, _CMP_GE_OQ));
}

static inline Floats nearest_whole(Floats x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Within what an exponent can be: below is 0, above infinity. */
static inline Floats bounded_exponent(Floats x) {
    return larger(every(-127.0f), smaller(every(128.0f), x));
}

/* x * 2^whole, from -127, which is taken for zero, to 128, for infinity. */
static inline Floats times_power(Floats x, Floats whole) {
    Integers exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

/* Lane i of the result is the sum of the lanes of v[i]. */
static inline Floats sums_of_lanes(const Floats v[LANES]) {
    Floats low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    Floats high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_add_ps(
        _mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

/* Lane j of v[i] to lane i of v[j]. */
static inline void transpose(Floats v[LANES]) {
    Floats halves[LANES]; /* half h of 4 * g + j: of rows 4 * g on, column 4 * h + j */
    for (int i = 0; i < LANES; i += 4) {
        __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(v[i], v[i + 1]));
        __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(v[i], v[i + 1]));
        __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(v[i + 2], v[i + 3]));
        __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(v[i + 2], v[i + 3]));
        halves[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
        halves[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
        halves[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
        halves[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
    }
    for (int j = 0; j < 4; j++) {
        v[j] = _mm256_permute2f128_ps(halves[j], halves[4 + j], 0x20);
        v[4 + j] = _mm256_permute2f128_ps(halves[j], halves[4 + j], 0x31);
    }
}

/* -- integers ---------------------------------------------------------------------------------- */

enum {
    ZERO = 128, /* is added to inputs, which the instructions want unsigned */
    ROWS = 3,   /* of a tile: 12 sums in 16 registers */
};

typedef Integers Bytes; /* of weights */

static inline Integers load_integers(const int32_t *from) {
    return _mm256_loadu_si256((const Integers *)from);
}
static inline Bytes load_weights(const int8_t *from) {
    return _mm256_loadu_si256((const Bytes *)from);
}
static inline Floats to_floats(Integers x) { return _mm256_cvtepi32_ps(x); }

/* The same four inputs in every lane. */
static inline Integers every_quad(const uint8_t *from) {
    int32_t quad;
    __builtin_memcpy(&quad, from, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Rounds lanes from -128 to 127 and writes them as bytes, with ZERO added. */
static inline void store_rounded(uint8_t *to, Floats x) {
    Integers whole = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(ZERO));
    __m128i words = _mm_packus_epi32(
        _mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}

/* The same without ZERO. */
static inline void store_signed(int8_t *to, Floats x) {
    Integers whole = _mm256_cvtps_epi32(x);
    __m128i words = _mm_packs_epi32(
        _mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packs_epi16(words, words));
}

#ifdef __AVXVNNI__
/* 12 sums, the inputs of three rows and one vector of weights are all 16 registers. */
#define BY_VECTORS
/* Adds to each lane of `sum` the products of its four bytes. As an intrinsic, GCC 12 moves every sum
 * to another register and back. */
#define MULTIPLY_ADD(sum, x, weight) \
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weight))
#else
#define IN_WORDS

/* Adds to each lane of `sum` the products of the four bytes of `x` and `first`, and of `y` and
 * `second`, which fit into 16 bits two by two. */
static inline Integers add_words(Integers sum, Integers x, Bytes first, Integers y, Bytes second) {
    Integers words =
        _mm256_add_epi16(_mm256_maddubs_epi16(x, first), _mm256_maddubs_epi16(y, second));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}
#endif

#endif
