/* NEON with dot products: Neoverse N1, Apple M1 and newer. */
#if defined(__aarch64__) && defined(__linux__)

#pragma GCC target("arch=armv8.2-a+dotprod")
#include "vectors_neon.h"

#define LEVEL LEVEL_DOTPROD
#define NAME "dotprod"
#include "tasks.h"

#endif
