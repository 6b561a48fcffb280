"""What is told of a run after its end, numbered, the last one counts.

runs/<run>/cards/NNNNNN.md           what a reviewer reads first, without the line of ``reproduced``
runs/<run>/reproduced/NNNNNN.json    each time that it was made again
runs/<run>/promoted.json             that it was promoted
"""

import json
from typing import TYPE_CHECKING

from raymle.records import Reproduced
from raymle.tracking.claims import read

if TYPE_CHECKING:
    from raymle.store import Store


def keep_card(store: "Store", run_id: str, text: str) -> None:
    """Keep a run's card."""
    _append(store, f"runs/{run_id}/cards", "md", text)


def card(store: "Store", run_id: str) -> str:
    """Return a run's card; empty when it has none."""
    return _last(store, f"runs/{run_id}/cards")


def keep_reproduced(store: "Store", found: Reproduced) -> None:
    """Keep what came of making a run again."""
    _append(store, f"runs/{found.run_id}/reproduced", "json", found.model_dump_json(indent=1))


def reproduced(store: "Store", run_id: str) -> Reproduced | None:
    """Return what came of it when a run was last made again."""
    text = _last(store, f"runs/{run_id}/reproduced")
    return Reproduced.model_validate_json(text) if text else None


def _append(store: "Store", folder: str, kind: str, text: str) -> None:
    number = _number(store.names(folder)) + 1
    while not store.write_new(f"{folder}/{number:06d}.{kind}", text.encode()):
        number += 1


def _last(store: "Store", folder: str) -> str:
    names = store.names(folder)
    return store.read(f"{folder}/{names[-1]}").decode() if names else ""


def _number(names: list[str]) -> int:
    return int(names[-1].partition(".")[0]) if names else 0


def note_promotion(store: "Store", run_id: str, version: str) -> None:
    """Keep with a run that it was promoted."""
    store.write_new(f"runs/{run_id}/promoted.json", json.dumps({"version": version}).encode())


def promotion_of(store: "Store", run_id: str) -> str | None:
    """Return the version that a run was promoted to."""
    found = read(store, f"runs/{run_id}/promoted.json")
    return str(found["version"]) if found else None
