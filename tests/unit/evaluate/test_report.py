import re

import numpy as np
import pytest

from raymle.config import ModelConfig
from raymle.evaluate import plots, report
from raymle.evaluate.judged import Judged
from raymle.evaluate.numbers import by_bin, confusion_counts, counts_by_threshold, merged
from raymle.records import Column, Drift, Epoch, Schema, Splits

NASTY = "<script>alert(1)</script>{{ 7*7 }}$x$"


def schema(task="classification", classes=("no", "yes")):
    columns = (
        Column(name="late", type="category", role="target"),
        Column(name=NASTY, type="number", role="feature", reason=NASTY),
    )
    return Schema(columns=columns, target="late", task=task, classes=classes if task == "classification" else ())


def judged(classes=2, rows=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows)
    predicted = rng.dirichlet(np.ones(classes), rows).reshape(rows, classes)
    return Judged(schema(classes=tuple(f"class {place}" for place in range(classes))), y, predicted)


def values(y, predicted):
    return Judged(schema("regression"), np.asarray(y, np.float64), np.asarray(predicted, np.float64))


def history(epochs=3, metric="roc_auc"):
    return tuple(
        Epoch(epoch=number, step=number, metrics={"train_loss": 1 / number, metric: 0.5}, best=number == 2)
        for number in range(1, epochs + 1)
    )


def page(tmp_path, rows, **facts):
    about = report.Facts(title=NASTY, side="validation", model=ModelConfig(), **facts)
    path = report.write(tmp_path, about, rows, rows.measure(), metric="roc_auc")
    return path.read_text()


def test_a_run_with_everything_gives_one_page_and_a_picture_of_each_kind(tmp_path):
    splits = Splits(
        id="s", path="", sealed="", data_fingerprint="", data_schema=schema(),
        rows={"train": 1600, "validation": 200, "test": 200},
        fingerprints={"train": "aaa", "validation": "bbb", "test": "ccc"},
        distribution=(Drift(column=NASTY, split="test", psi=0.31, statistic=0.1, p_value=0.02),),
        warnings=("12 rows are copies",),
    )  # fmt: skip
    text = page(tmp_path, judged(), splits=splits, history=history(), spec={"name": NASTY})
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["calibration.png", "confusion.png", "learning.png", "roc_pr.png"]
    for path in (tmp_path / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    for expected in (
        "1,600",
        "12 rows are copies",
        "0.31",
        "class 1",
        "roc_auc",
        "precision",
        "raymle score",
    ):
        assert expected in text
    assert len(text) < 3_000_000


def test_names_from_the_data_are_text_and_never_markup_or_templates(tmp_path):
    text = page(tmp_path, judged(), history=history(), spec={"name": NASTY})
    assert "<script" not in text
    assert "{{ 7*7 }}" in text
    assert "&lt;script&gt;" in text


def test_addresses_which_may_hold_a_password_are_not_shown(tmp_path):
    spec = {"name": "n", "tracking": {"uri": "https://me:hunter2@mlflow"}, "train": {"epochs": 7}}
    text = page(tmp_path, judged(), spec=spec)
    assert "hunter2" not in text
    assert "epochs: 7" in text


def test_the_page_needs_nothing_from_outside_and_may_load_nothing(tmp_path):
    text = page(tmp_path, judged(), history=history())
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", text) == []
    assert "url(" not in text
    assert "http:" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]


def test_every_picture_has_a_sentence_and_a_table(tmp_path):
    text = page(tmp_path, judged(), history=history())
    alts = re.findall(r'<img [^>]*alt="([^"]*)"', text)
    assert len(alts) == 4
    assert all(len(alt) > 20 for alt in alts)
    assert text.count("The numbers behind it") == 4


@pytest.mark.parametrize(
    "rows",
    [
        judged(rows=1), judged(classes=3), judged(classes=40), judged(classes=1000, rows=300),
        Judged(schema(), np.zeros(9, np.int64), np.tile([1.0, 0.0], (9, 1))),
        Judged(schema(classes=("日本語", "a$b")), np.arange(9) % 2, np.tile([0.0, 1.0], (9, 1))),
        Judged(schema(), np.empty(0, np.int64), np.empty((0, 2))),
        values([1.0], [1.0]), values(np.ones(50), np.ones(50)), values([], []),
        values(np.arange(50), np.full(50, 7)), values([1e30, -1e30, 0], [0, 0, 0]), values([1e15] * 9, [1e15] * 9),
    ],
)  # fmt: skip
def test_odd_predictions_still_give_a_page(tmp_path, rows):
    assert "</html>" in page(tmp_path, rows, history=history(1))


def test_epochs_without_the_metric_still_give_a_curve():
    assert plots.learning(history(metric="other"), "roc_auc").rows[0] == (1, 0.5, 1.0)


def test_regression_has_its_own_pictures(tmp_path):
    y = np.random.default_rng(0).normal(size=500)
    page(tmp_path, values(y, y + 0.1))
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == ["predicted_vs_true", "residuals"]


def test_per_class_numbers_agree_with_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    rows = judged(classes=4)
    expected = np.array(precision_recall_fscore_support(rows.y, rows.said)).T
    assert np.allclose([found[1:] for found in report.per_class(rows)], expected)


def test_confusion_counts_true_in_rows_and_predicted_in_columns():
    counts = confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert counts.tolist() == [[1, 1], [0, 1]]


def test_rare_classes_are_merged_and_no_row_is_lost():
    rows = judged(classes=40, rows=1000)
    counts, names = merged(rows)
    assert len(names) == len(counts) == 12
    assert names[-1] == "29 others"
    assert counts.sum() == 1000


def test_curves_end_where_every_row_is_called():
    rng = np.random.default_rng(0)
    hit, score = rng.random(5000) < 0.3, rng.random(5000).round(3)
    threshold, found, wrong = counts_by_threshold(hit, score)
    assert (found[-1], wrong[-1]) == (hit.sum(), (~hit).sum())
    assert (np.diff(threshold) < 0).all()
    assert len(threshold) <= 400
    place = len(threshold) // 2
    assert found[place] == (hit & (score >= threshold[place])).sum()


def test_bins_hold_every_row():
    along = np.random.default_rng(0).normal(size=300)
    rows = by_bin(along, np.quantile(along, [0, 0.5, 1]), (along,))
    assert [row[1] for row in rows] == [150, 150]
