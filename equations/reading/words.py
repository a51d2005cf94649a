"""Words that people write around equations, and words for numbers and operations.

The list is closed: any other word of three letters or more is a variable where it stands in a
calculation, and is refused everywhere else.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from equations.linear import Rational
from equations.reading.tokens import Kind


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SEPARATORS = _words("""
    solve solved solving find finding determine calculate compute isolate work out get give given
    what whats which when where if then so that such the this these following equation equations
    system systems linear simultaneous simultaneously for in and with to let suppose assume be are
    please me my help show need how much hence therefore thus makes make satisfies satisfy
    satisfying true holds does do you can we have has problem question exercise task hint
    eq ex prob respect terms using by hand algebra math maths step steps easy quick answer
    löse lösen loese loesen bestimme berechne gleichung gleichungen die der das nach auf
    für fuer wenn was und sie
    résoudre resoudre résous résolvez résolution équation équations trouver trouve
    trouvez calculer pour si que et la le les soit
    resuelve resolver resuelva encuentra encontrar halla hallar despeja calcula ecuación ecuacion
    para el los las de
    resolva encontre equação risolvi risolvere trova equazione per vergelijking oplossen
""")
# Separators, but variables beside an operation: `number + 5 = 12`.
NOUNS = _words("number numbers value values unknown unknowns variable variables solution")
OPERATIONS = {
    "plus": Kind.PLUS,
    "minus": Kind.MINUS,
    "times": Kind.TIMES,
    "over": Kind.DIVIDE,
    "equals": Kind.EQUALS,
    "is": Kind.IS,
    "ist": Kind.IS,
    "of": Kind.OF,
}
PHRASES = {
    "multiplied by": Kind.TIMES,
    "divided by": Kind.DIVIDE,
    "is equal to": Kind.EQUALS,
    "equal to": Kind.EQUALS,
    "equals to": Kind.EQUALS,
    "is the same as": Kind.EQUALS,
    "added to": Kind.PLUS,
}
PHRASE = "|".join(phrase.replace(" ", "[ \\t]+") for phrase in PHRASES)
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS: dict[str, Rational] = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    "hundred": 100,
    "thousand": 1000,
    "twice": 2,
    "double": 2,
    "triple": 3,
    "half": Fraction(1, 2),
}
COMPOUND = rf"(?:{'|'.join(_TENS)})[ -](?:{'|'.join(_UNITS[1:10])})"
MARKS = re.compile(r"marks?|points?|pts?|punkte?", re.IGNORECASE)
LABELS = re.compile(r"(?:q|ex|eq|eqn|no|nr|p)[0-9]+", re.IGNORECASE)  # `Q3:`
GREEK = _words("""
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon
    phi chi psi omega
""")


def compound(text: str) -> int:
    """Return 25 for `twenty-five`."""
    tens, units = re.split("[ -]", text.lower())
    return 10 * (_TENS.index(tens) + 2) + _UNITS.index(units)


def greek(letter_name: str) -> str | None:
    """Return `alpha` for the Unicode name of that letter, `Gamma` for a capital gamma.

    Only letters that no Latin one looks like: `None` for a capital alpha or an omicron.
    """
    words = letter_name.split()
    if words[:1] != ["GREEK"] or words[-2:-1] != ["LETTER"]:
        return None
    name = words[-1].lower().replace("lamda", "lambda")
    if words[1] == "SMALL":
        return name if name in GREEK or name == "pi" else None
    distinct = ("gamma", "delta", "theta", "lambda", "xi", "sigma", "phi", "psi", "omega")
    return name.title() if name in distinct else None


def is_ambiguous(letters: str) -> bool:
    """Return whether letters are as likely a product as a name: `xy`, `xx`, `abc`, `xyz`."""
    if len(letters) == 2:
        return True
    codes = [ord(letter) for letter in letters.lower()]
    steps = {second - first for first, second in pairwise(codes)}
    return steps in ({0}, {1})
