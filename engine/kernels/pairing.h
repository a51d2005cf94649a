/* Quads of weights in pairs whose products may be added in 16 bits. */
#ifndef CYBERSOLVE_PAIRING_H
#define CYBERSOLVE_PAIRING_H

#include "level.h"

/* Fills `pairs` and `pair_begins`. Returns 0 where memory is missing. */
int pair_quads(Matrix *m);

#endif
