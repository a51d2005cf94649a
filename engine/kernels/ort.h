/* What these kernels use of ONNX Runtime's C interface. Its wheels have no headers.
 *
 * The interface is a table of functions that only ever grows at its end, so places in it are for
 * good. Source of places and signatures: onnxruntime_c_api.h of ONNX Runtime 1.25. */
#ifndef CYBERSOLVE_ORT_H
#define CYBERSOLVE_ORT_H

#include "task.h"

#include <stdint.h>

enum { ORT_INTERFACE = 25 }; /* the first version that has all of this */

typedef struct Status Status;         /* NULL where all went well */
typedef struct Value Value;           /* a tensor */
typedef struct Info Info;             /* of a node, while its kernel is made */
typedef struct Context Context;       /* of a call */
typedef struct Domain Domain;         /* a set of operators */
typedef struct Options Options;       /* of a session */
typedef void *const Api;              /* the table's first entry */

typedef struct {
    Api *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} ApiBase;

typedef enum { FLOAT = 1, INT8 = 3, INT32 = 6, INT64 = 7, FLOAT16 = 10 } ElementType;

/* An operator, as ONNX Runtime asks after it. */
typedef struct Operator Operator;
struct Operator {
    uint32_t version;
    void *create_before_16;
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    ElementType (*input_type)(const Operator *, size_t);
    size_t (*input_count)(const Operator *);
    ElementType (*output_type)(const Operator *, size_t);
    size_t (*output_count)(const Operator *);
    void *compute_before_16;
    void (*destroy)(void *kernel);
    int (*input_need)(const Operator *, size_t);
    int (*output_need)(const Operator *, size_t);
    int (*input_memory)(const Operator *, size_t);
    void *variadic[4];
    Status *(*create)(const Operator *, Api *, const Info *, void **kernel);
    Status *(*compute)(void *kernel, Context *);
    void *infer_shape;
    int (*first_version)(const Operator *);
    int (*last_version)(const Operator *);
    void *in_place[4];
};

#define ORT_CALL(place, ...) ((Status * (*)(__VA_ARGS__))(api[place]))

static inline Status *ort_error(Api *api, const char *message) {
    return ORT_CALL(0, int, const char *)(2 /* invalid argument */, message);
}
static inline Status *ort_new_domain(Api *api, const char *name, Domain **domain) {
    return ORT_CALL(26, const char *, Domain **)(name, domain);
}
static inline Status *ort_add_operator(Api *api, Domain *domain, const Operator *op) {
    return ORT_CALL(27, Domain *, const Operator *)(domain, op);
}
static inline Status *ort_add_domain(Api *api, Options *options, Domain *domain) {
    return ORT_CALL(28, Options *, Domain *)(options, domain);
}
static inline Status *ort_data(Api *api, const Value *value, void **data) {
    return ORT_CALL(51, const Value *, void **)(value, data);
}
static inline Status *ort_float(Api *api, const Info *info, const char *name, float *value) {
    return ORT_CALL(85, const Info *, const char *, float *)(info, name, value);
}
static inline Status *ort_integer(Api *api, const Info *info, const char *name, int64_t *value) {
    return ORT_CALL(86, const Info *, const char *, int64_t *)(info, name, value);
}
static inline Status *ort_input(Api *api, Context *context, size_t index, const Value **value) {
    return ORT_CALL(90, Context *, size_t, const Value **)(context, index, value);
}
static inline Status *ort_output(
    Api *api, Context *context, size_t index, const int64_t *shape, size_t rank, Value **value) {
    return ORT_CALL(91, Context *, size_t, const int64_t *, size_t, Value **)(
        context, index, shape, rank, value);
}
/* The CUDA stream that a call must put its work on. */
static inline Status *ort_stream(Api *api, const Context *context, void **stream) {
    return ORT_CALL(193, const Context *, void **)(context, stream);
}
static inline Status *ort_constant(
    Api *api, const Info *info, size_t index, int *is_constant, const Value **value) {
    return ORT_CALL(249, const Info *, size_t, int *, const Value **)(
        info, index, is_constant, value);
}
/* `total` calls of `task`, spread over the session's threads. */
static inline Status *ort_parallel(
    Api *api, Context *context, Task task, size_t total, void *work) {
    return ORT_CALL(274, Context *, Task, size_t, size_t, void *)(context, task, total, 0, work);
}
static inline Status *ort_shape(
    Api *api, const Value *value, const int64_t **shape, size_t *rank) {
    int element;
    return ORT_CALL(414, const Value *, int *, const int64_t **, size_t *)(
        value, &element, shape, rank);
}

#define TRY(call)                      \
    do {                               \
        Status *failed = (call);       \
        if (failed) return failed;     \
    } while (0)

#endif
