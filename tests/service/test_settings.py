from pathlib import Path

import pytest

from engine.cpu import available_cpus
from engine.kernels import CHOICES
from service.settings import KERNELS, Settings, SettingsError


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environment({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.model.name == "cybersolve-mini"


def test_the_environment_decides() -> None:
    settings = Settings.from_environment(
        {"CYBERSOLVE_MAX_QUEUE": "7", "CYBERSOLVE_MODEL": "/m", "PORT": "9", "OTHER": "x"}
    )
    assert (settings.max_queue, settings.model, settings.port) == (7, Path("/m"), 9)


def test_a_flag_overrides_its_variable() -> None:
    settings = Settings.from_environment({"PORT": "9"}, flags={"port": "10"})
    assert settings.port == 10


def test_limits_for_untrusted_clients_are_set_in_the_environment() -> None:
    settings = Settings.from_environment(
        {
            "CYBERSOLVE_API_KEYS_FILE": "/run/keys",
            "CYBERSOLVE_CORS_ORIGINS": "https://a.test, https://b.test,",
            "CYBERSOLVE_LOG_QUESTIONS": "1",
        }
    )
    assert settings.api_keys_file == Path("/run/keys")
    assert settings.cors_origins == ("https://a.test", "https://b.test")
    assert settings.log_questions


def test_the_levels_of_kernels_are_the_engines() -> None:
    assert KERNELS == CHOICES


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"CYBERSOLVE_MAX_QUEUE": "many"}, "CYBERSOLVE_MAX_QUEUE is 'many'; expected int"),
        ({"CYBERSOLVE_MAX_QUEUE": "0"}, "CYBERSOLVE_MAX_QUEUE is 0; expected finite, over 0"),
        ({"CYBERSOLVE_DRAIN_TIMEOUT_S": "inf"}, "DRAIN_TIMEOUT_S is inf; expected finite, over 0"),
        ({"CYBERSOLVE_DRAIN_TIMEOUT_S": "nan"}, "DRAIN_TIMEOUT_S is nan; expected finite, over 0"),
        ({"CYBERSOLVE_PROVIDER": "tpu"}, "expected auto, cpu, cuda"),
        ({"CYBERSOLVE_KERNELS": "sse"}, "KERNELS is 'sse'; expected auto, none, avx512vnni"),
        ({"CYBERSOLVE_LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'; expected text, json"),
        ({"CYBERSOLVE_LOG_QUESTIONS": "yes"}, "LOG_QUESTIONS is 'yes'; expected 0 or 1"),
        ({"CYBERSOLVE_METRICS_PORT": "no"}, "METRICS_PORT is 'no'; expected int"),
        ({"CYBERSOLVE_MAX_QEUE": "7"}, "no such setting: CYBERSOLVE_MAX_QEUE"),
    ],
)
def test_mistakes_are_named(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2)]
)
def test_threads_follow_the_containers_quota(tmp_path: Path, quota: str, most: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert available_cpus(file) <= most
    file.write_text("max 100000")
    assert available_cpus(file) == available_cpus(tmp_path / "missing") >= 1


def test_a_name_is_a_part_of_a_path() -> None:
    assert Settings.from_environment({"CYBERSOLVE_NAME": "my-t5_2.0"}).name == "my-t5_2.0"
    for name in ("", "a/b", "../a", "with space", "n" * 64):
        with pytest.raises(SettingsError, match=r"CYBERSOLVE_NAME is .*; expected 1 to 63 letters"):
            Settings(name=name)
