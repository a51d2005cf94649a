/* What the kernels share: how an operator is described, how tensors are read and written. */
#ifndef CYBERSOLVE_KERNEL_H
#define CYBERSOLVE_KERNEL_H

#include "level.h"
#include "ort.h"

typedef struct {
    Operator operator; /* first, so that a pointer to it is a pointer to this */
    const char *name;
    const ElementType *inputs, *outputs;
    size_t input_count, output_count;
} Kernel;

/* An input or output: where it begins, and its shape. */
typedef struct {
    void *data;
    const int64_t *shape;
    size_t rank;
} Tensor;

enum {
    MOST_INPUTS = 1 << 16, /* of a product: a task's rows are on the stack of its thread */
    MOST_KEYS = 1 << 15,   /* of a query, likewise */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The operator `kind`: a kernel of it is made by `make`, run by `run` and freed by `end`. */
#define KERNEL(kind, takes, gives, make, run, end)                                         \
    {                                                                                      \
        .operator = {.create = (make), .compute = (run), .destroy = (end)},                \
        .name = (kind), .inputs = takes, .outputs = gives, .input_count = COUNT(takes),    \
        .output_count = COUNT(gives)                                                       \
    }

extern Kernel ATTENTION_KERNELS[3], CROSS_KERNELS[4], LINEAR_KERNELS[9], LIKELIEST_KERNEL,
    CANDIDATES_KERNELS[2];

static inline Status *read_input(Api *api, Context *context, size_t index, Tensor *tensor) {
    const Value *value;
    TRY(ort_input(api, context, index, &value));
    TRY(ort_data(api, value, &tensor->data));
    return ort_shape(api, value, &tensor->shape, &tensor->rank);
}

static inline Status *write_output(
    Api *api, Context *context, size_t index, const int64_t *shape, size_t rank, void **data) {
    Value *value;
    TRY(ort_output(api, context, index, shape, rank, &value));
    return ort_data(api, value, data);
}

/* Efforts are counted in multiply-adds of products in fp32, of which a core does about 50 in a
 * nanosecond. */
enum {
    LEAST_SHARED = 3 << 20, /* 60 microseconds: for less, waking a thread costs more than it saves */
    ATTENDED = 6,           /* for a number of a key and of its value, by each query */
    QUANTISED = 8,          /* for a number that is rounded to 8 bits */
    CHOSEN = 16,            /* for a logit */
};

/* Calls `task` with every index below `total`: spread over the session's threads where all of them
 * together are worth waking one. */
static inline Status *share(
    Api *api, Context *context, Task task, size_t total, void *work, int64_t effort) {
    if (effort >= LEAST_SHARED) return ort_parallel(api, context, task, total, work);
    for (size_t i = 0; i < total; i++) task(work, i);
    return NULL;
}

/* Whether a tensor has `rank` dimensions, those of `shape`; any size where that is ANY. */
enum { ANY = -1 };
static inline int is_shaped(const Tensor *tensor, const int64_t *shape, size_t rank) {
    if (tensor->rank != rank) return 0;
    for (size_t i = 0; i < rank; i++) {
        if (shape[i] != ANY && tensor->shape[i] != shape[i]) return 0;
    }
    return 1;
}

#define IS_SHAPED(tensor, ...)                                        \
    is_shaped(                                                        \
        tensor, (const int64_t[]){__VA_ARGS__}, COUNT(((const int64_t[]){__VA_ARGS__})))

#endif
