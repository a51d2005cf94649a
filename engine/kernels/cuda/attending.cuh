/* Attention on a GPU: one warp goes over keys one after another, and keeps the softmax as it goes.
 *
 * A lane holds every 32nd number of a head, `PARTS` of them at most. Sums are fp32 whatever the type
 * `T` of keys and values. Kernels cannot report an error: a row whose length or position is out of
 * range gives NaN, and nothing beyond its memory is read. */
#ifndef CYBERSOLVE_CUDA_ATTENDING
#define CYBERSOLVE_CUDA_ATTENDING

#include "device.cuh"

constexpr int WARPS = 4; /* of a block */
constexpr int LARGEST_D_KV = 256;

template <typename T, int PARTS>
__device__ void load_head(const T *head, int d_kv, int lane, float *numbers) {
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        int place = part * WARP + lane;
        numbers[part] = place < d_kv ? as_float(head[place]) : 0.0f;
    }
}

template <typename T, int PARTS>
__device__ void store_head(T *head, int d_kv, int lane, const float *numbers, float factor) {
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        int place = part * WARP + lane;
        if (place < d_kv) head[place] = rounded<T>(numbers[part] * factor);
    }
}

/* The softmax over the keys so far: their largest score, the sum of e^(score - largest), and the
 * values weighted by these powers. */
template <int PARTS>
struct Softmax {
    float largest = -INFINITY, sum = 0.0f, mixed[PARTS] = {};

    template <typename T>
    __device__ void add(
        const float *query, const T *key, const T *value, float bias, int d_kv, int lane) {
        float numbers[PARTS], product = 0.0f;
        load_head<T, PARTS>(key, d_kv, lane, numbers);
#pragma unroll
        for (int part = 0; part < PARTS; part++) product += query[part] * numbers[part];
        float score = sum_of_warp(product) + bias, before = largest;
        largest = fmaxf(before, score);
        float kept = expf(before - largest), weight = expf(score - largest);
        load_head<T, PARTS>(value, d_kv, lane, numbers);
        sum = sum * kept + weight;
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            mixed[part] = mixed[part] * kept + weight * numbers[part];
        }
    }
};

/* Combines the warps of a block, of which some may have seen no key, and writes what they mix. */
template <typename T, int PARTS>
__device__ void write_combined(const Softmax<PARTS> &own, T *out, int d_kv) {
    __shared__ float largest[WARPS], sum[WARPS], mixed[WARPS][PARTS * WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int part = 0; part < PARTS; part++) mixed[warp][part * WARP + lane] = own.mixed[part];
    if (lane == 0) largest[warp] = own.largest, sum[warp] = own.sum;
    __syncthreads();
    float most = largest[0], factors[WARPS], total = 0.0f;
    for (int i = 1; i < WARPS; i++) most = fmaxf(most, largest[i]);
    for (int i = 0; i < WARPS; i++) {
        factors[i] = expf(largest[i] - most);
        total += sum[i] * factors[i];
    }
    for (int place = threadIdx.x; place < d_kv; place += WARPS * WARP) {
        float number = 0.0f;
        for (int i = 0; i < WARPS; i++) number += mixed[i][place] * factors[i];
        out[place] = rounded<T>(number / total);
    }
}

template <typename T>
__device__ void write_nan(T *out, int d_kv) {
    for (int place = threadIdx.x; place < d_kv; place += WARPS * WARP) out[place] = rounded<T>(NAN);
}

/* A block for each head (x) and row (y). The new token's key and value are put at column `past`,
 * and its query sees all up to there. */
template <typename T, int PARTS>
__global__ void attend_cached(
    int columns, int d_kv, int distances, const T *joint, const int32_t *past, const T *biases,
    T *keys, T *values, T *mixed) {
    int head = blockIdx.x, heads = gridDim.x, lane = threadIdx.x % WARP;
    int64_t row = blockIdx.y, width = (int64_t)heads * d_kv;
    const T *query = joint + row * 3 * width + head * d_kv;
    const T *new_key = query + width, *new_value = new_key + width;
    T *own_keys = keys + (row * heads + head) * columns * d_kv;
    T *own_values = values + (row * heads + head) * columns * d_kv;
    T *out = mixed + row * width + head * d_kv;
    int last = past[row];
    if (last < 0 || last >= columns) return write_nan(out, d_kv);
    for (int place = threadIdx.x; place < d_kv; place += WARPS * WARP) {
        own_keys[last * d_kv + place] = new_key[place];
        own_values[last * d_kv + place] = new_value[place];
    }
    float numbers[PARTS];
    load_head<T, PARTS>(query, d_kv, lane, numbers);
    Softmax<PARTS> softmax;
    for (int column = threadIdx.x / WARP; column <= last; column += WARPS) {
        /* The new ones are read where they came from: other threads may not have stored them yet. */
        const T *key = column == last ? new_key : own_keys + column * d_kv;
        const T *value = column == last ? new_value : own_values + column * d_kv;
        int back = last - column < distances ? last - column : distances - 1;
        float bias = as_float(biases[head * distances + distances - 1 - back]);
        softmax.add(numbers, key, value, bias, d_kv, lane);
    }
    write_combined(softmax, out, d_kv);
}

/* A block for each head (x) and row (y), over the first `lengths[source]` keys of the row's source,
 * one of `count`: that of `sources[row]`, or of the row's own number where `sources` is null. */
template <typename T, int PARTS>
__global__ void attend_cross(
    int count, int length, int d_kv, const T *query, const T *keys, const T *values,
    const int32_t *lengths, const int32_t *sources, T *mixed) {
    int head = blockIdx.x, heads = gridDim.x, lane = threadIdx.x % WARP, row = blockIdx.y;
    int64_t place = (int64_t)row * heads + head; /* of the row's head */
    int source = sources ? sources[row] : row;
    if (source < 0 || source >= count) return write_nan(mixed + place * d_kv, d_kv);
    int read = lengths[source];
    if (read < 1 || read > length) return write_nan(mixed + place * d_kv, d_kv);
    int64_t begin = ((int64_t)source * heads + head) * length * d_kv;
    const T *own_keys = keys + begin, *own_values = values + begin;
    float numbers[PARTS];
    load_head<T, PARTS>(query + place * d_kv, d_kv, lane, numbers);
    Softmax<PARTS> softmax;
    for (int key = threadIdx.x / WARP; key < read; key += WARPS) {
        softmax.add(numbers, own_keys + key * d_kv, own_values + key * d_kv, 0.0f, d_kv, lane);
    }
    write_combined(softmax, mixed + place * d_kv, d_kv);
}

/* The first token of a source and the token after its last. */
struct Span {
    int begin, end;
};

/* Finds the source that has `token`; an empty one where the lengths do not reach so far. The lanes
 * of a warp look at 32 sources at a time. */
__device__ inline Span source_of(const int32_t *lengths, int batch, int token, int lane) {
    int begin = 0;
    for (int first = 0; first < batch; first += WARP) {
        int length = first + lane < batch ? lengths[first + lane] : 0, end = length;
        for (int distance = 1; distance < WARP; distance *= 2) {
            int before = __shfl_up_sync(ALL_LANES, end, distance);
            if (lane >= distance) end += before;
        }
        end += begin;
        unsigned after = __ballot_sync(ALL_LANES, token < end);
        if (after) {
            int found = __ffs(after) - 1;
            int last = __shfl_sync(ALL_LANES, end, found);
            return {last - __shfl_sync(ALL_LANES, length, found), last};
        }
        begin = __shfl_sync(ALL_LANES, end, WARP - 1);
    }
    return {0, 0};
}

/* A warp for each token, `WARPS` of them in a block (x), and each head (y). */
template <typename T, int PARTS>
__global__ void attend_encoder(
    int tokens, int batch, int d_kv, int distances, const T *joint, const int32_t *lengths,
    const T *biases, T *mixed) {
    int head = blockIdx.y, heads = gridDim.y, lane = threadIdx.x % WARP;
    int token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    int64_t width = (int64_t)heads * d_kv, place = head * d_kv; /* of the head in a line */
    float numbers[PARTS];
    load_head<T, PARTS>(joint + token * 3 * width + place, d_kv, lane, numbers);
    Softmax<PARTS> softmax;
    Span source = source_of(lengths, batch, token, lane);
    if (source.end > tokens) source = {0, 0};
    for (int key = source.begin; key < source.end; key++) {
        const T *line = joint + key * 3 * width + place;
        int distance = key - token + distances / 2;
        distance = distance < 0 ? 0 : distance >= distances ? distances - 1 : distance;
        float bias = as_float(biases[(int64_t)distance * heads + head]);
        softmax.add(numbers, line + width, line + 2 * width, bias, d_kv, lane);
    }
    T *out = mixed + token * width + place;
    store_head<T, PARTS>(out, d_kv, lane, softmax.mixed, 1.0f / softmax.sum);
}

#endif
