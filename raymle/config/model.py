"""The ``model`` section: which network or family, with which parameters."""

from typing import Any

from pydantic import Field, field_validator

from raymle.config.base import REFERENCE, Section

READY = (
    "linear", "mlp", "trees", "cnn", "resnet", "lstm", "transformer", "autoencoder", "isolation_forest",
)  # fmt: skip
BUILT_IN = (*READY, "cells")
ANOMALY = ("autoencoder", "isolation_forest")
"""Families that learn what is usual, without labels."""
GROWN = ("trees", "isolation_forest")
"""Families without gradients: they have no batches, optimizer or checkpoints."""
TORCHVISION = "torchvision:"
"""Begins the name of one of torchvision's networks, as in torchvision:resnet18."""
HUGGING_FACE = "hf:"
"""Begins the folder of a Hugging Face model, as in hf:models/distilbert."""


class ModelConfig(Section):
    """A built-in family by name, or the user's own factory as ``module:factory``."""

    type: str = "mlp"
    """linear, mlp, trees, cnn, resnet, lstm, transformer, autoencoder, isolation_forest, cells, torchvision:NAME,
    hf:FOLDER, or module:factory."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Keyword parameters of the family or the factory."""

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        is_folder = value.startswith(HUGGING_FACE) and value != HUGGING_FACE
        if value not in BUILT_IN and not is_folder and not REFERENCE.match(value):
            raise ValueError(f"{value!r} is none of {', '.join(BUILT_IN)}, nor hf:FOLDER, nor module:factory")
        return value

    @property
    def is_users(self) -> bool:
        """Whether the model comes from the user's own code."""
        return ":" in self.type and not self.is_torchvision and not self.is_hugging_face

    @property
    def is_grown(self) -> bool:
        """Whether the model is trees of some kind, and no network that learns by gradients."""
        return self.type in GROWN

    @property
    def is_torchvision(self) -> bool:
        """Whether the model is one of torchvision's."""
        return self.type.startswith(TORCHVISION)

    @property
    def is_hugging_face(self) -> bool:
        """Whether the model reads texts by a Hugging Face transformer."""
        return self.type.startswith(HUGGING_FACE)
