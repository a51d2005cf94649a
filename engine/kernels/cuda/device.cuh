/* What the kernels for a GPU need of CUDA; where a C++ compiler reads them, the tests' emulation of
 * it: a block's threads in turn on the processor. */
#ifndef CYBERSOLVE_CUDA_DEVICE
#define CYBERSOLVE_CUDA_DEVICE

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define PROVIDER "CUDAExecutionProvider"

template <typename Kernel, typename... Arguments>
void launch(Kernel kernel, dim3 grid, int threads, cudaStream_t stream, Arguments... arguments) {
    kernel<<<grid, threads, 0, stream>>>(arguments...);
}
#else
#include "emulation.h"
#endif

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffff;

__device__ inline float as_float(float x) { return x; }
__device__ inline float as_float(__half x) { return __half2float(x); }

template <typename T>
__device__ T rounded(float x);
template <>
__device__ inline float rounded<float>(float x) {
    return x;
}
template <>
__device__ inline __half rounded<__half>(float x) {
    return __float2half_rn(x);
}

/* The sum over a warp, the same in every lane. */
__device__ inline float sum_of_warp(float x) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    }
    return x;
}

/* What a block's `THREADS` values combine to, the same in every thread. The order is fixed, so that
 * a result never depends on timing. */
template <int THREADS, typename Value, typename Combine>
__device__ Value combined(Value own, Combine combine) {
    __shared__ Value all[THREADS];
    int thread = threadIdx.x;
    all[thread] = own;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (thread < half) all[thread] = combine(all[thread], all[thread + half]);
        __syncthreads();
    }
    Value result = all[0];
    __syncthreads();
    return result;
}

#endif
