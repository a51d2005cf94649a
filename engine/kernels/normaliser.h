/* Log-probabilities from logits, without losing digits to large sums. */
#ifndef CYBERSOLVE_NORMALISER_H
#define CYBERSOLVE_NORMALISER_H

#include "level.h"

#include <math.h>

/* Vectors that are added up in floats. In one sum over 250,112 tokens the error of each of 16,000
 * additions would stay: 3.6e-5 of a log-probability. */
enum { VECTORS_TOGETHER = 64 };

/* A sum of many vectors: `recent` has the last `count` of them, `before` all others. */
typedef struct {
    Floats recent;
    int count;
    double before;
} Total;

static inline void add_lanes(Total *total, Floats x) {
    total->recent = total->recent + x;
    if (++total->count == VECTORS_TOGETHER) {
        total->before += sum_of(total->recent);
        total->recent = every(0.0f);
        total->count = 0;
    }
}

static inline double sum_of_total(const Total *total) {
    return total->before + sum_of(total->recent);
}

/* The logarithm of the sum of all powers is `largest + log_sum`. The two are not added: that would
 * round the logarithm to the digits of the logits, which may be large. */
typedef struct {
    float largest, log_sum;
} Normaliser;

static const Normaliser NONE = {0.0f, 0.0f}; /* leaves a logit as it is */

/* `sum` is that of e^(logit - largest). */
static inline Normaliser normaliser(float largest, double sum) {
    return (Normaliser){largest, (float)log(sum)};
}

static inline float logprob_of(float logit, Normaliser all) {
    return logit - all.largest - all.log_sum;
}

#endif
