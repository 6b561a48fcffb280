"""What a model is used for: many rows predicted, served, exported; thin over the stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from raymle import hosting, loader, native, references, rollout, runtime
from raymle.export import MAX_LOSS, Calibrate, Exported, Format, Wish
from raymle.export import export as export_bundle
from raymle.predict import MOST_QUARANTINED
from raymle.predict import plan as predict_plan
from raymle.predict import predict as predict_all
from raymle.records import Endpoint, Plan, Predicted, Version
from raymle.store import open_store


def predict(
    model: str,
    source: Any,
    output: str | Path,
    *,
    storage: str = "runs",
    on_ray: bool | None = None,
    max_quarantined: float = MOST_QUARANTINED,
) -> Predicted:
    """Predict every row of a source into a parquet file or a folder of them; see ``raymle.predict.run``.

    Args:
        model: A run, a registered version or a bundle's folder.
        source: A table, or what ``data.source`` takes.
        output: A ``.parquet`` file or a folder; a path or a URI.
        storage: Where the runs are.
        on_ray: Spread the work over Ray; by default where ``RAY_ADDRESS`` is set, as it is inside a Ray job.
        max_quarantined: The fraction of rows that may break the model's contract.
    """
    found, place = references.model(model, storage), _place(on_ray=on_ray)
    bundle = native.ready(found.bundle, found.root)
    with runtime.connected(place):
        return predict_all(bundle, source, output, on_ray=place.on_ray, max_quarantined=max_quarantined)


def plan_predict(
    model: str, source: Any, output: str | Path, *, storage: str = "runs", on_ray: bool | None = None
) -> Plan:
    """Check everything and say what ``predict`` would do; nothing is started."""
    return predict_plan(references.model(model, storage).bundle, source, output, _place(on_ray=on_ray))


def _place(*, on_ray: bool | None) -> runtime.Execution:
    """Decide where rows are predicted: a stream of any size fits into this process."""
    if on_ray:
        return runtime.local("--ray is given")
    if on_ray is None and loader.environment("RAY_ADDRESS"):
        return runtime.local("RAY_ADDRESS is set, as it is inside a Ray job")
    return runtime.INLINE


def export(
    model: str,
    out: str | Path,
    *,
    format: Format = "onnx",  # noqa: A002  what it is called on the command line too
    quantize: Literal["int8"] | None = None,
    calibrate: Calibrate = "auto",
    max_loss: float = MAX_LOSS,
    storage: str = "runs",
) -> Exported:
    """Make a bundle of a model for other machines; when it loses too much quality, return the refusal with reasons.

    Args:
        model: A run, ``models:/name@alias`` or a bundle's folder.
        out: The folder that appears.
        format: ``onnx``, or ``torch`` for weights alone.
        quantize: ``int8`` for 8-bit weights and layers.
        calibrate: Where the scales of 8-bit come from: ``static`` from validation rows, ``dynamic`` from each call,
            ``auto`` tries both.
        max_loss: How much worse than the original it may be in the run's metric.
        storage: Where runs are.
    """
    found, rows = references.exportable(model, storage)
    asked = Wish(format, quantize, calibrate, max_loss)
    return export_bundle(found.bundle, Path(out), root=found.root, wish=asked, rows=rows)


@contextmanager
def serve(model: str, *overrides: str, storage: str = "runs") -> Iterator[Endpoint]:
    """Serve a model on Ray Serve until the block ends; ``serve.KEY=VALUE`` overrides its spec.

    ``models:/NAME@champion`` follows promotions and rollbacks while it is served.
    """
    with hosting.hosted(hosting.service_of(model, storage=storage, overrides=overrides)) as endpoint:
        yield endpoint


def rollback(name: str, *, storage: str = "runs") -> Version:
    """Take a step back: a challenger goes, or else the champion before this one is champion again."""
    return rollout.rollback(open_store(storage), name)
