"""Characters to the few that the lexer knows, one for one, so that positions stay the same.

Letters and digits of any width or font become plain ones, signs of operations become ASCII, what
has no width becomes a space. What has a meaning of its own (`½`, `²`, `√`, `≤`) stays.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_SIGNS = {
    **dict.fromkeys("\u2212\u2013\u2014\u2010\u2011\ufe63\u2796", "-"),
    **dict.fromkeys(
        "\u00d7\u00b7\u22c5\u2219\u2217\u2022\u25cf\u2027\u2715\u2716\u2a2f\u2062", "*"
    ),
    **dict.fromkeys("\u00f7\u2215\u2044\u2236\u2797", "/"),
    **dict.fromkeys("\u2795", "+"),
    **dict.fromkeys("\u3002\uff61", "."),
    **dict.fromkeys("\u3001\u060c", ","),
    **dict.fromkeys("\u061b", ";"),
    **dict.fromkeys("\u2018\u2019\u2032\u02b9\u02bc\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u25a1\u2610\u25a2\u2b1c\u25fb\u25fd\u2b1a", "\u25a1"),  # blanks to fill in
    **dict.fromkeys("\u21d2\u27f9\u27f6\u279c\u2234", "\u2192"),  # arrows
    **dict.fromkeys("\u27e8\u3010\u3014", "["),
    **dict.fromkeys("\u27e9\u3011\u3015", "]"),
    **dict.fromkeys("\u2028\u2029\u0085\u000b\u000c", "\n"),
    # Degrees: `x° + 30° = 90°` means the same without them.
    **dict.fromkeys("\u00b0\u00ba", " "),
    # No width: zero-width space and joiners, soft hyphen, byte order mark, variation selectors.
    **dict.fromkeys("\u200e\u200f", " "),  # left-to-right and right-to-left marks
    **dict.fromkeys(map(chr, range(0x2460, 0x2474)), "#"),  # a number in a circle is a label
    **dict.fromkeys("\u200b\u200c\u200d\u2060\u2061\u00ad\ufeff\ufe0e\ufe0f", " "),
    "\u00a0": "\u202f",  # no-break space: like the narrow one, also a separator of thousands
    "\u2009": "\u202f",
}
_FONTS = ("<font>", "<wide>", "<narrow>", "<small>")  # the same character, drawn otherwise


def fold(source: str) -> str:
    """Return `source` in the lexer's characters, as long as it was."""
    if source.isascii():
        return source
    return "".join(map(_folded, source))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character.isascii():
        return character
    if (sign := _SIGNS.get(character)) is not None:
        return sign
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(_FONTS):
        folded = unicodedata.normalize("NFKC", character)
        return _folded(folded) if len(folded) == 1 and folded != character else character
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    if unicodedata.category(character) == "Zs" and character != "\u202f":
        return " "
    return character
