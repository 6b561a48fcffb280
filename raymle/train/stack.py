"""Networks of one shape as one: the weights of each are a row of a matrix, and one step moves them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from raymle.config.train import OptimizerConfig
from raymle.data.encoded import Encoded
from raymle.model.network import as_inputs
from raymle.train.moves import MOVES, Pace, State, fresh
from raymle.train.objective import Loss

CLIP_EPSILON = 1e-6
"""What torch adds to a norm before it divides by it."""


@final
@dataclass(frozen=True)
class Slice:
    """One network of a stack, as it is now."""

    weights: Mapping[str, Tensor]
    place: int

    def state_dict(self) -> dict[str, Any]:
        """Return the network's weights by their names."""
        return {name: weight[self.place] for name, weight in self.weights.items()}


@final
class Stack:
    """K networks, their optimizers' state, and what their steps have in common."""

    def __init__(self, modules: Sequence[nn.Module], optimizers: Sequence[OptimizerConfig], loss: Loss) -> None:
        """Stack modules that differ in nothing but their weights, and have no buffers.

        Args:
            modules: The networks; they stay as they are.
            optimizers: One for each; they differ in nothing but learning rate and weight decay.
            loss: What all learn from: each row's.
        """
        parts, _ = stack_module_state(list(modules))
        self.names, self.shapes = list(parts), [part.shape[1:] for part in parts.values()]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.matrix = torch.cat([part.detach().flatten(1) for part in parts.values()], dim=1).requires_grad_()
        decays = [[each.weight_decay] for each in optimizers]
        self.decays = torch.tensor(decays, dtype=self.matrix.dtype)
        self.taken, self._kind, self._clip = 0, optimizers[0].type, optimizers[0].clip_norm
        self._state: State = fresh(self._kind, self.matrix)
        self._module, self._loss = modules[0], loss

    def __len__(self) -> int:
        return len(self.matrix)

    def weights(self) -> dict[str, Tensor]:
        """Return views of all weights by their names, ``[K, ...]`` each."""
        parts = zip(self.names, torch.split(self.matrix, self.sizes, dim=1), self.shapes, strict=True)
        return {name: part.view(-1, *shape) for name, part, shape in parts}

    def step(self, inputs: Mapping[str, Tensor], targets: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
        """Move all weights by the gradient of the mean loss over a batch.

        Args:
            inputs: What a network is called with, ``[n, ...]`` for all, or ``[K, n, ...]`` for each its own.
            targets: ``[n]`` or ``[K, n]``.
            rates: Learning rates, ``[K, 1]``.

        Returns:
            Losses summed over the rows ``[K]``, and the norm of each layer's gradient before it is clipped ``[K, L]``.
        """
        losses = summed(self._loss, self._outputs(inputs), targets)
        (gradient,) = torch.autograd.grad(losses.sum() / targets.shape[-1], self.matrix)
        parts = torch.split(gradient, self.sizes, dim=1)
        norms = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)
        if self._clip is not None:
            norm = torch.linalg.vector_norm(norms, dim=1, keepdim=True)
            gradient.mul_((self._clip / (norm + CLIP_EPSILON)).clamp_(max=1.0))
        self.taken += 1
        with torch.no_grad():
            MOVES[self._kind](self.matrix, gradient, self._state, Pace(rates, self.decays, self.taken))
        return losses.detach(), norms

    def _outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        def one(weights: tuple[Tensor, ...], inputs: dict[str, Tensor]) -> Tensor:
            named = dict(zip(self.names, weights, strict=True))
            outputs: Tensor = functional_call(self._module, named, kwargs=inputs, tie_weights=False)
            return outputs

        own = 0 if inputs["numbers"].ndim == 3 else None
        outputs: Tensor = vmap(one, in_dims=(0, own))(tuple(self.weights().values()), dict(inputs))
        return outputs

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Call all networks with the same inputs ``[n, ...]``; return their raw outputs ``[K, n, outputs]``."""
        with torch.inference_mode():
            return self._outputs(inputs)

    def inputs(self, rows: Encoded) -> dict[str, Tensor]:
        """Name the arrays as the networks want them, in the weights' own precision."""
        named = as_inputs(rows, self.matrix.device)
        return named | {"numbers": named["numbers"].to(self.matrix.dtype)}

    def keep(self, places: Sequence[int]) -> None:
        """Let all others go."""
        if len(places) == len(self):
            return
        rows = torch.tensor(places, dtype=torch.int64)
        self.matrix = self.matrix.detach()[rows].requires_grad_()
        self.decays = self.decays[rows]
        self._state = {name: value[rows] for name, value in self._state.items()}


def summed(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum each network's losses ``[K]`` over rows: outputs ``[K, n, outputs]``, targets ``[n]`` or ``[K, n]``.

    To the loss they are the rows of one network: that is less work than a loss for each.
    """
    every = targets.expand(len(outputs), -1)
    return loss(outputs.flatten(0, 1), every.flatten()).view(every.shape).sum(1)
