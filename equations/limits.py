"""Bounds of what is read, so that reading costs little whatever the text is."""

MAX_CHARACTERS = 2000
MAX_DIGITS = 30  # of one number, before and after its decimal point together
MAX_DEPTH = 32  # of open brackets at a time
MAX_BITS = 200  # of a numerator or denominator: about 60 digits
MAX_EXPONENT = 100
MAX_EQUATIONS = 16
MAX_VARIABLES = 16
