"""Moments become windows that never look ahead, and what no series is made of is told with its series and row."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle import data, loader
from raymle.config import DataConfig
from raymle.data import resolve, rewindowed, sequences, series, shards
from raymle.errors import DataError, SpecError
from raymle.store import open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def moments(hours=60, sites=("a", "b"), **columns):
    at = [START + HOUR * hour for hour in range(hours)] * len(sites)
    values = {"temp": np.arange(hours * len(sites), dtype=float), "wind": np.arange(hours * len(sites)) / 7}
    return pa.table({"at": at, "site": np.repeat(sites, hours), **values, **columns})


def config(window=4, horizon=1, **more):
    about = {"source": "<table>", "target": "temp", "time": "at", "group": "site", "task": "forecast"} | more
    return DataConfig.model_validate(
        about | {"series": {"window": window, "horizon": horizon, "season": 1, **more.get("series", {})}}
    )


def windows(table, about):
    source = resolve(table, folder=".")
    return series.windowed(source, about, series.infer(source, about))


def rows(table, about):
    found = windows(table, about).source.table
    return {(row["site"], row["at"]): row for row in found.to_pylist()}


def test_a_row_is_the_past_of_the_moment_it_is_for():
    found = rows(moments(hours=10), config())
    assert len(found) == 2 * 6
    row = found["b", START + 4 * HOUR]
    assert row["temp"] == [10, 11, 12, 13]
    assert row["temp+1"] == 14
    assert row["wind"] == pytest.approx([10 / 7, 11 / 7, 12 / 7, 13 / 7])


def test_with_a_horizon_the_window_ends_that_many_steps_before():
    row = rows(moments(hours=10), config(window=3, horizon=4))["a", START + 6 * HOUR]
    assert (row["temp"], row["temp+4"]) == ([0, 1, 2], 6)


@settings(max_examples=60)
@given(
    hours=st.integers(6, 30), window=st.integers(1, 5), horizon=st.integers(1, 4), changed=st.integers(0, 29),
    gap=st.integers(1, 29), shuffle=st.randoms(use_true_random=False),
)  # fmt: skip
def test_no_value_at_the_moment_or_later_changes_an_input(hours, window, horizon, changed, gap, shuffle):
    order = [hour for hour in range(hours) if hour != gap]
    shuffle.shuffle(order)
    table = moments(hours, sites=("a",)).take(order)
    about = config(window, horizon, series={"step": "1h"})
    late = [at >= START + HOUR * (changed % hours) for at in table["at"].to_pylist()]
    noise = {name: np.where(late, -1e9, table[name].to_numpy()) for name in ("temp", "wind")}
    other = pa.table({"at": table["at"], "site": table["site"], **noise})
    if longest_run(order) < window + horizon:
        return
    before, after = rows(table, about), rows(other, about)
    assert before.keys() == after.keys()
    for (_, moment), row in before.items():
        if moment <= START + HOUR * (changed % hours):
            assert [row[name] for name in ("temp", "wind")] == [after["a", moment][name] for name in ("temp", "wind")]
        first = moment - HOUR * (window + horizon - 1)
        assert row["temp"] == [((first - START) / HOUR) + step for step in range(window)], "no gap is reached over"


def longest_run(hours):
    breaks = np.flatnonzero(np.diff(np.sort(hours)) > 1) + 1
    return max(len(part) for part in np.split(np.sort(hours), breaks))


def prepared(tmp_path, table, **more):
    values = {"name": "s", "data": config(**more).model_dump(mode="json")}
    spec = loader.from_mapping(values)
    splits = data.prepare(spec.data, spec.split, open_store(str(tmp_path)), folder=".", source=table)
    return spec, splits


def test_a_forecast_is_split_by_time_and_no_later_target_is_seen_earlier(tmp_path):
    spec, splits = prepared(tmp_path, moments(hours=100))
    assert spec.split.method == "time"
    times = {side: shards.times(splits, side) for side in ("train", "validation")}
    assert times["train"].max() < times["validation"].min()
    arrays = shards.load(splits, "train")
    assert len(arrays.target) == len(times["train"]) == splits.rows["train"]
    window = shards.load_transform(splits).sequences[0]
    seen = sequences.unscaled(arrays.numbers[:, 1:], window, "temp")
    before = (times["validation"].min() - times["train"].min()) // 3_600_000_000 + 4
    assert seen.max() < 100 + before, "of the warmer site"
    assert splits.data_schema.named("key") == ("at", "site")
    assert not splits.warnings


def test_the_inputs_are_the_standardised_window_and_the_parts_of_the_moment(tmp_path):
    _, splits = prepared(tmp_path, moments(hours=100))
    transform = shards.load_transform(splits)
    assert transform.names[:3] == ("at.hour", "temp[-3]", "wind[-3]"), "100 hours are no two weeks"
    assert transform.inputs.sequences[0].model_dump() == {"column": "window", "steps": 4, "width": 2}
    again = transform.from_state(transform.state())
    assert again == transform


def test_moments_are_sorted_and_gaps_are_told_and_never_reached_over():
    table = moments(hours=30, sites=("a",))
    keep = [hour for hour in range(30) if hour not in {10, 11}]
    found = windows(table.take(keep[::-1]), config())
    assert "sorted" in found.told[0]
    assert (
        "1 gap: series 'a' goes from 2026-01-01T09:00:00 to 2026-01-01T12:00:00 in row 18, and a step is 1h"
        in found.told[1]
    )
    assert found.source.table.num_rows == (10 - 4) + (18 - 4)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.set_column(2, "temp", pa.array([None, *range(119)], pa.float64())),
         "target 'temp' is missing in 1 of 120 rows, first in series 'a' at 2026-01-01T00:00:00, row 1"),
        (lambda t: pa.concat_tables([t, t.slice(70, 1)]), "series 'b' has two rows at 2026-01-01T10:00:00: row 71 and row 121"),
        (lambda t: t.set_column(0, "at", pa.array(["2026-01-01", *["noon"] * 119])), "holds 'noon' in row 2, which is no moment"),
        (lambda t: t.set_column(0, "at", pa.array([None, *t["at"].to_pylist()[1:]])), "missing in 1 of 120 rows, first in row 1"),
        (lambda t: t.slice(0, 4), "no series has the even steps of a window of 4 and a horizon of 1: series 'a' has 4 rows"),
        (lambda t: t.slice(0, 1), "no series has two moments"),
        (lambda t: t.set_column(1, "site", pa.array([None, *["a"] * 119])), "group column 'site' is missing in row 1"),
        (lambda t: t.append_column("temp+1", t["temp"]), "column 'temp+1' has the name of what is forecast"),
        (lambda t: t.set_column(2, "temp", pa.array(["warm", "cold"] * 60)), "column 'temp' is number, but holds 'warm'"),
    ],
    ids=["a target is missing", "two rows at once", "words", "no time", "too short", "one row", "no series", "name", "no number"],
)  # fmt: skip
def test_what_no_series_is_made_of_is_told_with_its_row(spoil, words):
    with pytest.raises(DataError, match=words.replace("+", r"\+")):
        windows(spoil(moments()), config())


def test_moments_of_two_kinds_of_zone_are_refused():
    table = moments(hours=10, sites=("a",))
    text = [f"{at:%Y-%m-%dT%H:%M:%S}{'Z' * (row == 3)}" for row, at in enumerate(table["at"].to_pylist())]
    with pytest.raises(DataError, match="names a time zone in 1 of 10 rows and none in the others: row 4"):
        windows(table.set_column(0, "at", pa.array(text)), config())


def test_a_series_that_is_too_short_is_left_out_and_named():
    found = windows(pa.concat_tables([moments(hours=30), moments(hours=1, sites=("tiny",))]), config())
    assert found.told == ("1 series too short for a window are left out: 'tiny' with 1 row",)


def test_even_steps_of_months_and_of_numbers():
    months = [datetime(2020 + month // 12, 1 + month % 12, 1, tzinfo=UTC) for month in range(48)]
    table = pa.table({"at": months, "site": ["a"] * 48, "temp": np.arange(48.0)})
    found = windows(table, config(window=12, series={"season": "auto"})).schema.series
    assert (found.step, found.monthly, found.season) == (1, True, 12)
    ahead = rewindowed(resolve(table, folder="."), windows(table, config(window=12, horizon=2)).schema).source.table
    assert [row["at"] for row in ahead.to_pylist()[-2:]] == [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 1, tzinfo=UTC),
    ]
    numbered = pa.table({"at": np.arange(48) * 5, "site": ["a"] * 48, "temp": np.arange(48.0)})
    schema = windows(numbered, config()).schema
    assert schema.series.step == 5
    assert [column.name for column in schema.features] == ["temp"]


@pytest.mark.parametrize(
    ("hours", "step", "parts"),
    [(40, 1, ()), (48 + 1, 1, ("hour",)), (24 * 14 + 1, 1, ("hour", "weekday")), (15, 24, ("weekday",))],
    ids=["two days less", "two days", "two weeks", "days"],
)
def test_a_part_of_the_moment_that_did_not_come_twice_is_no_input(hours, step, parts):
    table = pa.table({"at": [START + HOUR * (step * hour) for hour in range(hours)], "temp": np.arange(float(hours))})
    schema = windows(table, config(group=None)).schema
    assert schema.series.parts == parts
    assert ("at" in [column.name for column in schema.features]) == bool(parts)
    assert schema.named("time") == schema.named("key") == ("at",)
    ahead = rewindowed(resolve(table, folder="."), schema).source.table
    assert ahead["at"][-1].as_py() == START + HOUR * (step * hours)


def test_no_regular_step_is_refused():
    at = [START + timedelta(minutes=int(minute)) for minute in np.cumsum(np.arange(1, 40))]
    with pytest.raises(DataError, match="no regular step"):
        windows(pa.table({"at": at, "site": ["a"] * 39, "temp": np.arange(39.0)}), config())


def test_the_season_follows_the_step_and_the_window():
    assert windows(moments(hours=60), config(window=24, series={"season": "auto"})).schema.series.season == 24
    short = windows(moments(hours=60), config(window=4, series={"season": "auto"}))
    assert short.schema.series.season == 1
    assert "season of 24 steps is longer than the window of 4" in short.told[0]


def test_a_forecast_answers_the_moments_after_the_last_even_without_targets():
    about = config(window=4, horizon=2)
    schema = windows(moments(), about).schema
    table = moments(hours=6, sites=("a",))
    found = rewindowed(resolve(table, folder="."), schema).source.table
    assert [row["at"] for row in found.to_pylist()] == [START + HOUR * hour for hour in (5, 6, 7)]
    assert found["temp"].to_pylist()[-1] == [2, 3, 4, 5]
    asked = table.set_column(2, "temp", pa.array([0, 1, 2, 3, None, None], pa.float64()))
    found = rewindowed(resolve(asked, folder="."), schema).source.table
    assert [row["temp"] for row in found.to_pylist()] == [[0, 1, 2, 3]], "the moment whose window is known"
    with pytest.raises(DataError, match="no series has"):
        rewindowed(resolve(table.slice(0, 3), folder="."), schema)


def test_windows_without_a_target_value_are_counted_where_a_model_is_asked():
    schema = windows(moments(), config(window=4)).schema
    table = moments(hours=20, sites=("a",))
    holes = table.set_column(2, "temp", pa.array([None if hour == 9 else hour for hour in range(20)], pa.float64()))
    found = rewindowed(resolve(holes, folder="."), schema)
    assert found.source.table.num_rows == 20 - 4 + 1 - 4
    assert found.told == (
        "1 row lacks a value of 'temp', first in series 'a' at 2026-01-01T09:00:00, row 10; "
        "4 windows that hold it are left out",
    )


def test_an_infinite_number_is_told_with_its_moment():
    wind = np.arange(120) / 7
    wind[70] = np.inf
    spoilt = moments().set_column(3, "wind", pa.array(wind))
    with pytest.raises(DataError, match=r"column 'wind' is infinite in 1 of 120 rows, first in series 'b' .* row 71"):
        windows(spoilt, config())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": {"task": "forecast", "target": "y", "source": "x.csv"}}, "data.time names no column"),
        ({"split": {"method": "hash"}}, "windows overlap"),
        ({"data": {"series": {"window": 4, "season": 5}}}, "season is 5"),
        ({"data": {"series": {"step": "soon"}}}, "step 'soon'"),
        ({"data": {"task": "regression", "series": {}}}, "data.series is for forecasts"),
        ({"data": {"transforms": ["a:b"]}}, "no data.transforms"),
    ],
    ids=["no time", "hash", "season", "step", "task", "transforms"],
)
def test_a_spec_that_is_no_forecast_is_refused(values, words):
    base = {"source": "x.csv", "target": "y", "time": "at", "task": "forecast"}
    about = values.pop("data", {})
    if "target" not in about:
        about = base | about
    with pytest.raises(SpecError, match=words):
        loader.from_mapping({"name": "s", "data": about, **values})


def test_a_series_section_makes_it_a_forecast_and_nothing_else_changes():
    spec = loader.from_mapping({"name": "s", "data": {"source": "x", "target": "y", "time": "at", "series": {}}})
    assert (spec.data.is_forecast, spec.split.method, spec.data.series.window) == (True, "time", 24)
    assert loader.from_mapping({"name": "s", "data": {"source": "x", "target": "y"}}).split.method == "hash"


def test_moments_as_text_without_a_zone_are_in_utc():
    table = moments(hours=10, sites=("a",))
    zoned = table["at"].cast(pa.timestamp("us")).cast(pa.string())
    assert rows(table.set_column(0, "at", zoned), config()) == rows(table, config())
