"""A comparison's page and picture: everything in one file, no network, no script."""

from importlib.resources import files
from pathlib import Path

from raymle import page
from raymle.evaluate import scatter, tables
from raymle.evaluate.compare import Comparison
from raymle.store import write_durably

TEMPLATE = "tradeoff.html.j2"


def write(out: Path, comparison: Comparison, *, title: str) -> Path:
    """Write ``tradeoff.png`` and ``tradeoff.html`` into a folder and return the page."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = scatter.chart(comparison)
    write_durably(out / "tradeoff.png", drawn.png)
    html = page.fill(
        files("raymle.evaluate").joinpath(TEMPLATE).read_text("utf-8"),
        title=title,
        comparison=comparison,
        chart=drawn,
        tables=[tables.numbers(comparison), tables.in_bands(comparison)],
        front=tables.FRONT,
    )
    write_durably(out / "tradeoff.html", html.encode())
    return out / "tradeoff.html"
