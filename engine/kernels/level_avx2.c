/* AVX2 with FMA: Intel Haswell, AMD Zen and newer. */
#if defined(__x86_64__)

#pragma GCC target("avx2,fma")
#include "vectors_avx2.h"

#define LEVEL LEVEL_AVX2
#define NAME "avx2"
#include "tasks.h"

#endif
