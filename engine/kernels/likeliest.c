/* The two likeliest tokens and their log-probabilities, without sorting and without writing the
 * probabilities of all others. */
#if defined(__x86_64__)

#include "kernel.h"
#include "vectors.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int64_t width;
    const float *logits;
    int64_t *best;
    float *logprobs;
} Work;

/* The largest value and the next, which may be as large. */
static void two_largest(const float *logits, int64_t width, float values[2]) {
    __m512 first = _mm512_set1_ps(-INFINITY), second = first;
    for (int64_t begin = 0; begin < width; begin += LANES) {
        __mmask16 present = first_lanes(width - begin);
        __m512 x = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), present, logits + begin);
        second = _mm512_max_ps(second, _mm512_min_ps(first, x));
        first = _mm512_max_ps(first, x);
    }
    values[0] = _mm512_reduce_max_ps(first);
    __mmask16 leads = _mm512_cmp_ps_mask(first, _mm512_set1_ps(values[0]), _CMP_EQ_OQ);
    __mmask16 one = leads & -leads; /* of that lane the second is what comes next */
    values[1] = _mm512_reduce_max_ps(_mm512_mask_mov_ps(first, one, second));
}

/* Adds those places to `best` whose logit is one of `values`; of equals the first in place is
 * ahead. */
static void note_places(
    const float *logits, int64_t begin, __mmask16 found, const float values[2], int64_t best[2]) {
    for (; found; found &= found - 1) {
        int64_t place = begin + __builtin_ctz(found);
        if (logits[place] == values[0] && best[0] < 0) {
            best[0] = place;
        } else if (logits[place] == values[1] && best[1] < 0) {
            best[1] = place;
        }
    }
}

static void find(void *work, size_t row) {
    const Work *w = work;
    const float *logits = w->logits + row * w->width;
    float values[2];
    two_largest(logits, w->width, values);
    __m512 largest = _mm512_set1_ps(values[0]), next = _mm512_set1_ps(values[1]);
    __m512 total = _mm512_setzero_ps(), factor = _mm512_set1_ps(LOG2_E);
    int64_t *best = w->best + 2 * row;
    best[0] = best[1] = -1;
    for (int64_t begin = 0; begin < w->width; begin += LANES) {
        __mmask16 present = first_lanes(w->width - begin);
        __m512 x = _mm512_maskz_loadu_ps(present, logits + begin);
        __mmask16 found = _mm512_mask_cmp_ps_mask(present, x, next, _CMP_GE_OQ);
        if (found) note_places(logits, begin, found, values, best);
        __m512 less = _mm512_mul_ps(_mm512_sub_ps(x, largest), factor);
        total = _mm512_mask_add_ps(total, present, total, power_of_two(less));
    }
    for (int nth = 0; nth < 2; nth++) {
        if (best[nth] < 0) best[nth] = 0; /* nothing is as large as itself where all is NaN */
    }
    float log_total = logf(_mm512_reduce_add_ps(total));
    w->logprobs[2 * row] = -log_total;
    w->logprobs[2 * row + 1] = values[1] - values[0] - log_total;
}

/* logits (batch, 1, tokens) -> best (batch, 2), logprobs (batch, 2), the likeliest first. */
static Status *compute(void *kernel, Context *context) {
    Api *api = *(Api **)kernel;
    Tensor logits;
    TRY(read_input(api, context, 0, &logits));
    int64_t batch = logits.shape[0], shape[] = {batch, 2};
    Work work = {logits.shape[2], logits.data, 0, 0};
    TRY(write_output(api, context, 0, shape, 2, (void **)&work.best));
    TRY(write_output(api, context, 1, shape, 2, (void **)&work.logprobs));
    return ort_parallel(api, context, find, batch, &work);
}

static Status *create(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator, (void)info;
    Api **kept = malloc(sizeof *kept);
    if (!kept) return ort_error(api, "out of memory");
    *kept = api;
    *kernel = kept;
    return NULL;
}

static const ElementType INPUTS[] = {FLOAT};
static const ElementType OUTPUTS[] = {INT64, FLOAT};

Kernel LIKELIEST_KERNEL = KERNEL("Likeliest", INPUTS, OUTPUTS, create, compute, free);

#endif
