"""Text to tokens. Bounds the length of the text and the digits of each number.

One pass of one regular expression over the folded text (`characters`), linear in its length. LaTeX
commands and HTML entities become the tokens of the signs they stand for. Nothing here evaluates
anything.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from equations.errors import EquationError, Span
from equations.limits import MAX_CHARACTERS
from equations.linear import Rational
from equations.reading import numbers, refusals, symbols, words
from equations.reading.characters import fold
from equations.reading.refusals import Refusal
from equations.reading.tokens import Form, Kind, Token


def tokenize(source: str) -> list[Token]:
    """Return the tokens of `source`, closed by one of `Kind.END`.

    Raises `EquationError` for text that is too long, a number that is none or has too many digits,
    a word that can be no variable, and any character or sign that no question has.
    """
    if len(source) > MAX_CHARACTERS:
        raise EquationError(
            f"the text has {len(source)} characters",
            source=source,
            span=Span(MAX_CHARACTERS, len(source)),
            expected=f"at most {MAX_CHARACTERS}",
        )
    return _Lexer(source).tokens()


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._text = fold(source)
        self._tokens: list[Token] = []
        self._position = 0
        self._spaced = True
        self._braces: list[bool] = []  # of the open ones: whether they are part of a command

    def tokens(self) -> list[Token]:
        self._position, end = self._unquoted()
        while (start := self._position) < end:
            match = symbols.TOKEN.match(self._text, start, end)
            if match is None:
                raise self._refused(refusals.character(self._source[start]), start, start + 1)
            assert match.lastgroup is not None, "every alternative is a group: this is a bug"
            self._position = match.end()
            _TAKE[match.lastgroup](self, match.group(), start, match.end())
        self._add(Kind.END, "", len(self._source), len(self._source))
        return self._tokens

    def _unquoted(self) -> tuple[int, int]:
        """Return the range of the text within the quotation marks around it, if there are any."""
        text = self._text
        start = len(text) - len(text.lstrip())
        end = len(text.rstrip())
        if end - start > 1 and text[start] == text[end - 1] and text[start] in "\"'`":
            return start + 1, end - 1
        return start, end

    # -- one method for each kind of match: the text, and its place ------------------------------

    def _space(self, _text: str, _start: int, _end: int) -> None:
        self._spaced = True

    def _number(self, text: str, start: int, end: int) -> None:
        try:
            value, form = numbers.read(text)
        except numbers.BadNumber as error:
            raise self._refused(error.refusal, start, end) from error
        self._add(Kind.NUMBER, text, start, end, value=value, form=form)

    def _repeating(self, text: str, start: int, end: int) -> None:
        raise self._refused(
            Refusal(f"{text[:20]!r} is a repeating decimal or a product", "a fraction, or *"),
            start,
            end,
        )

    def _phrase(self, text: str, start: int, end: int) -> None:
        kind = words.PHRASES.get(" ".join(text.lower().split()))
        if kind is not None:
            self._add(kind, text, start, end)
        else:
            self._add(Kind.NUMBER, text, start, end, value=words.compound(text), form=Form.WORD)

    def _word(self, text: str, start: int, end: int) -> None:
        match = symbols.LETTERS.match(text)
        assert match is not None, "a word begins with a letter: this is a bug"
        letters = match.group()
        lower = letters.lower()
        after = start + len(letters)  # where an index would begin
        if len(letters) > 1 and (lower in words.SEPARATORS or lower in words.NOUNS):
            kind = Kind.NOUN if lower in words.NOUNS else Kind.WORD
            self._add(kind, letters, start, after)
        elif lower in words.OPERATIONS:
            self._add(words.OPERATIONS[lower], letters, start, after)
        elif lower in words.NUMBERS:
            value = words.NUMBERS[lower]
            self._add(Kind.NUMBER, letters, start, after, value=value, form=Form.WORD)
        elif lower in ("sqrt", "root"):
            self._add(Kind.ROOT, letters, start, after)
        elif lower == "and":
            self._add(Kind.SEMICOLON, letters, start, after)
        else:
            self._add(
                Kind.NAME, self._name(letters, start) + _index(text[len(letters) :]), start, end
            )
            return
        self._position = after  # what looked like an index is none: `solve2x`

    def _name(self, letters: str, start: int) -> str:
        """Return the canonical name that letters stand for: `alpha` for that Greek letter."""
        end = start + len(letters)
        if not letters.isascii() and len(letters) == 1:
            name = words.greek(unicodedata.name(letters, ""))
            if name is None:
                raise self._refused(refusals.character(letters), start, end)
            letters = name
        if (refusal := refusals.word(letters)) is not None:
            raise self._refused(refusal, start, end)
        odd = next((i for i, letter in enumerate(letters) if not letter.isascii()), None)
        if odd is not None:
            raise self._refused(refusals.unknown_word(letters), start, end)
        return letters

    def _digits(self, text: str, start: int, end: int) -> None:
        numerator, denominator = text.replace(" ", "")[-2], text[-1]
        if denominator == "0":
            refusal = Refusal("division by zero", "a divisor other than zero")
            raise self._refused(refusal, start, end)
        value = Fraction(int(numerator), int(denominator))
        self._add(Kind.NUMBER, text, start, end, value=value, form=Form.FRACTION)

    def _block(self, text: str, start: int, end: int) -> None:
        self._add(Kind.NEWLINE, text, start, end)

    def _alignment(self, text: str, start: int, end: int) -> None:
        self._add(Kind.SOFT, text, start, end)

    def _transparent(self, _text: str, _start: int, _end: int) -> None:
        self._braces.append(True)
        self._spaced = True

    def _command(self, text: str, start: int, end: int) -> None:
        name = text[1:]
        if name in symbols.SILENT:
            self._spaced = True
        elif (kind := symbols.COMMANDS.get(name)) is not None:
            self._add(kind, text, start, end)
        elif name.lower() in words.GREEK:
            self._add(Kind.NAME, name, start, end)
        else:
            raise self._refused(refusals.latex(text), start, end)

    def _entity(self, text: str, start: int, end: int) -> None:
        character = fold(html.unescape(text))
        if character.isspace():
            self._spaced = True
        elif character in symbols.BY_TEXT or character in refusals.SIGNS:
            self._symbol(character, start, end)
        elif symbols.is_number(character):
            self._number(character, start, end)
        else:
            refusal = Refusal(f"the HTML entity {text!r}", "the character that it stands for")
            raise self._refused(refusal, start, end)

    def _superscript(self, text: str, start: int, end: int) -> None:
        value = int(text.translate(symbols.SUPERSCRIPT_DIGITS)[:10])
        self._add(Kind.SUPERSCRIPT, text, start, end, value=value)

    def _blank(self, text: str, start: int, end: int) -> None:
        self._add(Kind.BLANK, text, start, end)

    def _symbol(self, text: str, start: int, end: int) -> None:
        if text == "{":
            self._braces.append(False)
        elif text == "}" and self._braces and self._braces.pop():
            self._spaced = True
            return
        kind = symbols.BY_TEXT.get(text)
        if kind is Kind.GREATER and self._tokens and self._tokens[-1].kind is not Kind.NEWLINE:
            kind = None  # no mark of quoted mail, which only begins a line
        if kind is None:
            raise self._refused(refusals.SIGNS[text], start, end)
        self._add(kind, text, start, end)

    def _mark(self, text: str, start: int, end: int) -> None:
        refusal = Refusal(f"a quotation mark, {text}", "none, or a pair around the whole question")
        raise self._refused(refusal, start, end)

    # -- results ---------------------------------------------------------------------------------

    def _add(
        self,
        kind: Kind,
        text: str,
        start: int,
        end: int,
        *,
        value: Rational | None = None,
        form: Form = Form.PLAIN,
    ) -> None:
        self._tokens.append(Token(kind, text, start, end, self._spaced, value, form))
        self._spaced = False

    def _refused(self, refusal: Refusal, start: int, end: int) -> EquationError:
        return refusal.at(self._source, Span(start, end))


def _index(text: str) -> str:
    """Return `1` for `_{1}`, `_1` and a small 1 below the line; primes stay."""
    index = text.translate(symbols.SUBSCRIPT_DIGITS).replace("{", "").replace("}", "")
    return index[1:] if index[:1] == "_" and index[1:2].isdigit() else index


# For each group of `symbols.TOKEN`.
_TAKE: dict[str, Callable[[_Lexer, str, int, int], None]] = {
    "space": _Lexer._space, "silent": _Lexer._space, "apostrophe": _Lexer._space,
    "repeating": _Lexer._repeating, "number": _Lexer._number, "phrase": _Lexer._phrase,
    "word": _Lexer._word, "digits": _Lexer._digits, "block": _Lexer._block,
    "label": _Lexer._block, "transparent": _Lexer._transparent, "command": _Lexer._command,
    "entity": _Lexer._entity, "alignment": _Lexer._alignment,
    "superscript": _Lexer._superscript, "blank": _Lexer._blank, "symbol": _Lexer._symbol,
    "mark": _Lexer._mark,
}  # fmt: skip
