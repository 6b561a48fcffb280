"""What is counted of a served model: names, kinds and labels. The docs and the dashboard are checked against it.

Every label has few values, all of them the operator's or raymle's own: what a client sends never becomes one.
"""

from typing import Literal, NamedTuple, final

MOST_VERSIONS = 20
MOST_CLASSES = 50
OTHER = "other"
"""Stands for every value beyond those that are kept."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = tuple(float(2**power) for power in range(14))
STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 502, 503, 504)
ERRORS = (
    "bad_request", "content_encoding", "content_type", "disconnected", "forbidden", "internal", "invalid_rows",
    "method_not_allowed", "no_answer", "not_found", "not_json", "overloaded", "timeout", "too_large",
    "too_many_rows", "unauthorized", OTHER,
)  # fmt: skip
BY_STATUS = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    408: "timeout", 413: "too_large", 415: "content_type", 422: "invalid_rows", 429: "overloaded",
    500: "internal", 503: "overloaded", 504: "timeout",
}  # fmt: skip
"""The type of an error whose type nobody told."""

Event = Literal["canary", "shadow", "disagreed", "error", "withdrawn"]


@final
class Family(NamedTuple):
    """One metric; ``model`` and ``node`` are labels of each, before those that are named here."""

    name: str
    kind: Literal["counter", "histogram", "gauge_livesum", "gauge_livemax"]
    """How the values of several processes become one; gauges are of the living only."""
    meaning: str
    labels: tuple[str, ...] = ()


REQUESTS = Family("raymle_requests_total", "counter", "Answers of /predict", ("version", "status"))
REQUEST_ROWS = Family("raymle_request_rows_total", "counter", "Rows that were asked for", ("version",))
REQUEST_SECONDS = Family("raymle_request_seconds", "histogram", "From request to answer, in seconds", ("version",))
ERRORS_SEEN = Family("raymle_errors_total", "counter", "Answers that were errors, by what was wrong", ("type",))
BATCH_ROWS = Family("raymle_batch_rows", "histogram", "Rows predicted together", ("version",))
BATCH_SECONDS = Family("raymle_batch_seconds", "histogram", "Time of one prediction, in seconds", ("version",))
QUEUE_ROWS = Family("raymle_queue_rows", "gauge_livesum", "Rows that wait for a batch")
IN_FLIGHT = Family("raymle_in_flight_requests", "gauge_livesum", "Requests that are being answered")
CLASSES = Family("raymle_predictions_total", "counter", "Predictions of a class", ("version", "class"))
PREDICTION = Family(
    "raymle_prediction", "histogram", "The predicted number, or probability of the positive or likeliest class",
    ("version",),
)  # fmt: skip
INPUT_ROWS = Family("raymle_input_rows_total", "counter", "Rows whose inputs were looked at")
MISSING = Family("raymle_missing_total", "counter", "Rows that had no value", ("column",))
EMPTY = Family("raymle_empty_total", "counter", "Rows whose text held nothing but blanks", ("column",))
UNSEEN = Family("raymle_unseen_total", "counter", "Rows whose category training did not see", ("column",))
OUTLYING = Family(
    "raymle_outlying_total", "counter", "Rows whose number is over 6 standard deviations from training's mean",
    ("column",),
)  # fmt: skip
CHALLENGER = Family("raymle_challenger_total", "counter", "What a challenger was asked and did", ("version", "event"))
REPLICAS = Family("raymle_replicas", "gauge_livesum", "Processes with a model that is loaded")
MODEL = Family("raymle_model_info", "gauge_livemax", "1 for each model that is loaded", ("version", "task", "runtime"))

FAMILIES = (
    REQUESTS, REQUEST_ROWS, REQUEST_SECONDS, ERRORS_SEEN, BATCH_ROWS, BATCH_SECONDS, QUEUE_ROWS, IN_FLIGHT, CLASSES,
    PREDICTION, INPUT_ROWS, MISSING, EMPTY, UNSEEN, OUTLYING, CHALLENGER, REPLICAS, MODEL,
)  # fmt: skip


def names() -> frozenset[str]:
    """Return the name of every series, as a query says it: a histogram has three."""
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return frozenset(family.name + part for family in FAMILIES for part in parts.get(family.kind, ("",)))
