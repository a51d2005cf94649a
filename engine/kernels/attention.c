/* Operators of attention, but for the decoder's over what the encoder has read: what they take and
 * give, and how the work is divided. */
#include "attention.h"

#include <stdlib.h>
#include <string.h>

/* -- over what the row itself has written ------------------------------------------------------ */

static Status *check_cached(
    const Attention *a, const Tensor *joint, const Tensor *keys, const Tensor *values,
    const Tensor *past, const Tensor *biases) {
    if (!IS_SHAPED(keys, ANY, a->heads, ANY, ANY)) {
        return ort_error(a->api, "CachedAttention: key must be (batch, heads, columns, d_kv)");
    }
    int64_t batch = keys->shape[0], columns = keys->shape[2], d_kv = keys->shape[3];
    TRY(check_head(a->api, d_kv, columns));
    if (!IS_SHAPED(values, batch, a->heads, columns, d_kv)) {
        return ort_error(a->api, "CachedAttention: value must have the shape of key");
    }
    if (!IS_SHAPED(joint, batch, 1, 3 * a->heads * d_kv)) {
        return ort_error(a->api, "CachedAttention: joint must be (batch, 1, 3 * heads * d_kv)");
    }
    if (biases->rank == 4) {
        if (!IS_SHAPED(biases, columns, a->heads, 1, columns)) {
            return ort_error(
                a->api, "CachedAttention: biases must be (columns, heads, 1, columns)");
        }
    } else if (!IS_SHAPED(biases, a->heads, ANY) || biases->shape[1] < 1) {
        return ort_error(a->api, "CachedAttention: biases must be (heads, distances)");
    }
    if (!IS_SHAPED(past, batch)) return ort_error(a->api, "CachedAttention: past must be (batch)");
    for (int64_t row = 0; row < batch; row++) {
        int32_t begin = ((const int32_t *)past->data)[row];
        if (begin < 0 || begin >= columns) {
            return ort_error(a->api, "CachedAttention: past must be from 0 to the last column");
        }
    }
    return NULL;
}

/* joint (batch, 1, 3 * heads * d_kv), keys and values (batch, heads, columns, d_kv), past (batch),
 * biases (heads, distances) by distance back, the farthest first, or, in graphs of format 4,
 * (columns, heads, 1, columns) by past and column -> mixed (batch, 1, heads * d_kv), and keys and
 * values with one more column; nothing is copied where these are bound to the memory that came in. */
static Status *compute_cached(void *kernel, Context *context) {
    const Attention *attention = kernel;
    Api *api = attention->api;
    Tensor joint, keys, values, past, biases;
    TRY(read_input(api, context, 0, &joint));
    TRY(read_input(api, context, 1, &keys));
    TRY(read_input(api, context, 2, &values));
    TRY(read_input(api, context, 3, &past));
    TRY(read_input(api, context, 4, &biases));
    TRY(check_cached(attention, &joint, &keys, &values, &past, &biases));
    int64_t batch = keys.shape[0], columns = keys.shape[2], d_kv = keys.shape[3];
    int64_t shape[] = {batch, 1, attention->heads * d_kv};
    CachedAttention work = {
        .heads = attention->heads, .columns = columns, .d_kv = d_kv,
        .distances = biases.rank == 2 ? biases.shape[1] : 0, .joint = joint.data,
        .biases = biases.data, .past = past.data};
    TRY(write_output(api, context, 0, shape, 3, (void **)&work.mixed));
    TRY(write_output(api, context, 1, keys.shape, 4, (void **)&work.keys));
    TRY(write_output(api, context, 2, keys.shape, 4, (void **)&work.values));
    size_t bytes = (size_t)(batch * attention->heads * columns * d_kv) * sizeof(float);
    if (bytes && work.keys != keys.data) memcpy(work.keys, keys.data, bytes);
    if (bytes && work.values != values.data) memcpy(work.values, values.data, bytes);
    size_t total = (size_t)(batch * HEAD_GROUPS(attention->heads));
    int64_t effort = ATTENDED * batch * attention->heads * columns * d_kv;
    return share(api, context, attention->level->attend_cached, total, &work, effort);
}

/* -- keys and values in 8 bits ----------------------------------------------------------------- */

/* x (tokens, parts, heads, d_kv) -> integers (parts, 1, heads, tokens, d_kv) and their scales
 * (parts, 1, heads, tokens, 1). */
static Status *compute_quantisation(void *kernel, Context *context) {
    const Attention *attention = kernel;
    Api *api = attention->api;
    Tensor x;
    TRY(read_input(api, context, 0, &x));
    if (!IS_SHAPED(&x, ANY, ANY, attention->heads, ANY)) {
        return ort_error(api, "QuantiseHeads: x must be (tokens, parts, heads, d_kv)");
    }
    int64_t tokens = x.shape[0], parts = x.shape[1], heads = x.shape[2], d_kv = x.shape[3];
    TRY(check_head(api, d_kv, tokens));
    HeadQuantisation work = {
        .tokens = tokens, .lines = parts * heads, .d_kv = d_kv, .x = x.data};
    int64_t shape[] = {parts, 1, heads, tokens, d_kv};
    TRY(write_output(api, context, 0, shape, COUNT(shape), (void **)&work.integers));
    shape[4] = 1;
    TRY(write_output(api, context, 1, shape, COUNT(shape), (void **)&work.scales));
    int64_t effort = QUANTISED * tokens * parts * heads * d_kv;
    Task quantise = attention->level->quantise_heads;
    return share(api, context, quantise, (size_t)tokens, &work, effort);
}

/* -- of the encoder ---------------------------------------------------------------------------- */

/* Of each head the bias of each distance, from 1 - length to length - 1, those that are far alike:
 * `table` (distances, heads) -> (heads, 2 * length - 1), and zeros for a panel's keys past the last.
 * NULL where there is no memory. */
static float *biases_by_distance(const Tensor *table, int64_t length) {
    int64_t distances = table->shape[0], heads = table->shape[1], farthest = distances / 2;
    float *biases = calloc((size_t)(heads * (2 * length - 1) + KEYS_OF_PANEL), sizeof(float));
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

static Status *check_encoder(
    const Attention *a, const Tensor *joint, const Tensor *lengths, const Tensor *table) {
    if (!IS_SHAPED(joint, ANY, ANY) || joint->shape[1] % (3 * a->heads)) {
        return ort_error(a->api, "EncoderAttention: joint must be (tokens, 3 * heads * d_kv)");
    }
    TRY(check_head(a->api, joint->shape[1] / (3 * a->heads), 0));
    if (!IS_SHAPED(lengths, ANY)) {
        return ort_error(a->api, "EncoderAttention: lengths must be (batch)");
    }
    if (!IS_SHAPED(table, ANY, a->heads) || table->shape[0] % 2 == 0) {
        return ort_error(
            a->api, "EncoderAttention: biases must be (distances, heads), distances odd");
    }
    return NULL;
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
    if (*longest > MOST_KEYS) return ort_error(api, "a source must have at most 32,768 tokens");
    return sum == tokens ? NULL : ort_error(api, "source_lengths must add up to the tokens");
}

static Status *attend_rows(
    const Attention *a, Context *context, int64_t batch, int64_t tokens, EncoderAttention *work,
    Tensor *table) {
    if (batch == 0) return NULL;
    float *biases = biases_by_distance(table, work->longest);
    if (!biases) return ort_error(a->api, "out of memory");
    work->biases = biases;
    size_t total = (size_t)(batch * a->heads);
    int64_t effort = ATTENDED * tokens * a->heads * work->longest * work->d_kv;
    Status *status = share(a->api, context, a->level->attend_encoder, total, work, effort);
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
    TRY(check_encoder(attention, &joint, &lengths, &table));
    int64_t batch = lengths.shape[0], tokens = joint.shape[0], width = joint.shape[1] / 3;
    EncoderAttention work = {
        .heads = attention->heads, .d_kv = width / attention->heads, .joint = joint.data,
        .lengths = lengths.data};
    TRY(write_output(api, context, 0, (int64_t[]){tokens, width}, 2, (void **)&work.mixed));
    int64_t *begins = malloc((size_t)(batch + 1) * sizeof(int64_t));
    if (!begins) return ort_error(api, "out of memory");
    work.begins = begins;
    Status *status = find_rows(api, work.lengths, batch, tokens, begins, &work.longest);
    if (!status) status = attend_rows(attention, context, batch, tokens, &work, &table);
    free(begins);
    return status;
}

/* -- making a kernel --------------------------------------------------------------------------- */

static const ElementType CACHED_INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32, FLOAT};
static const ElementType CACHED_OUTPUTS[] = {FLOAT, FLOAT, FLOAT};
static const ElementType MIXED[] = {FLOAT};
static const ElementType HEADS_INPUTS[] = {FLOAT};
static const ElementType HEADS_OUTPUTS[] = {INT8, FLOAT};
static const ElementType ENCODER_INPUTS[] = {FLOAT, INT32, FLOAT};

Kernel ATTENTION_KERNELS[3] = {
    KERNEL("CachedAttention", CACHED_INPUTS, CACHED_OUTPUTS, create_attention, compute_cached, free),
    KERNEL("EncoderAttention", ENCODER_INPUTS, MIXED, create_attention, compute_encoder, free),
    KERNEL("QuantiseHeads", HEADS_INPUTS, HEADS_OUTPUTS, create_attention, compute_quantisation, free),
};
