"""Examples for the API reference: requests, and the responses of the bundled model.

`tests/end_to_end/test_examples.py` sends all requests and compares the responses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MODEL = {"name": "cybersolve-mini", "version": "2.0.0"}
_TIMING_MS = {"queue": 0.152, "inference": 5.826, "total": 9.312}
_UNFINISHED = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "unexpected '='",
    "span": [5, 6],
    "expected": "a number, the variable or '('",
}


@dataclass(frozen=True)
class Example:
    name: str
    summary: str
    status: int
    response: Any
    request: Any = None  # the body of a POST
    media_type: str = "application/json"  # of the response, unless it is a problem


def _answer(**fields: Any) -> dict[str, Any]:
    """Return the body of a correct answer by the model, changed by `fields`."""
    if "answer" in fields:
        fields = {"solution": {fields.get("variable", "x"): fields["answer"]}, **fields}
    usual = {
        "answer": None, "solution": None, "variable": "x", "verdict": "correct", "reason": None,
        "source": "model", "equation": None, "work": None, "confidence": 0.999, "tries": 1,
        "model": _MODEL, "timing_ms": _TIMING_MS,
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

_PROMPT = "L+3x0^0 L+5k0^0 R+2k1^1 R+0k1^0"  # 3x + 5 = 20, as the bundled model reads it
_WRITTEN = "x0: x3~0^0 x#3e0 x&0,0 k1: k-5~0^0 k2~0^1 k#2e1 k&-5,0 q0=5"


def _written(text: str, tokens: int, reason: str, logprob: float, **fields: Any) -> dict[str, Any]:
    """Return the body of an answer to a text, changed by `fields`."""
    usual = {
        "text": text, "tokens": tokens, "finish_reason": reason, "logprob": logprob, "score": None,
        "alternatives": [], "seed": None, "source_tokens": 5, "truncated": False, "unknown": [],
        "model": _MODEL, "timing_ms": _TIMING_MS,
    }  # fmt: skip
    return {**usual, **fields}


_CUT = _written("x0: x3~0^0 x#3e0", 3, "length", -0.006006)
_GENERATE = (
    Example(
        "whole", "All that the bundled model writes for its own prompt format", 200,
        _written(_WRITTEN, 10, "end", -0.039625),
        {"text": _PROMPT},
    ),
    Example(
        "tokens", "The first token, with its log-probability", 200,
        _written(
            "x0:", 1, "length", -0.001079,
            token_logprobs=[{"id": 3, "text": "x0:", "logprob": -0.001079, "top": []}],
        ),
        {"text": _PROMPT, "max_new_tokens": 1, "logprobs": 0},
    ),
    Example(
        "several", "Two texts; the vocabulary does not have a part of the second", 200,
        {
            "results": [
                _written("x0:", 1, "length", -0.001079, kind="answer"),
                _written(
                    "x0:", 1, "length", -0.001277, source_tokens=6, unknown=["3x"], kind="answer"
                ),
            ]
        },
        {"texts": [_PROMPT, f"{_PROMPT} 3x"], "max_new_tokens": 1},
    ),
    Example(
        "stream", "The same as it is written, cut off after three tokens", 200,
        'data: {"text":"x0:"}\n\ndata: {"text":" x3~0^0"}\n\ndata: {"text":" x#3e0"}\n\n'
        f"event: done\ndata: {json.dumps(_CUT, separators=(',', ':'))}\n\n",
        {"text": _PROMPT, "max_new_tokens": 3, "stream": True},
        "text/event-stream",
    ),
    Example(
        "too_much", "More tokens than the model writes", 422,
        {
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "max_new_tokens is 600; the model writes at most 500",
        },
        {"text": _PROMPT, "max_new_tokens": 600},
    ),
    Example(
        "no_effect", "A setting that has no effect with the others", 422,
        {
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "temperature has no effect without do_sample",
        },
        {"text": _PROMPT, "temperature": 0.5},
    ),
)  # fmt: skip

_SERVED = {
    "id": "cybersolve-mini", "object": "model", "created": 1795717071, "owned_by": "cybersolve",
}  # fmt: skip
_COMPLETION = {
    "id": "cmpl-0123456789abcdef0123456789abcdef", "object": "text_completion",
    "created": 1795717073, "model": "cybersolve-mini",
    "system_fingerprint": "cybersolve-mini-2.0.0-int8",
}  # fmt: skip
_COMPLETIONS = (
    Example(
        "completion", "All that the bundled model writes for its own prompt format", 200,
        {
            **_COMPLETION,
            "choices": [{"text": _WRITTEN, "index": 0, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15},
        },
        {"model": "cybersolve-mini", "prompt": _PROMPT, "max_tokens": 40},
    ),
    Example(
        "question", "A question, which this model does not read as it is", 422,
        {
            "error": {
                "message": "cybersolve-mini reads prompts of its own, which have no '3x', '+', "
                "'5', ...; /solve takes questions",
                "type": "invalid_request_error", "param": None, "code": None,
            }
        },
        {"model": "cybersolve-mini", "prompt": "3x + 5 = 20"},
    ),
    Example(
        "model", "A model that is not served", 404,
        {
            "error": {
                "message": "no model 'other'; there is 'cybersolve-mini'",
                "type": "invalid_request_error", "param": None, "code": "model_not_found",
            }
        },
        {"model": "other", "prompt": _PROMPT},
    ),
)  # fmt: skip
_MODELS = [Example("models", "The bundled model", 200, {"object": "list", "data": [_SERVED]})]
_HUB_TEXT = dict.fromkeys(("generated_text", "summary_text", "translation_text"), _CUT["text"])
_HUB = (
    Example(
        "inputs", "The first three tokens", 200,
        [_HUB_TEXT],
        {"inputs": _PROMPT, "parameters": {"max_new_tokens": 3}},
    ),
    Example(
        "not_supported", "A parameter that the service has not", 422,
        {"error": "parameters.grammar: Input should be None", "error_type": "validation"},
        {"inputs": _PROMPT, "parameters": {"grammar": {}}},
    ),
)  # fmt: skip

_INFO = Example(
    "bundled", "The bundled model on a CPU", 200,
    {
        "name": "cybersolve-mini", "version": "2.0.0", "solves": True, "precision": "int8",
        "provider": "CPUExecutionProvider", "kernels": "avx512vnni", "parameters": 7249408,
        "max_source_tokens": 400, "max_new_tokens": 500, "max_batch_questions": 1000,
        "max_body_bytes": 1_000_000, "default_timeout_ms": 30000.0, "provenance": {},
    },
)  # fmt: skip

_QUESTION = {"name": "question", "datatype": "BYTES", "shape": [1], "data": ["3x + 5 = 20"]}
_INFER = (
    Example(
        "two_outputs", "One question, two of the outputs", 200,
        {
            "model_name": "cybersolve-mini", "model_version": "2.0.0", "id": "7",
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
    "/generate": _GENERATE,
    "/": _HUB,
    "/v1/completions": _COMPLETIONS,
    "/openai/v1/completions": _COMPLETIONS,
    "/v1/models": _MODELS,
    "/openai/v1/models": _MODELS,
    "/livez": [Example("live", "Alive", 200, {"status": "live"})],
    "/readyz": [Example("ready", "Warm", 200, {"status": "ready"})],
    "/info": [_INFO],
    "/v2/health/live": [Example("live", "Alive", 200, {"live": True})],
    "/v2/health/ready": [Example("ready", "Warm", 200, {"ready": True})],
    "/v2/models/{model_name}/infer": _INFER,
    "/v2/models/{model_name}/versions/{model_version}/infer": _INFER,
}
