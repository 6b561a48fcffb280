"""Networks of one shape as one: the weights of each are a row of a matrix, and one step moves them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from raymle.config.train import OptimizerConfig
from raymle.model.network import BATCH_ROWS, as_inputs
from raymle.train.moves import MOVES, Pace, State, fresh
from raymle.train.objective import Loss

CLIP_EPSILON = 1e-6
"""What torch adds to a norm before it divides by it."""
FEWEST_ROWS = 256


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
            loss: What all learn from.
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
        losses = self._losses(inputs, targets)
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

    def _losses(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        own = None if targets.ndim == 1 else 0

        def one(weights: dict[str, Tensor], inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
            return self._loss(functional_call(self._module, weights, kwargs=dict(inputs)), targets)

        losses: Tensor = vmap(one, in_dims=(0, own, own))(self.weights(), dict(inputs), targets)
        return losses

    def forward(self, numbers: npt.NDArray[Any], codes: npt.NDArray[Any]) -> Tensor:
        """Return all raw outputs ``[K, n, outputs]`` for the same rows, in batches and without gradients."""

        def one(weights: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
            outputs: Tensor = functional_call(self._module, weights, kwargs=inputs)
            return outputs

        rows = max(FEWEST_ROWS, BATCH_ROWS // len(self))
        with torch.inference_mode():
            weights, parts = self.weights(), []
            for start in range(0, max(1, len(numbers)), rows):
                inputs = self.inputs(numbers[start : start + rows], codes[start : start + rows])
                parts.append(vmap(one, in_dims=(0, None))(weights, inputs))
            return torch.cat(parts, dim=1)

    def inputs(self, numbers: npt.NDArray[Any], codes: npt.NDArray[Any]) -> dict[str, Tensor]:
        """Name the arrays as the networks want them, in the weights' own precision."""
        named = as_inputs(numbers, codes, self.matrix.device)
        return named | {"numbers": named["numbers"].to(self.matrix.dtype)}

    def keep(self, places: Sequence[int]) -> None:
        """Let all others go."""
        if len(places) == len(self):
            return
        rows = torch.tensor(places, dtype=torch.int64)
        self.matrix = self.matrix.detach()[rows].requires_grad_()
        self.decays = self.decays[rows]
        self._state = {name: value[rows] for name, value in self._state.items()}
