"""What a request's rows may hold, worked out once for a schema and not once for a request."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import final

import pyarrow as pa

from raymle.data.casts import ARROW
from raymle.records import Column, Schema
from raymle.serve.limits import RequestError, fault, faulty
from raymle.serve.values import Convert, converter


@final
@dataclass(frozen=True)
class Layout:
    """The columns of a schema as requests are held against them."""

    features: tuple[Column, ...]
    """Must be there."""
    needed: frozenset[str]
    """Names of the features."""
    known: frozenset[str]
    """Names of all columns: keys, target and the like may come, and are ignored."""
    row: pa.StructType
    """A row of features in canonical Arrow types."""
    converters: tuple[tuple[str, Convert], ...]
    """For each feature what takes a JSON value to Arrow's."""

    def fits(self, names: Collection[str]) -> bool:
        """Whether every feature is among the names, and nothing strange."""
        return self.needed == names or (self.needed <= set(names) and self.known >= set(names))

    def strangers(self, names: Iterable[str]) -> list[str]:
        """Return the names that are no columns, sorted."""
        return sorted(set(names) - self.known)

    def strange(self, name: str, row: int | None = None) -> RequestError:
        """Return the refusal of a column that the schema does not have, with the nearest that it has."""
        near = get_close_matches(name[:200], self.known, 1)
        reason = f"there is no such column{f'; did you mean {near[0]!r}?' if near else ''}"
        return faulty([fault(row, name[:200], reason)])


def of(schema: Schema) -> Layout:
    """Return the layout of a schema."""
    features = schema.features
    return Layout(
        features=features,
        needed=frozenset(column.name for column in features),
        known=frozenset(column.name for column in schema.columns),
        row=pa.struct([(column.name, ARROW[column.type]) for column in features]),
        converters=tuple((column.name, converter(column)) for column in features),
    )
