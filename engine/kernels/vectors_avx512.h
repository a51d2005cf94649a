/* Sixteen floats in a register of AVX-512. */
#ifndef CYBERSOLVE_VECTORS_AVX512_H
#define CYBERSOLVE_VECTORS_AVX512_H

#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };

typedef __m512 Floats;
typedef __m512i Integers; /* 32 bits a lane */
typedef __mmask16 Mask;   /* of lanes */

static inline Mask first_lanes(int64_t count) {
    return count >= LANES ? 0xffff : (Mask)((1u << count) - 1);
}

static inline Floats every(float x) { return _mm512_set1_ps(x); }
static inline Floats load(const float *from) { return _mm512_loadu_ps(from); }
static inline void store(float *to, Floats x) { _mm512_storeu_ps(to, x); }

static inline Floats load_bytes(const int8_t *from) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)from);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* The first `count` lanes; the others are zero, and their memory is not read. */
static inline Floats load_bytes_part(int count, const int8_t *from) {
    __m128i bytes = _mm_maskz_loadu_epi8(first_lanes(count), from);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* Zero in the lanes that are not in `present`; their memory is not read. */
static inline Floats load_part(Mask present, const float *from) {
    return _mm512_maskz_loadu_ps(present, from);
}

static inline void store_part(Mask present, float *to, Floats x) {
    _mm512_mask_storeu_ps(to, present, x);
}

static inline Floats select_lanes(Mask from_first, Floats first, Floats second) {
    return _mm512_mask_blend_ps(from_first, second, first);
}

/* a * b + c. */
static inline Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
static inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
static inline Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
static inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
static inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x); }

/* A bit for each lane. */
static inline unsigned lanes_at_least(Floats x, Floats least) {
    return _mm512_cmp_ps_mask(x, least, _CMP_GE_OQ);
}

static inline Floats nearest_whole(Floats x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Down to the least exponent of a normal number: others are slow. Infinity above is not. */
static inline Floats bounded_exponent(Floats x) { return larger(every(-126.0f), x); }

/* x * 2^whole. */
static inline Floats times_power(Floats x, Floats whole) { return _mm512_scalef_ps(x, whole); }

/* Quarters 0 and 2 of `a`, then of `b`, plus quarters 1 and 3. */
static inline Floats even_and_odd_quarters(Floats a, Floats b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

/* Lane i of the result is the sum of the lanes of v[i]. Each round adds neighbours: 16 vectors of
 * 16 parts, 8 of 2 times 8, and so on. */
static inline Floats sums_of_lanes(const Floats v[LANES]) {
    Floats pairs[8], fours[4];
    for (int i = 0; i < 8; i++) {
        pairs[i] = _mm512_add_ps(
            _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    }
    for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
        fours[i] = _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    Floats low = even_and_odd_quarters(fours[0], fours[1]);
    Floats high = even_and_odd_quarters(fours[2], fours[3]);
    return even_and_odd_quarters(low, high);
}

/* Lane j of v[i] to lane i of v[j]. */
static inline void transpose(Floats v[LANES]) {
    Floats quarters[LANES]; /* quarter q of 4 * g + j: of rows 4 * g on, column 4 * q + j */
    for (int i = 0; i < LANES; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(v[i + 2], v[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(v[i + 2], v[i + 3]));
        quarters[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        quarters[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        quarters[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        quarters[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for (int j = 0; j < 4; j++) {
        Floats a = quarters[j], b = quarters[4 + j], c = quarters[8 + j], d = quarters[12 + j];
        Floats even = _mm512_shuffle_f32x4(a, b, 0x88), odd = _mm512_shuffle_f32x4(a, b, 0xdd);
        Floats even2 = _mm512_shuffle_f32x4(c, d, 0x88), odd2 = _mm512_shuffle_f32x4(c, d, 0xdd);
        v[j] = _mm512_shuffle_f32x4(even, even2, 0x88);
        v[4 + j] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        v[8 + j] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        v[12 + j] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
}

/* -- integers ---------------------------------------------------------------------------------- */

enum {
    ZERO = 128, /* is added to inputs, which the instruction wants unsigned */
    ROWS = 6,   /* of a tile: 24 sums and 4 vectors of weights in 32 registers */
};

typedef Integers Bytes; /* of weights */

static inline Integers load_integers(const int32_t *from) { return _mm512_loadu_si512(from); }
static inline Bytes load_weights(const int8_t *from) { return _mm512_loadu_si512(from); }
static inline Floats to_floats(Integers x) { return _mm512_cvtepi32_ps(x); }

/* The same four inputs in every lane. */
static inline Integers every_quad(const uint8_t *from) {
    int32_t quad;
    __builtin_memcpy(&quad, from, sizeof quad);
    return _mm512_set1_epi32(quad);
}

/* Rounds lanes from -128 to 127 and writes them as bytes, with ZERO added. */
static inline void store_rounded(uint8_t *to, Floats x) {
    Integers whole = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(ZERO));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(whole));
}

/* The same without ZERO. */
static inline void store_signed(int8_t *to, Floats x) {
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

#ifdef __AVX512VNNI__
/* Adds to each lane of `sum` the products of its four bytes. As an intrinsic, GCC 12 moves every sum
 * to another register and back. */
#define MULTIPLY_ADD(sum, x, weight) \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight))
#else
#define IN_WORDS

/* Adds to each lane of `sum` the products of the four bytes of `x` and `first`, and of `y` and
 * `second`, which fit into 16 bits two by two. */
static inline Integers add_words(Integers sum, Integers x, Bytes first, Integers y, Bytes second) {
    Integers words =
        _mm512_add_epi16(_mm512_maddubs_epi16(x, first), _mm512_maddubs_epi16(y, second));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(words, _mm512_set1_epi16(1)));
}
#endif

#endif
