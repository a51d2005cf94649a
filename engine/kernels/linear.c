/* Operators of a T5's products, in 8-bit integers and in floats, with what surrounds them: the norm
 * before, and the residual or the gate after. What they take and give, and how the work is
 * divided. */
#include "kernel.h"
#include "pairing.h"

#include <stdlib.h>

enum {
    CHUNK = 1 << 18, /* bytes of weights that a task reads: they stay in a core's cache */
    FEW_ROUNDED = 1 << 12, /* inputs that tasks round again in less time than sharing them takes */
};

typedef struct {
    Api *api;
    const Level *level;
    Matrix matrix;
    Ending ending;
} Linear;

/* Of a few rows reading the weights takes the time: as long as to multiply three. */
static int64_t effort_of(const Matrix *m, int64_t rows) {
    int64_t of_row = m->blocks * BLOCK * m->inputs / (m->floats ? 1 : 4);
    return of_row * (rows > 3 ? rows : 3);
}

/* Multiplies by `chunks` chunks of the weights. Rows that several tasks multiply are rounded once
 * before: of 512 inputs a task takes a tenth of its time for that. */
static Status *multiply(const Linear *l, Context *context, int64_t chunks, Product *work) {
    Api *api = l->api;
    const Level *level = l->level;
    const Matrix *m = &l->matrix;
    size_t tiles = (size_t)work->tiles, total = tiles * (size_t)chunks;
    int64_t effort = effort_of(m, work->rows), numbers = work->rows * m->inputs;
    if (m->floats) return share(api, context, level->multiply_floats, total, work, effort);
    if ((chunks - 1) * numbers < FEW_ROUNDED) {
        return share(api, context, level->multiply, total, work, effort);
    }
    size_t rows = (size_t)work->rows, bytes = rows * (size_t)ROUNDED_BYTES(m->inputs);
    work->rounded = malloc(bytes + rows * sizeof *work->row_scales);
    if (!work->rounded) return ort_error(api, "out of memory");
    work->row_scales = (float *)(work->rounded + bytes);
    Status *failed = share(api, context, level->round_rows, tiles, work, QUANTISED * numbers);
    if (!failed) failed = share(api, context, level->multiply, total, work, effort);
    free(work->rounded);
    return failed;
}

static Status *compute(
    const Linear *l, Context *context, const Tensor *x, const Tensor *residual) {
    Api *api = l->api;
    const Matrix *m = &l->matrix;
    Product work = {.matrix = m, .ending = l->ending, .x = x->data, .rows = 1};
    int64_t shape[8];
    if (x->rank < 1 || x->rank > COUNT(shape) || x->shape[x->rank - 1] != m->inputs) {
        return ort_error(api, "the last dimension of x must be the weights' number of inputs");
    }
    for (size_t i = 0; i + 1 < x->rank; i++) work.rows *= shape[i] = x->shape[i];
    shape[x->rank - 1] = m->columns;
    if (residual) {
        if (!is_shaped(residual, shape, x->rank)) {
            return ort_error(api, "residual must have the rows of x and the weights' columns");
        }
        work.out.residual = residual->data;
    }
    TRY(write_output(api, context, 0, shape, x->rank, (void **)&work.out.values));
    int64_t weight = m->floats ? sizeof *m->floats : sizeof *m->weight;
    int64_t tiles = CHUNK / (m->inputs * weight * BLOCK * TILE_BLOCKS);
    work.chunk = TILE_BLOCKS * (tiles > 0 ? tiles : 1);
    work.tiles = (work.rows + TASK_ROWS - 1) / TASK_ROWS;
    int64_t chunks = (m->blocks + work.chunk - 1) / work.chunk;
    return multiply(l, context, chunks, &work);
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
    return compute(l, context, &x, &residual);
}

/* -- making a kernel: in integers -------------------------------------------------------------- */

/* The constants of a kernel; `norm` and `input_scale` have no data where there is none. */
typedef struct {
    Tensor norm, weight, scales, input_scale;
} Constants;

static Status *read_constant(Api *api, const Info *info, size_t index, Tensor *tensor) {
    int is_constant = 0;
    const Value *value = NULL;
    TRY(ort_constant(api, info, index, &is_constant, &value));
    if (!is_constant) return ort_error(api, "weights and scales must be constants");
    TRY(ort_data(api, value, &tensor->data));
    return ort_shape(api, value, &tensor->shape, &tensor->rank);
}

static Status *check(Api *api, const Constants *c, Ending ending) {
    int gated = ending == GATED;
    const Tensor *weight = &c->weight;
    if (gated ? !IS_SHAPED(weight, ANY, 2, ANY, BLOCK, QUAD)
              : !IS_SHAPED(weight, ANY, ANY, BLOCK, QUAD)) {
        return ort_error(
            api, gated ? "weight must be (blocks, 2, inputs / 4, 16, 4)"
                       : "weight must be (blocks, inputs / 4, 16, 4)");
    }
    int64_t blocks = weight->shape[0], quads = weight->shape[weight->rank - 3];
    if (quads < 1 || quads > MOST_INPUTS / QUAD) {
        return ort_error(api, "weight must have from 4 to 65,536 inputs");
    }
    if (gated ? !IS_SHAPED(&c->scales, 2, ANY) : !IS_SHAPED(&c->scales, ANY)) {
        return ort_error(api, gated ? "scales must be (2, columns)" : "scales must be (columns)");
    }
    int64_t columns = c->scales.shape[c->scales.rank - 1];
    if (columns < 1 || (columns + BLOCK - 1) / BLOCK != blocks) {
        return ort_error(api, "weight must have a block for each 16 columns of scales");
    }
    if (c->norm.data && !IS_SHAPED(&c->norm, quads * QUAD)) {
        return ort_error(api, "norm must have a number for each input of the weights");
    }
    for (size_t i = 0; i < c->input_scale.rank; i++) {
        if (c->input_scale.shape[i] != 1) return ort_error(api, "input_scale must be one number");
    }
    return NULL;
}

/* Whether all weights are within WEIGHT_LIMIT: of larger ones some levels' sums overflow. */
static int are_limited(const Matrix *m) {
    int8_t lowest = 0, highest = 0;
    for (int64_t i = 0; i < m->blocks * m->quads * QUAD * BLOCK; i++) {
        if (m->weight[i] < lowest) lowest = m->weight[i];
        if (m->weight[i] > highest) highest = m->weight[i];
    }
    return lowest >= -WEIGHT_LIMIT && highest <= WEIGHT_LIMIT;
}

static int32_t sum_of_column(const Matrix *m, int64_t column) {
    const int8_t *weight =
        m->weight + column / BLOCK * m->quads * QUAD * BLOCK + column % BLOCK * QUAD;
    int32_t sum = 0;
    for (int64_t quad = 0; quad < m->quads; quad++, weight += QUAD * BLOCK) {
        for (int i = 0; i < QUAD; i++) sum += weight[i];
    }
    return sum;
}

static Status *prepare(Linear *l, const Constants *c) {
    Matrix *m = &l->matrix;
    if (!are_limited(m)) return ort_error(l->api, "weights must be within 63");
    float input_scale = c->input_scale.data ? *(const float *)c->input_scale.data : 1.0f;
    size_t sums = (size_t)(m->blocks * BLOCK);
    m->factors = malloc((size_t)m->inputs * sizeof(float));
    m->scales = calloc(sums, sizeof(float));
    m->starts = calloc(sums, sizeof(int32_t));
    if (!m->factors || !m->scales || !m->starts) return ort_error(l->api, "out of memory");
    for (int64_t i = 0; i < m->inputs; i++) {
        m->factors[i] = (c->norm.data ? ((const float *)c->norm.data)[i] : 1.0f) / input_scale;
    }
    for (int64_t i = 0; i < m->blocks * BLOCK; i++) {
        m->starts[i] = -l->level->zero * sum_of_column(m, i);
    }
    /* Scales of a gate are (2, columns); its blocks alternate. */
    int step = l->ending == GATED ? 2 : 1;
    for (int64_t part = 0; part < step; part++) {
        for (int64_t i = 0; i < m->columns; i++) {
            int64_t place = (i / BLOCK * step + part) * BLOCK + i % BLOCK;
            m->scales[place] =
                ((const float *)c->scales.data)[part * m->columns + i] * input_scale;
        }
    }
    if (l->level->in_words && !pair_quads(m)) return ort_error(l->api, "out of memory");
    return NULL;
}

static void destroy(void *kernel) {
    Linear *l = kernel;
    Matrix *m = &l->matrix;
    free(m->factors), free(m->scales), free(m->starts), free(m->pairs), free(m->pair_begins), free(l);
}

/* The first two inputs are x and its norm, or a residual and x. Weight and scales follow, and the
 * input_scale where it is the same for all rows. */
static Status *make(
    const Operator *operator, Api *api, const Info *info, Ending ending, void **kernel) {
    int normed = ending != ADDED, by_row = ((const Kernel *)operator)->input_count == 4;
    Constants c = {0};
    if (normed) TRY(read_constant(api, info, 1, &c.norm));
    TRY(read_constant(api, info, 2, &c.weight));
    TRY(read_constant(api, info, 3, &c.scales));
    if (!by_row) TRY(read_constant(api, info, 4, &c.input_scale));
    TRY(check(api, &c, ending));
    Linear *l = calloc(1, sizeof *l);
    if (!l) return ort_error(api, "out of memory");
    Matrix *m = &l->matrix;
    l->api = api;
    l->level = current_level();
    l->ending = ending;
    m->normed = normed;
    m->by_row = by_row;
    m->weight = c.weight.data;
    m->blocks = c.weight.shape[0] * (ending == GATED ? 2 : 1);
    m->quads = c.weight.shape[c.weight.rank - 3];
    m->columns = c.scales.shape[c.scales.rank - 1];
    m->inputs = m->quads * QUAD;
    Status *failed = normed ? ort_float(api, info, "epsilon", &m->epsilon) : NULL;
    if (!failed) failed = prepare(l, &c);
    if (failed) {
        destroy(l);
        return failed;
    }
    *kernel = l;
    return NULL;
}

static Status *make_normed(const Operator *operator, Api *api, const Info *info, void **kernel) {
    return make(operator, api, info, PLAIN, kernel);
}

static Status *make_gated(const Operator *operator, Api *api, const Info *info, void **kernel) {
    return make(operator, api, info, GATED, kernel);
}

static Status *make_added(const Operator *operator, Api *api, const Info *info, void **kernel) {
    return make(operator, api, info, ADDED, kernel);
}

/* -- making a kernel: in floats ---------------------------------------------------------------- */

static Status *check_floats(Api *api, const Tensor *weight, Ending ending) {
    int gated = ending == GATED;
    if (gated ? !IS_SHAPED(weight, ANY, 2, ANY, BLOCK) : !IS_SHAPED(weight, ANY, ANY, BLOCK)) {
        return ort_error(
            api, gated ? "weight must be (blocks, 2, inputs, 16)"
                       : "weight must be (blocks, inputs, 16)");
    }
    if (weight->shape[weight->rank - 2] < 1) {
        return ort_error(api, "weight must have at least one input");
    }
    return NULL;
}

/* The inputs are x, or a residual and x; then the weight. */
static Status *make_floats(Api *api, const Info *info, Ending ending, void **kernel) {
    int64_t columns;
    float epsilon = 0.0f;
    Tensor weight;
    if (ending != ADDED) TRY(ort_float(api, info, "epsilon", &epsilon));
    TRY(read_constant(api, info, ending == ADDED ? 2 : 1, &weight));
    TRY(check_floats(api, &weight, ending));
    if (ending == GATED) {
        columns = weight.shape[0] * BLOCK;
    } else {
        TRY(ort_integer(api, info, "columns", &columns));
    }
    int64_t most = weight.shape[0] * BLOCK;
    if (columns > most || columns <= most - BLOCK || columns < 1) {
        return ort_error(api, "weight must have a block for each 16 columns");
    }
    Linear *l = calloc(1, sizeof *l);
    if (!l) return ort_error(api, "out of memory");
    *l = (Linear){
        .api = api,
        .level = current_level(),
        .ending = ending,
        .matrix = {
            .inputs = weight.shape[weight.rank - 2],
            .columns = columns,
            .blocks = weight.shape[0] * (ending == GATED ? 2 : 1),
            .floats = weight.data,
            .normed = ending != ADDED,
            .epsilon = epsilon,
        },
    };
    *kernel = l;
    return NULL;
}

static Status *make_normed_floats(
    const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make_floats(api, info, PLAIN, kernel);
}

static Status *make_gated_floats(
    const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make_floats(api, info, GATED, kernel);
}

static Status *make_added_floats(
    const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    return make_floats(api, info, ADDED, kernel);
}

static const ElementType INPUTS[] = {FLOAT, FLOAT, INT8, FLOAT, FLOAT};
static const ElementType INPUTS_BY_ROW[] = {FLOAT, FLOAT, INT8, FLOAT};
static const ElementType NORMED_FLOATS[] = {FLOAT, FLOAT}, ADDED_FLOATS[] = {FLOAT, FLOAT, FLOAT};
static const ElementType OUTPUTS[] = {FLOAT};

#define LINEAR(kind, ending, compute, floats)                                      \
    KERNEL(kind, INPUTS, OUTPUTS, make_##ending, compute, destroy),                \
        KERNEL(kind "ByRow", INPUTS_BY_ROW, OUTPUTS, make_##ending, compute, destroy), \
        KERNEL(kind "Float", floats, OUTPUTS, make_##ending##_floats, compute, destroy)

Kernel LINEAR_KERNELS[9] = {
    LINEAR("NormLinear", normed, compute_alone, NORMED_FLOATS),
    LINEAR("NormGatedLinear", gated, compute_alone, NORMED_FLOATS),
    LINEAR("AddLinear", added, compute_added, ADDED_FLOATS),
};
