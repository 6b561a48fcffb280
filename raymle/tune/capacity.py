"""How many trials run at one time, how many of them as one, and what that costs: pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from raymle import train as trained
from raymle.config import TuneConfig
from raymle.config.train import ResourcesConfig, TrainConfig
from raymle.errors import ResourceError

PAUSING = ("hyperband", "pbt")
"""Schedulers that pause trials: each needs a checkpoint to go on from."""
GROUP = 64
"""Most trials that train as one."""
FEWEST_ROUNDS = 4
"""Rounds of proposals that an algorithm which learns from trials must have at least."""
PAYS = 1.5e6
"""Weights times rows of a batch below which one stacked model is faster than its parts: measured from 1e6 to 2.5e6."""
FEWEST = 4
"""Trials below which a stack is not faster."""
DRIVER = {"CPU": 0.0, "memory": 32 * 2.0**20}
"""What an actor needs that only drives workers: Ray takes no actor that needs nothing."""


@final
@dataclass(frozen=True)
class Room:
    """What a study gets of a cluster."""

    at_once: int
    """Of Ray Tune's trials."""
    share: float
    """Of the cluster, for each."""
    needs: dict[str, float]
    """Of each one's actor, in Ray's words."""
    group: int
    """Most trials that train as one, in one of Ray Tune's."""

    @property
    def together(self) -> int:
        """Trials that are proposed before any of them has reported."""
        return self.group * self.at_once if self.group > 1 else 1


def room(config: TuneConfig, train: TrainConfig, nodes: Sequence[Mapping[str, float]], *, stacks: bool) -> Room:
    """Size a study.

    Args:
        config: The search.
        train: What a trial needs.
        nodes: The resources of each.
        stacks: Whether the training is one that can be stacked.

    Raises:
        ResourceError: no trial fits.
    """
    resources, workers = train.resources, trained.count(train)
    fit = slots(nodes, resources, workers=workers)
    at_once = min(fit, config.concurrency or fit)
    if config.scheduler in PAUSING and at_once < fit:
        resources = wide(nodes, resources, at_once)
    group = group_size(config, at_once) if stacks else 1
    return Room(at_once, 1 / fit, needs(resources, workers=workers), group)


def slots(nodes: Iterable[Mapping[str, float]], resources: ResourcesConfig, *, workers: int = 1) -> int:
    """Return how many trials fit at one time; a worker fits on one node or not at all.

    Raises:
        ResourceError: none does.
    """
    have = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
    fit_here = [
        math.floor(min(cpu / resources.cpu, gpu / resources.gpu if resources.gpu else math.inf) + 1e-9)
        for cpu, gpu in have
    ]
    found = sum(fit_here) // workers
    if found < 1:
        nodes_say = " and ".join(f"{cpu:g} CPU, {gpu:g} GPU" for cpu, gpu in have) or "no node"
        needs_say = f"{resources.cpu:g} CPU and {resources.gpu:g} GPU on one node"
        if workers > 1:
            needs_say = f"{workers} workers, each with {needs_say}"
        raise ResourceError(
            f"a trial needs {needs_say}; the cluster has {nodes_say}, room for {sum(fit_here)}: no trial fits",
            hint="lower train.workers or train.resources, or use a bigger cluster",
        )
    return found


def needs(resources: ResourcesConfig, *, workers: int = 1) -> dict[str, float]:
    """Return what one trial's actor needs, in Ray's words; workers of its own need their own."""
    if workers > 1:
        return DRIVER
    return {"CPU": resources.cpu} | ({"GPU": resources.gpu} if resources.gpu else {})


def wide(nodes: Iterable[Mapping[str, float]], resources: ResourcesConfig, at_once: int) -> ResourcesConfig:
    """Return what a trial must ask for so that no more than so many fit at one time, and as many as can be.

    A scheduler that pauses trials needs all of them proposed: nothing but room keeps them from running.

    Raises:
        ResourceError: there are more nodes than trials may run.
    """
    have = [node.get("CPU", 0.0) for node in nodes]
    most = [math.floor(1e4 * cpu / count) / 1e4 for cpu in have if cpu for count in range(1, at_once + 1)]  # Ray's unit
    fitting = [cpu for cpu in most if sum(math.floor(each / cpu + 1e-9) for each in have) <= at_once]
    if not fitting:
        raise ResourceError(
            f"a scheduler that pauses trials can't keep {len(have)} nodes to {at_once} at one time",
            hint="leave tune.concurrency out, or use tune.scheduler=asha",
        )
    return resources.model_copy(update={"cpu": max(resources.cpu, min(fitting))})


def group_size(config: TuneConfig, at_once: int) -> int:
    """Return how many trials may train as one: fewer where the algorithm must learn from some before the others."""
    if not config.fuse or config.scheduler not in {"none", "asha"}:
        return 1
    rounds = 1 if config.algorithm in {"random", "grid"} else FEWEST_ROUNDS
    size = min(GROUP, math.ceil(config.trials / at_once / rounds))
    return size if size >= FEWEST else 1


def pays(weights: int, batch_rows: int) -> bool:
    """Whether trainings of this size are faster as one: with larger ones a stack leaves the processor's caches."""
    return weights * batch_rows <= PAYS
