/* All kernels over the vectors of one level. Included once by each level's unit, which gives the
 * vectors, LEVEL (the name of its table) and NAME (as settings call it). */
#include "attending.h"
#include "candidates.h"
#include "choice.h"
#include "encoding.h"
#include "float_products.h"
#include "products.h"
#include "reading.h"

const Level LEVEL = {
    .name = NAME,
    .zero = ZERO,
    .in_words = NEED_PAIRS,
    .round_rows = round_rows,
    .multiply = multiply,
    .multiply_floats = multiply_floats,
    .attend_cached = attend_cached,
    .attend_cross = attend_cross,
    .attend_encoder = attend_encoder,
    .quantise_heads = quantise_heads,
    .find_likeliest = find_likeliest,
    .find_candidates = find_candidates,
    .draw_tokens = draw_tokens,
};
