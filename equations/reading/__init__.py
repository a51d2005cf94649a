"""Reader of what people type: text to a `Question`.

In story order: `characters` maps the signs that people paste to a few, one for one; `lexer` makes
tokens of them (`numbers`, `words`); `layout` takes labels and decoration away and splits the text
into pieces; `grammar` reads each piece as a chain of equal sums; `question` puts the equations and
the variables asked for together. `refusals` has the words for what is not understood. Nothing has
two readings in silence: docs/questions.md lists the readings that are taken and what is refused.
"""
