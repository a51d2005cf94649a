"""Examples of generated text for the API reference, in the form of each API.

They are the answers of the bundled model to a prompt in its own format; see `examples`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.api.example import MODEL, TIMING_MS, Example

_PROMPT = "L+3x0^0 L+5k0^0 R+2k1^1 R+0k1^0"  # 3x + 5 = 20, as the bundled model reads it
_WRITTEN = "x0: x3~0^0 x#3e0 x&0,0 k1: k-5~0^0 k2~0^1 k#2e1 k&-5,0 q0=5"


def _written(text: str, tokens: int, reason: str, logprob: float, **fields: Any) -> dict[str, Any]:
    """Return the body of an answer to a text, changed by `fields`."""
    usual = {
        "text": text, "tokens": tokens, "finish_reason": reason, "logprob": logprob, "score": None,
        "alternatives": [], "seed": None, "source_tokens": 5, "truncated": False, "unknown": [],
        "model": MODEL, "timing_ms": TIMING_MS,
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
    "system_fingerprint": "cybersolve-mini-2.1.0-int8",
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
_HUB_STREAM = (
    {
        "index": 1,
        "token": {"id": 3, "text": "x0:", "logprob": -0.001079, "special": False},
        "generated_text": None, "details": None,
    },
    {
        "index": 2,
        "token": {"id": 871, "text": " x3~0^0", "logprob": -0.00478, "special": False},
        "generated_text": "x0: x3~0^0",
        "details": {
            "finish_reason": "length", "generated_tokens": 2, "input_length": 5, "seed": None,
        },
    },
)  # fmt: skip
_HUB_TEXT = dict.fromkeys(("generated_text", "summary_text", "translation_text"), _CUT["text"])
_HUB = (
    Example(
        "inputs", "The first three tokens", 200,
        [_HUB_TEXT],
        {"inputs": _PROMPT, "parameters": {"max_new_tokens": 3}},
    ),
    Example(
        "stream", "The first two tokens as they are written", 200,
        "".join(f"data: {json.dumps(one, separators=(',', ':'))}\n\n" for one in _HUB_STREAM),
        {"inputs": _PROMPT, "parameters": {"max_new_tokens": 2}, "stream": True},
        "text/event-stream",
    ),
    Example(
        "not_supported", "A parameter that the service has not", 422,
        {"error": "parameters.grammar: not supported; expected null", "error_type": "validation"},
        {"inputs": _PROMPT, "parameters": {"grammar": {}}},
    ),
)  # fmt: skip

TEXT_EXAMPLES: Mapping[str, Sequence[Example]] = {
    "/generate": _GENERATE,
    "/": _HUB,
    "/v1/completions": _COMPLETIONS,
    "/openai/v1/completions": _COMPLETIONS,
    "/v1/models": _MODELS,
    "/openai/v1/models": _MODELS,
}
