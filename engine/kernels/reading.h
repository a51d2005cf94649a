/* Attention of the decoder over what the encoder has read, of which rows may read the same.
 *
 * The queries of such rows are computed together: each key and value is loaded, and in 8 bits turned
 * into floats, once for all of them. A row's numbers are to the bit those that it has alone. */
#ifndef CYBERSOLVE_READING_H
#define CYBERSOLVE_READING_H

#include "attending.h"

enum {
    VECTORS_MIXED = 2, /* of the values at a time, so that sums of all rows stay in registers */
};

/* Writes the products of `rows` queries, a line of `room` numbers each, with the same keys. */
INLINED void multiply_keys(
    const Query *queries, int rows, Layout l, float *products, int64_t room) {
    int together = LANES / rows; /* keys, whose products with all queries are summed at once */
    for (int64_t begin = 0; begin < l.count; begin += together) {
        Floats lanes[LANES]; /* by query and key */
        for (int i = 0; i < LANES; i++) lanes[i] = every(0.0f);
        for (int v = 0; v < l.vectors; v++) {
            Floats keys[LANES];
            for (int k = 0; k < together; k++) {
                int64_t place = begin + k < l.count ? begin + k : l.count - 1;
                keys[k] = load_at(l, v, queries->keys, place);
            }
            for (int i = 0; i < LANES; i++) {
                Floats query = load_of(l, v, queries[i / together].query);
                lanes[i] = fused(query, keys[i % together], lanes[i]);
            }
        }
        float sums[LANES];
        store(sums, sums_of_lanes(lanes));
        for (int r = 0; r < rows; r++) {
            memcpy(
                products + r * room + begin, sums + r * together,
                (size_t)together * sizeof(float));
        }
    }
}

/* Products to scores. Returns the largest. */
INLINED float finish_line(const Query *query, Layout l, float *line) {
    Floats largest = every(-INFINITY);
    for (int64_t begin = 0; begin < l.count; begin += LANES) {
        Floats scores = finished_scores(query, l, begin, load(line + begin));
        largest = larger(largest, scores);
        store(line + begin, scores);
    }
    return largest_of(largest);
}

INLINED void mix_together(
    const Query *queries, int rows, Layout l, const float *shares, int64_t room,
    const float *totals) {
    for (int first = 0; first < l.vectors; first += VECTORS_MIXED) {
        int is_last = first + 1 == l.vectors; /* which may not be whole */
        Floats sums[ROWS_TOGETHER][VECTORS_MIXED];
        for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = every(0.0f);
        for (int64_t k = 0; k < l.count; k++) {
            Floats one = load_at(l, first, queries->values, k);
            Floats other = is_last ? one : load_at(l, first + 1, queries->values, k);
            for (int r = 0; r < rows; r++) {
                Floats share = every(shares[r * room + k]);
                sums[r][0] = fused(share, one, sums[r][0]);
                sums[r][1] = fused(share, other, sums[r][1]);
            }
        }
        for (int r = 0; r < rows; r++) {
            Floats scale = every(1.0f / totals[r]);
            store_of(l, first, queries[r].mixed, sums[r][0] * scale);
            if (!is_last) store_of(l, first + 1, queries[r].mixed, sums[r][1] * scale);
        }
    }
}

INLINED void attend_same(const Query *queries, int rows, Layout l) {
    int64_t room = (l.count + LANES - 1) / LANES * LANES;
    float scores[ROWS_TOGETHER * room], totals[ROWS_TOGETHER];
    multiply_keys(queries, rows, l, scores, room);
    for (int r = 0; r < rows; r++) {
        float *line = scores + r * room;
        totals[r] = exponentials(line, l.count, finish_line(queries + r, l, line));
        if (l.integers) scale_shares(line, queries[r].value_scales, l.count);
    }
    mix_together(queries, rows, l, scores, room, totals);
}

/* `rows` queries, 2 or ROWS_TOGETHER, over the same keys. */
INLINED void attend_same_keys(
    const Query *queries, int rows, int64_t count, int64_t d_kv, int integers) {
    if (d_kv == 64) {
        attend_same(queries, rows, (Layout){count, 64, 64 / LANES, 0, integers});
    } else if (d_kv == 32) {
        attend_same(queries, rows, (Layout){count, 32, 32 / LANES, 0, integers});
    } else {
        int vectors = (int)((d_kv + LANES - 1) / LANES), rest = (int)(d_kv % LANES);
        attend_same(queries, rows, (Layout){count, d_kv, vectors, rest, integers});
    }
}

/* The query of a row's head over a source. */
static Query cross_query(const CrossAttention *w, int64_t row, int64_t source, int64_t head) {
    int64_t line = (source * w->heads + head) * w->length, place = line * w->d_kv;
    int64_t at = (row * w->heads + head) * w->d_kv;
    Query query = {.query = w->query + at, .mixed = w->mixed + at};
    if (w->key_scales) {
        query.keys = (const int8_t *)w->keys + place;
        query.values = (const int8_t *)w->values + place;
        query.key_scales = w->key_scales + line;
        query.value_scales = w->value_scales + line;
    } else {
        query.keys = (const float *)w->keys + place;
        query.values = (const float *)w->values + place;
    }
    return query;
}

static void attend_own(const CrossAttention *w, int64_t row, int64_t source, Heads h) {
    Query queries[HEADS_TOGETHER];
    int many = 0;
    for (int64_t head = h.first; head < h.end; head++, many++) {
        queries[many] = cross_query(w, row, source, head);
    }
    if (w->key_scales) {
        attend(queries, many, w->lengths[source], w->d_kv, 1);
    } else {
        attend(queries, many, w->lengths[source], w->d_kv, 0);
    }
}

/* Of three rows the first is computed twice: by the same numbers, so that it is written twice alike. */
static void attend_readers(const CrossAttention *w, const Readers *readers, Heads h) {
    int64_t count = w->lengths[readers->source];
    for (int64_t head = h.first; head < h.end; head++) {
        Query queries[ROWS_TOGETHER];
        for (int r = 0; r < ROWS_TOGETHER; r++) {
            int32_t row = readers->rows[r < readers->count ? r : 0];
            queries[r] = cross_query(w, row, readers->source, head);
        }
        if (readers->count == 2 && w->key_scales) {
            attend_same_keys(queries, 2, count, w->d_kv, 1);
        } else if (readers->count == 2) {
            attend_same_keys(queries, 2, count, w->d_kv, 0);
        } else if (w->key_scales) {
            attend_same_keys(queries, ROWS_TOGETHER, count, w->d_kv, 1);
        } else {
            attend_same_keys(queries, ROWS_TOGETHER, count, w->d_kv, 0);
        }
    }
}

static void attend_cross(void *work, size_t index) {
    const CrossAttention *w = work;
    Heads h = heads_of(index, w->heads);
    const Readers *readers = w->readers ? w->readers + h.row : NULL;
    if (!readers) {
        attend_own(w, h.row, h.row, h);
    } else if (readers->count == 1) {
        attend_own(w, readers->rows[0], readers->source, h);
    } else {
        attend_readers(w, readers, h);
    }
}

#endif
