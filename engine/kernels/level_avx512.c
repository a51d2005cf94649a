/* AVX-512 without VNNI: Intel Skylake-X. */
#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#include "vectors_avx512.h"

#define LEVEL LEVEL_AVX512
#define NAME "avx512"
#include "tasks.h"

#endif
