/* AVX-512 with VNNI: Intel Ice Lake, AMD Zen 4 and newer. */
#if defined(__x86_64__)

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#include "vectors_avx512.h"

#define LEVEL LEVEL_AVX512VNNI
#define NAME "avx512vnni"
#include "tasks.h"

#endif
