"""The load and the processes of the comparison of servers, on real sockets."""

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.comparison.candidates import CandidateFailed
from bench.processes import running
from bench.servers.candidate.answering import Answering
from bench.servers.comparison import Comparison, Durations
from bench.servers.entries import Entry
from bench.servers.load import NO_ANSWER, Answers, Asked, LoadError, closed_loop, once, open_loop
from bench.servers.process import ServerProcess
from bench.servers.questions import Workload, prepare
from engine.bundle import TOKENIZER, read_manifest
from engine.contracts import Prompt
from engine.generate import generate
from engine.loading import load_engine
from engine.tokens import TextCodec
from loadtest.server import free_port
from service.api.schemas import ModelName, SolveResponse
from service.contracts import Answered, Timings
from service.solving import Solver

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "cybersolve-mini"
QUESTIONS = [f"x = {number}" for number in range(30)]
HANG_UP = "x = 7"


class Echo(BaseHTTPRequestHandler):
    """Answers with the question; hangs up on one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, EchoServer)
        if self.server.hangs_up and json.loads(body)["question"] == HANG_UP:
            self.close_connection = True
            return
        self.send_response(200 if self.path == "/solve" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class EchoServer(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    hangs_up = False


@contextmanager
def echo(*, hangs_up: bool = False) -> Iterator[int]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        server.hangs_up = hangs_up
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asked_of(answers: Answers) -> Counter[str]:
    return Counter(json.loads(body)["question"] for _, body in answers.bodies)


@pytest.mark.parametrize("callers", [1, 4, 50])
def test_once_asks_every_question_and_keeps_every_body(callers: int) -> None:
    with echo() as port:
        answers = once(port, Asked(QUESTIONS), callers=callers)
    assert answers.statuses == [200] * len(QUESTIONS)
    assert asked_of(answers) == Counter(QUESTIONS)
    assert all(QUESTIONS[n] == json.loads(body)["question"] for n, body in answers.bodies)


def test_a_closed_loop_asks_until_the_time_is_over() -> None:
    with echo() as port:
        answers = closed_loop(port, Asked(QUESTIONS), callers=3, seconds=0.5)
    assert len(answers.statuses) > len(QUESTIONS)
    assert set(answers.statuses) == {200}
    assert 0 < len(answers.bodies) <= len(answers.statuses) / 16
    assert all(due < done for due, done in zip(answers.due_s, answers.done_s, strict=True))
    assert answers.cpu_s > 0


def test_an_open_loop_sends_each_question_when_it_is_due() -> None:
    due_s = [0.0, 0.0, 0.0, 0.05, 0.1, 0.1]
    with echo() as port:
        answers = open_loop(port, Asked(QUESTIONS), due_s)
    assert sorted(answers.due_s) == due_s
    assert answers.statuses == [200] * len(due_s)
    assert all(due < done for due, done in zip(answers.due_s, answers.done_s, strict=True))


def test_a_lost_connection_counts_as_no_answer() -> None:
    with echo(hangs_up=True) as port:
        answers = open_loop(port, Asked(QUESTIONS), [0.0] * len(QUESTIONS))
    assert Counter(answers.statuses) == {200: len(QUESTIONS) - 1, NO_ANSWER: 1}


def test_lost_connections_end_a_closed_loop() -> None:
    with echo(hangs_up=True) as port:
        answers = once(port, Asked([HANG_UP] * 5), callers=2)
    assert answers.statuses == [NO_ANSWER] * 2


def test_a_port_without_a_server_is_named_in_the_error() -> None:
    port = free_port()
    with pytest.raises(LoadError, match=f"port {port}"):
        once(port, Asked(QUESTIONS), callers=1)


# A server whose worker is in a session of its own, as BentoML's are.
FAMILY = """
import http.server, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                          start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(worker.pid).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_is_measured_and_closed_with_all_its_processes(tmp_path: Path) -> None:
    port = free_port()
    server = ServerProcess([sys.executable, "-c", FAMILY, str(port)], {}, tmp_path / "log")
    try:
        server.wait_ready(f"http://127.0.0.1:{port}/")
        pids = server.pids()
        assert len(pids) == 2
        assert server.cpu_s() > 0
        assert server.memory_mb() > 5
    finally:
        server.close()
    assert not any(running(pid) for pid in pids)


def test_the_error_of_a_server_that_dies_names_its_log(tmp_path: Path) -> None:
    server = ServerProcess([sys.executable, "-c", "raise SystemExit"], {}, tmp_path / "log")
    with pytest.raises(CandidateFailed, match="log"):
        server.wait_ready(f"http://127.0.0.1:{free_port()}/")
    server.close()


def test_a_server_that_is_not_installed_is_excluded(tmp_path: Path) -> None:
    said: list[str] = []
    workload = Workload(["x = 1"], [{}])
    comparison = Comparison(
        workload, BUNDLE, tmp_path, Durations(1, 0, 1), cores=1, say=said.append
    )
    comparison.admit(Entry("bentoml", tmp_path / "python", {}, "/readyz"))
    comparison.close()
    assert comparison.results.excluded["bentoml"].endswith("`make bench-servers` installs it")
    assert said[0].startswith("bentoml is left out")


# In place of an interpreter: whatever it is given to run, it starts the processes above.
STAND_IN = """#!{python}
import json, os, sys
sys.argv = ["", str(json.loads(os.environ["BENCH_SERVERS_SETUP"])["port"])]
open({pid!r}, "w").write(str(os.getpid()))
{family}
"""


def admitted(folder: Path, workload: Workload) -> Comparison:
    """Return a comparison that admitted one server, which cannot answer, and was closed."""
    stand_in = folder / "python"
    family = STAND_IN.format(python=sys.executable, pid=str(folder / "pid"), family=FAMILY)
    stand_in.write_text(family)
    stand_in.chmod(0o755)
    comparison = Comparison(
        workload, BUNDLE, folder, Durations(1, 0, 1), cores=1, say=lambda _: None
    )
    try:
        comparison.admit(Entry("bentoml", stand_in, {}, "/readyz"))
    finally:
        comparison.close()
    return comparison


def test_a_server_with_wrong_answers_is_excluded_and_closed(tmp_path: Path) -> None:
    comparison = admitted(tmp_path, Workload(["x = 1"], [{}]))
    assert "no JSON" in comparison.results.excluded["bentoml"]
    assert not running(int((tmp_path / "pid").read_text()))


def test_a_bug_in_the_check_leaves_no_server_running(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        admitted(tmp_path, Workload(["x = 1"], []))
    assert not running(int((tmp_path / "pid").read_text()))


def test_a_candidate_gives_the_answers_of_the_service(tmp_path: Path) -> None:
    """All fields except the timings, because every server must do the same work."""
    workload = prepare(BUNDLE, tmp_path, 12)
    manifest, codec = read_manifest(BUNDLE), TextCodec(BUNDLE / TOKENIZER)
    engine, _ = load_engine(BUNDLE, threads=1, rows=32, provider="cpu")

    async def submit(prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        return Answered(generate(engine, [prompt])[0], Timings(0, 0))

    solver = Solver(manifest, codec, submit, max_tries=1)
    model = ModelName(name=manifest.name, version=manifest.version)
    candidate = Answering(BUNDLE, rows=32).answer(workload.questions)
    for question, expected, given in zip(
        workload.questions, workload.answers, candidate, strict=True
    ):
        solution = asyncio.run(solver.solve(question, timeout_s=60))
        served = SolveResponse.of(solution, model).model_dump(mode="json")
        for answer in (served, expected, given):
            del answer["timing_ms"]
        assert list(served) == list(given)
        assert served.pop("confidence") == pytest.approx(given.pop("confidence"), abs=0.005)
        del expected["confidence"]
        assert served == given == expected
