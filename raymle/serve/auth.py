"""Bearer tokens: who may ask. Their file holds hashes alone; a token itself is shown once, when it is made.

A token is 32 random bytes, so one sha256 is enough: bcrypt and its like slow down the guessing of passwords, which
people choose badly; 2**256 cannot be guessed, and a slow hash would make every request slow.
"""

import hashlib
import hmac
import json
import secrets
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from raymle.errors import ArtifactError, ConflictError, SecurityError, UsageError
from raymle.folders import write_durably
from raymle.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator


class Token(Record):
    """What the file knows of a token."""

    name: str
    sha256: str
    created: str
    expires: str | None = None
    """When it stops to work, in UTC; None is never."""


class _File(Record):
    tokens: tuple[Token, ...] = ()


def new(tokens: tuple[Token, ...], name: str, *, now: datetime, expires: datetime | None = None) -> tuple[Token, str]:
    """Return a token's entry, and the token itself.

    Raises:
        UsageError: the name is empty, long or not printable, or it would have expired already.
        ConflictError: there is one of that name.
    """
    if not name or len(name) > 64 or not name.isprintable():
        raise UsageError("a token's name is 1 to 64 printable characters")
    if expires is not None and expires <= now:
        raise UsageError(f"{expires.isoformat()} is over already")
    if any(each.name == name for each in tokens):
        raise ConflictError(f"there is a token {name!r} already", hint="revoke it first, or choose another name")
    token = secrets.token_urlsafe(32)
    until = expires.astimezone(UTC).isoformat() if expires else None
    return Token(name=name, sha256=_hash(token.encode()), created=now.isoformat(), expires=until), token


def without(tokens: tuple[Token, ...], name: str) -> tuple[Token, ...]:
    """Return the tokens but the one of that name.

    Raises:
        ArtifactError: there is none.
    """
    kept = tuple(each for each in tokens if each.name != name)
    if len(kept) == len(tokens):
        names = ", ".join(each.name for each in tokens) or "none"
        raise ArtifactError(f"there is no token {name!r}", hint=f"there are {names}")
    return kept


def find(tokens: tuple[Token, ...], given: bytes, *, now: datetime) -> Token | None:
    """Return the token that was given, unless it has expired; in the same time wherever it stands in the list."""
    hashed = _hash(given)
    found = [each for each in tokens if hmac.compare_digest(each.sha256, hashed)]
    return next((each for each in found if not _is_over(each, now)), None)


def _is_over(token: Token, now: datetime) -> bool:
    return token.expires is not None and datetime.fromisoformat(token.expires) <= now


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def add(path: Path, name: str, *, expires: datetime | None = None) -> str:
    """Make a token, note its hash in the file, and return the token: nobody can read it again."""
    with _locked(path):
        tokens = listed(path)
        entry, token = new(tokens, name, now=datetime.now(UTC), expires=expires)
        _write(path, (*tokens, entry))
    return token


def revoke(path: Path, name: str) -> None:
    """Take a token out of the file; a server that runs notices within seconds."""
    with _locked(path):
        _write(path, without(listed(path), name))


def listed(path: Path) -> tuple[Token, ...]:
    """Return the tokens of a file; none when there is no file.

    Raises:
        SecurityError: other users can write to the file, and so let themselves in.
        ArtifactError: it is not such a file.
    """
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SecurityError(f"other users can write to {path}", hint=f"chmod 600 {path}")
        return _File.model_validate_json(path.read_bytes()).tokens
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        if isinstance(error, SecurityError):
            raise
        raise ArtifactError(f"{path} is not a file of tokens: {str(error).splitlines()[0]}") from None


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600, exist_ok=False)
    write_durably(draft, json.dumps(_File(tokens=tokens).model_dump(), indent=1).encode())
    draft.replace(path)


@contextmanager
def _locked(path: Path) -> "Iterator[None]":
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=30, mode=0o600):
        yield
