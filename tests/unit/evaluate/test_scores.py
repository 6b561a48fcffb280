"""The chart of anomalies."""

import numpy as np
import pytest

from raymle.evaluate.judged import Judged
from raymle.evaluate.scores import distances, scores
from raymle.records import Column, Schema

SCHEMA = Schema(
    columns=(Column(name="kind", type="category", role="target"),),
    target="kind", task="classification", classes=("usual", "odd"), positive="odd", anomaly=True,
)  # fmt: skip


def judged(chances, odd):
    chances = np.asarray(chances)
    return Judged(SCHEMA, np.asarray(odd), np.column_stack([1 - chances, chances]))


def test_a_score_is_the_logit_and_its_ends_stay_finite():
    found = distances(judged([0.0, 0.5, 0.75, 1.0], [0, 0, 1, 1]))
    assert np.isfinite(found).all()
    assert found[1:3].tolist() == pytest.approx([0.0, np.log(3)])


def test_the_chart_says_what_is_above_the_threshold_and_what_another_one_would_do():
    chart = scores(judged([0.1, 0.2, 0.6, 0.9], [0, 0, 0, 1]))
    assert chart.alt == "2 of 4 rows are above the threshold; 1 of 1 anomalies are."
    assert [row[1:] for row in chart.rows] == [(1, 1.0, 1.0), (2, 0.5, 1.0), (3, 1 / 3, 1.0), (4, 0.25, 1.0)]


def test_rows_without_an_anomaly_are_drawn_too():
    assert scores(judged([0.1, 0.2, 0.6], [0, 0, 0])).png
