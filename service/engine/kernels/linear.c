/* Products of rows of floats and matrices of 8-bit integers, with what surrounds them in a T5: the
 * norm before, the rounding to integers, and the residual or the gate after.
 *
 * Weights lie in blocks of 16 columns; within a block four neighbours of a column are together:
 * (blocks, inputs / 4, 16, 4). One instruction multiplies such a vector with four inputs and adds
 * up in 32 bits, exactly. Inputs have 128 added, for that instruction wants them unsigned; what it
 * adds to each sum is known beforehand. */
#if defined(__x86_64__)

#include "kernel.h"
#include "vectors.h"

#include <math.h>
#include <stdlib.h>

enum {
    ROWS = 6,    /* whose sums, with BLOCKS, are in registers at a time: 24 of 32 */
    BLOCKS = 4,
    CHUNK = 64,  /* blocks of a task */
    ZERO = 128,
};

typedef struct {
    Api *api;
    int64_t inputs, columns, blocks, quads; /* of the weights: blocks of 16 columns, four inputs */
    int gated;                              /* blocks are gate, up, gate, up */
    float epsilon;
    float *factors;       /* of each input before rounding */
    float *scales;        /* of each sum; up to whole tiles, like `starts` */
    int32_t *starts;      /* what each sum begins with, so that ZERO does not count */
    const int8_t *weight;
    int normed;
} Linear;

typedef struct {
    const Linear *linear;
    const float *x, *residual;
    float *out;
    int64_t rows;
    size_t chunks;
} Work;

/* -- from floats to integers ------------------------------------------------------------------- */

static float norm_of(const float *x, int64_t count, float epsilon) {
    __m512 squares = _mm512_setzero_ps();
    for (int64_t begin = 0; begin < count; begin += LANES) {
        __m512 part = _mm512_maskz_loadu_ps(first_lanes(count - begin), x + begin);
        squares = _mm512_fmadd_ps(part, part, squares);
    }
    return 1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)count + epsilon);
}

static void round_row(const Linear *l, const float *x, uint8_t *bytes) {
    __m512 norm = _mm512_set1_ps(l->normed ? norm_of(x, l->inputs, l->epsilon) : 1.0f);
    for (int64_t begin = 0; begin < l->inputs; begin += LANES) {
        __mmask16 present = first_lanes(l->inputs - begin);
        __m512 part = _mm512_mul_ps(_mm512_maskz_loadu_ps(present, x + begin), norm);
        part = _mm512_mul_ps(part, _mm512_maskz_loadu_ps(present, l->factors + begin));
        __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(part), _mm512_set1_epi32(ZERO));
        whole = _mm512_max_epi32(whole, _mm512_setzero_si512());
        _mm512_mask_cvtusepi32_storeu_epi8(bytes + begin, present, whole);
    }
}

/* -- products ---------------------------------------------------------------------------------- */

/* Adds to each lane of `sum` the products of its four bytes. As an intrinsic, GCC 12 moves every sum
 * to another register and back. */
#define MULTIPLY_ADD(sum, x, weight) \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight))

/* Sums are variables by name, s<row><block>: of an array GCC keeps part in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define DECLARE(r) __m512i s##r##0, s##r##1, s##r##2, s##r##3;
#define START(r)                       \
    s##r##0 = start[0];                \
    s##r##1 = start[1];                \
    s##r##2 = start[2];                \
    s##r##3 = start[3];
#define ADD_QUAD(r)                                                                \
    if (r < rows) {                                                                \
        __m512i x = _mm512_set1_epi32(*(const int32_t *)(bytes + r * stride + 4 * quad)); \
        MULTIPLY_ADD(s##r##0, x, w0);                                              \
        if (blocks > 1) MULTIPLY_ADD(s##r##1, x, w1);                              \
        if (blocks > 2) MULTIPLY_ADD(s##r##2, x, w2);                              \
        if (blocks > 3) MULTIPLY_ADD(s##r##3, x, w3);                              \
    }
#define SCALE(sum, b) _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale[b])
#define WRITE(r)                                                                   \
    if (r < rows) {                                                                \
        _mm512_storeu_ps(sums[r], SCALE(s##r##0, 0));                              \
        if (blocks > 1) _mm512_storeu_ps(sums[r] + LANES, SCALE(s##r##1, 1));      \
        if (blocks > 2) _mm512_storeu_ps(sums[r] + 2 * LANES, SCALE(s##r##2, 2));  \
        if (blocks > 3) _mm512_storeu_ps(sums[r] + 3 * LANES, SCALE(s##r##3, 3));  \
    }

/* `rows` x `blocks` blocks from block `begin`, scaled. Both are constants where it is inlined. */
static inline __attribute__((always_inline)) void multiply(
    const Linear *l, const uint8_t *bytes, int64_t stride, int64_t begin, int rows, int blocks,
    float sums[ROWS][BLOCKS * LANES]) {
    __m512i start[BLOCKS];
    __m512 scale[BLOCKS];
    for (int b = 0; b < BLOCKS; b++) { /* there are whole tiles of both */
        start[b] = _mm512_loadu_si512(l->starts + (begin + b) * LANES);
        scale[b] = _mm512_loadu_ps(l->scales + (begin + b) * LANES);
    }
    EACH_ROW(DECLARE)
    EACH_ROW(START)
    int64_t size = l->quads * 4 * LANES; /* of a block, in bytes */
    const int8_t *weight = l->weight + begin * size;
    for (int64_t quad = 0; quad < l->quads; quad++, weight += 4 * LANES) {
        __m512i w0 = _mm512_loadu_si512(weight), w1 = w0, w2 = w0, w3 = w0;
        if (blocks > 1) w1 = _mm512_loadu_si512(weight + size);
        if (blocks > 2) w2 = _mm512_loadu_si512(weight + 2 * size);
        if (blocks > 3) w3 = _mm512_loadu_si512(weight + 3 * size);
        EACH_ROW(ADD_QUAD)
    }
    EACH_ROW(WRITE)
}

#define WITH_ROWS(blocks)                                                       \
    switch (rows) {                                                             \
        case 6: multiply(l, bytes, stride, begin, 6, blocks, sums); break;      \
        case 5: multiply(l, bytes, stride, begin, 5, blocks, sums); break;      \
        case 4: multiply(l, bytes, stride, begin, 4, blocks, sums); break;      \
        case 3: multiply(l, bytes, stride, begin, 3, blocks, sums); break;      \
        case 2: multiply(l, bytes, stride, begin, 2, blocks, sums); break;      \
        default: multiply(l, bytes, stride, begin, 1, blocks, sums); break;     \
    }

static void products(
    const Linear *l, const uint8_t *bytes, int64_t stride, int64_t begin, int rows, int blocks,
    float sums[ROWS][BLOCKS * LANES]) {
    switch (blocks) {
        case 4: WITH_ROWS(4); break;
        case 3: WITH_ROWS(3); break;
        case 2: WITH_ROWS(2); break;
        default: WITH_ROWS(1); break;
    }
}

/* -- what follows a product -------------------------------------------------------------------- */

/* x times the logistic function of 2u: `gelu_new`, the approximation by tanh. */
static inline __m512 gelu(__m512 x) {
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    __m512 inner = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x);
    __m512 power = exponential(_mm512_mul_ps(inner, _mm512_set1_ps(-1.5957691216057308f)));
    return _mm512_div_ps(x, _mm512_add_ps(power, _mm512_set1_ps(1.0f)));
}

static void write_row(
    const Work *w, int64_t row, int64_t begin, int blocks, const float *sums) {
    const Linear *l = w->linear;
    int step = l->gated ? 2 : 1;
    for (int b = 0; b < blocks; b += step) {
        int64_t column = (begin + b) / step * LANES;
        __mmask16 present = first_lanes(l->columns - column);
        __m512 value = _mm512_loadu_ps(sums + b * LANES);
        int64_t place = row * l->columns + column;
        if (l->gated) {
            value = _mm512_mul_ps(gelu(value), _mm512_loadu_ps(sums + (b + 1) * LANES));
        } else if (w->residual) {
            value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(present, w->residual + place));
        }
        _mm512_mask_storeu_ps(w->out + place, present, value);
    }
}

static void run_task(void *work, size_t index) {
    const Work *w = work;
    const Linear *l = w->linear;
    int64_t first_row = (int64_t)(index / w->chunks) * ROWS;
    int64_t begin = (int64_t)(index % w->chunks) * CHUNK;
    int64_t end = begin + CHUNK < l->blocks ? begin + CHUNK : l->blocks;
    int rows = w->rows - first_row < ROWS ? (int)(w->rows - first_row) : ROWS;
    int64_t stride = (l->quads * 4 + 63) / 64 * 64;
    uint8_t bytes[ROWS * stride];
    for (int r = 0; r < rows; r++) {
        round_row(l, w->x + (first_row + r) * l->inputs, bytes + r * stride);
    }
    float sums[ROWS][BLOCKS * LANES];
    for (int64_t block = begin; block < end; block += BLOCKS) {
        int blocks = end - block < BLOCKS ? (int)(end - block) : BLOCKS;
        products(l, bytes, stride, block, rows, blocks, sums);
        for (int r = 0; r < rows; r++) write_row(w, first_row + r, block, blocks, sums[r]);
    }
}

static Status *compute(const Linear *l, Context *context, const Tensor *x, const float *residual) {
    Api *api = l->api;
    Work work = {l, x->data, residual, 0, 1, (size_t)((l->blocks + CHUNK - 1) / CHUNK)};
    int64_t shape[8];
    if (x->rank > COUNT(shape) || x->shape[x->rank - 1] != l->inputs) {
        return ort_error(api, "the last dimension of x must be the weights' number of inputs");
    }
    for (size_t i = 0; i + 1 < x->rank; i++) work.rows *= shape[i] = x->shape[i];
    shape[x->rank - 1] = l->columns;
    TRY(write_output(api, context, 0, shape, x->rank, (void **)&work.out));
    size_t tiles = (size_t)((work.rows + ROWS - 1) / ROWS);
    return ort_parallel(api, context, run_task, tiles * work.chunks, &work);
}

static Status *compute_alone(void *kernel, Context *context) {
    const Linear *l = kernel;
    Tensor x;
    TRY(read_input(l->api, context, 0, &x));
    return compute(l, context, &x, NULL);
}

static Status *compute_added(void *kernel, Context *context) {
    const Linear *l = kernel;
    Tensor residual, x;
    TRY(read_input(l->api, context, 0, &residual));
    TRY(read_input(l->api, context, 1, &x));
    return compute(l, context, &x, residual.data);
}

/* -- making a kernel --------------------------------------------------------------------------- */

static Status *read_constant(Api *api, const Info *info, size_t index, Tensor *tensor) {
    int is_constant = 0;
    const Value *value = NULL;
    TRY(ort_constant(api, info, index, &is_constant, &value));
    if (!is_constant) return ort_error(api, "weights and scales must be constants");
    TRY(ort_data(api, value, &tensor->data));
    return ort_shape(api, value, &tensor->shape, &tensor->rank);
}

static int32_t sum_of_column(const Linear *l, int64_t column) {
    const int8_t *weight = l->weight + column / LANES * l->quads * 4 * LANES + column % LANES * 4;
    int32_t sum = 0;
    for (int64_t quad = 0; quad < l->quads; quad++, weight += 4 * LANES) {
        for (int i = 0; i < 4; i++) sum += weight[i];
    }
    return sum;
}

static Status *prepare(Linear *l, const Tensor *norm, const Tensor *scales, float input_scale) {
    int64_t padded = (l->blocks + BLOCKS - 1) / BLOCKS * BLOCKS * LANES;
    l->factors = malloc(l->inputs * sizeof(float));
    l->scales = calloc(padded, sizeof(float));
    l->starts = calloc(padded, sizeof(int32_t));
    if (!l->factors || !l->scales || !l->starts) return ort_error(l->api, "out of memory");
    for (int64_t i = 0; i < l->inputs; i++) {
        l->factors[i] = (norm ? ((float *)norm->data)[i] : 1.0f) / input_scale;
    }
    for (int64_t i = 0; i < l->blocks * LANES; i++) l->starts[i] = -ZERO * sum_of_column(l, i);
    /* Scales of a gate are (2, columns); its blocks alternate. */
    int step = l->gated ? 2 : 1;
    for (int64_t part = 0; part < step; part++) {
        for (int64_t i = 0; i < l->columns; i++) {
            int64_t place = (i / LANES * step + part) * LANES + i % LANES;
            l->scales[place] = ((float *)scales->data)[part * l->columns + i] * input_scale;
        }
    }
    return NULL;
}

static void destroy(void *kernel) {
    Linear *l = kernel;
    free(l->factors), free(l->scales), free(l->starts), free(l);
}

/* The inputs from `first` on are weight, scales and input_scale; the norm, if any, is before them. */
static Status *make(Api *api, const Info *info, size_t first, int normed, int gated, void **kernel) {
    Tensor norm, weight, scales, input_scale;
    if (normed) TRY(read_constant(api, info, first - 1, &norm));
    TRY(read_constant(api, info, first, &weight));
    TRY(read_constant(api, info, first + 1, &scales));
    TRY(read_constant(api, info, first + 2, &input_scale));
    Linear *l = calloc(1, sizeof *l);
    if (!l) return ort_error(api, "out of memory");
    l->api = api;
    l->gated = gated;
    l->normed = normed;
    l->weight = weight.data;
    l->blocks = weight.shape[0] * (gated ? weight.shape[1] : 1);
    l->quads = weight.shape[weight.rank - 3];
    l->columns = scales.shape[scales.rank - 1];
    l->inputs = normed ? norm.shape[0] : l->quads * 4;
    Status *failed = normed ? ort_float(api, info, "epsilon", &l->epsilon) : NULL;
    if (!failed) {
        failed = prepare(l, normed ? &norm : NULL, &scales, *(float *)input_scale.data);
    }
    if (failed) {
        destroy(l);
        return failed;
    }
    *kernel = l;
    return NULL;
}

static Status *make_normed(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make(api, info, 2, 1, 0, kernel);
}

static Status *make_gated(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make(api, info, 2, 1, 1, kernel);
}

static Status *make_added(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make(api, info, 2, 0, 0, kernel);
}

static const ElementType NORMED[] = {FLOAT, FLOAT, INT8, FLOAT, FLOAT};
static const ElementType ADDED[] = {FLOAT, FLOAT, INT8, FLOAT, FLOAT};
static const ElementType OUTPUTS[] = {FLOAT};

Kernel LINEAR_KERNELS[3] = {
    KERNEL("NormLinear", NORMED, OUTPUTS, make_normed, compute_alone, destroy),
    KERNEL("NormGatedLinear", NORMED, OUTPUTS, make_gated, compute_alone, destroy),
    KERNEL("AddLinear", ADDED, OUTPUTS, make_added, compute_added, destroy),
};

#endif
