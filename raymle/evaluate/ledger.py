"""Which sealed rows were ever scored, by whom, with what result: a chain that nobody can edit unseen.

    ledger/000001.json               one opening; each entry holds the digest of the one before
    ledger/rows/000001-<sha256>.npy  identity and content hashes of the rows that it spends, uint64 [2, n]

An entry is one object that can be created once: of two scorers one takes the number, the other looks again. The rows
are written first. Rows without their entry are spent too: somebody opened them and died, or the entry was removed.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymle.errors import ArtifactError
from raymle.records import Label, Record, ScoredRun
from raymle.store import Store

Hashes = NDArray[np.uint64]
NAME = re.compile(r"^(\d{6})\.json$")
ROWS = re.compile(r"^(\d{6})-([0-9a-f]{64})\.npy$")
FIRST = "0" * 64


class Entry(Record):
    """One opening of a seal."""

    number: int
    previous: str
    when: str
    splits_id: str
    label: Label
    rows: int
    """Rows that the metrics rest on."""
    spent: str
    """sha256 of the file of rows that this opening spent; empty when they had been spent before."""
    runs: tuple[ScoredRun, ...]
    columns: tuple[str, ...] = ()
    """Columns that the content of the spent rows was hashed over."""
    digest: str = ""

    def of(self, run_id: str) -> ScoredRun | None:
        """Return what one candidate scored in this opening."""
        return next((run for run in self.runs if run.run_id == run_id), None)


class Spent(NamedTuple):
    """Hashes of every row that was ever scored, each sorted."""

    identity: Hashes
    content: Hashes

    def covers(self, identity: Hashes, content: Hashes) -> NDArray[np.bool_]:
        """Tell which rows were scored before: under this identity, or with this content."""
        return np.isin(identity, self.identity) | np.isin(content, self.content)


def entries(store: Store) -> list[Entry]:
    """Return every opening, oldest first.

    Raises:
        ArtifactError: an entry is missing or was changed.
    """
    numbers = sorted(int(match[1]) for name in store.names("ledger") if (match := NAME.match(name)))
    chain: list[Entry] = []
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise _damaged(f"entry {expected} is missing")
        chain.append(_entry(store, number, chain[-1].digest if chain else FIRST))
    return chain


def verify(store: Store) -> int:
    """Check the whole ledger, the rows included, and return how many openings it holds.

    Raises:
        ArtifactError: something is missing or was changed.
    """
    chain = entries(store)
    spent(store, chain)
    return len(chain)


def spent(store: Store, chain: Sequence[Entry]) -> Spent:
    """Gather the hashes of all rows that the openings of a chain spent, and of those that have no entry."""
    names = [f"{entry.number:06d}-{entry.spent}.npy" for entry in chain if entry.spent]
    rows = [_rows(store, name) for name in (*names, *unfinished(store, chain))]
    if not rows:
        return Spent(np.empty(0, np.uint64), np.empty(0, np.uint64))
    identity, content = np.concatenate(rows, axis=1)
    return Spent(np.unique(identity), np.unique(content))


def unfinished(store: Store, chain: Sequence[Entry]) -> list[str]:
    """Name the rows that were written for an entry after the chain's last: it is coming, or never came, or went."""
    found = [(int(match[1]), name) for name in store.names("ledger/rows") if (match := ROWS.match(name))]
    return [name for number, name in found if number > len(chain)]


def was_tested(store: Store, run_id: str) -> bool:
    """Whether a run was ever scored on fresh rows."""
    return any(entry.label == "test" and entry.of(run_id) for entry in entries(store))


def append(
    store: Store,
    chain: Sequence[Entry],
    *,
    splits_id: str,
    label: Label,
    rows: int,
    spends: tuple[Hashes, Hashes],
    columns: tuple[str, ...],
    runs: tuple[ScoredRun, ...],
) -> Entry | None:
    """Add an opening after the chain; None when somebody else took its number, and nothing counts.

    Args:
        store: Where the ledger is.
        chain: All entries so far, as the caller saw them.
        splits_id: Whose sealed rows were opened.
        label: What the score may be called.
        rows: Rows that the metrics rest on.
        spends: Identity and content hashes of rows that were fresh until now.
        columns: What the content was hashed over.
        runs: Every candidate's score.
    """
    number = len(chain) + 1
    entry = Entry(
        number=number,
        previous=chain[-1].digest if chain else FIRST,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        splits_id=splits_id,
        label=label,
        rows=rows,
        spent=_keep(store, number, spends),
        columns=columns,
        runs=runs,
    )
    entry = entry.model_copy(update={"digest": _digest(entry)})
    data = entry.model_dump_json(indent=1).encode()
    return entry if store.write_new(_name(entry.number), data) else None


def _keep(store: Store, number: int, spends: tuple[Hashes, Hashes]) -> str:
    """Write the hashes under the entry's number and their own digest, so that writing twice is harmless."""
    if not len(spends[0]):
        return ""
    file = io.BytesIO()
    np.save(file, np.stack(spends).astype("<u8"), allow_pickle=False)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    store.write_new(f"ledger/rows/{number:06d}-{digest}.npy", file.getvalue())
    return digest


def _rows(store: Store, name: str) -> Hashes:
    data = store.read(f"ledger/rows/{name}")
    number, digest = int(name[:6]), name.removesuffix(".npy")[7:]
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(f"the rows that entry {number} spent were changed")
    rows: Hashes = np.load(io.BytesIO(data), allow_pickle=False)
    return rows


def _entry(store: Store, number: int, previous: str) -> Entry:
    try:
        entry = Entry.model_validate_json(store.read(_name(number)))
    except ValueError:
        raise _damaged(f"entry {number} cannot be read") from None
    if entry.number != number or entry.digest != _digest(entry):
        raise _damaged(f"entry {number} was changed")
    if entry.previous != previous:
        raise _damaged(f"entry {number} does not follow entry {number - 1}")
    return entry


def _name(number: int) -> str:
    return f"ledger/{number:06d}.json"


def _digest(entry: Entry) -> str:
    return hashlib.sha256(entry.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def _damaged(what: str) -> ArtifactError:
    return ArtifactError(
        f"the ledger of sealed rows is damaged: {what}",
        hint="restore the folder ledger of the storage from a backup; no score counts until then",
    )
