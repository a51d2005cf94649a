/* What follows a product in the same kernel: the activation and its gate, or a residual. */
#ifndef CYBERSOLVE_ENDINGS_H
#define CYBERSOLVE_ENDINGS_H

#include "exponential.h"
#include "tiles.h"

/* `gelu_new`, the approximation by tanh: x times the logistic function of 2 sqrt(2 / pi) u, where
 * u is x + 0.044715 x^3. */
INLINED Floats gelu(Floats x) {
    const float factor = -2.0f * 0.7978845608f * LOG2_E;
    Floats slope = fused(x * x, every(0.044715f * factor), every(factor));
    return x / (power_of_two(x * slope) + every(1.0f));
}

/* `vector`: which of the row's, counted in LANES. */
INLINED void write_vector(
    const Matrix *m, const Output *out, int64_t row, int64_t vector, Ending ending, Floats value) {
    int64_t left = m->columns - vector * LANES, at = row * m->columns + vector * LANES;
    if (left >= LANES) { /* without a mask it is faster */
        if (ending == ADDED) value = value + load(out->residual + at);
        store(out->values + at, value);
    } else if (left > 0) { /* the last block is filled up with columns that are not written */
        Mask present = first_lanes(left);
        if (ending == ADDED) value = value + load_part(present, out->residual + at);
        store_part(present, out->values + at, value);
    }
}

/* The first `vectors` of a row's vectors of sums: those of a tile. */
INLINED void write_row(
    const Matrix *m, const Output *out, int64_t row, int64_t first, int vectors, Ending ending,
    Floats v0, Floats v1, Floats v2, Floats v3) {
    if (ending == GATED) {
        write_vector(m, out, row, first, ending, gelu(v0) * v1);
        if (vectors > 2) write_vector(m, out, row, first + 1, ending, gelu(v2) * v3);
    } else {
        write_vector(m, out, row, first, ending, v0);
        if (vectors > 1) write_vector(m, out, row, first + 1, ending, v1);
        if (vectors > 2) write_vector(m, out, row, first + 2, ending, v2);
        if (vectors > 3) write_vector(m, out, row, first + 3, ending, v3);
    }
}

#endif
