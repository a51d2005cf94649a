/* Attention: of one query a row in the decoder, of all of a row in the encoder; each over as many
 * keys as its row has.
 *
 * A few queries at a time, and of each first the scores, then the softmax, then the mixture:
 * a query alone is one long chain of dependent steps, that leaves the processor idle. */
#if defined(__x86_64__)

#include "kernel.h"
#include "vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_VECTORS = 16, /* of a head: d_kv of up to 256 */
    TOGETHER = 4,      /* queries */
};

typedef struct {
    Api *api;
    int64_t heads;
} Attention;

/* One query (d_kv) of a head. `keys` and `values` are of d_kv each, `bias` has a number a key, or
 * is NULL; `mixed` (d_kv) is written. */
typedef struct {
    const float *query, *keys, *values, *bias;
    float *mixed;
} Query;

/* What the keys of a query are: `count`, which begin `stride` apart. A head is `vectors` of floats,
 * of which the last has the lanes `last`. */
typedef struct {
    int64_t count, stride;
    int vectors;
    __mmask16 last;
} Layout;

static inline __mmask16 lanes_of(Layout l, int vector) {
    return vector == l.vectors - 1 ? l.last : 0xffff;
}

/* The scores of sixteen keys from `begin` on; of those that are missing minus infinity. */
static inline __attribute__((always_inline)) __m512 score(
    const Query *query, Layout l, const __m512 q[MOST_VECTORS], int64_t begin) {
    __m512 products[LANES];
    for (int k = 0; k < LANES; k++) {
        /* Instead of a missing key the last, without a branch. */
        int64_t place = begin + k < l.count ? begin + k : l.count - 1;
        const float *key = query->keys + place * l.stride;
        products[k] = _mm512_setzero_ps();
        for (int v = 0; v < l.vectors; v++) {
            products[k] = _mm512_fmadd_ps(
                q[v], _mm512_maskz_loadu_ps(lanes_of(l, v), key + v * LANES), products[k]);
        }
    }
    __mmask16 present = first_lanes(l.count - begin);
    __m512 scores = sums_of_lanes(products);
    if (query->bias) {
        scores = _mm512_add_ps(scores, _mm512_maskz_loadu_ps(present, query->bias + begin));
    }
    return _mm512_mask_blend_ps(present, _mm512_set1_ps(-INFINITY), scores);
}

/* Writes the scores, up to whole vectors. Returns the largest of each lane. */
static inline __attribute__((always_inline)) __m512 score_all(
    const Query *query, Layout l, float *scores) {
    __m512 q[MOST_VECTORS], largest = _mm512_set1_ps(-INFINITY);
    for (int v = 0; v < l.vectors; v++) {
        q[v] = _mm512_maskz_loadu_ps(lanes_of(l, v), query->query + v * LANES);
    }
    for (int64_t begin = 0; begin < l.count; begin += LANES) {
        __m512 some = score(query, l, q, begin);
        largest = _mm512_max_ps(largest, some);
        _mm512_storeu_ps(scores + begin, some);
    }
    return largest;
}

/* Scores to their exponentials, less the largest. Returns their sum. */
static inline float exponentials(float *scores, int64_t count, float largest) {
    __m512 total = _mm512_setzero_ps(), factor = _mm512_set1_ps(LOG2_E);
    for (int64_t begin = 0; begin < count; begin += LANES) {
        __m512 less = _mm512_sub_ps(_mm512_loadu_ps(scores + begin), _mm512_set1_ps(largest));
        __m512 share = _mm512_maskz_mov_ps(
            first_lanes(count - begin), power_of_two(_mm512_mul_ps(less, factor)));
        total = _mm512_add_ps(total, share);
        _mm512_storeu_ps(scores + begin, share);
    }
    return _mm512_reduce_add_ps(total);
}

static inline __attribute__((always_inline)) void mix(
    const Query *query, Layout l, const float *shares, float total) {
    __m512 sum[MOST_VECTORS];
    for (int v = 0; v < l.vectors; v++) sum[v] = _mm512_setzero_ps();
    const float *value = query->values;
    for (int64_t k = 0; k < l.count; k++, value += l.stride) {
        __m512 share = _mm512_set1_ps(shares[k]);
        for (int v = 0; v < l.vectors; v++) {
            sum[v] = _mm512_fmadd_ps(
                share, _mm512_maskz_loadu_ps(lanes_of(l, v), value + v * LANES), sum[v]);
        }
    }
    __m512 scale = _mm512_set1_ps(1.0f / total);
    for (int v = 0; v < l.vectors; v++) {
        _mm512_mask_storeu_ps(
            query->mixed + v * LANES, lanes_of(l, v), _mm512_mul_ps(sum[v], scale));
    }
}

static inline __attribute__((always_inline)) void attend_together(
    const Query *queries, int many, Layout l) {
    int64_t room = (l.count + LANES - 1) / LANES * LANES;
    float scores[TOGETHER * room], totals[TOGETHER];
    __m512 largest[TOGETHER];
    for (int i = 0; i < many; i++) largest[i] = score_all(queries + i, l, scores + i * room);
    for (int i = 0; i < many; i++) {
        totals[i] = exponentials(scores + i * room, l.count, _mm512_reduce_max_ps(largest[i]));
    }
    for (int i = 0; i < many; i++) mix(queries + i, l, scores + i * room, totals[i]);
}

/* Up to TOGETHER queries. The usual sizes of a head have code of their own, with its vectors in
 * registers. */
static void attend(
    const Query *queries, int many, int64_t stride, int64_t count, int64_t d_kv) {
    Layout l = {count, stride, (int)((d_kv + LANES - 1) / LANES), 0};
    l.last = first_lanes(d_kv - (int64_t)(l.vectors - 1) * LANES);
    if (d_kv == 64) {
        attend_together(queries, many, (Layout){count, stride, 4, 0xffff});
    } else if (d_kv == 32) {
        attend_together(queries, many, (Layout){count, stride, 2, 0xffff});
    } else {
        attend_together(queries, many, l);
    }
}

static Status *check_lengths(Api *api, const int32_t *lengths, int64_t batch, int64_t length) {
    for (int64_t row = 0; row < batch; row++) {
        if (lengths[row] < 1 || lengths[row] > length) {
            return ort_error(api, "source_lengths must be from 1 to the length of the sources");
        }
    }
    return NULL;
}

/* -- over what the row itself has written ------------------------------------------------------ */

typedef struct {
    int64_t heads, columns, d_kv;
    const float *joint, *biases;
    const int32_t *past;
    float *keys, *values, *mixed;
} Cached;

static void attend_cached(void *work, size_t row) {
    const Cached *w = work;
    int64_t width = w->heads * w->d_kv, past = w->past[row];
    const float *joint = w->joint + row * 3 * width;
    for (int64_t first = 0; first < w->heads; first += TOGETHER) {
        Query queries[TOGETHER];
        int many = 0;
        for (int64_t head = first; head < w->heads && many < TOGETHER; head++, many++) {
            int64_t line = (row * w->heads + head) * w->columns * w->d_kv;
            const float *query = joint + head * w->d_kv;
            float *keys = w->keys + line, *values = w->values + line;
            memcpy(keys + past * w->d_kv, query + width, w->d_kv * sizeof(float));
            memcpy(values + past * w->d_kv, query + 2 * width, w->d_kv * sizeof(float));
            queries[many] = (Query){
                query, keys, values, w->biases + (past * w->heads + head) * w->columns,
                w->mixed + row * width + head * w->d_kv};
        }
        attend(queries, many, w->d_kv, past + 1, w->d_kv);
    }
}

/* joint (batch, 1, 3 * heads * d_kv), keys and values (batch, heads, columns, d_kv), past (batch),
 * biases (columns, heads, 1, columns) -> mixed (batch, 1, heads * d_kv), and keys and values with
 * one more column; nothing is copied where these are bound to the memory that came in. */
static Status *compute_cached(void *kernel, Context *context) {
    const Attention *attention = kernel;
    Api *api = attention->api;
    Tensor joint, keys, values, past, biases;
    TRY(read_input(api, context, 0, &joint));
    TRY(read_input(api, context, 1, &keys));
    TRY(read_input(api, context, 2, &values));
    TRY(read_input(api, context, 3, &past));
    TRY(read_input(api, context, 4, &biases));
    int64_t batch = keys.shape[0], columns = keys.shape[2], d_kv = keys.shape[3];
    int64_t shape[] = {batch, 1, attention->heads * d_kv};
    Cached work = {attention->heads, columns, d_kv, joint.data, biases.data, past.data, 0, 0, 0};
    TRY(write_output(api, context, 0, shape, 3, (void **)&work.mixed));
    TRY(write_output(api, context, 1, keys.shape, 4, (void **)&work.keys));
    TRY(write_output(api, context, 2, keys.shape, 4, (void **)&work.values));
    const int32_t *places = past.data;
    for (int64_t row = 0; row < batch; row++) {
        if (places[row] < 0 || places[row] >= columns) {
            return ort_error(api, "CachedAttention: past must be from 0 to the last column");
        }
    }
    size_t bytes = batch * attention->heads * columns * d_kv * sizeof(float);
    if (work.keys != keys.data) memcpy(work.keys, keys.data, bytes);
    if (work.values != values.data) memcpy(work.values, values.data, bytes);
    return ort_parallel(api, context, attend_cached, batch, &work);
}

/* -- over what the encoder has read ------------------------------------------------------------ */

typedef struct {
    int64_t heads, length, d_kv;
    const float *query, *keys, *values;
    const int32_t *lengths;
    float *mixed;
} Cross;

static void attend_cross(void *work, size_t row) {
    const Cross *w = work;
    int64_t width = w->heads * w->d_kv;
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

/* query (batch, 1, heads * d_kv), keys and values (batch, heads, length, d_kv), lengths (batch)
 * -> mixed, as query. */
static Status *compute_cross(void *kernel, Context *context) {
    const Attention *attention = kernel;
    Api *api = attention->api;
    Tensor query, keys, values, lengths;
    TRY(read_input(api, context, 0, &query));
    TRY(read_input(api, context, 1, &keys));
    TRY(read_input(api, context, 2, &values));
    TRY(read_input(api, context, 3, &lengths));
    int64_t batch = keys.shape[0], length = keys.shape[2], d_kv = keys.shape[3];
    Cross work = {
        attention->heads, length, d_kv, query.data, keys.data, values.data, lengths.data, 0};
    TRY(check_lengths(api, work.lengths, batch, length));
    TRY(write_output(api, context, 0, query.shape, 3, (void **)&work.mixed));
    return ort_parallel(api, context, attend_cross, batch, &work);
}

/* -- of the encoder ---------------------------------------------------------------------------- */

typedef struct {
    int64_t heads, d_kv, longest;
    const float *joint, *biases; /* by distance, from 1 - longest on */
    const int32_t *lengths;
    const int64_t *begins; /* where the tokens of each row do */
    float *mixed;
} Encoder;

/* All queries of one head of one row. */
static void attend_encoder(void *work, size_t index) {
    const Encoder *w = work;
    int64_t row = index / w->heads, head = index % w->heads, width = w->heads * w->d_kv;
    int64_t count = w->lengths[row];
    const float *joint = w->joint + w->begins[row] * 3 * width + head * w->d_kv;
    const float *biases = w->biases + head * (2 * w->longest - 1) + w->longest - 1;
    float *mixed = w->mixed + w->begins[row] * width + head * w->d_kv;
    for (int64_t first = 0; first < count; first += TOGETHER) {
        Query queries[TOGETHER];
        int many = 0;
        for (int64_t i = first; i < count && many < TOGETHER; i++, many++) {
            queries[many] = (Query){
                joint + i * 3 * width, joint + width, joint + 2 * width, biases - i,
                mixed + i * width};
        }
        attend(queries, many, 3 * width, count, w->d_kv);
    }
}

/* Of each head the bias of each distance, from 1 - length to length - 1, those that are far alike:
 * `table` (distances, heads) -> (heads, 2 * length - 1). */
static float *biases_by_distance(const Tensor *table, int64_t length) {
    int64_t distances = table->shape[0], heads = table->shape[1], farthest = distances / 2;
    float *biases = malloc(heads * (2 * length - 1) * sizeof(float));
    if (!biases) return NULL;
    for (int64_t distance = 1 - length; distance < length; distance++) {
        int64_t near = distance < -farthest ? -farthest : distance > farthest ? farthest : distance;
        for (int64_t head = 0; head < heads; head++) {
            biases[head * (2 * length - 1) + distance + length - 1] =
                ((const float *)table->data)[(near + farthest) * heads + head];
        }
    }
    return biases;
}

/* Where each row begins, of which the next does where it ends. Also finds the longest. */
static Status *find_rows(
    Api *api, const int32_t *lengths, int64_t batch, int64_t tokens, int64_t *begins,
    int64_t *longest) {
    int64_t sum = 0;
    *longest = 0;
    for (int64_t row = 0; row < batch; row++) {
        if (lengths[row] < 1) return ort_error(api, "source_lengths must be at least 1");
        begins[row] = sum;
        sum += lengths[row];
        if (lengths[row] > *longest) *longest = lengths[row];
    }
    return sum == tokens ? NULL : ort_error(api, "source_lengths must add up to the tokens");
}

static Status *attend_rows(Context *context, Api *api, int64_t batch, Encoder *work, Tensor *table) {
    float *biases = biases_by_distance(table, work->longest);
    if (!biases) return ort_error(api, "out of memory");
    work->biases = biases;
    Status *status = ort_parallel(api, context, attend_encoder, batch * work->heads, work);
    free(biases);
    return status;
}

/* joint (tokens, 3 * heads * d_kv) of all rows in turn, lengths (batch), biases (distances, heads)
 * -> mixed (tokens, heads * d_kv). */
static Status *compute_encoder(void *kernel, Context *context) {
    const Attention *attention = kernel;
    Api *api = attention->api;
    Tensor joint, lengths, table;
    TRY(read_input(api, context, 0, &joint));
    TRY(read_input(api, context, 1, &lengths));
    TRY(read_input(api, context, 2, &table));
    int64_t batch = lengths.shape[0], tokens = joint.shape[0], width = joint.shape[1] / 3;
    Encoder work = {
        .heads = attention->heads, .d_kv = width / attention->heads, .joint = joint.data,
        .lengths = lengths.data};
    TRY(write_output(api, context, 0, (int64_t[]){tokens, width}, 2, (void **)&work.mixed));
    int64_t *begins = malloc(batch * sizeof(int64_t));
    if (!begins) return ort_error(api, "out of memory");
    work.begins = begins;
    Status *status = find_rows(api, work.lengths, batch, tokens, begins, &work.longest);
    if (!status) status = attend_rows(context, api, batch, &work, &table);
    free(begins);
    return status;
}

static Status *create(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    int64_t heads;
    TRY(ort_integer(api, info, "num_heads", &heads));
    Attention *attention = malloc(sizeof *attention);
    if (!attention) return ort_error(api, "out of memory");
    *attention = (Attention){api, heads};
    *kernel = attention;
    return NULL;
}

static const ElementType CACHED_INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32, FLOAT};
static const ElementType CACHED_OUTPUTS[] = {FLOAT, FLOAT, FLOAT};
static const ElementType CROSS_INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32};
static const ElementType MIXED[] = {FLOAT};

static const ElementType ENCODER_INPUTS[] = {FLOAT, INT32, FLOAT};

Kernel ATTENTION_KERNELS[3] = {
    KERNEL("CachedAttention", CACHED_INPUTS, CACHED_OUTPUTS, create, compute_cached, free),
    KERNEL("CrossAttention", CROSS_INPUTS, MIXED, create, compute_cross, free),
    KERNEL("EncoderAttention", ENCODER_INPUTS, MIXED, create, compute_encoder, free),
};

#endif
