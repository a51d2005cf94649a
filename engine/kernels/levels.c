/* The levels that this processor can run, and which of them the next kernels use. */
#include "level.h"

#include <string.h>

typedef struct {
    const Level *level;
    int (*runs)(void);
} Candidate;

#if defined(__x86_64__)

#include <cpuid.h>

/* `__builtin_cpu_supports` also asks whether the operating system keeps the registers. */
static int runs_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

#if COMPILES_AVXVNNI
static int runs_avxvnni(void) {
    unsigned a, b, c, d;
    return runs_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

static int runs_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && runs_avx2();
}

static int runs_avx512vnni(void) {
    return runs_avx512() && __builtin_cpu_supports("avx512vnni");
}

static const Candidate CANDIDATES[] = {
    {&LEVEL_AVX512VNNI, runs_avx512vnni},
    {&LEVEL_AVX512, runs_avx512},
#if COMPILES_AVXVNNI
    {&LEVEL_AVXVNNI, runs_avxvnni},
#endif
    {&LEVEL_AVX2, runs_avx2},
    {NULL, NULL},
};

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

static int runs_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
static int runs_i8mm(void) { return runs_dotprod() && (getauxval(AT_HWCAP2) >> 13 & 1); }

static const Candidate CANDIDATES[] = {
    {&LEVEL_I8MM, runs_i8mm},
    {&LEVEL_DOTPROD, runs_dotprod},
    {NULL, NULL},
};

#else

static const Candidate CANDIDATES[] = {{NULL, NULL}};

#endif

static const Level *chosen;

const Level *current_level(void) {
    for (const Candidate *c = CANDIDATES; !chosen && c->level; c++) {
        if (c->runs()) chosen = c->level;
    }
    return chosen;
}

/* The name of the level at `place` among those that this processor can run, the fastest first;
 * NULL where there are no more. */
const char *cybersolve_level(int place) {
    for (const Candidate *c = CANDIDATES; c->level; c++) {
        if (c->runs() && place-- == 0) return c->level->name;
    }
    return NULL;
}

/* Has the kernels that are made from now on use a level. Returns whether this processor can. */
int cybersolve_use(const char *name) {
    for (const Candidate *c = CANDIDATES; c->level; c++) {
        if (strcmp(name, c->level->name) == 0 && c->runs()) {
            chosen = c->level;
            return 1;
        }
    }
    return 0;
}
