"""Torch modules by modality; each takes named inputs and gives float32 ``[rows, outputs]``."""

from raymle.model.nets.tabular import Linear as Linear
from raymle.model.nets.tabular import Mlp as Mlp
