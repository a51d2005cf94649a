/* AVX2 with VNNI: Intel Alder Lake and newer. */
#include "level.h"

#if COMPILES_AVXVNNI

#pragma GCC target("avx2,fma,avxvnni")
#include "vectors_avx2.h"

#define LEVEL LEVEL_AVXVNNI
#define NAME "avxvnni"
#include "tasks.h"

#endif
