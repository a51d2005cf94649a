/* Sums of products are computed in tiles: ROWS rows by VECTORS vectors of columns, in registers.
 *
 * They are variables by name, <row><vector>: of an array GCC keeps part in memory. */
#ifndef CYBERSOLVE_TILES_H
#define CYBERSOLVE_TILES_H

#include "level.h"

#define INLINED static inline __attribute__((always_inline))

enum {
    VECTORS = 4,
    PARTS = BLOCK / LANES, /* vectors of a block */
    /* Weights of the next tile that are fetched while a tile is computed: of more the second-level
     * cache of some processors has no room. */
    MOST_FETCHED = 1 << 16,
};

/* Vectors of weights, of which a tile has VECTORS, lie in blocks. A gated tile has two vectors of
 * the output: gate and up of the first, then of the second. */
#define BLOCK_IN_TILE(v) (ending == GATED ? (v) % 2 + (v) / 2 / PARTS * 2 : (v) / PARTS)
#define PART_IN_TILE(v) (ending == GATED ? (v) / 2 % PARTS : (v) % PARTS)

/* Of rows past the level's ROWS the compiler leaves out what `if (r < rows)` does. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

/* Sums of floats are f<row><vector>; what a row is multiplied by are v<vector>. */
#define FLOAT_SUMS(r) Floats f##r##0 = every(0.0f), f##r##1 = f##r##0, f##r##2 = f##r##0, f##r##3 = f##r##0;
#define ADD_TO(r, x)                                       \
    f##r##0 = fused(x, v0, f##r##0);                       \
    if (vectors > 1) f##r##1 = fused(x, v1, f##r##1);      \
    if (vectors > 2) f##r##2 = fused(x, v2, f##r##2);      \
    if (vectors > 3) f##r##3 = fused(x, v3, f##r##3);

#endif
