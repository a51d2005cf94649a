/* Gives a session of ONNX Runtime the kernels of the domain `cybersolve`.
 *
 * On a processor that cannot run them it gives none. ONNX Runtime then does what the model says
 * each operator stands for, in operators of its own. */
#include "kernel.h"

static const char *name(const Operator *operator) { return ((const Kernel *)operator)->name; }
static const char *provider(const Operator *operator) {
    (void)operator;
    return "CPUExecutionProvider";
}
static ElementType input_type(const Operator *operator, size_t index) {
    return ((const Kernel *)operator)->inputs[index];
}
static size_t input_count(const Operator *operator) {
    return ((const Kernel *)operator)->input_count;
}
static ElementType output_type(const Operator *operator, size_t index) {
    return ((const Kernel *)operator)->outputs[index];
}
static size_t output_count(const Operator *operator) {
    return ((const Kernel *)operator)->output_count;
}
static int zero(const Operator *operator, size_t index) { /* required, in ordinary memory */
    (void)operator, (void)index;
    return 0;
}
static int first_version(const Operator *operator) {
    (void)operator;
    return 1;
}
static int last_version(const Operator *operator) {
    (void)operator;
    return INT32_MAX;
}

static Status *add(Api *api, Domain *domain, Kernel *kernel) {
    Operator *operator = &kernel->operator;
    operator->version = ORT_INTERFACE;
    operator->name = name;
    operator->provider = provider;
    operator->input_type = input_type;
    operator->input_count = input_count;
    operator->output_type = output_type;
    operator->output_count = output_count;
    operator->input_need = operator->output_need = operator->input_memory = zero;
    operator->first_version = first_version;
    operator->last_version = last_version;
    return ort_add_operator(api, domain, operator);
}

Status *RegisterCustomOps(Options *options, const ApiBase *base) {
    Api *api = base->get_api(ORT_INTERFACE);
    if (!api || !current_level()) return NULL;
    static Domain *domain; /* for all sessions */
    if (domain) return ort_add_domain(api, options, domain);
    TRY(ort_new_domain(api, "cybersolve", &domain));
    Kernel *kernels[] = {
        &ATTENTION_KERNELS[0], &ATTENTION_KERNELS[1], &ATTENTION_KERNELS[2], &CROSS_KERNELS[0],
        &CROSS_KERNELS[1], &CROSS_KERNELS[2], &CROSS_KERNELS[3], &LINEAR_KERNELS[0],
        &LINEAR_KERNELS[1], &LINEAR_KERNELS[2], &LINEAR_KERNELS[3], &LINEAR_KERNELS[4],
        &LINEAR_KERNELS[5], &LINEAR_KERNELS[6], &LINEAR_KERNELS[7], &LINEAR_KERNELS[8],
        &LIKELIEST_KERNEL, &CANDIDATES_KERNELS[0], &CANDIDATES_KERNELS[1],
    };
    for (size_t i = 0; i < COUNT(kernels); i++) TRY(add(api, domain, kernels[i]));
    return ort_add_domain(api, options, domain);
}
