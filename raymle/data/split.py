"""Who goes where: a pure function of a row's hash, so the same rows on any cluster size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.config import SplitConfig
from raymle.data.hashes import Hashes, as_text, mix
from raymle.errors import DataError
from raymle.records import Record

Sides = NDArray[np.uint8]
SIDES = ("train", "validation", "test")
SPELLINGS = {
    "train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2,
}  # fmt: skip


class Rule(Record):
    """Where the cuts are; with it a row's side follows from the row alone."""

    method: str
    seed: int
    cuts: dict[str, tuple[int, int]]
    """First value of validation and of test: of the hash, of the time, or of the hash for each class."""


def draws(identity: Hashes, seed: int) -> Hashes:
    """Return the number that decides: another seed, another split."""
    return mix(identity ^ mix(np.array([seed % 2**64], np.uint64)))


def rule(config: SplitConfig, identity: Hashes, aux: NDArray[Any] | None, names: Sequence[str] = ()) -> Rule:
    """Find the cuts that give every side its share.

    Args:
        config: The ``split`` section.
        identity: Each row's identity hash, or its group's.
        aux: Class codes for stratified, moments (int64) for time.
        names: The classes.

    Raises:
        DataError: a class has too few rows to be in every split.
    """
    fractions = (config.fractions.train, config.fractions.train + config.fractions.validation)
    cuts: dict[str, tuple[int, int]] = {"": (0, 0)}
    if config.method in {"hash", "group"}:
        cuts = {"": (_share(fractions[0]), _share(fractions[1] if config.fractions.test else 1.0))}
    elif config.method == "stratified":
        assert aux is not None
        drawn = draws(identity, config.seed)
        cuts = {str(code): _class_cuts(np.sort(drawn[aux == code]), config, names[code]) for code in range(len(names))}
    elif config.method == "time":
        assert aux is not None
        moments = np.sort(aux)
        places = [min(len(moments) - 1, round(fraction * len(moments))) for fraction in fractions]
        last = int(moments[-1]) + 1
        second = int(moments[places[1]]) if config.fractions.test else last
        cuts = {"": (int(moments[places[0]]), second)}
    return Rule(method=config.method, seed=config.seed, cuts=cuts)


def _share(fraction: float) -> int:
    return min(2**64 - 1, int(fraction * 2.0**64))


def _class_cuts(drawn: Hashes, config: SplitConfig, name: str) -> tuple[int, int]:
    sides = 3 if config.fractions.test else 2
    if len(drawn) < sides:
        raise DataError(
            f"class {name!r} has {len(drawn)} row{'s' * (len(drawn) != 1)}, too few for {sides} stratified splits",
            hint="leave the class out, gather more of it, or use split.method=hash",
        )
    test = max(1, round(config.fractions.test * len(drawn))) if config.fractions.test else 0
    test = min(test, len(drawn) - 2)
    validation = max(1, round(config.fractions.validation * len(drawn)))
    first = max(1, len(drawn) - test - validation)
    second = int(drawn[len(drawn) - test]) if test else 2**64 - 1
    return int(drawn[first]), second


def sides(rule: Rule, identity: Hashes, aux: NDArray[Any] | None) -> Sides:
    """Return 0 train, 1 validation, 2 test for every row.

    Args:
        rule: The cuts.
        identity: Each row's identity hash, or its group's.
        aux: Class codes for stratified, moments for time, sides for column.
    """
    if rule.method == "column":
        assert aux is not None
        return aux.astype(np.uint8)
    if rule.method == "time":
        assert aux is not None
        return np.searchsorted(np.array(rule.cuts[""]), aux, side="right").astype(np.uint8)
    drawn = draws(identity, rule.seed)
    if rule.method == "stratified":
        assert aux is not None
        table = np.array([rule.cuts[str(code)] for code in range(len(rule.cuts))], np.uint64)
        first, second = table[aux].T
    else:
        first, second = (np.uint64(cut) for cut in rule.cuts[""])
    return np.asarray((drawn >= first).astype(np.uint8) + (drawn >= second).astype(np.uint8))


def given_sides(values: pa.Array, by: str) -> Sides:
    """Read the user's own train, validation and test."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(values))).to_numpy(zero_copy_only=False)
    found = pd.Series(words, dtype=object).map(SPELLINGS)
    if found.isna().any():
        strange = words[int(found.isna().to_numpy().argmax())]
        raise DataError(
            f"split.by column {by!r} holds {strange!r}", hint="its values must be train, validation or test"
        )
    return np.asarray(found, np.uint8)
