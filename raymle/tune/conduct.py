"""A study on Ray Tune: who proposes, who listens, who stops, and silence."""

import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from raymle.config import TuneConfig
from raymle.config.train import ResourcesConfig
from raymle.tune.book import Book
from raymle.tune.space import Node, grid
from raymle.tune.trial import FITTED, Task, Trial

SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the study, not just its loop
    "RAY_AIR_NEW_OUTPUT": "0",  # the new tables ignore verbose=0
}


class Proposer(Searcher):
    """Asks the book for the next trial."""

    def __init__(self, book: Book) -> None:
        super().__init__(metric="score", mode="max" if book.is_maximised else "min")
        self._book = book

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's settings, or that there is none."""
        return self._book.propose(trial_id) or Searcher.FINISHED

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002  Ray's signature
    ) -> None:
        """Do nothing: the listener hears it with the reason."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the Optuna storage is the one truth of a study."""


class Listener(tune.Callback):
    """Hands the book what trials report. Tune calls by name, so what is not needed is not named."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        """Take a report; a trial that is told to stop first has to save its best weights."""
        self._book.hear(trial.trial_id, result)
        if result.get(DONE) and "fitted" not in result and "reason" not in result:
            result[SHOULD_CHECKPOINT] = True

    def on_checkpoint(self, *, trial: Any, checkpoint: Any, **_: Any) -> None:  # type: ignore[override]
        """Take what a stopped trial saved."""
        with checkpoint.as_directory() as folder:
            self._book.keep(trial.trial_id, Path(folder, FITTED).read_text())

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Close an attempt."""
        self._book.settle(trial.trial_id)

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Close an attempt whose actor is gone."""
        self._book.settle(trial.trial_id, _last_words(trial.error_file))


def _last_words(file: str | None) -> str:
    """Return why a trial's process is gone, from the page that Tune wrote about it."""
    lines = Path(file).read_text().split("\n") if file else []
    told = [line.strip() for line in lines if line.strip() and not line.startswith(("Failure #", "Traceback"))]
    return f"its process died: {told[-1]}" if told else "its process died"


def run(book: Book, task: Task, config: TuneConfig, *, folder: Path, at_once: int, most_epochs: int) -> None:
    """Run the trials to their ends; what they tell is in the book.

    Args:
        book: Proposes and listens.
        task: What all trials share.
        config: How many trials, and who stops them.
        folder: Ray Tune's own files while the study runs; removed after it.
        at_once: Trials at one time.
        most_epochs: Epochs of the longest trial.
    """
    trainable = tune.with_resources(tune.with_parameters(Trial, task=task), needs(task.spec.train.resources))
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Proposer(book),
            scheduler=scheduler(config, most_epochs, "max" if book.is_maximised else "min"),
            num_samples=config.trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            callbacks=[Listener(book)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=lambda trial_id, result: book.is_late(),  # noqa: ARG005  Ray's signature
            verbose=0,
        ),
    )
    try:
        with quiet():
            tuner.fit()
    finally:
        book.close()
        shutil.rmtree(folder, ignore_errors=True)


def needs(resources: ResourcesConfig) -> dict[str, float]:
    """Return what one trial needs, in Ray's words."""
    return {"CPU": resources.cpu} | ({"GPU": resources.gpu} if resources.gpu else {})


def scheduler(config: TuneConfig, most_epochs: int, mode: str) -> TrialScheduler | None:
    """Return who stops a bad trial early; a trial of one epoch has no early."""
    if config.scheduler == "none" or most_epochs < 2:
        return None
    return ASHAScheduler(
        time_attr="epoch",
        metric="score",
        mode=mode,
        max_t=most_epochs - 1,  # the last epoch is no rung: a trial that got there is finished
        reduction_factor=3,
        stop_last_trials=False,
    )


def optimiser(config: TuneConfig, storage: Path, name: str, space: dict[str, Node], *, up: bool) -> optuna.Study:
    """Open the study in its Optuna storage, with the grid's points queued if it is a grid."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(storage))),
            sampler=sampler(config),
            study_name=name,
            direction="maximize" if up else "minimize",
        )
    if config.algorithm == "grid":
        for point in grid(space)[: config.trials]:
            study.enqueue_trial(point)
    return study


def sampler(config: TuneConfig) -> optuna.samplers.BaseSampler:
    """Return who proposes."""
    if config.algorithm == "tpe":
        return optuna.samplers.TPESampler(
            seed=config.seed,
            n_startup_trials=max(4, min(10, config.trials // 3)),
            multivariate=True,
            group=True,  # conditional ranges
            constant_liar=True,  # trials run side by side
        )
    return optuna.samplers.RandomSampler(seed=config.seed)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Ray Tune, whose tables would bury our lines; its only switches are environment variables."""
    environ = os.environ  # noqa: TID251
    before = {name: environ.get(name) for name in SWITCHES}
    environ.update(SWITCHES)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            environ.pop(name, None) if value is None else environ.update({name: value})
