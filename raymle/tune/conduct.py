"""A study on Ray Tune: who proposes, who listens, who stops, and silence."""

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import TuneError
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from ray.tune.search import Searcher

from raymle.errors import RaymleError, ResourceError
from raymle.measure.resources import size_mb
from raymle.records import Fitted
from raymle.train.backends.failure import innermost
from raymle.tune.attempts import Attempt
from raymle.tune.book import Book
from raymle.tune.capacity import PAUSING
from raymle.tune.halving import Halving
from raymle.tune.schedulers import scheduler
from raymle.tune.trial import LEFT, Trial
from raymle.tune.work import Work

SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the study, not just its loop
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own record of a study is never read
    "RAY_AIR_NEW_OUTPUT": "0",  # the new tables ignore verbose=0
}
TRAINS = "raymle/tune/trial.py"
"""A file that only the thread that trains is in."""
UNSCHEDULED_S = 120.0
"""Seconds after which a trial that no node takes, while none runs, is told."""


class Proposer(Searcher):
    """Asks the book for the next trial."""

    def __init__(self, book: Book, halving: Halving | None) -> None:
        super().__init__(metric="score", mode="max" if book.is_maximised else "min")
        self._book, self._halving = book, halving

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's settings, or that there is none."""
        members = self._book.propose(trial_id)
        if members:
            return configured(members, self._halving)
        return None if self._book.may_retry() else Searcher.FINISHED  # None: ask again

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

    def __init__(self, book: Book, work: Work, halving: Halving | None, finish: Callable[[Attempt], Fitted]) -> None:
        self._book, self._work, self._halving, self._finish = book, work, halving, finish
        self._heard = time.monotonic()

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        """Take a report; a trial that is told to stop first has to save its best weights."""
        self._heard = time.monotonic()
        for told in result["members"]:
            if self._halving and len(self._book.groups[trial.trial_id]) > 1 and "report" in told:
                self._halving.hear(told["run_id"], told["report"]["epoch"], told["score"])  # for later stacks
            self._book.hear(told)
        is_over = all(self._book.attempts[run_id].is_over for run_id in self._book.groups[trial.trial_id])
        if result.get(DONE) and not is_over:
            result[SHOULD_CHECKPOINT] = True

    def on_checkpoint(self, *, checkpoint: Any, **_: Any) -> None:  # type: ignore[override]
        """Take how a stopped or paused trial was left."""
        with checkpoint.as_directory() as folder:
            left = json.loads(Path(folder, LEFT).read_text())
        if "paused_at" in left:
            self._book.attempts[left["run_id"]].paused_at = left["paused_at"]
            return
        for told in left.get("members", [left]):
            self._book.hear(told)

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Close an attempt; one that was stopped while it was paused gets its bundle now."""
        saving = trial.temporary_state.saving_to  # it is stopped while it is being paused
        kept = saving.resolve() if saving else None
        if kept:
            self.on_checkpoint(checkpoint=kept.checkpoint)
        problem = ""
        for attempt in [self._book.attempts[run_id] for run_id in self._book.groups[trial.trial_id]]:
            if not attempt.is_over and attempt.paused_at:
                try:
                    attempt.fitted = self._finish(attempt)
                    attempt.size_mb = size_mb(Path(attempt.fitted.bundle))
                except RaymleError as error:  # Tune would wait for a paused trial that cannot be stopped
                    problem = str(error)
        self._book.settle(trial.trial_id, problem)

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Close an attempt whose actor is gone."""
        group = self._book.groups[trial.trial_id]
        if len(group) > 1:  # who of them took the process down, each shows alone
            self._book.retry(trial.trial_id)
            return
        stacks = self._work.stacks(group[0])
        self._book.settle(trial.trial_id, _hang(stacks) or _last_words(trial.error_file))

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:  # noqa: ARG002  Ray's signature
        """Refuse to wait for ever for a place that other work has taken."""
        states = {trial.status for trial in trials}
        if "RUNNING" in states or "PENDING" not in states:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > UNSCHEDULED_S:
            raise ResourceError(
                f"no trial could start in {UNSCHEDULED_S:.0f} s: other work has the cluster's CPUs or GPUs",
                hint="wait for it, or end it; then the same command with --resume goes on",
            )


def configured(members: list[Attempt], halving: Halving | None) -> dict[str, Any]:
    """Return what Tune hands to an actor."""
    told = [{"run_id": attempt.run_id, "values": attempt.values} for attempt in members]
    return {"members": json.dumps(told), "halving": halving if len(members) > 1 else None}


def _hang(stacks: Path) -> str:
    """Say where a trial hung that had to be ended; empty when it did not."""
    text = stacks.read_text() if stacks.exists() else ""
    return f"it hung in {innermost(text, TRAINS)}; its stacks are in {stacks}" if text else ""


def _last_words(file: str | None) -> str:
    """Return why Ray lost a trial, from the page that Tune wrote about it."""
    page = Path(file).read_text() if file else ""
    if "low on memory" in page:
        return "its process was ended: its machine was out of memory"
    *_, last = ["", *filter(None, map(str.strip, page.splitlines()))]
    if "ray::" in page:  # an error and not an end: the page is a traceback
        return last.removeprefix("raymle.errors.")
    detail = last.partition("Worker exit detail: ")[2].partition("Some common causes")[0].strip() or last
    return f"its process died, perhaps for want of memory: {detail}" if "OOM" in page else f"its process died: {detail}"


def run(
    book: Book,
    work: Work,
    files: tuple[str, str],
    *,
    halving: Halving | None,
    finish: Callable[[Attempt], Fitted],
) -> None:
    """Run the trials to their ends; what they tell is in the book.

    Args:
        book: Proposes and listens.
        work: What all trials share.
        files: Folder or URI, which every node reaches, and the name in it, of Ray Tune's own files.
        halving: ASHA's rule, which has heard earlier sessions; None for other schedulers.
        finish: Makes the bundle of an attempt that was stopped while it was paused.
    """
    config, room = book.setting.config, book.setting.room

    def exploit(trial_id: str, donor_id: str) -> dict[str, Any]:
        attempt = book.exploit(trial_id, donor_id)
        return configured([attempt], None)

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, work=work), room.needs),
        tune_config=tune.TuneConfig(
            search_alg=Proposer(book, halving),
            scheduler=scheduler(
                config, is_maximised=book.is_maximised, most_epochs=work.most_epochs, halving=halving, exploit=exploit
            ),
            num_samples=2 * config.trials,  # more than there can be: those of a stack may run again alone
            max_concurrent_trials=None if config.scheduler in PAUSING else room.at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=files[1],
            storage_path=files[0],
            callbacks=[Listener(book, work, halving, finish)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=lambda trial_id, result: book.is_late(),  # noqa: ARG005  Ray's signature
            verbose=0,
        ),
    )
    before = random.getstate()  # Ray's population draws from it, by the study's seed
    try:
        with quiet():
            tuner.fit()
    except TuneError as error:
        raise _cause(error) from None
    finally:
        random.setstate(before)
        book.close()


def _cause(error: BaseException) -> BaseException:
    """Return what Tune has wrapped: an error of the book's own ends a study as it would end a run."""
    return _cause(error.__context__) if isinstance(error, TuneError) and error.__context__ else error


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
