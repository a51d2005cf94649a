/* Operators of attention on a GPU: what they take and give, and how the work is divided. */
#include "attending.cuh"
#include "kernel.cuh"

namespace {

constexpr int64_t MOST_ROWS = 65535; /* of a grid's second dimension */

/* Calls `run` with the number of parts of a head that a lane holds, as a type. */
template <int PARTS>
struct Parts {
    static constexpr int count = PARTS;
};
template <typename Run>
Status *by_parts(Api *api, int64_t d_kv, Run run) {
    if (d_kv < 1 || d_kv > LARGEST_D_KV) {
        return ort_error(api, "attention: a head's keys must have from 1 to 256 numbers");
    }
    if (d_kv <= 64) return run(Parts<2>());
    return d_kv <= 128 ? run(Parts<4>()) : run(Parts<8>());
}

/* Fills the outputs with the caches, unless these are bound to the memory that came in. */
Status *copied(Api *api, const Tensor &from, void *to, size_t bytes, cudaStream_t stream) {
    if (to == from.data) return nullptr;
    return checked(api, cudaMemcpyAsync(to, from.data, bytes, cudaMemcpyDeviceToDevice, stream));
}

/* Keys and values must be (batch, heads, columns, d_kv). */
Status *check_slots(const Node &node, const Tensor &keys, const Tensor &values) {
    if (!is_shaped(keys, {ANY, node.heads, ANY, ANY})) {
        return ort_error(node.api, "attention: key must be (batch, heads, columns, d_kv)");
    }
    if (!is_shaped(values, {keys.shape[0], node.heads, keys.shape[2], keys.shape[3]})) {
        return ort_error(node.api, "attention: value must have the shape of key");
    }
    if (keys.shape[0] > MOST_ROWS) {
        return ort_error(node.api, "attention: there must be at most 65,535 rows");
    }
    return nullptr;
}

Status *check_cached(
    const Node &node, const Tensor &joint, const Tensor &keys, const Tensor &values,
    const Tensor &past, const Tensor &biases) {
    Api *api = node.api;
    TRY(check_slots(node, keys, values));
    int64_t batch = keys.shape[0], d_kv = keys.shape[3];
    if (!is_shaped(joint, {batch, 1, 3 * node.heads * d_kv})) {
        return ort_error(api, "CachedAttention: joint must be (batch, 1, 3 * heads * d_kv)");
    }
    if (!is_shaped(biases, {node.heads, ANY}) || biases.shape[1] < 1) {
        return ort_error(api, "CachedAttention: biases must be (heads, distances)");
    }
    if (!is_shaped(past, {batch})) return ort_error(api, "CachedAttention: past must be (batch)");
    return nullptr;
}

/* joint (batch, 1, 3 * heads * d_kv), keys and values (batch, heads, columns, d_kv), past (batch),
 * biases (heads, distances) by distance back, the farthest first -> mixed (batch, 1, heads * d_kv),
 * and keys and values with one more column. */
template <typename T>
Status *compute_cached(void *kernel, Context *context) {
    const Node &node = *static_cast<Node *>(kernel);
    Api *api = node.api;
    Tensor joint, keys, values, past, biases;
    cudaStream_t stream;
    TRY(read_inputs(api, context, {&joint, &keys, &values, &past, &biases}));
    TRY(check_cached(node, joint, keys, values, past, biases));
    TRY(stream_of(api, context, &stream));
    int64_t batch = keys.shape[0], columns = keys.shape[2], d_kv = keys.shape[3];
    T *mixed, *new_keys, *new_values;
    TRY(write_output(api, context, 0, {batch, 1, node.heads * d_kv}, &mixed));
    TRY(write_output(api, context, 1, {batch, node.heads, columns, d_kv}, &new_keys));
    TRY(write_output(api, context, 2, {batch, node.heads, columns, d_kv}, &new_values));
    if (batch * columns == 0) return nullptr;
    size_t bytes = sizeof(T) * static_cast<size_t>(batch * node.heads * columns * d_kv);
    TRY(copied(api, keys, new_keys, bytes, stream));
    TRY(copied(api, values, new_values, bytes, stream));
    return by_parts(api, d_kv, [&](auto parts) {
        dim3 grid(static_cast<unsigned>(node.heads), static_cast<unsigned>(batch));
        launch(
            attend_cached<T, decltype(parts)::count>, grid, WARPS * WARP, stream, (int)columns,
            (int)d_kv, (int)biases.shape[1], joint.as<const T>(), past.as<const int32_t>(),
            biases.as<const T>(), new_keys, new_values, mixed);
        return checked(api, cudaGetLastError());
    });
}

/* Of `sources` nothing but the shape: it is null where each row has a source of its own. */
Status *check_cross(
    const Node &node, const Tensor &query, const Tensor &keys, const Tensor &values,
    const Tensor &lengths, const Tensor *sources) {
    TRY(check_slots(node, keys, values));
    int64_t count = keys.shape[0], width = node.heads * keys.shape[3];
    if (!is_shaped(query, {sources ? ANY : count, 1, width})) {
        return ort_error(node.api, "CrossAttention: query must be (batch, 1, heads * d_kv)");
    }
    if (!is_shaped(lengths, {count})) {
        return ort_error(node.api, "CrossAttention: lengths must be (sources)");
    }
    if (sources && !is_shaped(*sources, {query.shape[0]})) {
        return ort_error(node.api, "SharedCrossAttention: sources must be (batch)");
    }
    if (query.shape[0] > MOST_ROWS) {
        return ort_error(node.api, "attention: there must be at most 65,535 rows");
    }
    return nullptr;
}

template <typename T>
Status *attend(
    const Node &node, Context *context, const Tensor &query, const Tensor &keys,
    const Tensor &values, const Tensor &lengths, const Tensor *sources) {
    Api *api = node.api;
    cudaStream_t stream;
    TRY(check_cross(node, query, keys, values, lengths, sources));
    TRY(stream_of(api, context, &stream));
    int64_t batch = query.shape[0], d_kv = keys.shape[3];
    T *mixed;
    TRY(write_output(api, context, 0, {batch, 1, node.heads * d_kv}, &mixed));
    if (batch == 0) return nullptr;
    return by_parts(api, d_kv, [&](auto parts) {
        dim3 grid(static_cast<unsigned>(node.heads), static_cast<unsigned>(batch));
        launch(
            attend_cross<T, decltype(parts)::count>, grid, WARPS * WARP, stream,
            (int)keys.shape[0], (int)keys.shape[2], (int)d_kv, query.as<const T>(),
            keys.as<const T>(), values.as<const T>(), lengths.as<const int32_t>(),
            sources ? sources->as<const int32_t>() : nullptr, mixed);
        return checked(api, cudaGetLastError());
    });
}

/* query (batch, 1, heads * d_kv), keys and values (batch, heads, length, d_kv), lengths (batch)
 * -> mixed, as query. */
template <typename T>
Status *compute_cross(void *kernel, Context *context) {
    const Node &node = *static_cast<Node *>(kernel);
    Tensor query, keys, values, lengths;
    TRY(read_inputs(node.api, context, {&query, &keys, &values, &lengths}));
    return attend<T>(node, context, query, keys, values, lengths, nullptr);
}

/* The same with keys, values and lengths of sources, and the source of each row. */
template <typename T>
Status *compute_shared(void *kernel, Context *context) {
    const Node &node = *static_cast<Node *>(kernel);
    Tensor query, keys, values, lengths, sources;
    TRY(read_inputs(node.api, context, {&query, &keys, &values, &lengths, &sources}));
    return attend<T>(node, context, query, keys, values, lengths, &sources);
}

/* joint (tokens, 3 * heads * d_kv) of all sources in turn, lengths (batch), biases (distances,
 * heads) -> mixed (tokens, heads * d_kv). */
template <typename T>
Status *compute_encoder(void *kernel, Context *context) {
    const Node &node = *static_cast<Node *>(kernel);
    Api *api = node.api;
    Tensor joint, lengths, biases;
    cudaStream_t stream;
    TRY(read_inputs(api, context, {&joint, &lengths, &biases}));
    if (!is_shaped(joint, {ANY, ANY}) || joint.shape[1] % (3 * node.heads)) {
        return ort_error(api, "EncoderAttention: joint must be (tokens, 3 * heads * d_kv)");
    }
    if (!is_shaped(lengths, {ANY})) {
        return ort_error(api, "EncoderAttention: lengths must be (batch)");
    }
    if (!is_shaped(biases, {ANY, node.heads}) || biases.shape[0] % 2 == 0) {
        return ort_error(api, "EncoderAttention: biases must be (distances, heads), distances odd");
    }
    TRY(stream_of(api, context, &stream));
    int64_t tokens = joint.shape[0], width = joint.shape[1] / 3, d_kv = width / node.heads;
    T *mixed;
    TRY(write_output(api, context, 0, {tokens, width}, &mixed));
    if (tokens == 0) return nullptr;
    return by_parts(api, d_kv, [&](auto parts) {
        unsigned blocks = static_cast<unsigned>((tokens + WARPS - 1) / WARPS);
        launch(
            attend_encoder<T, decltype(parts)::count>,
            dim3(blocks, static_cast<unsigned>(node.heads)), WARPS * WARP, stream, (int)tokens,
            (int)lengths.shape[0], (int)d_kv, (int)biases.shape[0], joint.as<const T>(),
            lengths.as<const int32_t>(), biases.as<const T>(), mixed);
        return checked(api, cudaGetLastError());
    });
}

Status *create(const Operator *, Api *api, const Info *info, void **kernel) {
    int64_t heads;
    TRY(ort_integer(api, info, "num_heads", &heads));
    if (heads < 1 || heads > INT16_MAX) {
        return ort_error(api, "num_heads must be from 1 to 32,767");
    }
    *kernel = new Node{api, heads};
    return nullptr;
}

void destroy(void *kernel) { delete static_cast<Node *>(kernel); }

template <typename T>
std::vector<Kernel> kernels_of(ElementType x) {
    auto kernel = [](const char *name, std::vector<ElementType> inputs,
                     std::vector<ElementType> outputs, Status *(*compute)(void *, Context *)) {
        Kernel made{{}, name, inputs, outputs, NONE_ON_HOST};
        made.op.create = create, made.op.compute = compute, made.op.destroy = destroy;
        return made;
    };
    return {
        kernel("CachedAttention", {x, x, x, INT32, x}, {x, x, x}, compute_cached<T>),
        kernel("CrossAttention", {x, x, x, INT32}, {x}, compute_cross<T>),
        kernel("SharedCrossAttention", {x, x, x, INT32, INT32}, {x}, compute_shared<T>),
        kernel("EncoderAttention", {x, INT32, x}, {x}, compute_encoder<T>),
    };
}

}  // namespace

std::vector<Kernel> &attention_kernels(ElementType element) {
    static std::vector<Kernel> floats = kernels_of<float>(FLOAT);
    static std::vector<Kernel> halves = kernels_of<__half>(FLOAT16);
    return element == FLOAT ? floats : halves;
}
