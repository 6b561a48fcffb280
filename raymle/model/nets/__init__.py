"""Torch modules by modality; each takes named inputs and gives float32 ``[rows, outputs]``."""

from raymle.model.nets.tabular import Inputs as Inputs
from raymle.model.nets.tabular import Linear as Linear
from raymle.model.nets.tabular import LinearParams as LinearParams
from raymle.model.nets.tabular import Mlp as Mlp
from raymle.model.nets.tabular import MlpParams as MlpParams
