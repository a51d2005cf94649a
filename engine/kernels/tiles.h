/* Sums of products are computed in tiles: ROWS rows by VECTORS vectors of columns, in registers.
 *
 * They are variables by name, <row><vector>: of an array GCC keeps part in memory. */
#ifndef CYBERSOLVE_TILES_H
#define CYBERSOLVE_TILES_H

#include "level.h"

#define INLINED static inline __attribute__((always_inline))

enum { VECTORS = 4 };

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
