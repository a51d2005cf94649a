/* Runs operators of the kernels without ONNX Runtime: under sanitizers, and on emulated processors.
 *
 *   harness LEVEL CASES RESULTS [TURNS]
 *
 * Reads operators with their inputs from CASES, has the level's kernels compute each, and writes
 * what they gave, or the error, to RESULTS. Prints the operators whose work was for all threads, and
 * with TURNS the time of a call of each case.
 * It stands in for ONNX Runtime's interface with the few functions that ort.h declares. Every input
 * and output is a block of memory of exactly its size, so that a sanitizer sees any byte beyond.
 * cases.py has the format of both files. */
#include "ort.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 8, NAME = 64, OPERATORS = 24 };

struct Value {
    int32_t type, is_constant;
    size_t rank;
    int64_t shape[MOST];
    void *data;
};

typedef struct {
    char name[NAME];
    double value;
} Attribute;

typedef struct {
    char kind[NAME];
    int32_t attribute_count, input_count, output_count, is_shared;
    Attribute attributes[MOST];
    Value inputs[MOST], outputs[MOST];
} Case;

struct Status {
    char message[256];
};

static const Operator *operators[OPERATORS];
static size_t operator_count;

Status *RegisterCustomOps(Options *options, const ApiBase *base);
int cybersolve_use(const char *name);

static void stop(const char *why) {
    fprintf(stderr, "harness: %s\n", why);
    exit(2);
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) stop("out of memory");
    return memory;
}

static size_t size_of(const Value *value) {
    size_t count = value->type == FLOAT || value->type == INT32 ? 4 : value->type == INT64 ? 8 : 1;
    for (size_t i = 0; i < value->rank; i++) count *= (size_t)value->shape[i];
    return count;
}

static const Operator *operator_of(const char *kind) {
    for (size_t i = 0; i < operator_count; i++) {
        if (strcmp(operators[i]->name(operators[i]), kind) == 0) return operators[i];
    }
    stop("no such operator");
    return NULL;
}

/* -- what ONNX Runtime does -------------------------------------------------------------------- */

static Status *give_error(int code, const char *message) {
    (void)code;
    Status *status = allocate(sizeof *status);
    snprintf(status->message, sizeof status->message, "%s", message);
    return status;
}
static Status *new_domain(const char *name, Domain **domain) {
    (void)name;
    *domain = NULL;
    return NULL;
}
static Status *add_operator(Domain *domain, const Operator *operator) {
    (void)domain;
    operators[operator_count++] = operator;
    return NULL;
}
static Status *add_domain(Options *options, Domain *domain) {
    (void)options, (void)domain;
    return NULL;
}
static Status *data_of(const Value *value, void **data) {
    *data = value->data;
    return NULL;
}
static const Attribute *attribute_of(const Info *info, const char *name) {
    const Case *c = (const Case *)info;
    for (int32_t i = 0; i < c->attribute_count; i++) {
        if (strcmp(c->attributes[i].name, name) == 0) return &c->attributes[i];
    }
    stop("no such attribute");
    return NULL;
}
static Status *float_of(const Info *info, const char *name, float *value) {
    *value = (float)attribute_of(info, name)->value;
    return NULL;
}
static Status *integer_of(const Info *info, const char *name, int64_t *value) {
    *value = (int64_t)attribute_of(info, name)->value;
    return NULL;
}
static Status *input_of(Context *context, size_t index, const Value **value) {
    *value = &((Case *)context)->inputs[index];
    return NULL;
}
static Status *output_of(
    Context *context, size_t index, const int64_t *shape, size_t rank, Value **value) {
    Case *c = (Case *)context;
    Value *output = &c->outputs[index];
    const Operator *operator = operator_of(c->kind);
    free(output->data);
    *output = (Value){.type = (int32_t)operator->output_type(operator, index), .rank = rank};
    memcpy(output->shape, shape, rank * sizeof *shape);
    output->data = allocate(size_of(output));
    if ((int32_t)index >= c->output_count) c->output_count = (int32_t)index + 1;
    *value = output;
    return NULL;
}
static Status *constant_of(const Info *info, size_t index, int *is_constant, const Value **value) {
    *value = &((const Case *)info)->inputs[index];
    *is_constant = (*value)->is_constant;
    return NULL;
}
static Status *in_turn(Context *context, Task task, size_t total, size_t batches, void *work) {
    (void)batches;
    ((Case *)context)->is_shared = 1;
    for (size_t index = 0; index < total; index++) task(work, index);
    return NULL;
}
static Status *shape_of(const Value *value, int *type, const int64_t **shape, size_t *rank) {
    *type = value->type;
    *shape = value->shape;
    *rank = value->rank;
    return NULL;
}

static void *table[415];

static Api *get_api(uint32_t version) {
    (void)version;
    table[0] = (void *)give_error;
    table[26] = (void *)new_domain;
    table[27] = (void *)add_operator;
    table[28] = (void *)add_domain;
    table[51] = (void *)data_of;
    table[85] = (void *)float_of;
    table[86] = (void *)integer_of;
    table[90] = (void *)input_of;
    table[91] = (void *)output_of;
    table[249] = (void *)constant_of;
    table[274] = (void *)in_turn;
    table[414] = (void *)shape_of;
    return (Api *)table;
}

/* -- files ------------------------------------------------------------------------------------- */

static void take(FILE *file, void *to, size_t bytes) {
    if (bytes && fread(to, 1, bytes, file) != bytes) stop("the cases end too early");
}
static int32_t take_number(FILE *file) {
    int32_t number;
    take(file, &number, sizeof number);
    return number;
}
static void take_name(FILE *file, char name[NAME]) {
    int32_t length = take_number(file);
    if (length < 0 || length >= NAME) stop("a name is too long");
    take(file, name, (size_t)length);
    name[length] = 0;
}
static void take_value(FILE *file, Value *value) {
    value->type = take_number(file);
    value->is_constant = take_number(file);
    value->rank = (size_t)take_number(file);
    if (value->rank > MOST) stop("a rank is too high");
    take(file, value->shape, value->rank * sizeof *value->shape);
    value->data = allocate(size_of(value));
    take(file, value->data, size_of(value));
}
static void take_case(FILE *file, Case *c) {
    memset(c, 0, sizeof *c);
    take_name(file, c->kind);
    c->attribute_count = take_number(file);
    for (int32_t i = 0; i < c->attribute_count; i++) {
        take_name(file, c->attributes[i].name);
        take(file, &c->attributes[i].value, sizeof(double));
    }
    c->input_count = take_number(file);
    for (int32_t i = 0; i < c->input_count; i++) take_value(file, &c->inputs[i]);
}

static void give_number(FILE *file, int32_t number) { fwrite(&number, sizeof number, 1, file); }
static void give_result(FILE *file, const Case *c, const Status *failed) {
    give_number(file, failed ? (int32_t)strlen(failed->message) : 0);
    if (failed) {
        fwrite(failed->message, 1, strlen(failed->message), file);
        return;
    }
    give_number(file, c->output_count);
    for (int32_t i = 0; i < c->output_count; i++) {
        const Value *value = &c->outputs[i];
        give_number(file, value->type);
        give_number(file, (int32_t)value->rank);
        fwrite(value->shape, sizeof *value->shape, value->rank, file);
        fwrite(value->data, 1, size_of(value), file);
    }
}

/* -- running ----------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The least time of a call in `turns` turns, short ones: other processes disturb only some. */
static void time_calls(const Operator *operator, void *kernel, Case *c, int turns) {
    double least = 1e9;
    for (int turn = 0; turn < turns; turn++) {
        double begin = seconds(), one;
        int calls = 0;
        do {
            operator->compute(kernel, (Context *)c);
            one = (seconds() - begin) / ++calls;
        } while (one * calls < 50e-6);
        if (one < least) least = one;
    }
    printf("%s %.0f\n", c->kind, least * 1e9);
}

static void run(FILE *results, Case *c, int turns) {
    const Operator *operator = operator_of(c->kind);
    void *kernel = NULL;
    Status *failed = operator->create(operator, get_api(0), (const Info *)c, &kernel);
    if (!failed) {
        failed = operator->compute(kernel, (Context *)c);
        if (c->is_shared) printf("%s shared\n", c->kind);
        if (!failed && turns) time_calls(operator, kernel, c, turns);
        operator->destroy(kernel);
    }
    give_result(results, c, failed);
    free(failed);
    for (int i = 0; i < MOST; i++) free(c->inputs[i].data), free(c->outputs[i].data);
}

int main(int argc, char **argv) {
    if (argc < 4) stop("expected LEVEL CASES RESULTS [TURNS]");
    if (!cybersolve_use(argv[1])) stop("this processor does not have the level");
    ApiBase base = {get_api, NULL};
    Status *failed = RegisterCustomOps(NULL, &base);
    if (failed) stop(failed->message);
    FILE *cases = fopen(argv[2], "rb"), *results = fopen(argv[3], "wb");
    if (!cases || !results) stop("a file cannot be opened");
    static Case c;
    for (int32_t left = take_number(cases); left > 0; left--) {
        take_case(cases, &c);
        run(results, &c, argc > 4 ? atoi(argv[4]) : 0);
    }
    fclose(cases);
    return fclose(results) ? 2 : 0;
}
