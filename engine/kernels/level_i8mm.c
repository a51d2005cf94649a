/* NEON with products of matrices: Neoverse V1, N2, Apple M2 and newer. */
#if defined(__aarch64__) && defined(__linux__)

#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#include "vectors_neon.h"

#define LEVEL LEVEL_I8MM
#define NAME "i8mm"
#include "tasks.h"

#endif
