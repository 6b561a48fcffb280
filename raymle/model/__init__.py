"""What learns: networks, and the bundle that carries a trained model anywhere. Torch loads when a network is used."""

from raymle.model.bundle import Bundle as Bundle
from raymle.model.bundle import load as load
from raymle.model.bundle import read_transform as read_transform
from raymle.model.bundle import save as save
from raymle.model.contents import PICKLES as PICKLES
from raymle.model.contents import Contents as Contents
from raymle.model.contents import no_bundle as no_bundle
from raymle.model.contents import read_contents as read_contents
from raymle.model.huggingface import fits_texts as fits_texts
from raymle.model.huggingface import packed as packed
from raymle.model.huggingface import require_tokenizer as require_tokenizer
from raymle.model.params import check as check
from raymle.model.params import fits as fits
from raymle.model.params import parameters as parameters
