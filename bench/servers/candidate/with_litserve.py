"""The engine in LitServe: `python -m bench.servers.candidate.with_litserve`."""

# Annotations are not postponed here: LitServe reads them from the methods.
from pathlib import Path
from typing import Any, cast

import litserve
from fastapi import Request

from bench.servers.candidate.answering import Answering
from bench.servers.candidate.setup import Setup


class Solving(litserve.LitAPI):  # type: ignore[misc]  # not installed in our own environment
    """`POST /solve`; each worker has an engine."""

    def setup(self, device: str) -> None:
        setup = Setup.from_environment()
        self._answering = Answering(Path(setup.bundle), rows=setup.rows)

    def decode_request(self, request: Request) -> str:
        # LitServe parses the body of a parameter of this name and type, and passes the object.
        question: str = cast("dict[str, Any]", request)["question"]
        return question

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, questions: list[str]) -> list[dict[str, Any]]:
        return self._answering.answer(questions)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def main() -> None:
    setup = Setup.from_environment()
    api = Solving(max_batch_size=setup.max_batch, batch_timeout=setup.wait_s, api_path="/solve")
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=setup.workers,
        fast_queue=setup.fast_queue,
    )
    server.run(
        host="127.0.0.1",
        port=setup.port,
        num_api_servers=setup.http_processes,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    main()
