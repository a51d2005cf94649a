/* Operators that choose tokens on a GPU: what they take and give. */
#include "choosing.cuh"
#include "kernel.cuh"

namespace {

/* logits (batch, 1, tokens) -> best (batch, 2), logprobs (batch, 2), the likeliest first. */
Status *compute_likeliest(void *kernel, Context *context) {
    Api *api = static_cast<Node *>(kernel)->api;
    Tensor logits;
    cudaStream_t stream;
    TRY(read_inputs(api, context, {&logits}));
    if (!is_shaped(logits, {ANY, 1, ANY}) || logits.shape[2] < 2) {
        return ort_error(api, "Likeliest: logits must be (batch, 1, tokens), of two tokens or more");
    }
    TRY(stream_of(api, context, &stream));
    int64_t batch = logits.shape[0], *best;
    float *logprobs;
    TRY(write_output(api, context, 0, {batch, 2}, &best));
    TRY(write_output(api, context, 1, {batch, 2}, &logprobs));
    if (batch == 0) return nullptr;
    launch(
        find_likeliest, dim3(static_cast<unsigned>(batch)), CHOOSERS, stream, logits.shape[2],
        logits.as<const float>(), best, logprobs);
    return checked(api, cudaGetLastError());
}

/* Logits (batch, 1, width), rows (n), tokens, biases and penalties (n, many). */
struct AdjustedInputs {
    Tensor logits, rows, tokens, biases, penalties;

    Status *check(Api *api) const {
        if (!is_shaped(logits, {ANY, 1, ANY}) || logits.shape[2] < 1) {
            return ort_error(api, "logits must be (batch, 1, tokens)");
        }
        if (!is_shaped(rows, {ANY})) return ort_error(api, "rows must be (rows)");
        if (!is_shaped(tokens, {count(), ANY})) {
            return ort_error(api, "tokens must be (rows, adjustments)");
        }
        int64_t many = tokens.shape[1];
        if (!is_shaped(biases, {count(), many}) || !is_shaped(penalties, {count(), many})) {
            return ort_error(api, "biases and penalties must have the shape of tokens");
        }
        return nullptr;
    }

    int64_t count() const { return rows.shape[0]; }
    int64_t width() const { return logits.shape[2]; }

    Adjusted with(float *scores) const {
        return {width(), tokens.shape[1], logits.shape[0], logits.as<const float>(),
                rows.as<const int64_t>(), tokens.as<const int64_t>(), biases.as<const float>(),
                penalties.as<const float>(), scores};
    }
};

/* Reads and checks what Candidates and Draw both adjust, and reads two inputs of their own. */
Status *read_adjusted(
    Api *api, Context *context, AdjustedInputs *in, Tensor *first, Tensor *second) {
    TRY(read_inputs(
        api, context,
        {&in->logits, &in->rows, &in->tokens, &in->biases, &in->penalties, first, second}));
    return in->check(api);
}

/* Calls `run` with memory for the scores of each row, of the stream's own pool, where there are
 * rows. */
template <typename Run>
Status *with_scores(Api *api, Context *context, const AdjustedInputs &inputs, Run run) {
    if (inputs.count() == 0) return nullptr;
    cudaStream_t stream;
    TRY(stream_of(api, context, &stream));
    void *scores;
    size_t bytes = sizeof(float) * static_cast<size_t>(inputs.count() * inputs.width());
    TRY(checked(api, cudaMallocAsync(&scores, bytes, stream)));
    run(dim3(static_cast<unsigned>(inputs.count())), stream,
        inputs.with(static_cast<float *>(scores)));
    Status *launched = checked(api, cudaGetLastError());
    Status *freed = checked(api, cudaFreeAsync(scores, stream));
    return launched ? launched : freed;
}

/* What is adjusted, normalised (n), count (1) -> best, scores and logprobs (n, count). */
Status *compute_candidates(void *kernel, Context *context) {
    Api *api = static_cast<Node *>(kernel)->api;
    AdjustedInputs in;
    Tensor normalised, counts;
    TRY(read_adjusted(api, context, &in, &normalised, &counts));
    if (!is_shaped(normalised, {in.count()})) return ort_error(api, "normalised must be (rows)");
    if (!is_shaped(counts, {1})) return ort_error(api, "count must be (1)");
    int64_t count = *counts.as<const int64_t>(), *best;
    if (count < 1 || count > in.width()) {
        return ort_error(api, "count must be from 1 to the number of tokens");
    }
    float *scores, *logprobs;
    TRY(write_output(api, context, 0, {in.count(), count}, &best));
    TRY(write_output(api, context, 1, {in.count(), count}, &scores));
    TRY(write_output(api, context, 2, {in.count(), count}, &logprobs));
    return with_scores(api, context, in, [&](dim3 grid, cudaStream_t stream, Adjusted adjusted) {
        launch(
            find_candidates, grid, CHOOSERS, stream, adjusted, count,
            normalised.as<const int32_t>(), best, scores, logprobs);
    });
}

/* What is adjusted, temperatures and uniforms (n) -> drawn, logprobs and totals (n). */
Status *compute_draw(void *kernel, Context *context) {
    Api *api = static_cast<Node *>(kernel)->api;
    AdjustedInputs in;
    Tensor temperatures, uniforms;
    TRY(read_adjusted(api, context, &in, &temperatures, &uniforms));
    if (!is_shaped(temperatures, {in.count()}) || !is_shaped(uniforms, {in.count()})) {
        return ort_error(api, "temperatures and uniforms must be (rows)");
    }
    int64_t *drawn;
    float *logprobs, *totals;
    TRY(write_output(api, context, 0, {in.count()}, &drawn));
    TRY(write_output(api, context, 1, {in.count()}, &logprobs));
    TRY(write_output(api, context, 2, {in.count()}, &totals));
    return with_scores(api, context, in, [&](dim3 grid, cudaStream_t stream, Adjusted adjusted) {
        launch(
            draw_tokens, grid, CHOOSERS, stream, adjusted, temperatures.as<const float>(),
            uniforms.as<const float>(), drawn, logprobs, totals);
    });
}

Status *create(const Operator *, Api *api, const Info *, void **kernel) {
    *kernel = new Node{api, 0};
    return nullptr;
}

void destroy(void *kernel) { delete static_cast<Node *>(kernel); }

Kernel made(
    const char *name, std::vector<ElementType> inputs, std::vector<ElementType> outputs,
    size_t on_host, Status *(*compute)(void *, Context *)) {
    Kernel kernel{{}, name, inputs, outputs, on_host};
    kernel.op.create = create, kernel.op.compute = compute, kernel.op.destroy = destroy;
    return kernel;
}

}  // namespace

std::vector<Kernel> &choosing_kernels() {
    static std::vector<Kernel> kernels = {
        made("Likeliest", {FLOAT}, {INT64, FLOAT}, NONE_ON_HOST, compute_likeliest),
        made("Candidates", {FLOAT, INT64, INT64, FLOAT, FLOAT, INT32, INT64},
             {INT64, FLOAT, FLOAT}, 6, compute_candidates),
        made("Draw", {FLOAT, INT64, INT64, FLOAT, FLOAT, FLOAT, FLOAT}, {INT64, FLOAT, FLOAT},
             NONE_ON_HOST, compute_draw),
    };
    return kernels;
}
