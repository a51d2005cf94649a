/* The two likeliest tokens and their log-probabilities, without sorting and without writing the
 * probabilities of all others. */
#ifndef CYBERSOLVE_CHOICE_H
#define CYBERSOLVE_CHOICE_H

#include "exponential.h"
#include "level.h"
#include "normaliser.h"

#include <math.h>

/* Of the largest of each lane and the next of each lane, which may be as large, those of all. */
static void reduce_two_largest(Floats first, Floats second, float values[2]) {
    float firsts[LANES], seconds[LANES];
    store(firsts, first);
    store(seconds, second);
    values[0] = largest_of(first);
    for (int lane = 0; lane < LANES; lane++) {
        if (firsts[lane] == values[0]) { /* of that lane the second is what comes next */
            firsts[lane] = seconds[lane];
            break;
        }
    }
    values[1] = largest_of(load(firsts));
}

static void two_largest(const float *logits, int64_t width, float values[2]) {
    Floats lowest = every(-INFINITY), first = lowest, second = lowest;
    for (int64_t begin = 0; begin < width; begin += LANES) {
        Floats x;
        if (begin + LANES <= width) {
            x = load(logits + begin);
        } else {
            Mask present = first_lanes(width - begin);
            x = select_lanes(present, load_part(present, logits + begin), lowest);
        }
        second = larger(second, smaller(first, x));
        first = larger(first, x);
    }
    reduce_two_largest(first, second, values);
}

/* Adds those places to `best` whose logit is one of `values`; of equals the first in place is
 * ahead. */
static void note_places(
    const float *logits, int64_t begin, unsigned found, const float values[2], int64_t best[2]) {
    for (; found; found &= found - 1) {
        int64_t place = begin + __builtin_ctz(found);
        if (logits[place] == values[0] && best[0] < 0) {
            best[0] = place;
        } else if (logits[place] == values[1] && best[1] < 0) {
            best[1] = place;
        }
    }
}

static void find_likeliest(void *work, size_t row) {
    const Likeliest *w = work;
    const float *logits = w->logits + (int64_t)row * w->width;
    float values[2];
    two_largest(logits, w->width, values);
    Floats largest = every(values[0]), next = every(values[1]);
    Floats factor = every(LOG2_E);
    Total total = {every(0.0f), 0, 0.0};
    int64_t *best = w->best + 2 * row;
    best[0] = best[1] = -1;
    int64_t begin = 0;
    for (; begin + LANES <= w->width; begin += LANES) {
        Floats x = load(logits + begin);
        unsigned found = lanes_at_least(x, next);
        if (found) note_places(logits, begin, found, values, best);
        add_lanes(&total, power_of_two((x - largest) * factor));
    }
    if (begin < w->width) {
        Mask present = first_lanes(w->width - begin);
        Floats x = load_part(present, logits + begin);
        unsigned found = lanes_at_least(x, next) & ((1u << (w->width - begin)) - 1);
        note_places(logits, begin, found, values, best);
        Floats power = power_of_two((x - largest) * factor);
        add_lanes(&total, select_lanes(present, power, every(0.0f)));
    }
    for (int nth = 0; nth < 2; nth++) {
        if (best[nth] < 0) best[nth] = 0; /* nothing is as large as itself where all is NaN */
    }
    Normaliser all = normaliser(values[0], sum_of_total(&total));
    for (int nth = 0; nth < 2; nth++) w->logprobs[2 * row + nth] = logprob_of(values[nth], all);
}

#endif
