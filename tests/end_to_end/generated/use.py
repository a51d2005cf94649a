# mypy: ignore-errors
"""Uses the generated Python client, in the environment of its generator: `use.py URL MODEL`."""

import json
import sys

from cybersolve_generated import Client
from cybersolve_generated.api.open_inference_protocol import model_infer
from cybersolve_generated.api.operate import info, readyz
from cybersolve_generated.api.solve import solve, solve_batch
from cybersolve_generated.models import (
    BatchAnswer,
    BatchRequest,
    Datatype,
    Fallback,
    InferRequest,
    InputTensor,
    Problem,
    SolveRequest,
)


def outcome(question, result):
    if isinstance(result, BatchAnswer):
        return result.answer
    return at(question, result.span) if result.span else result.detail


def at(text, span):
    return text[slice(*span)]


url, model = sys.argv[1:]
client = Client(base_url=url)
question = "𝟛" * 10 + "x" * 1990 + "over!"  # 2,000 characters, and five
questions = ["2x = 8", question, "123456789012345x = 3"]
answered = solve.sync(
    client=client, body=SolveRequest(question="3x + 5 = 20", fallback=Fallback.EXACT)
)
problem = solve.sync(client=client, body=SolveRequest(question=question))
assert isinstance(problem, Problem)
batch = solve_batch.sync(client=client, body=BatchRequest(questions=questions))
tensor = InputTensor(name="question", datatype=Datatype.BYTES, shape=[1], data=["3x = 12"])
inferred = model_infer.sync(model, client=client, body=InferRequest(inputs=[tensor]))
print(
    json.dumps(
        {
            "answer": answered.answer,
            "problem": [problem.status, problem.detail, at(question, problem.span)],
            "batch": [outcome(*pair) for pair in zip(questions, batch.results, strict=True)],
            "kinds": [result.kind for result in batch.results],
            "tensor": next(o.data for o in inferred.outputs if o.name == "answer"),
            "ready": readyz.sync(client=client).status,
            "name": info.sync(client=client).name,
        }
    )
)
