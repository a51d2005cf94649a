/* Operators of the decoder's attention over what the encoder has read: what they take and give, and
 * how the work is divided. */
#include "attention.h"

/* What a row's queries see; scales have no data where keys and values are floats, and `sources` has
 * none where each row has a source of its own. */
typedef struct {
    Tensor query, keys, key_scales, values, value_scales, lengths, sources;
} CrossInputs;

static Status *check_cross(const Attention *a, const CrossInputs *inputs) {
    const Tensor *keys = &inputs->keys, *lengths = &inputs->lengths;
    if (!IS_SHAPED(keys, ANY, a->heads, ANY, ANY)) {
        return ort_error(a->api, "CrossAttention: key must be (sources, heads, length, d_kv)");
    }
    int64_t sources = keys->shape[0], length = keys->shape[2], d_kv = keys->shape[3];
    TRY(check_head(a->api, d_kv, length));
    if (!IS_SHAPED(&inputs->values, sources, a->heads, length, d_kv)) {
        return ort_error(a->api, "CrossAttention: value must have the shape of key");
    }
    if (inputs->key_scales.data &&
        (!IS_SHAPED(&inputs->key_scales, sources, a->heads, length, 1) ||
         !IS_SHAPED(&inputs->value_scales, sources, a->heads, length, 1))) {
        return ort_error(
            a->api, "CrossAttentionInt8: scales must be (sources, heads, length, 1)");
    }
    if (!IS_SHAPED(lengths, sources)) {
        return ort_error(a->api, "CrossAttention: lengths must be (sources)");
    }
    for (int64_t source = 0; source < sources; source++) {
        int32_t of_source = ((const int32_t *)lengths->data)[source];
        if (of_source < 1 || of_source > length) {
            return ort_error(a->api, "source_lengths must be from 1 to the length of the sources");
        }
    }
    int64_t batch = inputs->sources.data ? ANY : sources;
    if (!IS_SHAPED(&inputs->query, batch, 1, a->heads * d_kv)) {
        return ort_error(a->api, "CrossAttention: query must be (batch, 1, heads * d_kv)");
    }
    return NULL;
}

static Status *check_sources(const Attention *a, const CrossInputs *inputs) {
    int64_t batch = inputs->query.shape[0], sources = inputs->keys.shape[0];
    if (!IS_SHAPED(&inputs->sources, batch)) {
        return ort_error(a->api, "SharedCrossAttention: sources must be (batch)");
    }
    for (int64_t row = 0; row < batch; row++) {
        int32_t of_row = ((const int32_t *)inputs->sources.data)[row];
        if (of_row < 0 || of_row >= sources) {
            return ort_error(a->api, "SharedCrossAttention: sources must be from 0 to the last");
        }
    }
    return NULL;
}

static int is_own(const int32_t *sources, int64_t batch) {
    for (int64_t row = 0; row < batch; row++) {
        if (sources[row] != row) return 0;
    }
    return 1;
}

/* Puts rows of the same source together. `newest` (sources) is for the readers that each source has
 * last. Returns the number of readers. */
static int64_t gather_readers(
    const int32_t *sources, int64_t batch, Readers *readers, Readers **newest) {
    int64_t count = 0;
    for (int64_t row = 0; row < batch; row++) {
        Readers **of_source = newest + sources[row];
        if (!*of_source || (*of_source)->count == ROWS_TOGETHER) {
            *of_source = readers + count++;
            **of_source = (Readers){.source = sources[row]};
        }
        (*of_source)->rows[(*of_source)->count++] = (int32_t)row;
    }
    return count;
}

static Status *attend_cross_tasks(
    const Attention *a, Context *context, int64_t count, CrossAttention *work) {
    size_t total = (size_t)(count * HEAD_GROUPS(a->heads));
    int64_t effort = ATTENDED * count * a->heads * work->length * work->d_kv;
    return share(a->api, context, a->level->attend_cross, total, work, effort);
}

static Status *attend_shared(
    const Attention *a, Context *context, const CrossInputs *inputs, CrossAttention *work) {
    int64_t batch = inputs->query.shape[0], sources = inputs->keys.shape[0];
    const int32_t *of_rows = inputs->sources.data;
    if (is_own(of_rows, batch)) return attend_cross_tasks(a, context, batch, work);
    Readers *readers = malloc((size_t)batch * sizeof *readers);
    Readers **newest = calloc((size_t)sources, sizeof *newest);
    Status *status = NULL;
    if (readers && newest) {
        work->readers = readers;
        int64_t count = gather_readers(of_rows, batch, readers, newest);
        status = attend_cross_tasks(a, context, count, work);
    } else {
        status = ort_error(a->api, "out of memory");
    }
    free(readers);
    free(newest);
    return status;
}

static Status *attend_cross(
    const Attention *attention, Context *context, const CrossInputs *inputs) {
    TRY(check_cross(attention, inputs));
    const int64_t *shape = inputs->keys.shape; /* (sources, heads, length, d_kv) */
    CrossAttention work = {
        .heads = attention->heads, .length = shape[2], .d_kv = shape[3],
        .query = inputs->query.data, .keys = inputs->keys.data, .values = inputs->values.data,
        .key_scales = inputs->key_scales.data, .value_scales = inputs->value_scales.data,
        .lengths = inputs->lengths.data};
    TRY(write_output(attention->api, context, 0, inputs->query.shape, 3, (void **)&work.mixed));
    if (!inputs->sources.data) return attend_cross_tasks(attention, context, shape[0], &work);
    TRY(check_sources(attention, inputs));
    return attend_shared(attention, context, inputs, &work);
}

static Status *read_cross(Api *api, Context *context, CrossInputs *inputs) {
    TRY(read_input(api, context, 0, &inputs->query));
    TRY(read_input(api, context, 1, &inputs->keys));
    TRY(read_input(api, context, 2, &inputs->values));
    return read_input(api, context, 3, &inputs->lengths);
}

static Status *read_cross_int8(Api *api, Context *context, CrossInputs *inputs) {
    TRY(read_input(api, context, 0, &inputs->query));
    TRY(read_input(api, context, 1, &inputs->keys));
    TRY(read_input(api, context, 2, &inputs->key_scales));
    TRY(read_input(api, context, 3, &inputs->values));
    TRY(read_input(api, context, 4, &inputs->value_scales));
    return read_input(api, context, 5, &inputs->lengths);
}

/* query (batch, 1, heads * d_kv), keys and values (batch, heads, length, d_kv), lengths (batch)
 * -> mixed, as query. */
static Status *compute_cross(void *kernel, Context *context) {
    const Attention *attention = kernel;
    CrossInputs inputs = {0};
    TRY(read_cross(attention->api, context, &inputs));
    return attend_cross(attention, context, &inputs);
}

/* The same with keys and values of 8-bit integers, each followed by its scales (batch, heads,
 * length, 1). */
static Status *compute_cross_int8(void *kernel, Context *context) {
    const Attention *attention = kernel;
    CrossInputs inputs = {0};
    TRY(read_cross_int8(attention->api, context, &inputs));
    return attend_cross(attention, context, &inputs);
}

/* Both with keys, values, scales and lengths of sources, and, last, the source of each row. */
static Status *compute_shared(void *kernel, Context *context) {
    const Attention *attention = kernel;
    CrossInputs inputs = {0};
    TRY(read_cross(attention->api, context, &inputs));
    TRY(read_input(attention->api, context, 4, &inputs.sources));
    return attend_cross(attention, context, &inputs);
}

static Status *compute_shared_int8(void *kernel, Context *context) {
    const Attention *attention = kernel;
    CrossInputs inputs = {0};
    TRY(read_cross_int8(attention->api, context, &inputs));
    TRY(read_input(attention->api, context, 6, &inputs.sources));
    return attend_cross(attention, context, &inputs);
}

static const ElementType CROSS_INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32};
static const ElementType CROSS_INT8_INPUTS[] = {FLOAT, INT8, FLOAT, INT8, FLOAT, INT32};
static const ElementType SHARED_INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32, INT32};
static const ElementType SHARED_INT8_INPUTS[] = {FLOAT, INT8, FLOAT, INT8, FLOAT, INT32, INT32};
static const ElementType MIXED[] = {FLOAT};

Kernel CROSS_KERNELS[4] = {
    KERNEL("CrossAttention", CROSS_INPUTS, MIXED, create_attention, compute_cross, free),
    KERNEL(
        "CrossAttentionInt8", CROSS_INT8_INPUTS, MIXED, create_attention, compute_cross_int8, free),
    KERNEL("SharedCrossAttention", SHARED_INPUTS, MIXED, create_attention, compute_shared, free),
    KERNEL(
        "SharedCrossAttentionInt8", SHARED_INT8_INPUTS, MIXED, create_attention,
        compute_shared_int8, free),
};
