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

#endif
