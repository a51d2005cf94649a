/* The operator `Likeliest`: what it takes and gives. */
#include "kernel.h"

#include <stdlib.h>

typedef struct {
    Api *api;
    const Level *level;
} Choice;

/* logits (batch, 1, tokens) -> best (batch, 2), logprobs (batch, 2), the likeliest first. */
static Status *compute(void *kernel, Context *context) {
    const Choice *choice = kernel;
    Api *api = choice->api;
    Tensor logits;
    TRY(read_input(api, context, 0, &logits));
    if (!IS_SHAPED(&logits, ANY, 1, ANY) || logits.shape[2] < 2) {
        return ort_error(api, "Likeliest: logits must be (batch, 1, tokens), of two tokens or more");
    }
    int64_t batch = logits.shape[0], shape[] = {batch, 2};
    Likeliest work = {logits.shape[2], logits.data, 0, 0};
    TRY(write_output(api, context, 0, shape, 2, (void **)&work.best));
    TRY(write_output(api, context, 1, shape, 2, (void **)&work.logprobs));
    int64_t effort = CHOSEN * batch * work.width;
    return share(api, context, choice->level->find_likeliest, (size_t)batch, &work, effort);
}

static Status *create(const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator, (void)info;
    Choice *choice = malloc(sizeof *choice);
    if (!choice) return ort_error(api, "out of memory");
    *choice = (Choice){api, current_level()};
    *kernel = choice;
    return NULL;
}

static const ElementType INPUTS[] = {FLOAT};
static const ElementType OUTPUTS[] = {INT64, FLOAT};

Kernel LIKELIEST_KERNEL = KERNEL("Likeliest", INPUTS, OUTPUTS, create, compute, free);
