"""The page of `raymle data show`: whole in itself, masked, and to be read on a phone and in the dark."""

import re
import shutil

import numpy as np
import pyarrow as pa
import pytest

from raymle.data.summary import page, summarise
from raymle.records import Column, Schema

BROWSER = shutil.which("chromium")
ROWS = 600
HOSTILE = "<script>alert(1)</script>"


def document(task="classification"):
    draw = np.random.default_rng(1)
    late = draw.choice(["no", "yes"], ROWS) if task == "classification" else draw.normal(size=ROWS)
    table = pa.table({
        "amount": draw.lognormal(3, 1, ROWS), HOSTILE: draw.choice([HOSTILE, "b"], ROWS), "month": draw.integers(1, 13, ROWS) * 1.0,
        "email": [f"person{row}@example.org" for row in range(ROWS)], "left": ["x"] * ROWS, "one": np.ones(ROWS),
        "at": pa.array(draw.integers(0, 10**15, ROWS), pa.timestamp("us", "UTC")),
        "note": [f"wrote to somebody{row}@example.org" if row == 0 else f"all is well {row}" for row in range(ROWS)],
        "late": late,
    })  # fmt: skip
    kinds = {"email": "category", HOSTILE: "category", "left": "category", "at": "timestamp", "note": "text",
             "late": "category" if task == "classification" else "number"}  # fmt: skip
    roles = {"late": "target", "left": "drop"}
    schema = Schema(
        columns=tuple(Column(name=name, type=kinds.get(name, "number"), role=roles.get(name, "feature")) for name in table.column_names),
        target="late", task=task,
    )  # fmt: skip
    kept = table.drop_columns("left")
    found = summarise(schema, {"train": kept[:500], "validation": kept[500:]}, rows=ROWS)
    return {
        "name": "flights",
        "target": "late",
        "task": task,
        "rows": {"train": 500, "validation": 100, "test": 77},
        **found,
    }


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_is_whole_in_itself_and_shows_no_private_value(task):
    html = page.render(document(task))
    assert not re.findall(r"https?://|//cdn|@import|src=|\burl\(|<script|style=", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "unsafe" not in policy
    assert "person" not in html
    assert "somebody" not in html
    assert "wrote to •••" in html
    assert "of a sample of 500 train and 100 validation rows" in html
    assert html.count("<svg") == html.count('role="img" aria-label=') > 3


def test_bars_are_as_high_as_their_counts_and_say_them():
    bars = page.bars({"edges": [0.5, 1.5, 2.5], "counts": [4, 8]})
    assert [(bar.height, bar.says) for bar in bars] == [(page.HEIGHT / 2, "1: 4 rows"), (page.HEIGHT, "2: 8 rows")]


def test_what_lies_outside_a_histogram_is_told():
    card = page.card(
        {"column": "x", "histogram": {"edges": [0.0, 5.0, 10.0], "counts": [3, 1], "below": 0, "above": 7}}
    )
    assert card.ends == ("0", "10 · 7 above")
    assert card.alt == "Histogram of x from 0 to 10; most rows, 3, have 0 to 5; 7 rows lie outside."


def test_a_very_wide_table_has_a_page_of_bounded_size():
    shown = document()
    shown["columns"] = [shown["columns"][0] | {"column": f"c{place}"} for place in range(page.MOST_CARDS + 9)]
    html = page.render(shown)
    assert html.count('id="column-') == page.MOST_CARDS
    assert "9 further columns are in the overview alone" in html


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("no browser here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_it_without_complaint_or_sideways_scrolling(browser, tmp_path, width, scheme):
    page.write(tmp_path / "sub" / "data.html", document())
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, asked = [], []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"file://{tmp_path}/sub/data.html")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    assert len([url for url in asked if not url.startswith("data:")]) == 1
    assert opened.get_by_role("heading", name=HOSTILE).count() == 1
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 60) == (scheme == "dark")
    tallest = max(bar.bounding_box()["height"] for bar in opened.locator("svg rect").all())
    assert tallest > 50
    opened.get_by_role("link", name="amount").click()
    assert opened.get_by_role("heading", name="amount").is_visible()
    opened.close()
