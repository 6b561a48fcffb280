import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.errors import GateRefused, SpecError
from raymle.evaluate.compare import Row, compared
from raymle.evaluate.labels import Box, places
from raymle.evaluate.limits import COLUMNS
from raymle.evaluate.scatter import chart, in_the_picture
from raymle.evaluate.standing import BANDS, WEIGHED, pareto
from raymle.evaluate.tables import named
from raymle.evaluate.tradeoff import write

KEYS = [
    "run_id", "model", "quality", "interval", "latency_ms", "latency_p95_ms", "batch_latency_ms", "memory_mb",
    "size_mb", "parameters", "train_seconds", "dollars", "epochs", "pareto", "bands",
]  # fmt: skip
NASTY = "<script>alert(1)</script>{{ 7*7 }}$x$"


def row(name="mlp", quality=0.9, **values):
    facts = {
        "run_id": f"run-{name}", "model": "mlp", "interval": (quality - 0.01, quality + 0.01), "latency_ms": 1.0,
        "latency_p95_ms": 2.0, "batch_latency_ms": 3.0, "memory_mb": 300.0, "size_mb": 1.0, "parameters": 1000,
        "train_seconds": 10.0, "dollars": 0.0, "epochs": 3, "metrics": {"roc_auc": quality, "f1": quality / 2},
    }  # fmt: skip
    return Row(quality=quality, name=name, **{**facts, **values})


def comparison(*rows, metric="roc_auc"):
    return compared("a machine", metric, rows)


SMALL = row("small", 0.85, latency_p95_ms=1.0, memory_mb=200.0)
MIDDLE = row("middle", 0.90, latency_p95_ms=4.0, memory_mb=300.0)
LARGE = row("large", 0.92, latency_p95_ms=9.0, memory_mb=900.0)
THREE = comparison(SMALL, MIDDLE, LARGE)

few = st.integers(0, 3).map(float)
some_rows = st.lists(st.tuples(few, few, few, few, st.one_of(few, st.none())), min_size=1, max_size=12)


def built(costs):
    return [
        row(f"m{place}", quality, latency_ms=latency, memory_mb=memory, train_seconds=seconds, dollars=dollars)
        for place, (quality, latency, memory, seconds, dollars) in enumerate(costs)
    ]


def beats(one, other, names, sign):
    pairs = [(sign * one.quality, sign * other.quality), *((getattr(one, n), getattr(other, n)) for n in names)]
    return all(left <= right for left, right in pairs) and any(left < right for left, right in pairs)


@given(some_rows, st.sampled_from(["roc_auc", "log_loss"]))
def test_no_row_on_the_front_is_dominated_and_every_other_row_is(costs, metric):
    rows = built(costs)
    names = [name for name in WEIGHED if all(getattr(each, name) is not None for each in rows)]
    sign = -1 if metric == "roc_auc" else 1
    front = pareto(rows, metric)
    assert any(front)
    for mine, is_on in zip(rows, front, strict=True):
        assert is_on != any(beats(other, mine, names, sign) for other in rows)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_bands_follow_the_order_of_the_values(values):
    rows = [row(f"m{place}", memory_mb=value) for place, value in enumerate(values)]
    told = [BANDS.index(each.bands["memory_mb"]) for each in comparison(*rows).rows]
    ordered = [band for _, band in sorted(zip(values, told, strict=True))]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 10, 100, 1000, 10_000), ["very low", "low", "medium", "high", "very high"]),
        ((100, 104), ["medium", "medium"]),
        ((100, 106), ["very low", "very high"]),
        ((0, 0), ["very low", "very low"]),
        ((0, 5), ["very low", "very high"]),
        ((0, 1, 10), ["very low", "medium", "very high"]),
        ((7,), ["medium"]),
    ],
)
def test_bands_are_fifths_on_a_log_scale(values, expected):
    rows = [row(f"m{place}", dollars=value) for place, value in enumerate(values)]
    assert [each.bands["dollars"] for each in comparison(*rows).rows] == expected


@pytest.mark.parametrize(("metric", "good"), [("roc_auc", 0.99), ("rmse", 0.1), ("log_loss", 0.1)])
def test_quality_is_high_when_it_is_good_whatever_the_direction(metric, good):
    bad = 0.5
    rows = comparison(row("good", good), row("bad", bad), metric=metric).rows
    assert [each.bands["quality"] for each in rows] == ["very high", "very low"]


def test_the_way_to_a_perfect_score_counts_and_not_the_score_itself():
    bands = [each.bands["quality"] for each in comparison(row("a", 0.9), row("b", 0.99), row("c", 0.999)).rows]
    assert bands == ["very low", "medium", "very high"]


def test_what_nobody_knows_has_no_band_and_is_no_ground_to_beat():
    rows = comparison(row("a", dollars=None), row("b", dollars=2.0, latency_ms=2.0)).rows
    assert [each.bands["dollars"] for each in rows] == ["unknown", "medium"]
    assert [each.pareto for each in rows] == [True, False]


def test_the_document_has_the_promised_keys_and_no_other():
    document = THREE.picking("roc_auc").document
    assert list(document) == ["machine", "rows", "pick"]
    assert document["pick"] == "run-large"
    assert all(list(each) == KEYS for each in document["rows"])
    assert document["rows"][0]["interval"] == [0.84, 0.86]
    assert set(document["rows"][0]["bands"]) == set(COLUMNS)
    assert comparison(row(interval=None)).document["rows"][0]["interval"] is None


@pytest.mark.parametrize(
    ("metric", "limits", "best"),
    [
        (None, (), "large"),
        ("roc_auc", ("latency_p95_ms <= 5",), "middle"),
        ("f1", ("latency_p95_ms <= 5", "memory_mb < 300"), "small"),
        ("latency_p95_ms", ("roc_auc >= 0.9",), "middle"),
        ("quality", ("f1 >= 0.46",), "large"),
        ("memory_mb", (), "small"),
    ],
)
def test_the_pick_is_the_best_of_those_within_the_limits(metric, limits, best):
    assert THREE.pick(metric, *limits).name == best


def test_a_loss_is_picked_by_the_smallest():
    rows = [row("a", 0.3, metrics={"log_loss": 0.3}), row("b", 0.2, metrics={"log_loss": 0.2})]
    found = comparison(*rows, metric="log_loss")
    assert found.pick().name == found.pick("log_loss").name == found.pick("quality").name == "b"


def test_a_pick_says_why_and_what_better_one_the_limits_leave_out():
    why = THREE.picking("roc_auc", "latency_p95_ms <= 5").why
    assert "middle, run run-middle: the highest roc_auc, 0.9, of 2 models within latency_p95_ms <= 5" in why
    assert "large, run run-large has 0.92, but latency_p95_ms is 9" in why


def test_limits_that_nobody_meets_are_refused_with_the_nearest_miss():
    with pytest.raises(GateRefused, match="nearest miss is middle, run run-middle: ") as caught:
        THREE.pick("roc_auc", "roc_auc >= 0.9", "memory_mb <= 290")
    assert "memory_mb is 300, memory_mb <= 290 is required" in str(caught.value)
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("metric", "limits", "says"),
    [
        ("roc_acu", (), "'roc_acu' is not a column or a metric"),
        ("run_id", (), "'run_id' is not"),
        ("roc_auc", ("latncy_ms <= 5",), "latncy_ms is not a column or a metric"),
        ("roc_auc", ("latency_ms is low",), "is not a condition"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_names_that_there_are(metric, limits, says):
    with pytest.raises(SpecError, match=says) as caught:
        THREE.pick(metric, *limits)
    assert ("latency_ms" in caught.value.hint) or ("latency_p95_ms" in caught.value.hint)


def test_the_text_has_numbers_bands_front_and_pick():
    text = str(THREE.picking("roc_auc", "latency_p95_ms <= 5"))
    numbers, bands, *_ = text.split("\n\n")
    assert [line.split()[1] for line in numbers.splitlines()[1:]] == ["small", "middle", "large"]
    assert bands.splitlines()[0].split() == ["small", "middle", "large"]
    assert "Inference memory    Very low  Low" in bands
    assert "a machine" in text
    assert "pick: middle" in text


def test_models_of_one_type_are_told_apart_by_what_differs():
    settings = [
        {"model.hidden": [64], "train.seed": 0}, {"model.hidden": [256, 128], "train.seed": 0}, {"train.seed": 0},
    ]  # fmt: skip
    assert named(settings, ["mlp", "mlp", "trees"]) == ["mlp, hidden 64", "mlp, hidden 256-128", "trees"]
    assert named([{}, {}], ["mlp", "mlp"]) == ["mlp #1", "mlp #2"]


def test_page_and_picture_hold_names_as_text_and_need_nothing_from_outside(tmp_path):
    page = write(tmp_path / "out", comparison(row(NASTY, 0.9), row("b", 0.8)), title=NASTY)
    text = page.read_text()
    assert "<script" not in text
    assert "{{ 7*7 }}" in text
    assert "default-src 'none'" in text
    assert "http:" not in text
    assert (tmp_path / "out" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")
    assert "<script" not in comparison(row(NASTY))._repr_html_()


@pytest.mark.parametrize(
    "rows",
    [
        [row()], [row("a"), row("b")], [row("a", interval=None, latency_ms=0.01), row("b", latency_ms=1e4)],
        [row(f"model {place}", 0.5 + place / 100, memory_mb=10.0**place) for place in range(9)],
        [row("日本語", -3.0, dollars=None, train_seconds=0.0, parameters=0)],
    ],
)  # fmt: skip
def test_odd_comparisons_still_give_a_picture(rows):
    drawn = chart(comparison(*rows, metric="r2"))
    assert drawn.png.startswith(b"\x89PNG")
    assert len(drawn.alt) > 20


def test_the_line_joins_what_nothing_in_the_picture_beats():
    rows = [row("slow", 0.95, latency_ms=9.0), row("worse", 0.7, latency_ms=2.0), row("fast", 0.8, latency_ms=1.0)]
    assert [each.name for each in in_the_picture(rows, "roc_auc")] == ["fast", "slow"]
    assert [each.name for each in in_the_picture(rows, "rmse")] == ["fast", "worse"]


@given(st.lists(st.tuples(st.integers(100, 500), st.integers(100, 300)), min_size=1, max_size=5, unique=True))
def test_labels_cover_neither_each_other_nor_a_dot_when_there_is_room(points):
    apart = [p for i, p in enumerate(points) if all(math.dist(p, q) > 60 for q in points[:i])]
    dots = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in apart]
    found = places(dots, [(70.0, 12.0)] * len(dots), Box(0, 0, 640, 440))
    boxes = [Box(x, y, x + 70, y + 12) for x, y in found]
    assert all(box.outside(Box(0, 0, 640, 440)) == 0 for box in boxes)
    assert all(box.overlap(dot) == 0 for box in boxes for dot in dots)
    assert all(one.overlap(other) == 0 for place, one in enumerate(boxes) for other in boxes[:place])
