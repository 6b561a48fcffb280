"""What learns: networks, and the bundle that carries a trained model anywhere. Torch loads when a network is used."""

from raymle.model.bundle import Bundle as Bundle
from raymle.model.bundle import Contents as Contents
from raymle.model.bundle import load as load
from raymle.model.bundle import read_contents as read_contents
from raymle.model.bundle import save as save
from raymle.model.params import check as check
from raymle.model.params import parameters as parameters
