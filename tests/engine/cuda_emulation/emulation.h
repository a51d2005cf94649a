/* CUDA, as far as our kernels use it, on one thread of a processor.
 *
 * Blocks run one after another. A block's threads are contexts that give way at each barrier of the
 * block or of their warp, until all have reached it. Threads that wait at different barriers, which
 * a GPU would not survive either, abort the program. */
#ifndef CYBERSOLVE_CUDA_EMULATION
#define CYBERSOLVE_CUDA_EMULATION

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

#define PROVIDER "CPUExecutionProvider"
#define __device__
#define __global__
#define __shared__ static thread_local /* one block runs at a time */

using __half = _Float16;
inline float __half2float(__half x) { return static_cast<float>(x); }
inline __half __float2half_rn(float x) { return static_cast<__half>(x); }
inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline thread_local dim3 threadIdx, blockIdx, gridDim;

/* -- a block ----------------------------------------------------------------------------------- */

namespace emulation {

constexpr size_t LANES = 32, STACK = 64 * 1024;

enum State { NEW, RUNNING, AT_WARP, AT_BLOCK, ENDED }; /* of a thread; at which barrier it waits */

struct Thread {
    ucontext_t begin;
    jmp_buf place; /* where it waits: to jump there takes no system call */
    std::unique_ptr<char[]> stack{new char[STACK]};
    State state = NEW;
    int exchanges = 0;
    int64_t given[2]; /* to the other lanes: one is read while the next is written */
};

struct Block {
    std::vector<Thread> threads;
    jmp_buf scheduler;
    size_t current = 0;
    std::function<void()> body;

    explicit Block(size_t count) : threads(count) {}

    void wait(State barrier) {
        threads[current].state = barrier;
        if (_setjmp(threads[current].place) == 0) _longjmp(scheduler, 1);
    }
    void run();

  private:
    void start(Thread &thread);
    void resume(size_t thread);
    bool run_warp(size_t first);
    bool leave_barrier();
};

inline thread_local Block *block;

[[noreturn]] inline void diverged() {
    std::fputs("emulation: the threads of a block or warp wait at different barriers\n", stderr);
    std::abort();
}

inline void enter() {
    block->body();
    block->threads[block->current].state = ENDED;
    _longjmp(block->scheduler, 1);
}

inline void Block::start(Thread &thread) {
    getcontext(&thread.begin);
    thread.begin.uc_stack.ss_sp = thread.stack.get();
    thread.begin.uc_stack.ss_size = STACK;
    makecontext(&thread.begin, enter, 0);
    thread.state = NEW;
}

inline void Block::resume(size_t thread) {
    current = thread;
    threadIdx.x = static_cast<unsigned>(thread);
    if (_setjmp(scheduler) != 0) return;
    if (threads[thread].state == NEW) setcontext(&threads[thread].begin);
    _longjmp(threads[thread].place, 1);
}

/* Runs a warp up to its next barrier. Returns whether there was anything to run. */
inline bool Block::run_warp(size_t first) {
    bool ran = false;
    size_t waiting = 0, ended = 0, end = std::min(first + LANES, threads.size());
    for (size_t thread = first; thread < end; thread++) {
        State &state = threads[thread].state;
        if (state < AT_BLOCK) resume(thread), ran = true;
        waiting += state == AT_BLOCK, ended += state == ENDED;
    }
    if (ran && waiting && waiting + ended < end - first) diverged();
    return ran;
}

/* Lets the threads go on that wait for all others. Returns whether there are any. */
inline bool Block::leave_barrier() {
    bool any = false;
    for (Thread &thread : threads) {
        if (thread.state == AT_BLOCK) thread.state = RUNNING, any = true;
    }
    return any;
}

inline void Block::run() {
    block = this;
    for (Thread &thread : threads) start(thread);
    do {
        for (size_t first = 0; first < threads.size(); first += LANES) {
            while (run_warp(first)) {
            }
        }
    } while (leave_barrier());
}

/* What the lane `from` of this thread's warp gives. */
template <typename T>
T exchanged(T own, size_t from) {
    size_t thread = block->current, set = static_cast<size_t>(block->threads[thread].exchanges++ % 2);
    std::memcpy(&block->threads[thread].given[set], &own, sizeof own);
    block->wait(AT_WARP);
    T found;
    std::memcpy(&found, &block->threads[thread / LANES * LANES + from].given[set], sizeof found);
    return found;
}

inline size_t lane() { return block->current % LANES; }

}  // namespace emulation

inline void __syncthreads() { emulation::block->wait(emulation::AT_BLOCK); }

template <typename T>
T __shfl_sync(unsigned, T own, int from) {
    return emulation::exchanged(own, static_cast<size_t>(from));
}
template <typename T>
T __shfl_xor_sync(unsigned, T own, int mask) {
    return emulation::exchanged(own, emulation::lane() ^ static_cast<size_t>(mask));
}
template <typename T>
T __shfl_up_sync(unsigned, T own, int distance) {
    size_t lane = emulation::lane(), back = static_cast<size_t>(distance);
    return emulation::exchanged(own, lane < back ? lane : lane - back);
}
inline unsigned __ballot_sync(unsigned, bool own) {
    unsigned all = 0;
    for (size_t lane = 0; lane < emulation::LANES; lane++) {
        all |= static_cast<unsigned>(emulation::exchanged<int>(own, lane)) << lane;
    }
    return all;
}

template <typename Kernel, typename Stream, typename... Arguments>
void launch(Kernel kernel, dim3 grid, int threads, Stream, Arguments... arguments) {
    emulation::Block block(static_cast<size_t>(threads));
    block.body = [&] { kernel(arguments...); };
    gridDim = grid;
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++) {
        for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) block.run();
    }
}

/* -- the runtime ------------------------------------------------------------------------------- */

using cudaStream_t = void *;
enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation = 2 };
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3 };

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char *cudaGetErrorString(cudaError_t) { return "out of memory"; }
inline cudaError_t cudaMemcpyAsync(
    void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t) {
    *memory = std::malloc(bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFreeAsync(void *memory, cudaStream_t) {
    std::free(memory);
    return cudaSuccess;
}

#endif
