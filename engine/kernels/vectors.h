/* Sixteen floats at a time, on processors that have AVX-512 with VNNI. */
#ifndef CYBERSOLVE_VECTORS_H
#define CYBERSOLVE_VECTORS_H

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };

static inline __mmask16 first_lanes(int64_t count) {
    return count >= LANES ? 0xffff : (__mmask16)((1u << count) - 1);
}

static const float LOG2_E = 1.44269504088896341f;

/* 2 to the power of each lane, within two units in the last place: of the power's whole part the
 * exponent, of the rest, from -1/2 to 1/2, a polynomial that fits it best and is 1 at 0. */
static inline __m512 power_of_two(__m512 x) {
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 rest = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.3264727198e-3f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.6715126397e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.5507337433e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022242085e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314697760e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

/* Quarters 0 and 2 of `a`, then of `b`, plus quarters 1 and 3. */
static inline __m512 even_and_odd_quarters(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

/* Lane i of the result is the sum of the lanes of v[i]. Each round adds neighbours: 16 vectors of
 * 16 parts, 8 of 2 times 8, and so on. */
static inline __m512 sums_of_lanes(const __m512 v[LANES]) {
    __m512 pairs[8], fours[4];
    for (int i = 0; i < 8; i++) {
        pairs[i] = _mm512_add_ps(
            _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    }
    for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
        fours[i] = _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    __m512 low = even_and_odd_quarters(fours[0], fours[1]);
    __m512 high = even_and_odd_quarters(fours[2], fours[3]);
    return even_and_odd_quarters(low, high);
}

#endif
