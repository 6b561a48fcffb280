"""A journal's events as calls to MLflow; every one may be repeated without a trace."""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raymle.errors import ArtifactError
from raymle.tracking import sent
from raymle.tracking.client import brief, digest
from raymle.tracking.journal import Entry, Event, read
from raymle.tracking.sent import Sent

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_TAG = "raymle.run_id"
VALUES = ("params", "tags", "metrics")
LIMITS = {"params": 100, "tags": 100, "metrics": 500}
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED", "running": "RUNNING"}


class Target(NamedTuple):
    """Where a storage's journals go."""

    client: "MlflowClient"
    uri: str
    root: Path
    artifacts: str | None


def send(target: Target, path: Path) -> int:
    """Send what MLflow has not of a journal; returns the offset that was reached."""
    state = opened(target, path)
    if state.run_id is None:
        return 0
    for batch in batches(read(path, state.offset)):
        models, refused = _apply(target, state, [entry.event for entry in batch])
        state = state.model_copy(
            update={
                "offset": batch[-1].end,
                "finished": batch[-1].event["do"] == "finish",
                "models": state.models | models,
                "refused": (*state.refused, *refused)[-100:],
            }
        )
        sent.save(path, state)
    return state.offset


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Put neighbouring values together up to MLflow's limits; anything else goes alone."""
    batch: list[Entry] = []
    room = dict(LIMITS)
    for entry in entries:
        what = entry.event["do"]
        count = len(entry.event["values"]) if what in VALUES else 0
        if batch and (what not in VALUES or count > room[what]):
            yield batch
            batch, room = [], dict(LIMITS)
        if what in VALUES:
            batch.append(entry)
            room[what] -= count
        else:
            yield [entry]
    if batch:
        yield batch


def opened(target: Target, path: Path) -> Sent:
    """Return what is known of a journal, after creating its run, and before that its parent's."""
    state = sent.load(path, target.uri)
    first = next(read(path), None) if state.run_id is None and path.exists() else None
    if first is None:
        return state
    start = first.event
    parent = opened(target, path.with_name(f"{start['parent']}.jsonl")).run_id if start["parent"] else None
    experiment = _experiment(target, start["experiment"])
    state = sent.load(path, target.uri).model_copy(
        update={
            "uri": digest(target.uri),
            "experiment_id": experiment,
            "run_id": _run(target, start, experiment, parent),
            "offset": first.end,
        }
    )
    sent.save(path, state)
    return state


def _experiment(target: Target, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = target.client.get_experiment_by_name(name)
    if found is None:
        location = f"{target.artifacts}/{_folder(name)}" if target.artifacts else None
        with contextlib.suppress(MlflowException):  # another process was first
            return str(target.client.create_experiment(name, artifact_location=location))
        found = target.client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise ArtifactError(f"experiment {name!r} is deleted: restore it in MLflow or use another name")
    return str(found.experiment_id)


def _run(target: Target, start: Event, experiment: str, parent: str | None) -> str:
    """Find or create a run; a creation whose answer was lost is found, not repeated."""
    found = target.client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{start['id']}'", order_by=["start_time"])
    if found:
        return str(found[0].info.run_id)
    tags = {RUN_TAG: start["id"], "raymle.kind": start["kind"], "mlflow.user": start["user"]}
    if parent:
        tags["mlflow.parentRunId"] = parent
    name = f"{start['name']} {start['id']}".strip()
    run = target.client.create_run(experiment, start_time=start["at"], tags=tags, run_name=name)
    return str(run.info.run_id)


def _apply(target: Target, state: Sent, events: list[Event]) -> tuple[dict[str, str], list[str]]:
    """Tell MLflow; what it refuses for good is named and left out, alone."""
    from mlflow.exceptions import MlflowException

    try:
        return _call(target, state, events), []
    except ArtifactError as error:
        return {}, [str(error)]
    except MlflowException as error:
        if error.error_code not in REFUSALS:
            raise
        if len(events) == 1:
            return {}, [f"{events[0]['do']}: {brief(error)}"]
    return {}, [reason for event in events for reason in _apply(target, state, [event])[1]]


def _call(target: Target, state: Sent, events: list[Event]) -> dict[str, str]:
    client, run, event = target.client, str(state.run_id), events[0]
    match event["do"]:
        case "params" | "tags" | "metrics":
            _values(client, run, events)
        case "artifact":
            _artifact(client, run, _present(target, event), event["folder"])
        case "dataset":
            _dataset(client, run, event)
        case "model":
            return {event["name"]: _model(client, state, event, _present(target, event))}
        case "finish" if not event.get("again"):  # what is found out later does not end a run a second time
            client.set_terminated(run, STATUS[event["status"]], end_time=event["at"])
    return {}


def _values(client: "MlflowClient", run: str, events: list[Event]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[Metric] = []
    for event in events:
        if event["do"] == "params":
            params = event["values"] | params
        elif event["do"] == "tags":
            tags |= event["values"]
        else:
            at, step = event["at"], event["step"]
            metrics += [Metric(name, value, at, step) for name, value in event["values"].items()]
    client.log_batch(run, metrics, [Param(*item) for item in params.items()], [RunTag(*item) for item in tags.items()])


def _artifact(client: "MlflowClient", run: str, path: Path, folder: str) -> None:
    if path.is_dir():
        client.log_artifacts(run, str(path), f"{folder}/{path.name}".lstrip("/"))
    else:
        client.log_artifact(run, str(path), folder or None)


def _dataset(client: "MlflowClient", run: str, event: Event) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=event["name"],
        digest=event["digest"][:36],  # MLflow's column
        source_type="raymle",
        source=json.dumps({"uri": event["source"]}),
        profile=json.dumps({"num_rows": event["rows"]}),
    )
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])])


def _model(client: "MlflowClient", state: Sent, event: Event, bundle: Path) -> str:
    """Create a logged model unless the run has it; it is ready only after its last file."""
    from mlflow.entities import LoggedModelOutput

    run, experiment, name = str(state.run_id), str(state.experiment_id), _folder(event["name"])
    found = client.search_logged_models([experiment], f"source_run_id = '{run}' AND name = '{name}'")
    model = found[0] if found else client.create_logged_model(experiment, name, run, model_type="raymle")
    if model.status != "READY":
        client.log_model_artifacts(model.model_id, str(bundle))
        with tempfile.TemporaryDirectory() as folder:
            about = Path(folder) / "MLmodel"
            about.write_text(_mlmodel(event, run, model.model_id))
            client.log_model_artifact(model.model_id, str(about))
        client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def _mlmodel(event: Event, run: str, model_id: str) -> str:
    """MLflow's description of the bundle: a signature, and no flavour that would run code to load it."""
    import yaml

    signature = {name: json.dumps(columns) for name, columns in event["signature"].items() if columns}
    about: dict[str, Any] = {
        "artifact_path": event["name"],
        "flavors": {"raymle": {"format": 1}},
        "model_id": model_id,
        "run_id": run,
        "signature": {"inputs": None, "outputs": None, "params": None} | signature,
    }
    return yaml.safe_dump(about, sort_keys=False)


def _present(target: Target, event: Event) -> Path:
    path = target.root / str(event["path"])
    if not path.exists():
        raise ArtifactError(f"{event['path']} was removed before it was sent")
    return path


def _folder(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_-" else "-" for char in name)
