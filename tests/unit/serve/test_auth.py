"""Tokens: shown once, kept as hashes, gone when they are revoked or over."""

import json
import logging
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raymle.errors import ArtifactError, ConflictError, SecurityError, UsageError
from raymle.serve import auth
from raymle.serve.admission import LOOK_EVERY_S, Tokens
from raymle.serve.limits import RequestError

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "private" / "tokens.json"


def admitted(tokens: Tokens, token: str) -> str | int:
    """Return the name behind a token, or the status of the refusal."""
    try:
        return tokens.admit(f"Bearer {token}".encode())
    except RequestError as refused:
        return refused.status


def test_the_file_holds_no_token_and_nobody_else_reads_it(path):
    token = auth.add(path, "ci")
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (entry,) = json.loads(path.read_text())["tokens"]
    assert set(entry) == {"name", "sha256", "created", "expires"}
    assert len(token) >= 43


def test_each_token_is_known_by_its_name(path):
    tokens = {name: auth.add(path, name) for name in ("ci", "web")}
    assert [each.name for each in auth.listed(path)] == ["ci", "web"]
    server = Tokens(path)
    assert {name: admitted(server, token) for name, token in tokens.items()} == {"ci": "ci", "web": "web"}
    assert server.admit(f"bearer  {tokens['ci']} ".encode()) == "ci"


@pytest.mark.parametrize("given", ["", "x", "é", "\x00", "a" * 100_000, "{hash}", "{token}x"])
def test_nothing_else_is_let_in(path, given):
    token = auth.add(path, "ci")
    given = given.format(hash=auth.listed(path)[0].sha256, token=token)
    assert admitted(Tokens(path), given) == 401


def test_a_token_that_is_over_is_refused():
    entry, token = auth.new((), "ci", now=NOW, expires=NOW + timedelta(hours=1))
    assert auth.find((entry,), token.encode(), now=NOW) == entry
    assert auth.find((entry,), token.encode(), now=NOW + timedelta(hours=1)) is None


def test_a_running_server_notices_new_and_revoked_tokens(path):
    clock = Clock()
    first = auth.add(path, "ci")
    server = Tokens(path, clock=clock)
    second = auth.add(path, "web")
    auth.revoke(path, "ci")
    clock.now += LOOK_EVERY_S
    assert (admitted(server, first), admitted(server, second)) == (401, "web")


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.chmod(0o666)])
def test_a_file_that_is_gone_damaged_or_anybodys_lets_nobody_in(path, spoil):
    clock = Clock()
    token = auth.add(path, "ci")
    server = Tokens(path, clock=clock)
    spoil(path)
    clock.now += LOOK_EVERY_S
    assert admitted(server, token) == 401


def test_a_file_that_others_can_write_is_refused_at_the_start(path):
    auth.add(path, "ci")
    path.chmod(0o622)
    with pytest.raises(SecurityError, match="other users can write") as caught:
        Tokens(path)
    assert caught.value.hint.startswith("chmod 600")


def test_what_is_no_file_of_tokens_is_one_sentence(tmp_path):
    (tmp_path / "tokens.json").write_text('{"tokens": [{"name": 1}]}')
    with pytest.raises(ArtifactError, match="is not a file of tokens"):
        auth.listed(tmp_path / "tokens.json")
    assert auth.listed(tmp_path / "none.json") == ()


def test_a_name_is_used_once_and_must_be_there_to_be_revoked(path):
    auth.add(path, "ci")
    with pytest.raises(ConflictError, match="already"):
        auth.add(path, "ci")
    with pytest.raises(ArtifactError, match="no token 'web'") as caught:
        auth.revoke(path, "web")
    assert caught.value.hint == "there are ci"
    for name in ("", "a\nb", "x" * 65):
        with pytest.raises(UsageError):
            auth.add(path, name)
    with pytest.raises(UsageError, match="is over already"):
        auth.add(path, "old", expires=NOW - timedelta(days=10_000))


def test_a_token_that_comes_too_often_waits_and_others_do_not(path):
    clock = Clock()
    ours, theirs = auth.add(path, "ci"), auth.add(path, "web")
    server = Tokens(path, rate_per_s=2, clock=clock)
    assert [admitted(server, ours) for _ in range(3)] == ["ci", "ci", 429]
    assert admitted(server, theirs) == "web"
    clock.now += 0.5
    assert [admitted(server, ours) for _ in range(2)] == ["ci", 429]


def test_a_slow_rate_says_how_long_to_wait(path):
    token = auth.add(path, "ci")
    server = Tokens(path, rate_per_s=0.1, clock=Clock())
    server.admit(f"Bearer {token}".encode())
    with pytest.raises(RequestError) as caught:
        server.admit(f"Bearer {token}".encode())
    assert caught.value.headers == {"Retry-After": "10"}


def test_tokens_are_neither_logged_nor_quoted(path, caplog):
    token = auth.add(path, "ci")
    server = Tokens(path, rate_per_s=1, clock=Clock())
    with caplog.at_level(logging.DEBUG):
        said = []
        for given in (token, token, token[:-1]):
            try:
                server.admit(f"Bearer {given}".encode())
            except RequestError as refused:
                said.append(f"{refused} {refused.__dict__}")
    assert len(said) == 2
    assert token[:-1] not in "".join(said) + caplog.text
