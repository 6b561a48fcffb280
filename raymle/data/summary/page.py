"""What was found as one HTML file: no network, no script, pictures as SVG within it."""

from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from raymle import page
from raymle.store import write_durably

WIDTH, HEIGHT = 260, 84
MOST_CARDS = 300
FACTS = (
    ("missing", "missing"), ("distinct", "different values"), ("min", "least"), ("median", "median"), ("mean", "mean"),
    ("std", "deviation"), ("quartiles", "quartiles"), ("max", "largest"), ("zeros", "zero"), ("infinite", "infinite"),
    ("outliers", "outliers"), ("rare", "in rare values"), ("length", "characters"), ("empty", "empty"),
    ("first", "first"), ("last", "last"), ("gaps", "gaps"),
)  # fmt: skip
UNLESS_NONE = {"zeros", "infinite", "outliers", "rare", "empty", "gaps", "length", "quartiles"}
"""Not told where there is none of it."""
SHARES = {"missing", "zeros", "outliers", "rare", "empty"}


class Bar(NamedTuple):
    """One bar of a picture, in its pixels, and what it says."""

    x: float
    y: float
    width: float
    height: float
    says: str


class Card(NamedTuple):
    """One column, as the page shows it."""

    facts: dict[str, Any]
    rows: list[tuple[str, str]]
    bars: list[Bar]
    alt: str
    ends: tuple[str, str]


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the page of a document that ``shown`` made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, render(document).encode())


def render(document: dict[str, Any]) -> str:
    """Fill the page; whatever a data set says is text in it, never markup."""
    folder = files("raymle.data.summary")
    balance = document["balance"]
    return page.fill(
        folder.joinpath("data.html.j2").read_text("utf-8"),
        look=folder.joinpath("data.css").read_text("utf-8"),
        document=document,
        cards=[card(each) for each in document["columns"][:MOST_CARDS]],
        target=[(side, card({"column": f"{document['target']}, {side}", **each}))
                for side, each in balance.get("sides", {}).items()],
        height=HEIGHT, width=WIDTH, brief=brief, share=share,
    )  # fmt: skip


def card(facts: dict[str, Any]) -> Card:
    """Return one column's facts in words, and its histogram."""
    told = [(name, title) for name, title in FACTS if facts.get(name) or (name not in UNLESS_NONE and name in facts)]
    rows = [(title, _fact(name, facts[name])) for name, title in told]
    picture = facts.get("histogram")
    if not picture:
        return Card(facts, rows, [], "", ("", ""))
    edges = picture["edges"]
    first, last = _between(*edges[:2]).partition(" to ")[0], _between(*edges[-2:]).rpartition(" to ")[2]
    below, above = ([f"{picture[side]:,} {side}"] if picture[side] else [] for side in ("below", "above"))
    ends = (" · ".join([first, *below]), " · ".join([last, *above]))
    return Card(facts, rows, bars(picture), _alt(facts["column"], picture), ends)


def bars(picture: dict[str, Any]) -> list[Bar]:
    """Return a histogram's bars."""
    counts = picture["counts"]
    step, most = WIDTH / len(counts), max(1, *counts)
    return [
        Bar(
            round(place * step, 2), round(HEIGHT - HEIGHT * count / most, 2), round(max(1, step - 1), 2),
            round(HEIGHT * count / most, 2), f"{_between(low, high)}: {count:,} rows",
        ) for place, (count, (low, high)) in enumerate(zip(counts, pairwise(picture["edges"]), strict=True))
    ]  # fmt: skip


def brief(facts: dict[str, Any]) -> str:
    """Say in a few words what a column holds."""
    if facts["private"]:
        return f"masked: {facts['evidence']['kind']}"
    if "median" in facts:
        return " … ".join(page.number(facts[name]) for name in ("min", "median", "max"))
    if "first" in facts:
        return f"{edge(facts['first'])} … {edge(facts['last'])}"
    if facts.get("shape"):
        channels, height, width = facts["shape"]
        return f"{'colour' if channels == 3 else 'grey'}, brought to {height} x {width} pixels"
    if facts.get("length"):
        return f"{facts['length']['min']:,} to {facts['length']['max']:,} characters"
    return ", ".join(f"{value} {share(part)}" for value, part in facts.get("most", ())[:2])


def share(part: float | None) -> str:
    """Write a share: nothing for none, and never 0 % for some."""
    if not part:
        return "0"
    return "< 0.1 %" if part < 0.001 else f"{part * 100:.1f} %"


def edge(value: Any) -> str:
    """Write a number or a moment; midnight is a day."""
    if not isinstance(value, str):
        return page.number(value)
    return value[:19].removesuffix("T00:00:00").replace("T", " ")


def _between(low: Any, high: Any) -> str:
    """Name a bin: by its only value where that is a whole number."""
    if not isinstance(low, str) and high - low == 1 and low % 1 == 0.5:
        return edge(low + 0.5)
    return f"{edge(low)} to {edge(high)}"


def _fact(name: str, value: Any) -> str:
    if name in SHARES:
        return share(value)
    if name == "quartiles":
        return " and ".join(page.number(each) for each in value)
    if name == "length":
        return f"{value['min']:,} to {value['max']:,}, mean {page.number(value['mean'])}"
    if name == "gaps":
        where = f"{edge(value['largest_from'])} to {edge(value['largest_to'])}"
        return f"usually {_span(value['median_s'])}, at most {_span(value['largest_s'])} ({where})"
    return edge(value)


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{page.number(round(seconds / size, 1))} {unit}"
    return f"{page.number(seconds)} seconds"


def _alt(name: str, picture: dict[str, Any]) -> str:
    counts, edges = picture["counts"], picture["edges"]
    top = counts.index(max(counts))
    beyond = picture["below"] + picture["above"]
    said = (
        f"Histogram of {name} from {edge(edges[0])} to {edge(edges[-1])}; "
        f"most rows, {counts[top]:,}, have {_between(edges[top], edges[top + 1])}"
    )
    return said + (f"; {beyond:,} rows lie outside." if beyond else ".")
