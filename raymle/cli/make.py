"""Verbs that make a model: ``train`` and ``tune``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raymle.cli.answer import Answer, metrics_text, verb
from raymle.cli.options import Json, Key, Plan, Profile, SpecWords, experiment, usual_home
from raymle.errors import UsageError

if TYPE_CHECKING:
    from raymle import api, records


TakeOver = Annotated[bool, typer.Option("--take-over", help="With --resume: the machine that worked on it is gone.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("train")(verb(train))
    app.command("tune")(verb(tune))


def train(
    words: SpecWords = None,
    *,
    profile: Profile = None,
    key: Key = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped, killed or failed; or `last`."),
    ] = None,
    take_over: TakeOver = False,
    plan: Plan = False,
    json: Json = False,
) -> Answer:
    """Prepare, train one model, evaluate it on validation, record.

    Ctrl-C saves a checkpoint and stops; --resume goes on from it.
    """
    _go_together(resume, key, plan=plan, take_over=take_over)
    loaded = experiment(words, profile)
    if plan:
        return planned(loaded.plan("train"), as_json=json)
    return trained(loaded.train(key=key, resume=resume, take_over=take_over), as_json=json)


def tune(
    words: SpecWords = None,
    *,
    profile: Profile = None,
    key: Key = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="STUDY", help="Go on with a study, killed or finished; or `last`."),
    ] = None,
    take_over: TakeOver = False,
    plan: Plan = False,
    json: Json = False,
) -> Answer:
    """Search the ranges of `tune.space`; its best is a run.

    A range on the command line joins the space: train.optimizer.learning_rate=loguniform:1e-4:1e-1,
    model.params.dropout=uniform:0.1:0.9, model.params.activation=choice:relu,sigmoid
    """
    _go_together(resume, key, plan=plan, take_over=take_over)
    loaded = experiment(words, profile, searched=True)
    if plan:
        return planned(loaded.plan("tune"), as_json=json)
    return trained(loaded.tune(key=key, resume=resume, take_over=take_over), as_json=json)


def _go_together(resume: str | None, key: str | None, *, plan: bool, take_over: bool) -> None:
    if resume == "":
        raise UsageError("--resume names nothing", hint="name what goes on, or `last`")
    if take_over and not resume:
        raise UsageError("--take-over needs --resume", hint="it says that the machine which had that run is gone")
    if resume and key is not None:
        raise UsageError("--resume and --key do not go together", hint="what goes on has its key already")
    if plan and (resume or key is not None):
        name = "--resume" if resume else "--key"
        raise UsageError(f"--plan and {name} do not go together", hint="a plan is that of a run from its beginning")


def trained(run: "api.Run", *, as_json: bool) -> Answer:
    """Answer with a trained model."""
    record, where = run.record, "" if run.storage == usual_home() else f" --storage {run.storage}"
    next_steps = f"next: raymle score {record.run_id}{where}    or: raymle runs show {record.run_id}{where}"
    if record.rows["test"] < run.spec.promote.min_fresh_rows:
        next_steps = f"next: raymle runs show {record.run_id}{where}    (a score could not promote it)"
    if not record.rows["test"]:
        next_steps = f"next: raymle runs show {record.run_id}{where}    (no rows are sealed: there is no final score)"
    note = "\n".join([*(f"warning: {each}" for each in record.warnings), next_steps])
    return Answer(trained_document(record) | pretrained_document(record), trained_text(record), as_json, note=note)


def pretrained_document(record: "records.Trained") -> dict[str, Any]:
    """Return what a run began with, if that was another model."""
    return {"pretrained": record.pretrained.model_dump(mode="json")} if record.pretrained else {}


def trained_document(record: "records.Trained") -> dict[str, Any]:
    """Return the stable JSON shape of a run."""
    document: dict[str, Any] = {
        "run_id": record.run_id,
        "status": record.status,
        "task": record.task,
        "metrics": record.metrics,
        "bundle": record.bundle,
        "rows": record.rows,
        "seconds": record.seconds,
        "execution": record.execution,
    }
    study = record.study
    return document | ({"study": study.model_dump(mode="json"), "epochs_saved": study.epochs_saved} if study else {})


def trained_text(record: "records.Trained") -> str:
    """Describe a run in a few lines."""
    rows = ", ".join(f"{count:,} {side}" for side, count in record.rows.items())
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in record.seconds.items())
    lines = [
        f"run {record.run_id} {record.status}: {record.model}, {record.parameters:,} parameters, {record.execution}",
        f"rows: {rows}",
        f"time: {seconds}",
        *([f"bundle: {record.bundle}"] if record.bundle else []),
    ]
    if record.study:
        study = record.study
        lines.append(
            f"study {study.id}: {study.trials} trials, {study.finished} finished, "
            f"{study.failed} failed, {study.stopped_early} stopped early, "
            f"{study.epochs_saved:,} of {study.epochs + study.epochs_saved:,} epochs saved"
        )
    for side, metrics in record.metrics.items():
        lines += ["", f"on {side}:", metrics_text(metrics, record.intervals)]
    return "\n".join(lines)


def planned(plan: "records.Plan", *, as_json: bool) -> Answer:
    """Answer with what would happen."""
    time = f"about {plan.seconds:,.0f} s" if plan.seconds is not None else "not known yet"
    lines = [
        f"{plan.verb}: {plan.what}",
        f"where: {plan.where} ({plan.why})",
        f"how long: {time}, {plan.dollars:.2f} dollars",
        *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1)),
        *(f"{name}: {value}" for name, value in plan.details.items()),
    ]
    return Answer(plan.model_dump(mode="json"), "\n".join(lines), as_json, note="nothing was started")
