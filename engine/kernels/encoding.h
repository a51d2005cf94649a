/* Attention of the encoder: all queries of a head of a row over all of its keys, in tiles.
 *
 * Keys are transposed a panel at a time, so that a vector has the same number of several keys. */
#ifndef CYBERSOLVE_ENCODING_H
#define CYBERSOLVE_ENCODING_H

#include "attending.h"

enum {
    QUERIES = 48,      /* that read a panel: a multiple of ROWS */
    MANY_KEYS = 2048,  /* with more only ROWS do: scores are on the stack of a thread */
};

/* The first KEYS_OF_PANEL or fewer of `count` keys to `panel` (d_kv, KEYS_OF_PANEL). Vectors are
 * whole: in place of missing keys is the last. */
static void transpose_keys(
    const float *keys, int64_t stride, int64_t count, int64_t d_kv, float *panel) {
    for (int64_t begin = 0; begin < count && begin < KEYS_OF_PANEL; begin += LANES) {
        for (int64_t number = 0; number < d_kv; number += LANES) {
            Floats v[LANES];
            int64_t left = d_kv - number;
            for (int64_t k = 0; k < LANES; k++) {
                const float *key = keys + (begin + k < count ? begin + k : count - 1) * stride;
                v[k] = left >= LANES ? load(key + number)
                                     : load_part(first_lanes(left), key + number);
            }
            transpose(v);
            float *to = panel + number * KEYS_OF_PANEL + begin;
            if (left >= LANES) {
                for (int64_t j = 0; j < LANES; j++) store(to + j * KEYS_OF_PANEL, v[j]);
            } else {
                for (int64_t j = 0; j < left; j++) store(to + j * KEYS_OF_PANEL, v[j]);
            }
        }
    }
}

/* Up to ROWS queries of a head: where they are, and where what belongs to each begins. */
typedef struct {
    const float *queries;
    int64_t stride, rows;
    const float *biases; /* of the first, for the first key; of the next it begins one before */
    float *scores;       /* ROWS times `room`: whole vectors of keys */
    int64_t room;
} Rows;

/* In place of a missing row is the last. */
#define LAST_OR(r) (r < rows->rows ? r : rows->rows - 1)
#define QUERY(r) const float *q##r = rows->queries + LAST_OR(r) * rows->stride;
#define ADD_NUMBER(r)                     \
    if (r < ROWS) {                       \
        Floats x = every(q##r[number]);   \
        ADD_TO(r, x)                      \
    }
#define STORE_SCORES(r)                                                              \
    if (r < ROWS) {                                                                  \
        const float *bias = rows->biases - LAST_OR(r) + key;                         \
        float *to = rows->scores + r * rows->room + key;                             \
        store(to, f##r##0 + load(bias));                                             \
        if (vectors > 1) store(to + LANES, f##r##1 + load(bias + LANES));            \
        if (vectors > 2) store(to + 2 * LANES, f##r##2 + load(bias + 2 * LANES));    \
        if (vectors > 3) store(to + 3 * LANES, f##r##3 + load(bias + 3 * LANES));    \
    }

/* ROWS queries by `vectors` vectors of a panel, of which the first key is `key`. */
INLINED void score_tile(
    const Rows *rows, const float *panel, int64_t d_kv, int64_t key, int vectors) {
    EACH_ROW(QUERY)
    EACH_ROW(FLOAT_SUMS)
    for (int64_t number = 0; number < d_kv; number++, panel += KEYS_OF_PANEL) {
        Floats v0 = load(panel), v1 = v0, v2 = v0, v3 = v0;
        if (vectors > 1) v1 = load(panel + LANES);
        if (vectors > 2) v2 = load(panel + 2 * LANES);
        if (vectors > 3) v3 = load(panel + 3 * LANES);
        EACH_ROW(ADD_NUMBER)
    }
    EACH_ROW(STORE_SCORES)
}

static void score_panel(
    const Rows *rows, const float *panel, int64_t d_kv, int64_t key, int64_t count) {
    int64_t end = count - key < KEYS_OF_PANEL ? count - key : KEYS_OF_PANEL;
    for (int64_t begin = 0; begin < end; begin += VECTORS * LANES) {
        const float *of = panel + begin;
        switch (end - begin < VECTORS * LANES ? (end - begin + LANES - 1) / LANES : VECTORS) {
            case 4: score_tile(rows, of, d_kv, key + begin, 4); break;
            case 3: score_tile(rows, of, d_kv, key + begin, 3); break;
            case 2: score_tile(rows, of, d_kv, key + begin, 2); break;
            default: score_tile(rows, of, d_kv, key + begin, 1); break;
        }
    }
}

INLINED float largest_score(const float *scores, int64_t count) {
    Floats largest = every(-INFINITY);
    int64_t begin = 0;
    for (; begin + LANES <= count; begin += LANES) largest = larger(largest, load(scores + begin));
    if (begin < count) {
        Floats last = load_part(first_lanes(count - begin), scores + begin);
        last = select_lanes(first_lanes(count - begin), last, every(-INFINITY));
        largest = larger(largest, last);
    }
    return largest_of(largest);
}

#define SHARES(r) const float *p##r = rows->scores + (r < ROWS ? r : 0) * rows->room;
#define ADD_KEY(r)                     \
    if (r < ROWS) {                    \
        Floats x = every(p##r[key]);   \
        ADD_TO(r, x)                   \
    }
#define STORE_MIXED(r)                                                  \
    if (r < ROWS && r < rows->rows) {                                   \
        Floats scale = every(1.0f / totals[r]);                         \
        float *to = mixed + r * width;                                  \
        store_of(l, 0, to, f##r##0 * scale);                            \
        if (vectors > 1) store_of(l, 1, to, f##r##1 * scale);           \
        if (vectors > 2) store_of(l, 2, to, f##r##2 * scale);           \
        if (vectors > 3) store_of(l, 3, to, f##r##3 * scale);           \
    }

/* ROWS rows of shares times `vectors` vectors of the values; `l` has their number too. */
INLINED void mix_tile(
    const Rows *rows, const float *totals, const float *values, Layout l, float *mixed,
    int64_t width, int vectors) {
    EACH_ROW(SHARES)
    EACH_ROW(FLOAT_SUMS)
    for (int64_t key = 0; key < l.count; key++, values += l.stride) {
        Floats v0 = load_of(l, 0, values), v1 = v0, v2 = v0, v3 = v0;
        if (vectors > 1) v1 = load_of(l, 1, values);
        if (vectors > 2) v2 = load_of(l, 2, values);
        if (vectors > 3) v3 = load_of(l, 3, values);
        EACH_ROW(ADD_KEY)
    }
    EACH_ROW(STORE_MIXED)
}

static void mix_rows(
    const Rows *rows, const float *totals, const float *values, int64_t count, int64_t d_kv,
    float *mixed, int64_t width) {
    for (int64_t begin = 0; begin < d_kv; begin += VECTORS * LANES) {
        int64_t left = d_kv - begin, lanes = left < VECTORS * LANES ? left : VECTORS * LANES;
        int vectors = (int)((lanes + LANES - 1) / LANES), rest = (int)(lanes % LANES);
        const float *of = values + begin;
        float *to = mixed + begin;
        Layout l = {count, rows->stride, vectors, 0, 0};
        if (rest) { /* one vector at a time */
            for (int v = 0; v < vectors; v++) {
                Layout one = {count, rows->stride, 1, v == vectors - 1 ? rest : 0, 0};
                mix_tile(rows, totals, of + v * LANES, one, to + v * LANES, width, 1);
            }
        } else if (vectors == 4) {
            mix_tile(rows, totals, of, l, to, width, 4);
        } else if (vectors == 3) {
            mix_tile(rows, totals, of, l, to, width, 3);
        } else if (vectors == 2) {
            mix_tile(rows, totals, of, l, to, width, 2);
        } else {
            mix_tile(rows, totals, of, l, to, width, 1);
        }
    }
}

/* All queries of one head of one row. */
static void attend_encoder(void *work, size_t index) {
    const EncoderAttention *w = work;
    int64_t row = (int64_t)index / w->heads, head = (int64_t)index % w->heads;
    int64_t width = w->heads * w->d_kv, stride = 3 * width, count = w->lengths[row];
    const float *joint = w->joint + w->begins[row] * stride + head * w->d_kv;
    const float *keys = joint + width, *values = joint + 2 * width;
    const float *biases = w->biases + head * (2 * w->longest - 1) + w->longest - 1;
    float *mixed = w->mixed + w->begins[row] * width + head * w->d_kv;
    int64_t room = (count + LANES - 1) / LANES * LANES, group = count > MANY_KEYS ? ROWS : QUERIES;
    int64_t most = count < group ? (count + ROWS - 1) / ROWS * ROWS : group;
    float panel[w->d_kv * KEYS_OF_PANEL], scores[most * room];
    for (int64_t first = 0; first < count; first += group) {
        int64_t queries = count - first < group ? count - first : group;
        for (int64_t key = 0; key < count; key += KEYS_OF_PANEL) {
            if (first == 0 || count > KEYS_OF_PANEL) {
                transpose_keys(keys + key * stride, stride, count - key, w->d_kv, panel);
            }
            for (int64_t i = 0; i < queries; i += ROWS) {
                int64_t left = queries - i < ROWS ? queries - i : ROWS;
                Rows rows = {
                    joint + (first + i) * stride, stride, left, biases - first - i,
                    scores + i * room, room};
                score_panel(&rows, panel, w->d_kv, key, count);
            }
        }
        for (int64_t i = 0; i < queries; i += ROWS) {
            int64_t left = queries - i < ROWS ? queries - i : ROWS;
            float totals[ROWS];
            for (int64_t r = 0; r < left; r++) {
                float *of = scores + (i + r) * room;
                totals[r] = exponentials(of, count, largest_score(of, count));
            }
            Rows rows = {joint, stride, left, biases, scores + i * room, room};
            mix_rows(&rows, totals, values, count, w->d_kv, mixed + (first + i) * width, width);
        }
    }
}

#endif
