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

typedef struct {
    float value;
    int64_t place;
} Found;

static inline int ahead(Found a, Found b) {
    return a.value > b.value || (a.value == b.value && a.place < b.place);
}

/* The first and second of each lane, then of all lanes. Of equals the first in place is ahead. */
static void two_largest(const float *logits, int64_t width, Found found[2]) {
    __m512 first = _mm512_set1_ps(-INFINITY), second = first;
    __m512i first_place = _mm512_set1_epi32(0), second_place = first_place;
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int64_t begin = 0; begin < width; begin += LANES) {
        __mmask16 present = first_lanes(width - begin);
        __m512 x = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), present, logits + begin);
        __mmask16 leads = _mm512_cmp_ps_mask(x, first, _CMP_GT_OQ);
        __mmask16 follows = _mm512_mask_cmp_ps_mask((__mmask16)~leads, x, second, _CMP_GT_OQ);
        second = _mm512_mask_mov_ps(second, leads, first);
        second_place = _mm512_mask_mov_epi32(second_place, leads, first_place);
        first = _mm512_mask_mov_ps(first, leads, x);
        first_place = _mm512_mask_mov_epi32(first_place, leads, place);
        second = _mm512_mask_mov_ps(second, follows, x);
        second_place = _mm512_mask_mov_epi32(second_place, follows, place);
        place = _mm512_add_epi32(place, _mm512_set1_epi32(LANES));
    }
    float values[2 * LANES];
    int32_t places[2 * LANES];
    _mm512_storeu_ps(values, first);
    _mm512_storeu_ps(values + LANES, second);
    _mm512_storeu_si512(places, first_place);
    _mm512_storeu_si512(places + LANES, second_place);
    found[0] = found[1] = (Found){-INFINITY, INT64_MAX};
    for (int lane = 0; lane < 2 * LANES; lane++) {
        Found other = {values[lane], places[lane]};
        if (ahead(other, found[0])) {
            found[1] = found[0];
            found[0] = other;
        } else if (ahead(other, found[1])) {
            found[1] = other;
        }
    }
}

static void find(void *work, size_t row) {
    const Work *w = work;
    const float *logits = w->logits + row * w->width;
    Found found[2];
    two_largest(logits, w->width, found);
    __m512 largest = _mm512_set1_ps(found[0].value), total = _mm512_setzero_ps();
    for (int64_t begin = 0; begin < w->width; begin += LANES) {
        __mmask16 present = first_lanes(w->width - begin);
        __m512 x = _mm512_maskz_loadu_ps(present, logits + begin);
        total = _mm512_mask_add_ps(
            total, present, total, exponential(_mm512_sub_ps(x, largest)));
    }
    float log_total = logf(_mm512_reduce_add_ps(total));
    for (int nth = 0; nth < 2; nth++) {
        w->best[2 * row + nth] = found[nth].place;
        w->logprobs[2 * row + nth] = found[nth].value - found[0].value - log_total;
    }
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
