/* AVX2 with VNNI: Intel Alder Lake and newer. */
#if defined(__x86_64__)

#pragma GCC target("avx2,fma,avxvnni")
#include "vectors_avx2.h"

#define LEVEL LEVEL_AVXVNNI
#define NAME "avxvnni"
#include "tasks.h"

#endif
