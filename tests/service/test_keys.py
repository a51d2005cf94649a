"""The file of API keys: read, refused, and followed when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.api.keys import ApiKeys, KeysError, new_key
from tests.fakes import Clock


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_key_has_256_bits_and_its_line_lets_it_in(tmp_path: Path) -> None:
    key, line = new_key("alice")
    other, other_line = new_key("bob")
    assert len(key) == len("cs_") + 43  # 32 bytes in base64
    assert key not in line
    keys = ApiKeys(written(tmp_path / "keys", "# who may ask", "", f"  {line}", other_line))
    assert (keys.owner(key.encode()), keys.owner(other.encode())) == ("alice", "bob")
    assert keys.owner(b"") is None
    assert keys.owner(key[:-1].encode()) is None
    assert keys.owner(line.split(":")[1].encode()) is None  # the hash is not the key


def test_a_name_may_have_two_keys_while_they_rotate(tmp_path: Path) -> None:
    (old, old_line), (new, new_line) = new_key("alice"), new_key("alice")
    keys = ApiKeys(written(tmp_path / "keys", old_line, new_line))
    assert keys.owner(old.encode()) == keys.owner(new.encode()) == "alice"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"keys: no key; expected a line for each"),
        (b"# nothing but words\n", r"keys: no key"),
        (b"# one\nalice:cs_secret\n", r"keys:2: expected NAME:SHA-256 in hex"),
        (b"alice " + b"0" * 64, r"keys:1: expected NAME:SHA-256"),
        (b"\xff\xfe", r"keys: not UTF-8"),
        (None, r"keys: No such file or directory; expected a file of API keys"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_quotes_nothing(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeysError, match=complaint) as refused:
        ApiKeys(path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 65, "zoë"])
def test_a_name_that_does_not_fit_a_line_is_refused(name: str) -> None:
    with pytest.raises(KeysError, match="expected up to 64 of"):
        new_key(name)


def test_a_changed_file_is_followed_within_a_second(tmp_path: Path) -> None:
    (old, old_line), (new, new_line) = new_key("alice"), new_key("alice")
    clock = Clock()
    keys = ApiKeys(written(tmp_path / "keys", old_line), clock=clock)
    written(tmp_path / "keys", old_line, new_line)
    assert keys.owner(new.encode()) is None  # looked a moment ago
    clock.now_s += 1
    assert keys.owner(new.encode()) == "alice"
    written(tmp_path / "next", new_line).replace(tmp_path / "keys")
    clock.now_s += 1
    assert keys.owner(old.encode()) is None
    assert keys.owner(new.encode()) == "alice"


def test_a_file_that_breaks_leaves_the_keys_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, line = new_key("alice")
    clock = Clock()
    keys = ApiKeys(written(tmp_path / "keys", line), clock=clock)
    for break_it in (lambda: written(tmp_path / "keys", "oops"), (tmp_path / "keys").unlink):
        break_it()
        caplog.clear()
        for _ in range(3):
            clock.now_s += 1
            assert keys.owner(key.encode()) == "alice"
        (complaint,) = caplog.records
        assert complaint.levelno == logging.ERROR
        assert complaint.getMessage().endswith("; the keys from before remain in force")
    other, other_line = new_key("bob")
    written(tmp_path / "keys", other_line)
    clock.now_s += 1
    assert keys.owner(other.encode()) == "bob"
    assert keys.owner(key.encode()) is None
