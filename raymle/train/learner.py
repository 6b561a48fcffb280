"""A module with what moves its weights: one step over this worker's share of a batch."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raymle.ancestry import Layer
from raymle.config.amount import left_open
from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.errors import ArtifactError
from raymle.model.layers import hush, layer_of
from raymle.model.network import as_inputs
from raymle.records import Metrics
from raymle.train.checkpoint import misfits
from raymle.train.objective import Objective
from raymle.train.optimizer import Stepper
from raymle.train.order import steps_of
from raymle.train.world import World

VANISHED = 1e-7
"""A layer's gradient below this share of the largest layer's hardly moves it."""
EXPLODED = 1e3
"""Gradients that are longer than this before they are clipped point anywhere."""
MOST_LAYERS = 40


@final
@dataclass
class Learned:
    """What one epoch left so far, kept on the device until somebody looks."""

    losses: Tensor
    """Loss summed over the rows of each step; over all workers up to ``looked``."""
    norms: Tensor
    """Norm of each step's gradient before it was clipped."""
    layers: Tensor
    """Norms of each parameter's gradient, added up over the steps."""
    rows: int
    """Rows of the whole epoch."""
    done: int = 0
    looked: int = 0
    seconds: float = 0.0
    bad_step: int | None = None

    @classmethod
    def fresh(cls, steps: int, layers: int, rows: int, device: torch.device) -> "Learned":
        """Nothing yet."""
        losses, norms = torch.zeros(2, steps, device=device)
        return cls(losses, norms, torch.zeros(layers, device=device), rows)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: torch.device) -> "Learned":
        """Go on from what ``state`` returned."""
        losses, norms, layers = (tensors[f"learned/{name}"].to(device) for name in ("losses", "norms", "layers"))
        return cls(losses, norms, layers, facts["rows"], facts["done"], facts["done"], facts["seconds"])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what the rest of the epoch adds to; every loss that is there has been looked at."""
        tensors = {f"learned/{name}": getattr(self, name) for name in ("losses", "norms", "layers")}
        return tensors, {"rows": self.rows, "done": self.done, "seconds": self.seconds}

    def look(self) -> None:
        """Find the first step since the last look whose loss or gradient is not finite."""
        new = slice(self.looked, self.done)
        finite = torch.isfinite(self.losses[new]) & torch.isfinite(self.norms[new])
        if not bool(finite.all()):
            self.bad_step = self.looked + int(finite.int().argmin())
        self.looked = self.done

    def problem(self, epoch: int) -> str:
        """Say at which step the training left the real numbers; empty when it did not."""
        if self.bad_step is None:
            return ""
        what = "loss" if not torch.isfinite(self.losses[self.bad_step]) else "gradient"
        return f"the {what} is not finite at step {self.bad_step + 1} of {len(self.losses)} in epoch {epoch}"

    def metrics(self) -> Metrics:
        """Sum the epoch up."""
        return {
            "train_loss": float(self.losses.sum()) / self.rows,
            "grad_norm": float(self.norms.mean()),
            "rows_per_second": self.rows / max(self.seconds, 1e-9),
        }

    def means(self, names: Sequence[str], sizes: Sequence[int]) -> Metrics:
        """Return the mean norm of each layer's gradient, largest layers first if there are many."""
        found = dict(zip(names, (self.layers / max(1, self.done)).tolist(), strict=True))
        if len(found) > MOST_LAYERS:
            by_size = sorted(zip(names, sizes, strict=True), key=lambda each: -each[1])
            found = {name: found[name] for name, _ in by_size[:MOST_LAYERS]}
        return found


@final
class Learner:
    """A module with what moves its weights."""

    def __init__(
        self,
        module: nn.Module,
        config: TrainConfig,
        objective: Objective,
        world: World,
        *,
        rows: int,
        layers: Sequence[Layer] = (),
    ) -> None:
        assert not left_open(config), "nothing is auto any more"
        self.config, self.objective, self.world, self.rows = config, objective, world, rows
        self.steps = steps_of(rows, config)
        self.bare, self.module = module, world.wrap(module)
        turns = {layer.name: layer for layer in layers}
        since = {
            name: turns[name].since if turns else weight.requires_grad for name, weight in module.named_parameters()
        }
        self.since = {name: int(epoch) for name, epoch in since.items() if epoch}
        self.names, self.parameters = [*self.since], [module.get_parameter(name) for name in self.since]
        self.has_turns, self.moving = bool(turns), [weight for weight in self.parameters if weight.requires_grad]
        rates = [turns[name].rate if turns else 1.0 for name in self.names]
        self.stepper = Stepper(self.parameters, config.optimizer, steps=config.epochs * self.steps, rates=rates)
        self.loss = objective.learning(world.device)
        self.average = _average(module, config.ema) if config.ema else None

    @property
    def judged(self) -> nn.Module:
        """The module that is validated and kept: the average of the weights, if there is one."""
        return self.average.module if self.average is not None else self.bare

    def begin(self, epoch: int) -> None:
        """Make ready for an epoch: unfreeze what it is the first one for, and keep what is frozen still."""
        is_new = False
        for name, weight in zip(self.names, self.parameters, strict=True):
            is_moving = self.since[name] <= epoch
            is_new |= is_moving != weight.requires_grad
            weight.requires_grad_(is_moving)
        if is_new:
            self.module = self.world.wrap(self.bare)  # the gradients that the workers agree on are others
            self.moving = [weight for weight in self.parameters if weight.requires_grad]
        self.module.train()
        if self.has_turns:
            hush(self.bare)

    def fresh(self) -> Learned:
        """Start an epoch."""
        return Learned.fresh(self.steps, len(self.parameters), self.rows, self.world.device)

    def step(self, train: Arrays, rows: npt.NDArray[np.int64], learned: Learned) -> None:
        """Take one step over this worker's share of a batch."""
        mine, weight = share(rows, self.world)
        parts = np.array_split(mine, min(self.config.accumulate, len(mine)))
        for place, part in enumerate(parts, 1):
            sync = nullcontext() if place == len(parts) else getattr(self.module, "no_sync", nullcontext)()
            with sync:
                loss = self._loss_of(train, part) * weight
                torch.autograd.backward(loss * (self.world.size / len(rows)))  # the mean over workers undoes the size
            learned.losses[learned.done] += loss.detach()
        self.world.average(self.moving)
        learned.norms[learned.done] = self._clip(learned)
        self.stepper.step()
        if self.average is not None:
            self.average.update_parameters(self.bare)
        learned.done += 1

    def _loss_of(self, train: Arrays, rows: npt.NDArray[np.int64]) -> Tensor:
        inputs = as_inputs(train.rows(rows), self.world.device)
        targets = self.objective.targets(train.target[rows]).to(self.world.device)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            outputs = self.module(**inputs)
        return self.loss(outputs, targets)

    def _clip(self, learned: Learned) -> Tensor:
        """Scale the gradients down to the norm allowed, and return the norm they had."""
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.parameters]
        norms = torch.stack(torch._foreach_norm(gradients))  # noqa: SLF001  what torch's own get_total_norm calls
        learned.layers += norms
        norm: Tensor = torch.linalg.vector_norm(norms)
        most = self.config.optimizer.clip_norm
        if most is not None and (norm.device.type != "cpu" or not norm <= most):  # reading a GPU's would wait for it
            nn.utils.clip_grads_with_norm_(self.parameters, most, norm)
        return norm

    def layers(self, learned: Learned) -> Metrics:
        """Return the mean norm of each layer's gradient, largest layers first if there are many."""
        found = learned.means(self.names, [weight.numel() for weight in self.parameters])
        moving = {name for name, weight in zip(self.names, self.parameters, strict=True) if weight.requires_grad}
        return {name: norm for name, norm in found.items() if name in moving}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the next step depends on."""
        tensors, facts = self.stepper.state()
        found = {f"optimizer/{name}": value for name, value in tensors.items()}
        found |= {f"model/{name}": value for name, value in self.bare.state_dict().items()}
        if self.average is not None:
            found |= {f"average/{name}": value for name, value in self.average.state_dict().items()}
        return found, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, where: str) -> None:
        """Go on from what ``state`` returned.

        Raises:
            ArtifactError: it is another network's; it says which tensors differ.
        """
        weights = _under("model/", tensors)
        if told := misfits(self.bare.state_dict(), weights):
            more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
            raise ArtifactError(
                f"the checkpoint at {where} is of another network: {'; '.join(told[:3])}{more}",
                hint="the model's code has changed since: put it back, or train anew",
            )
        self.bare.load_state_dict(weights)
        if self.average is not None:
            self.average.load_state_dict(_under("average/", tensors))
        self.stepper.restore(_under("optimizer/", tensors), facts)


def share(rows: npt.NDArray[np.int64], world: World) -> tuple[npt.NDArray[np.int64], float]:
    """Return this worker's part of a batch and its weight; a worker without a row borrows one at weight 0."""
    mine = np.array_split(rows, world.size)[world.rank]
    return (mine, 1.0) if len(mine) else (rows[:1], 0.0)


def unwell(layers: Metrics) -> list[str]:
    """Say which layers' gradients vanish, and whether all of them explode; empty when neither is so.

    One weight of a layer may never have any: the softmax of attention takes no notice of a bias of its keys.
    """
    largest = max(layers.values(), default=0.0)
    alive = {layer_of(name) for name, norm in layers.items() if norm >= VANISHED * largest}
    vanished = [name for name in layers if layer_of(name) not in alive]
    told = [f"the gradients of {', '.join(vanished[:3])} vanish: below {VANISHED:g} of the largest"] if vanished else []
    if largest > EXPLODED:
        told.append(f"the gradients explode: {max(layers, key=layers.__getitem__)} has a norm of {largest:.3g}")
    return told


def _average(module: nn.Module, decay: float) -> Any:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
