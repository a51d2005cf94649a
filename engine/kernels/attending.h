/* Attention of the decoder: of one query a row, over as many keys as its row has.
 *
 * A few queries at a time, and of each first the scores, then the softmax, then the mixture: a
 * query alone is one long chain of dependent steps, that leaves the processor idle. */
#ifndef CYBERSOLVE_ATTENDING_H
#define CYBERSOLVE_ATTENDING_H

#include "exponential.h"
#include "tiles.h"

#include <math.h>
#include <string.h>

enum {
    MOST_VECTORS = LARGEST_D_KV / LANES, /* of a head */
    TOGETHER = 4,                        /* queries */
};

/* One query (d_kv) of a head. `keys` and `values` are of d_kv each, `bias` has a number a key, or
 * is NULL; `mixed` (d_kv) is written. */
typedef struct {
    const float *query, *keys, *values, *bias;
    float *mixed;
} Query;

/* What the keys of a query are: `count`, which begin `stride` apart. A head is `vectors` of floats;
 * the last has `rest` lanes, or, where that is 0, all. */
typedef struct {
    int64_t count, stride;
    int vectors, rest;
} Layout;

INLINED Floats load_of(Layout l, int vector, const float *from) {
    if (l.rest && vector == l.vectors - 1) {
        return load_part(first_lanes(l.rest), from + vector * LANES);
    }
    return load(from + vector * LANES);
}

INLINED void store_of(Layout l, int vector, float *to, Floats x) {
    if (l.rest && vector == l.vectors - 1) {
        store_part(first_lanes(l.rest), to + vector * LANES, x);
    } else {
        store(to + vector * LANES, x);
    }
}

/* The scores of as many keys as there are lanes, from `begin` on; of those that are missing minus
 * infinity. */
INLINED Floats score(
    const Query *query, Layout l, const Floats q[MOST_VECTORS], int64_t begin) {
    Floats products[LANES];
    for (int k = 0; k < LANES; k++) {
        /* Instead of a missing key the last, without a branch. */
        int64_t place = begin + k < l.count ? begin + k : l.count - 1;
        const float *key = query->keys + place * l.stride;
        products[k] = q[0] * load_of(l, 0, key);
        for (int v = 1; v < l.vectors; v++) {
            products[k] = fused(q[v], load_of(l, v, key), products[k]);
        }
    }
    Floats scores = sums_of_lanes(products);
    if (begin + LANES <= l.count) {
        if (query->bias) scores = scores + load(query->bias + begin);
        return scores;
    }
    Mask present = first_lanes(l.count - begin);
    if (query->bias) scores = scores + load_part(present, query->bias + begin);
    return select_lanes(present, scores, every(-INFINITY));
}

/* Writes the scores, up to whole vectors. Returns the largest of each lane. */
INLINED Floats score_all(const Query *query, Layout l, float *scores) {
    Floats q[MOST_VECTORS], largest = every(-INFINITY);
    for (int v = 0; v < l.vectors; v++) q[v] = load_of(l, v, query->query);
    for (int64_t begin = 0; begin < l.count; begin += LANES) {
        Floats some = score(query, l, q, begin);
        largest = larger(largest, some);
        store(scores + begin, some);
    }
    return largest;
}

/* Scores to their exponentials, less the largest; of missing keys 0. Returns their sum. */
INLINED float exponentials(float *scores, int64_t count, float largest) {
    Floats total = every(0.0f), factor = every(LOG2_E), most = every(largest);
    int64_t begin = 0;
    for (; begin + LANES <= count; begin += LANES) {
        Floats share = power_of_two((load(scores + begin) - most) * factor);
        total = total + share;
        store(scores + begin, share);
    }
    if (begin < count) {
        Floats share = power_of_two((load(scores + begin) - most) * factor);
        share = select_lanes(first_lanes(count - begin), share, every(0.0f));
        total = total + share;
        store(scores + begin, share);
    }
    return sum_of(total);
}

INLINED void mix(const Query *query, Layout l, const float *shares, float total) {
    Floats sum[MOST_VECTORS];
    for (int v = 0; v < l.vectors; v++) sum[v] = every(0.0f);
    const float *value = query->values;
    for (int64_t k = 0; k < l.count; k++, value += l.stride) {
        Floats share = every(shares[k]);
        for (int v = 0; v < l.vectors; v++) sum[v] = fused(share, load_of(l, v, value), sum[v]);
    }
    Floats scale = every(1.0f / total);
    for (int v = 0; v < l.vectors; v++) store_of(l, v, query->mixed, sum[v] * scale);
}

INLINED void attend_together(const Query *queries, int many, Layout l) {
    int64_t room = (l.count + LANES - 1) / LANES * LANES;
    float scores[TOGETHER * room], totals[TOGETHER];
    Floats largest[TOGETHER];
    for (int i = 0; i < many; i++) largest[i] = score_all(queries + i, l, scores + i * room);
    for (int i = 0; i < many; i++) {
        totals[i] = exponentials(scores + i * room, l.count, largest_of(largest[i]));
    }
    for (int i = 0; i < many; i++) mix(queries + i, l, scores + i * room, totals[i]);
}

/* Up to TOGETHER queries. The usual sizes of a head have code of their own, with its vectors in
 * registers. */
static void attend(
    const Query *queries, int many, int64_t stride, int64_t count, int64_t d_kv) {
    if (d_kv == 64) {
        attend_together(queries, many, (Layout){count, stride, 64 / LANES, 0});
    } else if (d_kv == 32) {
        attend_together(queries, many, (Layout){count, stride, 32 / LANES, 0});
    } else {
        int vectors = (int)((d_kv + LANES - 1) / LANES), rest = (int)(d_kv % LANES);
        attend_together(queries, many, (Layout){count, stride, vectors, rest});
    }
}

/* -- over what the row itself has written ------------------------------------------------------ */

static void attend_cached(void *work, size_t index) {
    const CachedAttention *w = work;
    int64_t row = (int64_t)index, width = w->heads * w->d_kv, past = w->past[row];
    const float *joint = w->joint + row * 3 * width;
    for (int64_t first = 0; first < w->heads; first += TOGETHER) {
        Query queries[TOGETHER];
        int many = 0;
        for (int64_t head = first; head < w->heads && many < TOGETHER; head++, many++) {
            int64_t line = (row * w->heads + head) * w->columns * w->d_kv;
            const float *query = joint + head * w->d_kv;
            float *keys = w->keys + line, *values = w->values + line;
            memcpy(keys + past * w->d_kv, query + width, (size_t)w->d_kv * sizeof(float));
            memcpy(values + past * w->d_kv, query + 2 * width, (size_t)w->d_kv * sizeof(float));
            queries[many] = (Query){
                query, keys, values, w->biases + (past * w->heads + head) * w->columns,
                w->mixed + row * width + head * w->d_kv};
        }
        attend(queries, many, w->d_kv, past + 1, w->d_kv);
    }
}

/* -- over what the encoder has read ------------------------------------------------------------ */

static void attend_cross(void *work, size_t index) {
    const CrossAttention *w = work;
    int64_t row = (int64_t)index, width = w->heads * w->d_kv;
    for (int64_t first = 0; first < w->heads; first += TOGETHER) {
        Query queries[TOGETHER];
        int many = 0;
        for (int64_t head = first; head < w->heads && many < TOGETHER; head++, many++) {
            int64_t line = (row * w->heads + head) * w->length * w->d_kv;
            int64_t place = row * width + head * w->d_kv;
            queries[many] = (Query){
                w->query + place, w->keys + line, w->values + line, NULL, w->mixed + place};
        }
        attend(queries, many, w->d_kv, w->lengths[row], w->d_kv);
    }
}

#endif
