"""Questions to verified answers. Knows nothing of HTTP: routes, command line and training use it.

`Solver` answers one question: an equation in one variable by one text of the model, a system by
several (`stepwise`). `writing` has the model write a text, and tries again where it is wrong;
`solution` is what a question comes to.
"""

from service.solving.solution import Fallback, Solution, Source
from service.solving.solver import Solver
from service.solving.writing import format_of

__all__ = ["Fallback", "Solution", "Solver", "Source", "format_of"]
