"""What learns: networks, and the bundle that carries a trained model everywhere else."""

from raymle.model.build import build as build
from raymle.model.build import check as check
from raymle.model.bundle import Bundle as Bundle
from raymle.model.bundle import load as load
from raymle.model.bundle import save as save
from raymle.model.nets import Inputs as Inputs
