"""The user's own loop: a generator of metrics that gets train and validation, and no test."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from raymle.config.train import TrainConfig
from raymle.data import own as users
from raymle.data.shards import Arrays
from raymle.errors import RaymleError, SpecError, WorkError
from raymle.model.layers import hush
from raymle.records import Epoch, Metrics
from raymle.train import loop
from raymle.train.best import Best
from raymle.train.objective import Objective
from raymle.train.proof import require_in_step
from raymle.train.world import World


@final
@dataclass(frozen=True)
class Context:
    """What a user's loop works with. It trains ``model`` in place and yields what ``report`` returns."""

    params: TrainConfig
    model: nn.Module
    train: Arrays
    validation: Arrays
    objective: Objective
    world: World

    def report(self, **metrics: float) -> Metrics:
        """Return the metrics with the validation loss and the deciding metric of the model as it is now."""
        was_training = self.model.training
        found = loop.validate(self.model, self.validation, self.objective, self.world)
        self.model.train(was_training)
        if self.params.pretrained.source:
            hush(self.model)
        return found | metrics


def epochs(reference: str, folder: str) -> Callable[..., Generator[Epoch, bool | None, Best]]:
    """Make the user's loop take and give what ours does."""
    function = users.function(reference, folder)

    def run(
        module: nn.Module,
        train: Arrays,
        validation: Arrays,
        config: TrainConfig,
        *,
        objective: Objective,
        world: World,
    ) -> Generator[Epoch, bool | None, Best]:
        context = Context(config, module.to(world.device), train, validation, objective, world)
        if config.pretrained.source:
            hush(module)
        best = Best(workers=world.size)
        for metrics in reports(function, context, reference):
            require_in_step(module, world, best.epochs + 1)
            is_best = best.take(module, metrics, objective.rank(metrics))
            stop = yield Epoch(epoch=best.epochs, step=best.epochs, metrics=metrics, best=is_best)
            if loop.agreed(world, stop=bool(stop) or best.is_stale(config)):
                break
        if not best.weights:
            raise WorkError(f"train.loop {reference} ended without a report", hint="yield context.report(...)")
        return best

    return run


def reports(function: Callable[[Context], Any], context: Context, reference: str) -> Generator[Metrics, None, None]:
    """Call the user's function and check each report."""
    yielded = function(context)
    if not isinstance(yielded, Generator):
        raise SpecError(f"train.loop {reference} is not a generator", hint="yield context.report(...) each epoch")
    for report in _guarded(yielded, reference):
        if not isinstance(report, Mapping):
            raise SpecError(f"train.loop {reference} yielded {report!r}, not a dict of numbers")
        try:
            yield {str(name): float(value) for name, value in report.items()}
        except (TypeError, ValueError):
            raise SpecError(f"train.loop {reference} yielded {dict(report)!r}, not a dict of numbers") from None


def _guarded(reports: Generator[Any, None, None], reference: str) -> Generator[Any, None, None]:
    """Name the user's loop in whatever it raises."""
    try:
        yield from reports
    except RaymleError:
        raise
    except Exception as error:  # the user's loop may raise anything
        raise WorkError(f"train.loop {reference} failed: {type(error).__name__}: {error}") from error
