"""What a report shows of texts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from helpers import fit

from raymle.config import DataConfig, EvaluateConfig, SplitConfig
from raymle.data.prepare import prepare
from raymle.evaluate import evaluator
from raymle.evaluate.judged import Judged
from raymle.evaluate.quotes import frequent, worst
from raymle.records import Column, Schema
from raymle.store import open_store

SCHEMA = Schema(
    columns=(Column(name="said", type="text", role="feature"), Column(name="y", type="category", role="target")),
    target="y", task="classification", classes=("no", "yes"),
)  # fmt: skip


def test_the_most_certain_mistakes_come_first_and_right_rows_do_not_come() -> None:
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95]])
    judged = Judged(SCHEMA, np.array([0, 0, 0, 0]), chances, {})
    shown = worst(judged, pa.table({"said": ["right", "sure", "unsure", "beyond what is kept"]}).slice(0, 3))
    assert shown.header == ("true", "predicted", "how sure", "said")
    assert shown.rows == [("no", "yes", 0.8, "sure"), ("no", "yes", 0.6, "unsure")]


def test_numbers_that_are_farthest_off_come_first() -> None:
    numbers = SCHEMA.model_copy(update={"task": "regression", "classes": ()})
    judged = Judged(numbers, np.array([1.0, 1.0]), np.array([2.0, 9.0]), {})
    assert worst(judged, pa.table({"said": ["near", "far"]})).rows == [(1.0, 9.0, "far"), (1.0, 2.0, "near")]


def test_words_of_one_text_alone_are_never_told() -> None:
    assert frequent(["Good food", "good", None, "GOOD secret", "secret secret"]) == ["good"]


def test_the_report_tells_words_and_mistakes_but_no_private_column_and_no_markup(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = draw.choice(["no", "yes"], 400)
    fill = ["<b>the</b>", "food", "was", "here", "again", "and", "today"]
    said = [" ".join([*draw.choice(fill, 6), "awful" if (each == "no") ^ (draw.random() < 0.1) else "great"])
            for each in y]  # fmt: skip
    table = pa.table({"said": said, "home_address": [f"{text} in Sesame Street" for text in said], "y": y})
    data = DataConfig(source="t", target="y")
    splits = prepare(data, SplitConfig(), open_store(str(tmp_path / "runs")), folder=".", source=table)
    fit(splits, tmp_path / "bundle", kind="linear", params={}, epochs=10, optimizer={"learning_rate": 0.05})
    evaluator.validation(splits, tmp_path / "bundle", config=EvaluateConfig(), out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Worst mistakes" in page
    assert "great" in page.split("Telling words of said")[1].split("</table>")[0]
    assert "Sesame" not in page
    assert "<b>the</b>" not in page
