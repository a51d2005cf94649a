"""Examples for the API reference: requests, and the responses of the bundled model.

`tests/end_to_end/test_examples.py` sends all requests and compares the responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.api.example import MODEL, TIMING_MS, Example
from service.api.text_examples import TEXT_EXAMPLES

_UNFINISHED = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "unexpected '='",
    "span": [5, 6],
    "expected": "a number, the variable or '('",
}


def _answer(**fields: Any) -> dict[str, Any]:
    """Return the body of a correct answer by the model, changed by `fields`."""
    if "answer" in fields:
        fields = {"solution": {fields.get("variable", "x"): fields["answer"]}, **fields}
    usual = {
        "answer": None, "solution": None, "variable": "x", "verdict": "correct", "reason": None,
        "source": "model", "equation": None, "work": None, "confidence": 0.999, "tries": 1,
        "model": MODEL, "timing_ms": TIMING_MS,
    }  # fmt: skip
    return {**usual, **fields}


_SOLVE = (
    Example(
        "dataset", "A question in the words of the benchmark", 200,
        _answer(
            answer="-6", variable="c", equation="24 = 1601*c - 1605*c",
            work=["4*c = -24", "c = -6"], confidence=0.9891,
        ),
        {"question": "Solve 24 = 1601*c - 1605*c for c."},
    ),
    Example(
        "plain", "An equation alone, in a free form", 200,
        _answer(answer="3", equation="2*x - 2 = 4", work=["2*x = 6", "x = 3"]),
        {"question": "2(x - 1) = 4"},
    ),
    Example(
        "system", "A system, all variables asked for", 200,
        _answer(
            solution={"x": "7/2", "y": "3/2"}, variable=None, equation="x + y = 5, x - y = 2",
            work=["2*y = 3", "y = 3/2", "2*x = 7", "x = 7/2"],
        ),
        {"question": "x + y = 5; x - y = 2"},
    ),
    Example(
        "composed", "A question in several sentences", 200,
        _answer(
            answer="3", equation="3*b - 5 = 10, b*x = 15",
            work=["3*b = 15", "b = 5", "5*x = 15", "x = 3"],
        ),
        {"question": "Suppose 3*b - 5 = 10. Solve b*x = 15 for x."},
    ),
    Example(
        "no_solution", "An equation without a solution", 200,
        _answer(
            verdict="unverifiable", reason="no solution", equation="x = x + 1",
            work=["0*x = 1", "no solution"], confidence=0.9994,
        ),
        {"question": "x = x + 1"},
    ),
    Example(
        "fallback", "The exact solution of what the model cannot read", 200,
        _answer(
            answer="1/41152263004115", source="exact", equation="123456789012345*x = 3",
            confidence=None, tries=0,
        ),
        {"question": "123456789012345x = 3", "fallback": "exact", "timeout_ms": 1000},
    ),
    Example(
        "not_understood", "A slip of the pen: the fault is at `span`", 422, _UNFINISHED,
        {"question": "3x + = 20"},
    ),
    Example(
        "not_a_body", "A body of another shape", 422,
        {
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "the body is not what the route takes",
            "errors": [
                {"at": ["body", "fallback"], "message": "Input should be 'none' or 'exact'"}
            ],
        },
        {"question": "x = 1", "fallback": "guess"},
    ),
)  # fmt: skip

_BATCH = (
    Example(
        "two", "One that is answered, one that is not understood", 200,
        {
            "results": [
                _answer(
                    answer="5", equation="3*x + 5 = 20", work=["3*x = 15", "x = 5"], kind="answer"
                ),
                {**_UNFINISHED, "kind": "problem"},
            ]
        },
        {"questions": ["3x + 5 = 20", "3x + = 20"]},
    ),
    Example(
        "none", "No question at all", 422,
        {
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "the body is not what the route takes",
            "errors": [
                {
                    "at": ["body", "questions"],
                    "message": "List should have at least 1 item after validation, not 0",
                }
            ],
        },
        {"questions": []},
    ),
)  # fmt: skip

_INFO = Example(
    "bundled", "The bundled model on a CPU", 200,
    {
        "name": "cybersolve-mini", "version": "2.1.0", "solves": True, "precision": "int8",
        "provider": "CPUExecutionProvider", "kernels": "avx512vnni", "parameters": 7249408,
        "max_source_tokens": 400, "max_new_tokens": 500, "max_batch_questions": 1000,
        "max_body_bytes": 1_000_000, "default_timeout_ms": 30000.0, "processes": 1,
        "decoding": {},
        "provenance": {},
    },
)  # fmt: skip

_QUESTION = {"name": "question", "datatype": "BYTES", "shape": [1], "data": ["3x + 5 = 20"]}
_INFER = (
    Example(
        "two_outputs", "One question, two of the outputs", 200,
        {
            "model_name": "cybersolve-mini", "model_version": "2.1.0", "id": "7",
            "outputs": [
                {"name": "answer", "datatype": "BYTES", "shape": [1], "data": ["5"]},
                {"name": "verdict", "datatype": "BYTES", "shape": [1], "data": ["correct"]},
            ],
        },
        {"id": "7", "inputs": [_QUESTION], "outputs": [{"name": "answer"}, {"name": "verdict"}]},
    ),
    Example(
        "shape", "A tensor with fewer elements than its shape has", 400,
        {"error": "input 'question' has 1 elements; its shape [2] has 2"},
        {"inputs": [{**_QUESTION, "shape": [2]}]},
    ),
)  # fmt: skip

EXAMPLES: Mapping[str, Sequence[Example]] = {
    "/solve": _SOLVE,
    "/solve/batch": _BATCH,
    **TEXT_EXAMPLES,
    "/livez": [Example("live", "Alive", 200, {"status": "live"})],
    "/readyz": [Example("ready", "Warm", 200, {"status": "ready"})],
    "/health": [Example("ready", "Warm", 200, {"status": "ready"})],
    "/info": [_INFO],
    "/v2/health/live": [Example("live", "Alive", 200, {"live": True})],
    "/v2/health/ready": [Example("ready", "Warm", 200, {"ready": True})],
    "/v2/models/{model_name}/infer": _INFER,
    "/v2/models/{model_name}/versions/{model_version}/infer": _INFER,
}
