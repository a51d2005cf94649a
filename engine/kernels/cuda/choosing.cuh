/* The choice of tokens on a GPU: a block for each row, whose threads go over the row's logits.
 *
 * Kernels cannot report an error: rows and tokens out of range are left out. */
#ifndef CYBERSOLVE_CUDA_CHOOSING
#define CYBERSOLVE_CUDA_CHOOSING

#include "device.cuh"

constexpr int CHOOSERS = 512; /* threads of a block */

/* -- sums of powers ---------------------------------------------------------------------------- */

/* The largest of some numbers, and the sum of e^(number - largest). */
struct Powers {
    float largest, sum;
};

__device__ inline Powers both(Powers a, Powers b) {
    if (a.largest < b.largest) {
        Powers other = a;
        a = b, b = other;
    }
    if (b.sum > 0.0f) a.sum += b.sum * expf(b.largest - a.largest);
    return a;
}

__device__ inline Powers powers_of(const float *x, int64_t width) {
    Powers own = {-INFINITY, 0.0f};
    for (int64_t i = threadIdx.x; i < width; i += CHOOSERS) {
        if (x[i] > -INFINITY) own = both(own, {x[i], 1.0f});
    }
    return combined<CHOOSERS>(own, both);
}

/* The logarithm of the sum of all powers is `largest + log_sum`. The two are not added: that would
 * round the logarithm to the digits of the logits, which may be large. */
struct Normaliser {
    float largest, log_sum;
};

/* Leaves a logit as it is. */
__device__ inline Normaliser no_normaliser() { return {0.0f, 0.0f}; }

__device__ inline Normaliser normaliser_of(const float *logits, int64_t width) {
    Powers powers = powers_of(logits, width);
    return {powers.largest, logf(powers.sum)};
}

__device__ inline float logprob_of(float logit, Normaliser all) {
    return logit - all.largest - all.log_sum;
}

/* -- the likeliest ----------------------------------------------------------------------------- */

/* A token and its score. The higher score comes first, and of equals the first token. */
struct Choice {
    float score;
    int32_t token;
};

constexpr int32_t NO_TOKEN = INT32_MAX; /* after every token */

__device__ inline bool is_before(Choice a, Choice b) {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
}

__device__ inline Choice first_of(Choice a, Choice b) { return is_before(b, a) ? b : a; }

/* The first of the tokens that come after `last`. */
__device__ inline Choice next_after(Choice last, const float *scores, int64_t width) {
    Choice own = {-INFINITY, NO_TOKEN};
    for (int64_t i = threadIdx.x; i < width; i += CHOOSERS) {
        Choice one = {scores[i], (int32_t)i};
        if (is_before(last, one)) own = first_of(own, one);
    }
    return combined<CHOOSERS>(own, first_of);
}

__device__ inline Choice before_all() { return {INFINITY, -1}; }

/* logits (rows, width) -> the two likeliest tokens of each and their log-probabilities (rows, 2). */
static __global__ void find_likeliest(
    int64_t width, const float *logits, int64_t *best, float *logprobs) {
    int64_t row = blockIdx.x;
    const float *own = logits + row * width;
    Normaliser all = normaliser_of(own, width);
    Choice choice = before_all();
    for (int rank = 0; rank < 2; rank++) {
        choice = next_after(choice, own, width);
        if (threadIdx.x == 0) {
            best[row * 2 + rank] = choice.token == NO_TOKEN ? rank : choice.token;
            logprobs[row * 2 + rank] = logprob_of(choice.score, all);
        }
    }
}

/* -- adjustments ------------------------------------------------------------------------------- */

/* Logits (rows, width), and for each index the row that it reads and the adjustments of some of its
 * tokens; `scores` (indices, width) is memory for what they become. */
struct Adjusted {
    int64_t width, many, batch;
    const float *logits;
    const int64_t *rows, *tokens;
    const float *biases, *penalties;
    float *scores;
};

__device__ inline const float *logits_of(const Adjusted &a, int64_t index) {
    int64_t row = a.rows[index];
    return a.logits + (row < 0 || row >= a.batch ? 0 : row) * a.width;
}

/* The logits of an index, normalised and then adjusted: each named token's with its bias added, and
 * then multiplied by its penalty where it is below 0, else divided by it. */
__device__ inline const float *adjusted(const Adjusted &a, int64_t index, Normaliser base) {
    const float *logits = logits_of(a, index);
    float *scores = a.scores + index * a.width;
    for (int64_t i = threadIdx.x; i < a.width; i += CHOOSERS) {
        scores[i] = logprob_of(logits[i], base);
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < a.many; i += CHOOSERS) {
        int64_t named = index * a.many + i, token = a.tokens[named];
        if (token < 0 || token >= a.width) continue;
        float biased = logprob_of(logits[token], base) + a.biases[named];
        float penalty = a.penalties[named];
        scores[token] = biased < 0.0f ? biased * penalty : biased / penalty;
    }
    __syncthreads();
    return scores;
}

/* -> the `count` first tokens of each index, with their scores, and their log-probabilities without
 * the adjustments (indices, count). */
static __global__ void find_candidates(
    Adjusted a, int64_t count, const int32_t *normalised, int64_t *best, float *scores,
    float *logprobs) {
    int64_t index = blockIdx.x;
    const float *logits = logits_of(a, index);
    Normaliser all = normaliser_of(logits, a.width);
    const float *own = adjusted(a, index, normalised[index] ? all : no_normaliser());
    Choice choice = before_all();
    for (int64_t rank = 0; rank < count; rank++) {
        choice = next_after(choice, own, a.width);
        if (threadIdx.x == 0) {
            int64_t place = index * count + rank, token = choice.token == NO_TOKEN ? 0 : choice.token;
            best[place] = token;
            scores[place] = choice.score;
            logprobs[place] = logprob_of(logits[token], all);
        }
    }
}

/* -- drawing ----------------------------------------------------------------------------------- */

/* The first token from `begin` on up to which the weights add up to more than `wanted`; where
 * rounding leaves them below it, the last that has any weight. */
__device__ inline int64_t token_at(
    const float *x, int64_t begin, int64_t end, float largest, float temperature, double wanted) {
    int64_t last = begin;
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        sum += expf((x[i] - largest) / temperature);
        if (x[i] > -INFINITY) last = i;
        if (sum > wanted) return i;
    }
    return last;
}

/* -> a token of each index, by its uniform number from 0 to 1; its log-probability without the
 * adjustments; and the logarithm of the sum of e^(score / temperature). A thread sums a stretch of
 * tokens, and the first thread finds the stretch and the token in it. */
static __global__ void draw_tokens(
    Adjusted a, const float *temperatures, const float *uniforms, int64_t *drawn, float *logprobs,
    float *totals) {
    __shared__ float sums[CHOOSERS];
    int64_t index = blockIdx.x, stretch = (a.width + CHOOSERS - 1) / CHOOSERS;
    const float *logits = logits_of(a, index), *own = adjusted(a, index, no_normaliser());
    Normaliser all = normaliser_of(logits, a.width);
    float largest = powers_of(own, a.width).largest, temperature = temperatures[index];
    int64_t begin = threadIdx.x * stretch, end = begin + stretch < a.width ? begin + stretch : a.width;
    float sum = 0.0f;
    for (int64_t i = begin; i < end; i++) sum += expf((own[i] - largest) / temperature);
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    double total = 0, before = 0;
    int chosen = 0, last = 0;
    for (int i = 0; i < CHOOSERS; i++) {
        total += sums[i];
        if (sums[i] > 0.0f) last = i;
    }
    double wanted = uniforms[index] * total;
    while (chosen < last && before + sums[chosen] <= wanted) before += sums[chosen++];
    begin = chosen * stretch, end = begin + stretch < a.width ? begin + stretch : a.width;
    int64_t token = token_at(own, begin, end, largest, temperature, wanted - before);
    drawn[index] = token;
    logprobs[index] = logprob_of(logits[token], all);
    totals[index] = largest / temperature + logf((float)total);
}

#endif
