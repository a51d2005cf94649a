/* A T5's products in 8-bit integers with what surrounds them: the norm before, and the residual or
 * the gate after. */
#if defined(__x86_64__)

#include "integers.h"
#include "kernel.h"

#include <stdlib.h>

enum { CHUNK = 1 << 18 }; /* bytes of weights that a task reads: they stay in a core's cache */

typedef struct {
    Api *api;
    Matrix matrix;
    Ending ending;
} Linear;

typedef struct {
    const Linear *linear;
    const float *x;
    Output out;
    int64_t rows, tiles; /* of ROWS */
    int64_t chunk;       /* blocks of a task */
} Work;

/* ROWS rows by a chunk of columns. Tasks with the same columns follow each other. */
static void run_task(void *work, size_t index) {
    const Work *w = work;
    const Matrix *m = &w->linear->matrix;
    int64_t row = (int64_t)index % w->tiles * ROWS;
    int64_t begin = (int64_t)index / w->tiles * w->chunk;
    int64_t end = begin + w->chunk < m->blocks ? begin + w->chunk : m->blocks;
    int rows = w->rows - row < ROWS ? (int)(w->rows - row) : ROWS;
    int64_t stride = (m->inputs + 63) / 64 * 64;
    uint8_t bytes[ROWS * stride];
    for (int r = 0; r < rows; r++) round_row(m, w->x + (row + r) * m->inputs, bytes + r * stride);
    switch (w->linear->ending) {
        case PLAIN: multiply_rows(m, bytes, stride, &w->out, row, begin, end, rows, PLAIN); break;
        case ADDED: multiply_rows(m, bytes, stride, &w->out, row, begin, end, rows, ADDED); break;
        case GATED: multiply_rows(m, bytes, stride, &w->out, row, begin, end, rows, GATED); break;
    }
}

static Status *compute(const Linear *l, Context *context, const Tensor *x, const float *residual) {
    Api *api = l->api;
    const Matrix *m = &l->matrix;
    Work work = {.linear = l, .x = x->data, .out = {.residual = residual}, .rows = 1};
    int64_t shape[8];
    if (x->rank > COUNT(shape) || x->shape[x->rank - 1] != m->inputs) {
        return ort_error(api, "the last dimension of x must be the weights' number of inputs");
    }
    for (size_t i = 0; i + 1 < x->rank; i++) work.rows *= shape[i] = x->shape[i];
    shape[x->rank - 1] = m->columns;
    TRY(write_output(api, context, 0, shape, x->rank, (void **)&work.out.values));
    int64_t tiles_of_blocks = CHUNK / (m->quads * 4 * LANES * BLOCKS);
    work.chunk = BLOCKS * (tiles_of_blocks > 0 ? tiles_of_blocks : 1);
    work.tiles = (work.rows + ROWS - 1) / ROWS;
    int64_t chunks = (m->blocks + work.chunk - 1) / work.chunk;
    return ort_parallel(api, context, run_task, (size_t)(work.tiles * chunks), &work);
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

static int32_t sum_of_column(const Matrix *m, int64_t column) {
    const int8_t *weight = m->weight + column / LANES * m->quads * 4 * LANES + column % LANES * 4;
    int32_t sum = 0;
    for (int64_t quad = 0; quad < m->quads; quad++, weight += 4 * LANES) {
        for (int i = 0; i < 4; i++) sum += weight[i];
    }
    return sum;
}

static Status *prepare(Linear *l, const Tensor *norm, const Tensor *scales, float input_scale) {
    Matrix *m = &l->matrix;
    int64_t padded = (m->blocks + BLOCKS - 1) / BLOCKS * BLOCKS * LANES;
    m->factors = malloc(m->inputs * sizeof(float));
    m->scales = calloc(padded, sizeof(float));
    m->starts = calloc(padded, sizeof(int32_t));
    if (!m->factors || !m->scales || !m->starts) return ort_error(l->api, "out of memory");
    for (int64_t i = 0; i < m->inputs; i++) {
        m->factors[i] = (norm ? ((float *)norm->data)[i] : 1.0f) / input_scale;
    }
    for (int64_t i = 0; i < m->blocks * LANES; i++) m->starts[i] = -ZERO * sum_of_column(m, i);
    /* Scales of a gate are (2, columns); its blocks alternate. */
    int step = l->ending == GATED ? 2 : 1;
    for (int64_t part = 0; part < step; part++) {
        for (int64_t i = 0; i < m->columns; i++) {
            int64_t place = (i / LANES * step + part) * LANES + i % LANES;
            m->scales[place] = ((float *)scales->data)[part * m->columns + i] * input_scale;
        }
    }
    return NULL;
}

static void destroy(void *kernel) {
    Linear *l = kernel;
    free(l->matrix.factors), free(l->matrix.scales), free(l->matrix.starts), free(l);
}

/* From `first` on the inputs are weight, scales and input_scale; the norm, if any, is before. */
static Status *make(
    Api *api, const Info *info, size_t first, int normed, Ending ending, void **kernel) {
    Tensor norm, weight, scales, input_scale;
    if (normed) TRY(read_constant(api, info, first - 1, &norm));
    TRY(read_constant(api, info, first, &weight));
    TRY(read_constant(api, info, first + 1, &scales));
    TRY(read_constant(api, info, first + 2, &input_scale));
    Linear *l = calloc(1, sizeof *l);
    if (!l) return ort_error(api, "out of memory");
    Matrix *m = &l->matrix;
    l->api = api;
    l->ending = ending;
    m->normed = normed;
    m->weight = weight.data;
    m->blocks = weight.shape[0] * (ending == GATED ? weight.shape[1] : 1);
    m->quads = weight.shape[weight.rank - 3];
    m->columns = scales.shape[scales.rank - 1];
    m->inputs = normed ? norm.shape[0] : m->quads * 4;
    Status *failed = normed ? ort_float(api, info, "epsilon", &m->epsilon) : NULL;
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
    return make(api, info, 2, 1, PLAIN, kernel);
}

static Status *make_gated(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make(api, info, 2, 1, GATED, kernel);
}

static Status *make_added(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make(api, info, 2, 0, ADDED, kernel);
}

static const ElementType NORMED_INPUTS[] = {FLOAT, FLOAT, INT8, FLOAT, FLOAT};
static const ElementType ADDED_INPUTS[] = {FLOAT, FLOAT, INT8, FLOAT, FLOAT};
static const ElementType OUTPUTS[] = {FLOAT};

Kernel LINEAR_KERNELS[3] = {
    KERNEL("NormLinear", NORMED_INPUTS, OUTPUTS, make_normed, compute_alone, destroy),
    KERNEL("NormGatedLinear", NORMED_INPUTS, OUTPUTS, make_gated, compute_alone, destroy),
    KERNEL("AddLinear", ADDED_INPUTS, OUTPUTS, make_added, compute_added, destroy),
};

#endif
