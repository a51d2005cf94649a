/* Powers of two, for gelu and softmax. */
#ifndef CYBERSOLVE_EXPONENTIAL_H
#define CYBERSOLVE_EXPONENTIAL_H

static const float LOG2_E = 1.44269504088896341f;

/* 2 to the power of each lane, within two units in the last place: of the power's whole part the
 * exponent, of the rest, from -1/2 to 1/2, a polynomial that fits it best and is 1 at 0. */
static inline Floats power_of_two(Floats x) {
    x = bounded_exponent(x);
    Floats whole = nearest_whole(x);
    Floats rest = x - whole;
    Floats sum = every(1.3264727198e-3f);
    sum = fused(sum, rest, every(9.6715126397e-3f));
    sum = fused(sum, rest, every(5.5507337433e-2f));
    sum = fused(sum, rest, every(2.4022242085e-1f));
    sum = fused(sum, rest, every(6.9314697760e-1f));
    sum = fused(sum, rest, every(1.0f));
    return times_power(sum, whole);
}

#endif
