"""What one replica counts: exact, by few labels, and read as Prometheus reads it."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from small_metrics import SCHEMA, TRANSFORM, rows, samples

from raymle.data.texts import Text
from raymle.data.transform import Transform
from raymle.records import Column, Schema
from raymle.serve import families
from raymle.serve.metrics import CONTENT_TYPE, Metrics


@pytest.fixture
def metrics(tmp_path):
    with Metrics(tmp_path / "metrics", "churn", SCHEMA, TRANSFORM) as opened:
        yield opened


def seen(metrics):
    return samples(metrics.text())


def test_requests_are_counted_by_version_and_status_and_timed(metrics):
    metrics.request("7", 200, 0.02, 3)
    metrics.request("7", 200, 0.3, 2)
    metrics.request("8", 422, 0.001, 0, error="invalid_rows")
    found = seen(metrics)
    assert found["raymle_requests_total", "status=200", "version=7"] == 2
    assert found["raymle_requests_total", "status=422", "version=8"] == 1
    assert found["raymle_request_rows_total", "version=7"] == 5
    assert found["raymle_errors_total", "type=invalid_rows"] == 1
    assert found["raymle_request_seconds_count", "version=7"] == 2
    assert found["raymle_request_seconds_sum", "version=7"] == pytest.approx(0.32)
    assert found["raymle_request_seconds_bucket", "le=0.025", "version=7"] == 1
    assert found["raymle_request_seconds_bucket", "le=0.001", "version=8"] == 1  # an edge belongs to its bucket


def test_an_error_without_a_type_has_that_of_its_status(metrics):
    for status in (413, 500, 503, 418):
        metrics.request("7", status, 0.01, 0)
    found = seen(metrics)
    for kind in ("too_large", "internal", "overloaded", "other"):
        assert found["raymle_errors_total", f"type={kind}"] == 1


def test_a_series_is_there_at_0_before_it_is_first_counted(metrics):
    metrics.loaded("7", "onnx")
    found = seen(metrics)
    assert found["raymle_requests_total", "status=500", "version=7"] == 0
    assert found["raymle_errors_total", "type=internal"] == 0
    assert found["raymle_unseen_total", "column=plan"] == 0
    assert found["raymle_predictions_total", "class=yes", "version=7"] == 0


def test_batches_queue_and_requests_in_flight(metrics):
    metrics.batch("7", 64, 0.004)
    metrics.queued(12)
    metrics.queued(3)
    metrics.running(2)
    found = seen(metrics)
    assert found["raymle_batch_rows_bucket", "le=64.0", "version=7"] == 1
    assert found["raymle_batch_rows_bucket", "le=32.0", "version=7"] == 0
    assert found["raymle_batch_seconds_sum", "version=7"] == pytest.approx(0.004)
    assert found["raymle_queue_rows",] == 3
    assert found["raymle_in_flight_requests",] == 2


def test_predicted_classes_are_counted_and_the_positive_probability_is_a_histogram(metrics):
    metrics.served("7", rows(amount=(10.0, 10.0, 10.0)), np.array([[0.95, 0.05], [0.2, 0.8], [0.45, 0.55]]))
    found = seen(metrics)
    assert found["raymle_predictions_total", "class=yes", "version=7"] == 2
    assert found["raymle_predictions_total", "class=no", "version=7"] == 1
    assert found["raymle_prediction_bucket", "le=0.1", "version=7"] == 1
    assert found["raymle_prediction_bucket", "le=0.6", "version=7"] == 2
    assert found["raymle_prediction_sum", "version=7"] == pytest.approx(1.4)


def test_without_a_positive_class_the_likeliest_ones_probability_counts(tmp_path):
    schema = SCHEMA.model_copy(update={"classes": ("a", "b", "c"), "positive": None})
    with Metrics(tmp_path, "churn", schema, TRANSFORM) as metrics:
        metrics.served("7", rows(), np.array([[0.1, 0.15, 0.75]]))
        found = seen(metrics)
    assert found["raymle_prediction_bucket", "le=0.7", "version=7"] == 0
    assert found["raymle_prediction_bucket", "le=0.8", "version=7"] == 1


def test_predicted_numbers_fall_into_buckets_around_the_mean_of_training(tmp_path):
    schema = SCHEMA.model_copy(update={"task": "regression", "classes": (), "positive": None})
    transform = Transform((), (), "churned", (), target_mean=100.0, target_std=10.0)
    with Metrics(tmp_path, "price", schema, transform) as metrics:
        metrics.served("7", rows(amount=(1.0,) * 4), np.array([-1e9, 99.0, 101.0, 1e9]))
        found = seen(metrics)
    buckets = {key[1]: value for key, value in found.items() if key[0] == "raymle_prediction_bucket"}
    assert len(buckets) == 16 + 2
    assert (buckets["le=60.0"], buckets["le=100.0"], buckets["le=140.0"], buckets["le=+Inf"]) == (1, 2, 3, 4)
    assert not [key for key in found if key[0] == "raymle_predictions_total"]


def test_an_answer_that_is_not_finite_leaves_the_sum_good(metrics):
    metrics.served("7", rows(amount=(10.0, 10.0)), np.array([[np.nan, np.nan], [0.4, 0.6]]))
    found = seen(metrics)
    assert found["raymle_prediction_sum", "version=7"] == pytest.approx(0.6)
    assert found["raymle_prediction_count", "version=7"] == 1
    assert found["raymle_input_rows_total",] == 2


def test_inputs_that_are_missing_unseen_or_far_from_training_are_counted_by_column(metrics):
    table = rows(amount=(10.0, None, 22.1, -2.1), plan=("basic", "gold", None, "gold"), new=[None, True, True, False])
    metrics.served("7", table, np.full((4, 2), 0.5))
    found = seen(metrics)
    assert found["raymle_input_rows_total",] == 4
    missing = {column: found["raymle_missing_total", f"column={column}"] for column in ("amount", "plan", "new", "at")}
    assert missing == {"amount": 1, "plan": 1, "new": 1, "at": 4}
    assert found["raymle_unseen_total", "column=plan"] == 2
    assert found["raymle_outlying_total", "column=amount"] == 2
    assert ("raymle_outlying_total", "column=new") not in found  # a rare truth is no outlier


def test_tables_of_several_chunks_of_dictionaries_and_of_no_rows_are_counted(metrics):
    parts = [rows(plan=("gold",)), rows(amount=(99.0,)), rows(amount=())]
    table = pa.concat_tables(parts)
    coded = table.set_column(1, "plan", table.column("plan").dictionary_encode())
    for each in (table, coded):
        metrics.served("7", each, np.full((2, 2), 0.5))
    metrics.served("7", table.slice(0, 0), np.empty((0, 2)))
    found = seen(metrics)
    assert found["raymle_input_rows_total",] == 4
    assert found["raymle_unseen_total", "column=plan"] == 2
    assert found["raymle_outlying_total", "column=amount"] == 2


def test_a_version_is_held_against_its_own_training(metrics):
    wider = Transform(
        TRANSFORM.numbers, (TRANSFORM.categories[0].model_copy(update={"values": ("gold",)}),), "churned", ()
    )
    metrics.loaded("7", "onnx")
    metrics.loaded("8", "torch", transform=wider)
    metrics.served("8", rows(plan=("gold",)), np.array([[0.5, 0.5]]))
    assert seen(metrics)["raymle_unseen_total", "column=plan"] == 0
    metrics.served("7", rows(plan=("gold",)), np.array([[0.5, 0.5]]))
    assert seen(metrics)["raymle_unseen_total", "column=plan"] == 1


def test_what_is_loaded_is_told_and_what_was_unloaded_is_not(metrics):
    metrics.loaded("7", "onnx")
    metrics.loaded("8", "onnx")
    metrics.loaded("8", "torch")
    metrics.unloaded("7")
    found = seen(metrics)
    assert [key for key in found if key[0] == "raymle_model_info"] == [
        ("raymle_model_info", "runtime=torch", "task=classification", "version=8")
    ]
    assert found["raymle_replicas",] == 1
    metrics.unloaded("8")
    assert seen(metrics)["raymle_replicas",] == 0


def test_empty_texts_are_counted_apart_from_missing_ones(tmp_path):
    schema = Schema(
        columns=(Column(name="said", type="text", role="feature"),), target="y", task="classification",
        classes=("no", "yes"),
    )  # fmt: skip
    transform = Transform((), (), "y", schema.classes, texts=(Text(column="said", length=4, vocabulary=256),))
    with Metrics(tmp_path, "churn", schema, transform) as metrics:
        metrics.served("7", pa.table({"said": ["", " \u00a0\n", "a word", None]}), np.full((4, 2), 0.5))
        found = seen(metrics)
    assert found["raymle_empty_total", "column=said"] == 2
    assert found["raymle_missing_total", "column=said"] == 1


def test_events_of_a_challenger(metrics):
    metrics.challenger("canary", "8")
    metrics.challenger("canary", "8")
    metrics.challenger("withdrawn", "8")
    found = seen(metrics)
    assert found["raymle_challenger_total", "event=canary", "version=8"] == 2
    assert found["raymle_challenger_total", "event=withdrawn", "version=8"] == 1


def test_nothing_that_a_client_sends_becomes_a_label_and_labels_are_few(tmp_path):
    names = [f"column {number}" for number in range(150)]
    schema = Schema(
        columns=tuple(Column(name=name, type="text", role="feature") for name in names),
        target="kind", task="classification", classes=tuple(f"class {number}" for number in range(80)),
    )  # fmt: skip
    with Metrics(tmp_path, "churn", schema, Transform((), (), "kind", schema.classes)) as metrics:
        table = pa.table({name: ["hostile words"] for name in names})
        for number in range(100):
            metrics.request(f"v{number}", 200 + number, 0.01, 1, error=f"hostile {number}")
            metrics.served(f"v{number}", table, np.eye(80)[[number % 80]])
            metrics.challenger("shadow", f"v{number}")
        text = metrics.text()
    found = samples(text)
    assert b"hostile" not in text
    label = {name: {part for key in found for part in key[1:] if part.startswith(f"{name}=")} for name in
             ("version", "status", "class", "column", "type")}  # fmt: skip
    assert len(label["version"]) == families.MOST_VERSIONS + 1
    assert len(label["class"]) == families.MOST_CLASSES + 1
    assert len(label["column"]) == 100
    assert label["status"] <= {f"status={status}" for status in (*families.STATUSES, "other")}
    assert label["type"] == {f"type={kind}" for kind in families.ERRORS}
    assert sum(value for key, value in found.items() if key[0] == "raymle_predictions_total") == 100
    assert sum(value for key, value in found.items() if key[0] == "raymle_requests_total") == 100


def test_a_version_beyond_the_first_20_is_still_told_as_loaded(tmp_path):
    for number in range(3):  # each time a process that counts on in the files of the one before
        with Metrics(tmp_path, "churn", SCHEMA, TRANSFORM) as metrics:
            for each in range(10 * number, 10 * number + 10):
                metrics.loaded(str(each), "onnx")
                metrics.request(str(each), 200, 0.01, 1)
                metrics.unloaded(str(each))
            metrics.loaded("last", "onnx")
            found = seen(metrics)
    assert len([key for key in found if key[0] == "raymle_requests_total" and "status=200" in key]) == 21
    assert found["raymle_requests_total", "status=200", "version=other"] >= 10
    assert sum(value for key, value in found.items() if key[0] == "raymle_requests_total") == 30
    assert [key[-1] for key in found if key[0] == "raymle_model_info"] == ["version=last"]


def test_names_with_any_characters_come_back_as_they_are(tmp_path):
    name = 'a "quoted" \\ name\nof two lines, ünïcode'
    schema = SCHEMA.model_copy(update={"classes": (name, "yes")})
    with Metrics(tmp_path, "churn", schema, TRANSFORM) as metrics:
        metrics.served("7", rows(), np.array([[0.9, 0.1]]))
        assert seen(metrics)["raymle_predictions_total", f"class={name}", "version=7"] == 1


def test_threads_lose_no_count(metrics):
    def count():
        for _ in range(500):
            metrics.request("7", 200, 0.01, 1)
            metrics.served("7", rows(), np.array([[0.5, 0.5]]))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.text()
    found = seen(metrics)
    assert found["raymle_requests_total", "status=200", "version=7"] == 2000
    assert found["raymle_input_rows_total",] == 2000


def test_every_family_is_written_and_no_other(metrics):
    metrics.loaded("7", "onnx")
    metrics.request("7", 200, 0.01, 1)
    metrics.challenger("canary", "7")
    assert {key[0] for key in seen(metrics)} == families.names() - {"raymle_empty_total"}  # it has no text
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_two_models_of_one_folder_stay_apart(tmp_path):
    with (
        Metrics(tmp_path, "churn", SCHEMA, TRANSFORM) as first,
        Metrics(tmp_path, "price", SCHEMA, TRANSFORM) as second,
    ):
        first.request("1", 200, 0.01, 1)
        second.request("1", 200, 0.01, 1)
        text = first.text().decode()
    lines = [line for line in text.splitlines() if line.startswith("raymle_requests_total") and 'status="200"' in line]
    assert [line.split()[-1] for line in lines] == ["1.0", "1.0"]
