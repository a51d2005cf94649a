/* Pairs quads of each block so that no sum of four products overflows a word of 16 bits.
 *
 * Rounded inputs are from 0 to 255. A sum is within 16 bits whatever they are where the positive
 * weights of its four products add up to at most 128, and the negative ones to no less than -128:
 * 255 * 128 = 32,640. Of trained weights nearly all quads of a block find such a partner. The rest are
 * paired with a quad of zero inputs. */
#include "pairing.h"

#include <stdlib.h>

enum {
    WORDS = BLOCK * QUAD / 2, /* of a quad: each is the sum of two products */
    MOST_ADDED = 128,         /* of a word's weights of one sign, in magnitude */
    MOST_TRIED = 64,          /* partners, so that loading stays fast with weights that fit nowhere */
};

/* Of each word of a quad the sum of the positive weights, then of the negative ones' magnitudes. */
typedef struct {
    uint8_t sums[2 * WORDS];
} Reach;

/* One block: what its quads reach, the pairs found so far, and the quads that are left. */
typedef struct {
    const Reach *reach;
    Pair *pairs;
    uint16_t *left;
    int64_t pair_count, left_count;
} Pairing;

static void find_reach(const int8_t *weight, Reach *reach) {
    for (int word = 0; word < WORDS; word++, weight += 2) {
        int a = weight[0], b = weight[1];
        reach->sums[word] = (uint8_t)((a > 0 ? a : 0) + (b > 0 ? b : 0));
        reach->sums[WORDS + word] = (uint8_t)((a < 0 ? -a : 0) + (b < 0 ? -b : 0));
    }
}

static int fit(const Pairing *p, int64_t quad, int64_t other) {
    const uint8_t *a = p->reach[quad].sums, *b = p->reach[other].sums;
    int exceeds = 0;
    for (int i = 0; i < 2 * WORDS; i++) exceeds |= a[i] + b[i] > MOST_ADDED;
    return !exceeds;
}

/* Pairs each quad that is left with one of the next that fits. */
static void pair_neighbours(Pairing *p) {
    int64_t count = p->left_count, kept = 0;
    uint16_t *left = p->left;
    for (int64_t i = 0; i < count; i++) {
        int64_t end = i + 1 + MOST_TRIED < count ? i + 1 + MOST_TRIED : count, j = i + 1;
        while (j < end && !fit(p, left[i], left[j])) j++;
        if (j >= end) {
            left[kept++] = left[i];
            continue;
        }
        p->pairs[p->pair_count++] = (Pair){left[i], left[j]};
        for (; j > i + 1; j--) left[j] = left[j - 1]; /* those between stay in order */
        i++;
    }
    p->left_count = kept;
}

/* Makes two pairs of two quads that are left and a pair that was found. Returns whether it can. */
static int exchange(Pairing *p, uint16_t a, uint16_t b) {
    int64_t tries = p->pair_count < MOST_TRIED ? p->pair_count : MOST_TRIED;
    for (int64_t i = 0; i < tries; i++) {
        Pair found = p->pairs[i];
        int straight = fit(p, a, found.first) && fit(p, b, found.second);
        if (!straight && !(fit(p, a, found.second) && fit(p, b, found.first))) continue;
        p->pairs[i] = (Pair){a, straight ? found.first : found.second};
        p->pairs[p->pair_count++] = (Pair){b, straight ? found.second : found.first};
        return 1;
    }
    return 0;
}

/* Tries exchanges with two quads that are left at a time. */
static void pair_by_exchange(Pairing *p) {
    int64_t kept = 0;
    for (int64_t i = 0; i < p->left_count; i += 2) {
        int has_next = i + 1 < p->left_count;
        if (has_next && exchange(p, p->left[i], p->left[i + 1])) continue;
        p->left[kept++] = p->left[i];
        if (has_next) p->left[kept++] = p->left[i + 1];
    }
    p->left_count = kept;
}

/* Pairs the quads of a block. Returns the number of pairs. */
static int64_t pair_block(Pairing *p, int64_t quads) {
    for (int64_t quad = 0; quad < quads; quad++) p->left[quad] = (uint16_t)quad;
    p->left_count = quads;
    pair_neighbours(p);
    pair_by_exchange(p);
    for (int64_t i = 0; i < p->left_count; i++) {
        p->pairs[p->pair_count++] = (Pair){p->left[i], (uint16_t)quads};
    }
    return p->pair_count;
}

int pair_quads(Matrix *m) {
    size_t quads = (size_t)m->quads, blocks = (size_t)m->blocks;
    m->pairs = malloc(blocks * quads * sizeof *m->pairs);
    m->pair_begins = malloc((blocks + 1) * sizeof *m->pair_begins);
    Reach *reach = malloc(quads * sizeof *reach);
    uint16_t *left = malloc(quads * sizeof *left);
    int has_memory = m->pairs && m->pair_begins && reach && left;
    if (has_memory) m->pair_begins[0] = 0;
    for (size_t block = 0; has_memory && block < blocks; block++) {
        const int8_t *weight = m->weight + block * quads * QUAD * BLOCK;
        for (size_t quad = 0; quad < quads; quad++) {
            find_reach(weight + quad * QUAD * BLOCK, reach + quad);
        }
        Pairing p = {.reach = reach, .pairs = m->pairs + m->pair_begins[block], .left = left};
        m->pair_begins[block + 1] = m->pair_begins[block] + pair_block(&p, m->quads);
    }
    free(reach), free(left);
    if (!has_memory) return 0;
    /* Half of the memory for pairs was for quads that fit nowhere. */
    size_t used = (size_t)m->pair_begins[blocks] * sizeof *m->pairs;
    Pair *shrunk = realloc(m->pairs, used);
    if (shrunk) m->pairs = shrunk;
    return 1;
}
