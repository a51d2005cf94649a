/* Gives a session of ONNX Runtime on a GPU the kernels of the domains `cybersolve` (fp32) and
 * `cybersolve.half` (fp16). Operators without a kernel here (products of integers) are expanded to
 * their definitions. */
#include "kernel.cuh"

namespace {

const Kernel &of(const Operator *op) { return *reinterpret_cast<const Kernel *>(op); }

const char *name(const Operator *op) { return of(op).name; }
const char *provider(const Operator *) { return PROVIDER; }
ElementType input_type(const Operator *op, size_t index) { return of(op).inputs[index]; }
size_t input_count(const Operator *op) { return of(op).inputs.size(); }
ElementType output_type(const Operator *op, size_t index) { return of(op).outputs[index]; }
size_t output_count(const Operator *op) { return of(op).outputs.size(); }
int required(const Operator *, size_t) { return 0; }
int first_version(const Operator *) { return 1; }
int last_version(const Operator *) { return INT32_MAX; }
int input_memory(const Operator *op, size_t index) {
    constexpr int DEVICE = 0, HOST = -2; /* of OrtMemType */
    return index == of(op).on_host ? HOST : DEVICE;
}

Status *add_all(Api *api, Domain *domain, std::vector<Kernel> &kernels) {
    for (Kernel &kernel : kernels) {
        Operator &op = kernel.op;
        op.version = ORT_INTERFACE;
        op.name = name, op.provider = provider;
        op.input_type = input_type, op.input_count = input_count;
        op.output_type = output_type, op.output_count = output_count;
        op.input_need = op.output_need = required, op.input_memory = input_memory;
        op.first_version = first_version, op.last_version = last_version;
        TRY(ort_add_operator(api, domain, &op));
    }
    return nullptr;
}

Status *make_domains(Api *api, Domain **whole, Domain **half) {
    TRY(ort_new_domain(api, "cybersolve", whole));
    TRY(add_all(api, *whole, attention_kernels(FLOAT)));
    TRY(add_all(api, *whole, choosing_kernels()));
    TRY(ort_new_domain(api, "cybersolve.half", half));
    return add_all(api, *half, attention_kernels(FLOAT16));
}

}  // namespace

extern "C" __attribute__((visibility("default"))) Status *RegisterCustomOps(
    Options *options, const ApiBase *base) {
    Api *api = base->get_api(ORT_INTERFACE);
    if (!api) return nullptr;
    static Domain *whole, *half; /* for all sessions */
    if (!half) TRY(make_domains(api, &whole, &half));
    TRY(ort_add_domain(api, options, whole));
    return ort_add_domain(api, options, half);
}
