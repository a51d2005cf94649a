/* The likeliest tokens of rows whose settings change the choice, and tokens drawn at random. */
#ifndef CYBERSOLVE_CANDIDATES_H
#define CYBERSOLVE_CANDIDATES_H

#include "exponential.h"
#include "level.h"
#include "normaliser.h"

#include <math.h>
#include <stdlib.h>

enum { STRETCHES = 64 }; /* of a row, whose sums find the one that a token is drawn from */

/* The numbers from `begin` on; minus infinity in the lanes past `end`. */
static Floats load_until(const float *from, int64_t begin, int64_t end) {
    if (begin + LANES <= end) return load(from + begin);
    Mask present = first_lanes(end - begin);
    return select_lanes(present, load_part(present, from + begin), every(-INFINITY));
}

static float largest_in(const float *x, int64_t width) {
    Floats largest = every(-INFINITY);
    for (int64_t begin = 0; begin < width; begin += LANES) {
        largest = larger(largest, load_until(x, begin, width));
    }
    return largest_of(largest);
}

/* e to the power of the numbers over a temperature, the largest of which counts as 1; exactly zero
 * past `end`. `factor` is log2(e) over the temperature. */
static Floats weights_of(
    const float *x, int64_t begin, int64_t end, Floats largest, Floats factor) {
    Floats weight = power_of_two((load_until(x, begin, end) - largest) * factor);
    return begin + LANES <= end ? weight
                                : select_lanes(first_lanes(end - begin), weight, every(0.0f));
}

static double sum_of_weights(
    const float *x, int64_t begin, int64_t end, float largest, float factor) {
    Total total = {every(0.0f), 0, 0.0};
    for (; begin < end; begin += LANES) {
        add_lanes(&total, weights_of(x, begin, end, every(largest), every(factor)));
    }
    return sum_of_total(&total);
}

static Normaliser normaliser_of(const float *x, int64_t width) {
    float largest = largest_in(x, width);
    return normaliser(largest, sum_of_weights(x, 0, width, largest, LOG2_E));
}

static const float *logits_of(const Adjusted *a, size_t index) {
    return a->logits + a->rows[index] * a->width;
}

/* The logits of `index`, normalised and then adjusted: new memory, to be freed, or NULL. */
static float *adjusted_of(Adjusted *a, size_t index, Normaliser base) {
    const float *logits = logits_of(a, index);
    float *x = malloc((size_t)a->width * sizeof *x);
    if (!x) {
        a->failed = 1;
        return NULL;
    }
    int64_t begin = 0;
    for (; begin + LANES <= a->width; begin += LANES) {
        store(x + begin, load(logits + begin) - every(base.largest) - every(base.log_sum));
    }
    for (; begin < a->width; begin++) x[begin] = logprob_of(logits[begin], base);
    for (int64_t i = (int64_t)index * a->many, end = i + a->many; i < end; i++) {
        float biased = logprob_of(logits[a->tokens[i]], base) + a->biases[i];
        x[a->tokens[i]] = biased < 0 ? biased * a->penalties[i] : biased / a->penalties[i];
    }
    return x;
}

/* -- the largest ------------------------------------------------------------------------------- */

/* A heap whose first is the worst: the lowest score, and of equals the last token. */
typedef struct {
    int64_t *tokens, count;
    float *scores;
} Heap;

static int is_worse(const Heap *h, int64_t a, int64_t b) {
    return h->scores[a] < h->scores[b] ||
           (h->scores[a] == h->scores[b] && h->tokens[a] > h->tokens[b]);
}

static void swap(const Heap *h, int64_t a, int64_t b) {
    float score = h->scores[a];
    int64_t token = h->tokens[a];
    h->scores[a] = h->scores[b], h->tokens[a] = h->tokens[b];
    h->scores[b] = score, h->tokens[b] = token;
}

/* Restores the order of the first `count` after the one at `place` has changed. */
static void sink(const Heap *h, int64_t place, int64_t count) {
    for (int64_t worst = place;; place = worst) {
        int64_t child = 2 * place + 1;
        if (child < count && is_worse(h, child, worst)) worst = child;
        if (child + 1 < count && is_worse(h, child + 1, worst)) worst = child + 1;
        if (worst == place) return;
        swap(h, place, worst);
    }
}

static void replace_worst(const Heap *h, const float *x, int64_t token) {
    if (x[token] > h->scores[0]) {
        h->scores[0] = x[token], h->tokens[0] = token;
        sink(h, 0, h->count);
    }
}

/* Fills the heap's memory with the `count` largest of `x`, the largest first. */
static void find_largest(const float *x, int64_t width, const Heap *h) {
    for (int64_t i = 0; i < h->count; i++) h->scores[i] = x[i], h->tokens[i] = i;
    for (int64_t i = h->count / 2; i-- > 0;) sink(h, i, h->count);
    int64_t begin = h->count;
    for (; begin + LANES <= width; begin += LANES) {
        unsigned found = lanes_at_least(load(x + begin), every(h->scores[0]));
        for (; found; found &= found - 1) replace_worst(h, x, begin + __builtin_ctz(found));
    }
    for (; begin < width; begin++) replace_worst(h, x, begin);
    for (int64_t last = h->count - 1; last > 0; last--) {
        swap(h, 0, last);
        sink(h, 0, last);
    }
}

static void find_candidates(void *work, size_t index) {
    Candidates *w = work;
    const float *logits = logits_of(&w->of, index);
    Normaliser all = normaliser_of(logits, w->of.width), base = w->normalised[index] ? all : NONE;
    float *adjusted = w->of.many ? adjusted_of(&w->of, index, base) : NULL;
    if (w->of.many && !adjusted) return;
    int64_t begin = (int64_t)index * w->count;
    Heap heap = {w->best + begin, w->count, w->scores + begin};
    find_largest(adjusted ? adjusted : logits, w->of.width, &heap);
    for (int64_t i = 0; i < w->count; i++) {
        w->logprobs[begin + i] = logprob_of(logits[heap.tokens[i]], all);
        if (!adjusted) heap.scores[i] = logprob_of(heap.scores[i], base);
    }
    free(adjusted);
}

/* -- drawing ----------------------------------------------------------------------------------- */

/* The first token up to which the weights of [begin, end) add up to more than `wanted`; where
 * rounding leaves them below it, the last that has any weight. */
static int64_t token_at(
    const float *x, int64_t begin, int64_t end, float largest, float factor, double wanted) {
    int64_t last = begin;
    double sum = 0;
    for (; begin < end; begin += LANES) {
        float weights[LANES];
        store(weights, weights_of(x, begin, end, every(largest), every(factor)));
        for (int64_t i = 0; i < LANES && begin + i < end; i++) {
            sum += weights[i];
            if (x[begin + i] > -INFINITY) last = begin + i;
            if (sum > wanted) return begin + i;
        }
    }
    return last;
}

static void draw_tokens(void *work, size_t index) {
    Draw *w = work;
    int64_t width = w->of.width, vectors = (width + LANES - 1) / LANES;
    int64_t stretch = (vectors + STRETCHES - 1) / STRETCHES * LANES;
    const float *logits = logits_of(&w->of, index);
    float *adjusted = w->of.many ? adjusted_of(&w->of, index, NONE) : NULL;
    if (w->of.many && !adjusted) return;
    const float *x = adjusted ? adjusted : logits;
    float largest = largest_in(x, width), factor = LOG2_E / w->temperatures[index];
    double sums[STRETCHES], total = 0, before = 0;
    int64_t stretches = 0;
    for (int64_t begin = 0; begin < width; begin += stretch, stretches++) {
        int64_t end = begin + stretch < width ? begin + stretch : width;
        total += sums[stretches] = sum_of_weights(x, begin, end, largest, factor);
    }
    double wanted = w->uniforms[index] * total;
    int64_t chosen = 0;
    while (chosen + 1 < stretches && before + sums[chosen] <= wanted) before += sums[chosen++];
    int64_t begin = chosen * stretch, end = begin + stretch < width ? begin + stretch : width;
    w->drawn[index] = token_at(x, begin, end, largest, factor, wanted - before);
    w->logprobs[index] = logprob_of(logits[w->drawn[index]], normaliser_of(logits, width));
    w->totals[index] = largest / w->temperatures[index] + logf((float)total);
    free(adjusted);
}

#endif
