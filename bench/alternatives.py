"""`python -m bench.alternatives`: compare ways to mend a model's wrong answers.

Each wrong answer that the model can mend is tried again by deviations in rounds of three, as the
service does (`service.alternatives`), by beams and by samples, all of which are verified. Figures
by split: the wrong answers, those mended, the further answers that were written, and the processor
time. Every way has the same most answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import command
from commandline.ranges import COUNT
from engine.bundle import TOKENIZER, load_manifest
from engine.contracts import Decoding, Engine, Hypothesis, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.tokens import TextCodec
from equations.errors import EquationError
from equations.formats import FORMATS
from equations.linear import Equation
from equations.parser import parse
from equations.prompt import OutOfRange
from equations.verify import Verdict, verify
from service.alternatives import Alternatives
from training.data import read

_ROWS = 64
_AT_ONCE = 3  # as the service


@dataclass(frozen=True)
class Wrong:
    """A question whose first answer is wrong."""

    equation: Equation
    source: tuple[int, ...]
    first: Hypothesis


class Bench:
    """The engine of one bundle, and its answers' verdicts."""

    def __init__(self, bundle: Path) -> None:
        manifest = load_manifest(bundle)
        model = OrtModel(bundle, manifest, threads=1, provider="cpu")
        self.engine: Engine = OrtEngine(model, rows=_ROWS)
        self.eos_id = manifest.architecture.eos_id
        self._codec = TextCodec(bundle / TOKENIZER)
        self._format = FORMATS[manifest.prompt_format]
        self._longest = manifest.limits.max_source_tokens

    def wrong(self, questions: Sequence[str]) -> list[Wrong]:
        """Return the questions whose greedy answer is wrong, and that the model could answer."""
        asked = []
        for question in questions:
            try:
                equation = parse(question).with_integers()
                source = self._codec.encode(self._format.prompt(equation))
            except (EquationError, OutOfRange):
                continue
            if len(source) <= self._longest and self._format.expressible(equation.solution()):
                asked.append((equation, source))
        answers = generate(self.engine, [Prompt(source) for _, source in asked])
        return [
            Wrong(equation, source, answer.best)
            for (equation, source), answer in zip(asked, answers, strict=True)
            if self.verdict(equation, answer.best) is Verdict.WRONG
        ]

    def verdict(self, equation: Equation, hypothesis: Hypothesis) -> Verdict:
        work = self._format.read(self._codec.decode(hypothesis.tokens))
        return verify(equation, work.answer or "").verdict

    def deviations(self, wrong: Sequence[Wrong], most: int) -> tuple[int, int]:
        """Return how many are mended by up to `most` deviations each, and all that were written."""
        searches = {index: Alternatives(one.source, eos_id=self.eos_id) for index, one in
                    enumerate(wrong)}  # fmt: skip
        for index, one in enumerate(wrong):
            searches[index].add(Prompt(one.source), one.first)
        mended, written = 0, 0
        for done in range(0, most, _AT_ONCE):
            taken = {i: search.take(min(_AT_ONCE, most - done)) for i, search in searches.items()}
            pairs = [(index, prompt) for index, prompts in taken.items() for prompt in prompts]
            if not pairs:
                break
            written += len(pairs)
            right = set()
            answers = generate(self.engine, [prompt for _, prompt in pairs])
            for (index, prompt), answer in zip(pairs, answers, strict=True):
                searches[index].add(prompt, answer.best)
                if self.verdict(wrong[index].equation, answer.best) is Verdict.CORRECT:
                    right.add(index)
            mended += len(right)
            searches = {i: search for i, search in searches.items() if i not in right}
        return mended, written

    def together(self, wrong: Sequence[Wrong], decoding: Decoding) -> tuple[int, int]:
        """Return the same for all answers of `decoding` at once."""
        answers = generate(self.engine, [Prompt(one.source, (), decoding) for one in wrong])
        mended = sum(
            any(self.verdict(one.equation, each) is Verdict.CORRECT for each in answer.hypotheses)
            for one, answer in zip(wrong, answers, strict=True)
        )
        return mended, decoding.rows * len(wrong)


def main() -> None:
    parser = command.parser("bench.alternatives", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("files", type=Path, nargs="+", help="dataset files, a split each")
    parser.add_argument("--questions", type=COUNT, default=1000, help="of each file")
    parser.add_argument("--most", type=COUNT, default=9, help="further answers to a question")
    arguments = parser.parse_args()
    bench, most = Bench(arguments.bundle), arguments.most
    sampled = Decoding(do_sample=True, seed=0, num_return_sequences=most)
    beams = Decoding(num_beams=most, num_return_sequences=most)
    ways: dict[str, Callable[[Sequence[Wrong]], tuple[int, int]]] = {
        "deviations": lambda wrong: bench.deviations(wrong, most),
        "beams": lambda wrong: bench.together(wrong, beams),
        "samples": lambda wrong: bench.together(wrong, sampled),
    }
    for path in arguments.files:
        questions = [problem.question for problem in read(path)][: arguments.questions]
        wrong = bench.wrong(questions)
        figures: dict[str, object] = {
            "split": path.parent.name, "questions": len(questions), "wrong": len(wrong),
        }  # fmt: skip
        for name, way in ways.items():
            started_s = time.process_time()
            mended, written = way(wrong)
            cpu_s = round(time.process_time() - started_s, 2)
            figures[name] = {"mended": mended, "written": written, "cpu_s": cpu_s}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
