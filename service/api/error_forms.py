"""Problems in the forms of the APIs that have their own errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from pydantic import BaseModel

from service.api.hub.schemas import HubError
from service.api.open_inference.schemas import InferenceError
from service.api.openai.schemas import CompletionRequest, OpenAIError, OpenAIErrorBody
from service.api.schemas import Problem

# The names that OpenAI's API has for settings.
_OPENAI_NAMES = {
    "max_new_tokens": "max_tokens",
    "num_return_sequences": "n",
    "top_logprobs": "logprobs",
}
# The `type` of a problem (RFC 9457) whose status does not say it all.
TOO_LONG = "urn:problem-type:cybersolve:too-long-for-model"
NO_MODEL = "urn:problem-type:cybersolve:no-such-model"
_OPENAI_CODES: Mapping[str | HTTPStatus, str] = {  # by type, or else by status
    TOO_LONG: "context_length_exceeded",
    NO_MODEL: "model_not_found",
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.NOT_FOUND: "unknown_url",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}
Form = Callable[[Problem], BaseModel]


def form_of(method: str, path: str) -> Form | None:
    """Return the form of errors for a request; `None` where they are problems."""
    if _below(path, "/v2"):
        return in_open_inference
    if _below(path, "/v1") or _below(path, "/openai"):
        return in_openai
    return in_hub if (method, path) == ("POST", "/") else None


def in_open_inference(problem: Problem) -> InferenceError:
    return InferenceError(error=_sentence(problem))


def in_openai(problem: Problem) -> OpenAIErrorBody:
    """Return the error in OpenAI's form; `param` is the parameter that the message begins with."""
    first, _, rest = _sentence(problem).partition(" ")
    first = _OPENAI_NAMES.get(first.rstrip(":"), first)
    param = first.rstrip(":").partition(".")[0]
    if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "rate_limit_error"
    else:
        kind = "invalid_request_error" if problem.status < 500 else "server_error"
    return OpenAIErrorBody(
        error=OpenAIError(
            message=f"{first} {rest}",
            type=kind,
            param=param if param in CompletionRequest.model_fields else None,
            code=_OPENAI_CODES.get(problem.type) or _OPENAI_CODES.get(HTTPStatus(problem.status)),
        )
    )


def in_hub(problem: Problem) -> HubError:
    """Return the error in the form of text-generation-inference, which the hub's client reads."""
    if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "overloaded"
    else:
        kind = "validation" if problem.status < 500 else "generation"
    return HubError(error=_sentence(problem), error_type=kind)


def _below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def _sentence(problem: Problem) -> str:
    """Return one sentence: the first fault of a body with its place, or the detail."""
    text = problem.detail
    if problem.errors:
        fault = problem.errors[0]
        place = ".".join(map(str, fault.at[1:]))
        if place.isdigit():  # a character of what is not JSON, which the message names
            place = ""
        text = f"{place}: {fault.message}" if place else fault.message
    return f"{text} (request {problem.request_id})" if problem.request_id else text
