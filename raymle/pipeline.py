"""From spec to record: the picture of the project.

data.prepare  ->  train.fit or tune.search  ->  evaluate.validation  ->  a bundle, a record and a tracked run
"""

from collections.abc import Callable, Collection, Generator
from typing import Any

from raymle import data, evaluate, parents, runtime, tracking, tune
from raymle import resume as resuming
from raymle import train as training
from raymle.ancestry import Parent
from raymle.attempt import Clock, once, recorded, untouched
from raymle.config import Spec
from raymle.config.amount import settled_spec
from raymle.outcome import adopt, choose, conclude
from raymle.planning import check, decisive, locate, place, why_ray
from raymle.records import Epoch, Fitted, Splits, Trained
from raymle.runtime import Execution
from raymle.store import Store
from raymle.tracking import keys


def train(
    spec: Spec, *, source: Any = None, key: str | None = None, resume: str | None = None, take_over: bool = False
) -> Trained:
    """Take one spec from raw data to a trained, evaluated and recorded model.

    Args:
        spec: The experiment.
        source: A table or data frame that takes the place of ``data.source``.
        key: Idempotence: a second call with the same key returns the first call's record.
        resume: A run that was stopped, killed or failed, to go on with from its newest checkpoint, under its key.
        take_over: Whether the machine that worked on that run is known to be gone.
    """
    clock = Clock()
    check(spec)
    execution = place(spec, locate(spec, source), needs_ray=why_ray(spec))
    with resuming.own_signals(), untouched(spec.storage) as store, once(store, key, spec, "run") as earlier:
        if earlier:
            training.say(f"run {earlier.run_id} was made with this key: nothing is done again")
            return earlier
        begun = resuming.unfinished(store, resume, spec, take_over=take_over) if resume else None
        spec = resuming.as_begun(store, begun, spec) if begun else spec
        key = keys.of(store, begun) if begun else key
        start = parents.begin(spec, store, begun)
        with runtime.starting(execution) as ray:
            splits = prepare(spec, store, source, execution, ray.wait)
            clock.lap("prepare")
            evaluate.check(spec.evaluate, spec.promote, splits.data_schema, folder=spec.folder, splits=splits)
            training.fits(spec.model, splits, folder=spec.folder)
            known = resuming.prepare(store, begun, splits, spec.folder) if begun else set()
            spec = settled_spec(spec, splits.rows["train"])
            with recorded(
                spec,
                store,
                splits,
                kind="run",
                key=key,
                execution=execution,
                clock=clock,
                resumed=begun,
                take_over=take_over,
            ) as run:
                parent = parents.keep(run, store, start, spec.train.pretrained.source)
                epochs = fit(spec, store, splits, run.id, parent)
                ray.wait()
                with resuming.stopping(store, run.id, keeps=training.keeps(spec.train, spec.model)):
                    fitted, history = follow(epochs, run, training.most_epochs(spec.train, spec.model), known)
                ray.let_go()
                store.publish(f"runs/{run.id}/bundle")
                clock.lap("train")
                outcome = parents.warned(fitted, spec, store, splits), history
                return conclude(spec, store, splits, run, outcome, execution=execution, clock=clock)


def search(
    spec: Spec, *, source: Any = None, key: str | None = None, resume: str | None = None, take_over: bool = False
) -> Trained:
    """Run a study of trials; its best is a record like any other, with the study in it.

    Args:
        spec: The experiment with its ``tune`` section.
        source: A table or data frame that takes the place of ``data.source``.
        key: Idempotence, as in ``train``.
        resume: A study to go on with: no trial that ended runs again; more trials or a wider space continue it.
        take_over: Whether the machine that worked on that study is known to be gone.
    """
    clock = Clock()
    check(spec)
    config = tune.check(spec)
    execution = place(spec, locate(spec, source), needs_ray="a search runs on Ray Tune")
    with untouched(spec.storage) as store, once(store, key, spec, "study") as earlier:
        if earlier:
            training.say(f"run {earlier.run_id} was made with this key: nothing is done again")
            return earlier
        begun = resuming.study(store, resume, spec, take_over=take_over) if resume else None
        spec = resuming.as_begun(store, begun, spec) if begun else spec
        key = keys.held_by(store, begun) if begun else key
        start = parents.begin(spec, store, begun)
        with runtime.starting(execution) as ray:
            splits = prepare(spec, store, source, execution, ray.wait)
            clock.lap("prepare")
            evaluate.check(spec.evaluate, spec.promote, splits.data_schema, folder=spec.folder, splits=splits)
            metric = decisive(spec, splits.data_schema)
            tune.objectives(spec, metric)
            tune.fits(spec, splits)
            if begun:
                resuming.same_data(store, begun, splits)
            with recorded(
                spec, store, splits, kind="study", key=key, execution=execution, clock=clock,
                resumed=begun, take_over=take_over,
            ) as run:  # fmt: skip
                parent = parents.keep(run, store, start, spec.train.pretrained.source)
                tune.warm()
                ray.wait()
                found = tune.search(config, spec, splits, metric=metric, store=store, run=run, parent=parent)
                ray.let_go()
                clock.lap("search")
                tune.write_report(store, run.id, found.progress, name=spec.name)
                best = choose(spec, found.candidates, store, splits)
                tracking.record_study(run, store, found.study, best=best.run_id, name=spec.name, splits=splits)
                return adopt(best, store, splits, execution=execution, clock=clock, key=key, study=found.study)


def prepare(
    spec: Spec, store: Store, source: Any, execution: Execution, wait: Callable[[], object] = lambda: None
) -> Splits:
    """Prepare the splits; a small source is prepared here, while the Ray that trains comes up."""
    on_ray = execution.on_ray and execution.large
    if on_ray:
        wait()
    asked = spec.evaluate.positive
    positive = None if asked is None else str(asked).lower() if isinstance(asked, bool) else str(asked)
    return data.prepare(
        spec.data, spec.split, store, folder=spec.folder, source=source, positive=positive,
        on_ray=on_ray,
    )  # fmt: skip


def fit(
    spec: Spec, store: Store, splits: Splits, run_id: str, parent: Parent | None = None
) -> Generator[Epoch, None, Fitted]:
    """Train one model, its bundle in the run's folder."""
    return training.fit(
        spec.train, spec.model, splits,
        metric=decisive(spec, splits.data_schema), folder=spec.folder, storage=spec.storage, run=run_id,
        out=store.root / "runs" / run_id / "bundle",
        transforms=spec.data.transforms, parent=parent,
    )  # fmt: skip


def follow(
    epochs: Generator[Epoch, None, Fitted], run: tracking.Run, most: int, known: Collection[int] = ()
) -> tuple[Fitted, list[Epoch]]:
    """Drive the training, showing and recording every epoch that an earlier attempt has not recorded."""
    history: list[Epoch] = []
    with training.display(most) as show:
        while True:
            try:
                epoch = next(epochs)
            except StopIteration as end:
                return end.value, history
            history.append(epoch)
            if epoch.epoch not in known:
                run.metrics(epoch.metrics, step=epoch.epoch)
                show(epoch)
