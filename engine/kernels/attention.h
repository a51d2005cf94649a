/* What the operators of attention share. */
#ifndef CYBERSOLVE_ATTENTION_H
#define CYBERSOLVE_ATTENTION_H

#include "kernel.h"

#include <stdlib.h>

typedef struct {
    Api *api;
    const Level *level;
    int64_t heads;
} Attention;

static inline Status *check_head(Api *api, int64_t d_kv, int64_t keys) {
    if (d_kv < 1 || d_kv > LARGEST_D_KV) {
        return ort_error(api, "attention: a head's keys must have from 1 to 256 numbers");
    }
    if (keys > MOST_KEYS) return ort_error(api, "attention: there must be at most 32,768 keys");
    return NULL;
}

static inline Status *create_attention(
    const Operator *operator, Api *api, const Info *info, void **kernel) {
    (void)operator;
    int64_t heads;
    TRY(ort_integer(api, info, "num_heads", &heads));
    if (heads < 1 || heads > INT16_MAX) {
        return ort_error(api, "num_heads must be from 1 to 32,767");
    }
    Attention *attention = malloc(sizeof *attention);
    if (!attention) return ort_error(api, "out of memory");
    *attention = (Attention){api, current_level(), heads};
    *kernel = attention;
    return NULL;
}

#endif
