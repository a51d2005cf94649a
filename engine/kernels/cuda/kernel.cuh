/* What the operators for a GPU share: how one is described, and how tensors are read and written. */
#ifndef CYBERSOLVE_CUDA_KERNEL
#define CYBERSOLVE_CUDA_KERNEL

#include "../ort.h"
#include "device.cuh"

#include <initializer_list>
#include <vector>

/* An operator: its name, the types of what it takes and gives, and the input, if any, that it reads
 * on the host. */
struct Kernel {
    Operator op; /* first, so that a pointer to it is a pointer to this */
    const char *name;
    std::vector<ElementType> inputs, outputs;
    size_t on_host;
};

constexpr size_t NONE_ON_HOST = SIZE_MAX;

std::vector<Kernel> &attention_kernels(ElementType element); /* FLOAT or FLOAT16 */
std::vector<Kernel> &choosing_kernels();

/* An operator's kernel of one node: `heads` is its attribute `num_heads`, where it has one. */
struct Node {
    Api *api;
    int64_t heads;
};

/* An input or output: where it begins, and its shape. */
struct Tensor {
    void *data;
    const int64_t *shape;
    size_t rank;

    template <typename T>
    T *as() const {
        return static_cast<T *>(data);
    }
};

constexpr int64_t ANY = -1;

/* Whether a tensor has these dimensions; any size where that is ANY. */
inline bool is_shaped(const Tensor &tensor, std::initializer_list<int64_t> shape) {
    if (tensor.rank != shape.size()) return false;
    const int64_t *size = tensor.shape;
    for (int64_t wanted : shape) {
        if (wanted != ANY && *size != wanted) return false;
        size++;
    }
    return true;
}

inline Status *read_inputs(Api *api, Context *context, std::initializer_list<Tensor *> tensors) {
    size_t index = 0;
    for (Tensor *tensor : tensors) {
        const Value *value;
        TRY(ort_input(api, context, index++, &value));
        TRY(ort_data(api, value, &tensor->data));
        TRY(ort_shape(api, value, &tensor->shape, &tensor->rank));
    }
    return nullptr;
}

template <typename T>
Status *write_output(
    Api *api, Context *context, size_t index, std::initializer_list<int64_t> shape, T **data) {
    Value *value;
    void *memory;
    TRY(ort_output(api, context, index, shape.begin(), shape.size(), &value));
    TRY(ort_data(api, value, &memory));
    *data = static_cast<T *>(memory);
    return nullptr;
}

inline Status *stream_of(Api *api, Context *context, cudaStream_t *stream) {
    void *found;
    TRY(ort_stream(api, context, &found));
    *stream = static_cast<cudaStream_t>(found);
    return nullptr;
}

/* An error where CUDA has refused something. */
inline Status *checked(Api *api, cudaError_t code) {
    return code == cudaSuccess ? nullptr : ort_error(api, cudaGetErrorString(code));
}

#endif
