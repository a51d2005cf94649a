/* The operators `Candidates` and `Draw`: what they take and give. */
#include "kernel.h"

#include <stdlib.h>

enum { LOGITS, ROWS_CHOSEN, TOKENS, BIASES, PENALTIES, ADJUSTED_INPUTS };

typedef struct {
    Api *api;
    const Level *level;
} Choosing;

static Status *check_indices(Api *api, const Adjusted *a, int64_t batch, int64_t rows) {
    for (int64_t i = 0; i < rows; i++) {
        if (a->rows[i] < 0 || a->rows[i] >= batch) {
            return ort_error(api, "rows must be indices of logits");
        }
    }
    for (int64_t i = 0; i < rows * a->many; i++) {
        if (a->tokens[i] < 0 || a->tokens[i] >= a->width) {
            return ort_error(api, "tokens must be from 0 to the last of logits");
        }
    }
    return NULL;
}

/* logits (batch, 1, width), rows (n), tokens, biases and penalties (n, many). */
static Status *read_adjusted(Api *api, Context *context, Adjusted *a, int64_t *count) {
    Tensor inputs[ADJUSTED_INPUTS];
    for (size_t i = 0; i < ADJUSTED_INPUTS; i++) TRY(read_input(api, context, i, &inputs[i]));
    if (!IS_SHAPED(&inputs[LOGITS], ANY, 1, ANY) || inputs[LOGITS].shape[2] < 1) {
        return ort_error(api, "logits must be (batch, 1, tokens)");
    }
    if (!IS_SHAPED(&inputs[ROWS_CHOSEN], ANY)) return ort_error(api, "rows must be (rows)");
    *count = inputs[ROWS_CHOSEN].shape[0];
    if (!IS_SHAPED(&inputs[TOKENS], *count, ANY)) {
        return ort_error(api, "tokens must be (rows, adjustments)");
    }
    int64_t many = inputs[TOKENS].shape[1];
    if (!IS_SHAPED(&inputs[BIASES], *count, many) || !IS_SHAPED(&inputs[PENALTIES], *count, many)) {
        return ort_error(api, "biases and penalties must have the shape of tokens");
    }
    *a = (Adjusted){
        .width = inputs[LOGITS].shape[2], .many = many, .logits = inputs[LOGITS].data,
        .rows = inputs[ROWS_CHOSEN].data, .tokens = inputs[TOKENS].data,
        .biases = inputs[BIASES].data, .penalties = inputs[PENALTIES].data};
    return check_indices(api, a, inputs[LOGITS].shape[0], *count);
}

static Status *run_rows(
    const Choosing *c, Context *context, Task task, int64_t rows, void *work, Adjusted *a) {
    TRY(share(c->api, context, task, (size_t)rows, work, CHOSEN * rows * a->width));
    return a->failed ? ort_error(c->api, "out of memory") : NULL;
}

/* What is adjusted, normalised (n), count (1) -> best, scores and logprobs (n, count). */
static Status *compute_candidates(void *kernel, Context *context) {
    const Choosing *choosing = kernel;
    Api *api = choosing->api;
    Tensor normalised, count;
    Candidates work = {0};
    int64_t rows;
    TRY(read_adjusted(api, context, &work.of, &rows));
    TRY(read_input(api, context, ADJUSTED_INPUTS, &normalised));
    TRY(read_input(api, context, ADJUSTED_INPUTS + 1, &count));
    if (!IS_SHAPED(&normalised, rows)) return ort_error(api, "normalised must be (rows)");
    if (!IS_SHAPED(&count, 1)) return ort_error(api, "count must be (1)");
    work.count = *(const int64_t *)count.data;
    if (work.count < 1 || work.count > work.of.width) {
        return ort_error(api, "count must be from 1 to the number of tokens");
    }
    work.normalised = normalised.data;
    int64_t shape[] = {rows, work.count};
    TRY(write_output(api, context, 0, shape, 2, (void **)&work.best));
    TRY(write_output(api, context, 1, shape, 2, (void **)&work.scores));
    TRY(write_output(api, context, 2, shape, 2, (void **)&work.logprobs));
    return run_rows(
        choosing, context, choosing->level->find_candidates, rows, &work, &work.of);
}

/* What is adjusted, temperatures and uniforms (n) -> drawn, logprobs and totals (n). */
static Status *compute_draw(void *kernel, Context *context) {
    const Choosing *choosing = kernel;
    Api *api = choosing->api;
    Tensor temperatures, uniforms;
    Draw work = {0};
    int64_t rows;
    TRY(read_adjusted(api, context, &work.of, &rows));
    TRY(read_input(api, context, ADJUSTED_INPUTS, &temperatures));
    TRY(read_input(api, context, ADJUSTED_INPUTS + 1, &uniforms));
    if (!IS_SHAPED(&temperatures, rows) || !IS_SHAPED(&uniforms, rows)) {
        return ort_error(api, "temperatures and uniforms must be (rows)");
    }
    work.temperatures = temperatures.data;
    work.uniforms = uniforms.data;
    TRY(write_output(api, context, 0, &rows, 1, (void **)&work.drawn));
    TRY(write_output(api, context, 1, &rows, 1, (void **)&work.logprobs));
    TRY(write_output(api, context, 2, &rows, 1, (void **)&work.totals));
    return run_rows(choosing, context, choosing->level->draw_tokens, rows, &work, &work.of);
}

static Status *create(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator, (void)info;
    Choosing *choosing = malloc(sizeof *choosing);
    if (!choosing) return ort_error(api, "out of memory");
    *choosing = (Choosing){api, current_level()};
    *kernel = choosing;
    return NULL;
}

static const ElementType CANDIDATES_INPUTS[] = {FLOAT, INT64, INT64, FLOAT, FLOAT, INT32, INT64};
static const ElementType DRAW_INPUTS[] = {FLOAT, INT64, INT64, FLOAT, FLOAT, FLOAT, FLOAT};
static const ElementType OUTPUTS[] = {INT64, FLOAT, FLOAT};

Kernel CANDIDATES_KERNELS[2] = {
    KERNEL("Candidates", CANDIDATES_INPUTS, OUTPUTS, create, compute_candidates, free),
    KERNEL("Draw", DRAW_INPUTS, OUTPUTS, create, compute_draw, free),
};
