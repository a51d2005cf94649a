/* Rows of floats to integers, divided by their norm where they are normed. */
#ifndef CYBERSOLVE_ROUNDING_H
#define CYBERSOLVE_ROUNDING_H

#include "tiles.h"

#include <math.h>
#include <string.h>

static float norm_of(const float *x, int64_t count, float epsilon) {
    Floats squares = every(0.0f);
    int64_t begin = 0;
    for (; begin + LANES <= count; begin += LANES) {
        Floats part = load(x + begin);
        squares = fused(part, part, squares);
    }
    if (begin < count) {
        Floats part = load_part(first_lanes(count - begin), x + begin);
        squares = fused(part, part, squares);
    }
    return 1.0f / sqrtf(sum_of(squares) / (float)count + epsilon);
}

INLINED void round_vector(Floats part, Floats norm, Floats factors, uint8_t *bytes) {
    Floats scaled = part * norm * factors;
    store_rounded(bytes, larger(every(-128.0f), smaller(every(127.0f), scaled)));
}

/* The largest magnitude of the inputs times their factors. */
static float largest_input(const Matrix *m, const float *x) {
    Floats largest = every(0.0f);
    int64_t begin = 0;
    for (; begin + LANES <= m->inputs; begin += LANES) {
        Floats part = load(x + begin) * load(m->factors + begin);
        largest = larger(largest, larger(part, every(0.0f) - part));
    }
    if (begin < m->inputs) {
        Mask rest = first_lanes(m->inputs - begin);
        Floats part = load_part(rest, x + begin) * load_part(rest, m->factors + begin);
        largest = larger(largest, larger(part, every(0.0f) - part));
    }
    return largest_of(largest);
}

/* Writes whole vectors and a quad of zeros after the last input: `bytes` has room for the inputs up to a
 * multiple of 16, and for that quad. Returns what the row's sums are multiplied by, beside the scales
 * of their columns. */
static float round_row(const Matrix *m, const float *x, uint8_t *bytes) {
    float factor = m->normed ? norm_of(x, m->inputs, m->epsilon) : 1.0f, scale = 1.0f;
    if (m->by_row) {
        float largest = largest_input(m, x);
        scale = largest * factor / 127.0f;
        factor = largest > 0.0f ? 127.0f / largest : 0.0f; /* a norm cancels out */
    }
    Floats norm = every(factor);
    int64_t begin = 0;
    for (; begin + LANES <= m->inputs; begin += LANES) {
        round_vector(load(x + begin), norm, load(m->factors + begin), bytes + begin);
    }
    if (begin < m->inputs) {
        Mask rest = first_lanes(m->inputs - begin);
        round_vector(
            load_part(rest, x + begin), norm, load_part(rest, m->factors + begin), bytes + begin);
    }
    memset(bytes + m->inputs, 0, QUAD);
    return scale;
}

#endif
