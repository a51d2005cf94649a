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

/* e to the power of each lane, within two units in the last place: 2^n times a polynomial
 * (coefficients: Cephes, expf). */
static inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-104.0f));
    x = _mm512_min_ps(x, _mm512_set1_ps(88.7f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)), 0x08);
    __m512 rest = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    rest = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), rest);
    __m512 sum = _mm512_set1_ps(1.9875691500e-4f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.3981999507e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(8.3334519073e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(4.1665795894e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.6666665459e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.0000001201e-1f));
    sum = _mm512_fmadd_ps(sum, _mm512_mul_ps(rest, rest), rest);
    return _mm512_scalef_ps(_mm512_add_ps(sum, _mm512_set1_ps(1.0f)), n);
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
