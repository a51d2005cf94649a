/* Attention of the decoder: of one query a row, over as many keys as its row has.
 *
 * A few heads' queries at a time, and of each first the scores, then the softmax, then the mixture: a
 * query alone is one long chain of dependent steps, that leaves the processor idle. */
#ifndef CYBERSOLVE_ATTENDING_H
#define CYBERSOLVE_ATTENDING_H

#include "exponential.h"
#include "tiles.h"

#include <math.h>
#include <string.h>

enum {
    MOST_VECTORS = LARGEST_D_KV / LANES, /* of a head */
};

/* One query (d_kv) of a head. `keys` and `values` are of d_kv each, `bias` has a number a key, or
 * is NULL; `mixed` (d_kv) is written. Keys and values are floats, or 8-bit integers that count in
 * the scale of each. */
typedef struct {
    const float *query;
    const void *keys, *values;
    const float *bias, *key_scales, *value_scales;
    float *mixed;
} Query;

/* What the keys of a query are: `count`, which begin `stride` numbers apart. A head is `vectors` of
 * numbers; the last has `rest` lanes, or, where that is 0, all. */
typedef struct {
    int64_t count, stride;
    int vectors, rest;
    int integers; /* whether keys and values are */
} Layout;

INLINED Floats load_of(Layout l, int vector, const float *from) {
    if (l.rest && vector == l.vectors - 1) {
        return load_part(first_lanes(l.rest), from + vector * LANES);
    }
    return load(from + vector * LANES);
}

/* A vector of the key or value at `place`. */
INLINED Floats load_at(Layout l, int vector, const void *from, int64_t place) {
    if (!l.integers) return load_of(l, vector, (const float *)from + place * l.stride);
    const int8_t *bytes = (const int8_t *)from + place * l.stride + vector * LANES;
    return l.rest && vector == l.vectors - 1 ? load_bytes_part(l.rest, bytes) : load_bytes(bytes);
}

INLINED void store_of(Layout l, int vector, float *to, Floats x) {
    if (l.rest && vector == l.vectors - 1) {
        store_part(first_lanes(l.rest), to + vector * LANES, x);
    } else {
        store(to + vector * LANES, x);
    }
}

/* Products of a query and as many keys as there are lanes, from `begin` on, to their scores; of those
 * that are missing minus infinity. */
INLINED Floats finished_scores(const Query *query, Layout l, int64_t begin, Floats scores) {
    if (begin + LANES <= l.count) {
        if (l.integers) scores = scores * load(query->key_scales + begin);
        if (query->bias) scores = scores + load(query->bias + begin);
        return scores;
    }
    Mask present = first_lanes(l.count - begin);
    if (l.integers) scores = scores * load_part(present, query->key_scales + begin);
    if (query->bias) scores = scores + load_part(present, query->bias + begin);
    return select_lanes(present, scores, every(-INFINITY));
}

/* The scores of as many keys as there are lanes, from `begin` on. */
INLINED Floats score(
    const Query *query, Layout l, const Floats q[MOST_VECTORS], int64_t begin) {
    Floats products[LANES];
    for (int k = 0; k < LANES; k++) {
        /* Instead of a missing key the last, without a branch. */
        int64_t place = begin + k < l.count ? begin + k : l.count - 1;
        products[k] = q[0] * load_at(l, 0, query->keys, place);
        for (int v = 1; v < l.vectors; v++) {
            products[k] = fused(q[v], load_at(l, v, query->keys, place), products[k]);
        }
    }
    return finished_scores(query, l, begin, sums_of_lanes(products));
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

/* Shares in the scales of the values that they are of. */
INLINED void scale_shares(float *shares, const float *scales, int64_t count) {
    int64_t begin = 0;
    for (; begin + LANES <= count; begin += LANES) {
        store(shares + begin, load(shares + begin) * load(scales + begin));
    }
    for (; begin < count; begin++) shares[begin] *= scales[begin];
}

INLINED void mix(const Query *query, Layout l, const float *shares, float total) {
    Floats sum[MOST_VECTORS];
    for (int v = 0; v < l.vectors; v++) sum[v] = every(0.0f);
    for (int64_t k = 0; k < l.count; k++) {
        Floats share = every(shares[k]);
        for (int v = 0; v < l.vectors; v++) {
            sum[v] = fused(share, load_at(l, v, query->values, k), sum[v]);
        }
    }
    Floats scale = every(1.0f / total);
    for (int v = 0; v < l.vectors; v++) store_of(l, v, query->mixed, sum[v] * scale);
}

INLINED void attend_together(const Query *queries, int many, Layout l) {
    int64_t room = (l.count + LANES - 1) / LANES * LANES;
    float scores[HEADS_TOGETHER * room], totals[HEADS_TOGETHER];
    Floats largest[HEADS_TOGETHER];
    for (int i = 0; i < many; i++) largest[i] = score_all(queries + i, l, scores + i * room);
    for (int i = 0; i < many; i++) {
        totals[i] = exponentials(scores + i * room, l.count, largest_of(largest[i]));
        if (l.integers) scale_shares(scores + i * room, queries[i].value_scales, l.count);
    }
    for (int i = 0; i < many; i++) mix(queries + i, l, scores + i * room, totals[i]);
}

/* Up to HEADS_TOGETHER queries. The usual sizes of a head have code of their own, with its vectors
 * in registers. */
INLINED void attend(const Query *queries, int many, int64_t count, int64_t d_kv, int integers) {
    if (d_kv == 64) {
        attend_together(queries, many, (Layout){count, 64, 64 / LANES, 0, integers});
    } else if (d_kv == 32) {
        attend_together(queries, many, (Layout){count, 32, 32 / LANES, 0, integers});
    } else {
        int vectors = (int)((d_kv + LANES - 1) / LANES), rest = (int)(d_kv % LANES);
        attend_together(queries, many, (Layout){count, d_kv, vectors, rest, integers});
    }
}

/* The heads of an index: those of a row, or of rows that read the same, are divided evenly into
 * groups of HEADS_TOGETHER or fewer, which share the work among threads. */
typedef struct {
    int64_t row, first, end;
} Heads;

static Heads heads_of(size_t index, int64_t heads) {
    int64_t groups = HEAD_GROUPS(heads), group = (int64_t)index % groups;
    return (Heads){
        (int64_t)index / groups, group * heads / groups, (group + 1) * heads / groups};
}

/* -- over what the row itself has written ------------------------------------------------------ */

/* The biases of a head's `count` keys, the last of which has distance 0. */
static void biases_of_keys(
    const float *by_distance, int64_t distances, int64_t count, float *biases) {
    int64_t beyond = count > distances ? count - distances : 0, near = count - beyond;
    for (int64_t key = 0; key < beyond; key++) biases[key] = by_distance[0];
    memcpy(biases + beyond, by_distance + distances - near, (size_t)near * sizeof(float));
}

static void attend_cached(void *work, size_t index) {
    const CachedAttention *w = work;
    Heads h = heads_of(index, w->heads);
    int64_t width = w->heads * w->d_kv, past = w->past[h.row], count = past + 1;
    const float *joint = w->joint + h.row * 3 * width;
    float biases[HEADS_TOGETHER * count];
    Query queries[HEADS_TOGETHER];
    int many = 0;
    for (int64_t head = h.first; head < h.end; head++, many++) {
        int64_t line = (h.row * w->heads + head) * w->columns * w->d_kv;
        const float *query = joint + head * w->d_kv;
        float *keys = w->keys + line, *values = w->values + line;
        memcpy(keys + past * w->d_kv, query + width, (size_t)w->d_kv * sizeof(float));
        memcpy(values + past * w->d_kv, query + 2 * width, (size_t)w->d_kv * sizeof(float));
        const float *bias = w->biases + (past * w->heads + head) * w->columns;
        if (w->distances) {
            bias = biases + many * count;
            biases_of_keys(
                w->biases + head * w->distances, w->distances, count, biases + many * count);
        }
        queries[many] = (Query){
            .query = query, .keys = keys, .values = values, .bias = bias,
            .mixed = w->mixed + h.row * width + head * w->d_kv};
    }
    attend(queries, many, count, w->d_kv, 0);
}

/* -- keys and values in 8 bits ----------------------------------------------------------------- */

/* One token's numbers of a head to integers from -127 to 127. Returns the scale they count in. */
static float quantise(const float *x, int64_t count, int8_t *to) {
    Floats largest = every(0.0f);
    int64_t begin = 0, whole = count / LANES * LANES;
    Mask rest = first_lanes(count - whole);
    for (; begin < whole; begin += LANES) largest = larger(largest, magnitude(load(x + begin)));
    if (whole < count) largest = larger(largest, magnitude(load_part(rest, x + whole)));
    float most = largest_of(largest), scale = (most > LEAST_SCALED ? most : LEAST_SCALED) / 127.0f;
    for (begin = 0; begin < whole; begin += LANES) {
        store_signed(to + begin, load(x + begin) / every(scale));
    }
    if (whole < count) {
        int8_t last[LANES];
        store_signed(last, load_part(rest, x + whole) / every(scale));
        memcpy(to + whole, last, (size_t)(count - whole));
    }
    return scale;
}

static void quantise_heads(void *work, size_t index) {
    const HeadQuantisation *w = work;
    const float *x = w->x + (int64_t)index * w->lines * w->d_kv;
    for (int64_t line = 0; line < w->lines; line++) {
        int64_t place = line * w->tokens + (int64_t)index;
        w->scales[place] = quantise(x + line * w->d_kv, w->d_kv, w->integers + place * w->d_kv);
    }
}

#endif
