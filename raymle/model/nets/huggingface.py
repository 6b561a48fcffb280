"""Hugging Face's transformers as encoders of texts: codes of their tokenizer ``[n, length]`` to features."""

from importlib import import_module
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from raymle.errors import SpecError, UsageError
from raymle.model import huggingface
from raymle.model.nets.text import by_length, mean
from raymle.model.noise import quiet
from raymle.model.params import HuggingFaceParams
from raymle.records import TextInput

PLAIN = {"use_cache": False, "return_dict": True, "output_attentions": False, "output_hidden_states": False}
"""What a network is asked for besides its states: nothing."""

PLAIN_KINDS = frozenset(
    {"albert", "bert", "bloom", "camembert", "deberta-v2", "distilbert", "electra", "gpt2", "modernbert", "mpnet",
     "roberta", "xlm-roberta"}
)  # fmt: skip
"""Those for whom padding changes nothing. Others mix it in (fnet), or want a length that does not change (reformer)."""


@final
class HuggingFace(nn.Module):
    """The mean of a transformer's last states over a text's pieces."""

    def __init__(self, name: str, text: TextInput, params: HuggingFaceParams) -> None:
        super().__init__()
        described = describe(params.config or {}, name)
        self.network = _built(kind(described, name), described, name)
        self.text, self.width = text, int(described.hidden_size)
        self._is_plain = described.model_type in PLAIN_KINDS
        self.padding = int(getattr(described, "pad_token_id", None) or 0)
        if text.vocabulary - 1 > self.network.get_input_embeddings().num_embeddings:
            raise SpecError(
                f"the tokenizer of column {text.column!r} has {text.vocabulary - 1:,} pieces, more than {name} knows",
                hint=huggingface.TOKENIZER,
            )

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, width]``; zeros for an empty text."""
        return by_length(codes, self._features) if self._is_plain else self._features(codes)

    def _features(self, codes: Tensor) -> Tensor:
        there = codes != 0
        seen = functional.pad(there[:, 1:], (1, 0), value=True)  # no row is without any: attention would be NaN
        pieces = torch.where(there, codes - 1, self.padding)
        states = self.network(input_ids=pieces, attention_mask=seen.long())[0]
        return mean(states, codes)


def initial(module: nn.Module, folder: Path, params: HuggingFaceParams, name: str) -> dict[str, Tensor]:
    """Return the network's weights and buffers, its encoders of text with those of a Hugging Face folder.

    Args:
        module: The whole network as its seed makes it; it is left alone.
        folder: Where ``model.safetensors`` is.
        params: The model's parameters, with the config of the folder.
        name: What the model is called in errors.

    Raises:
        SpecError: the weights are damaged, or another network's.
    """
    found = _read(folder, describe(params.config or {}, name), name)
    ours = module.state_dict()
    for place, part in module.named_modules():
        if isinstance(part, HuggingFace):
            _try(part, name)
            theirs = {f"{place}.network.{key}": value for key, value in found.items()}
            ours |= {key: value for key, value in theirs.items() if key in ours}
    return ours


def describe(found: dict[str, Any], name: str) -> Any:
    """Return transformers' own form of a config.json.

    Raises:
        SpecError: it is no config, or one that would load more than a network.
        SetupError: transformers is not installed.
    """
    transformers = _transformers(name)
    huggingface.refuse(found, name)
    plain = {key: value for key, value in found.items() if not key.startswith("_") and key != "model_type"}
    try:
        with quiet():
            return transformers.AutoConfig.for_model(str(found.get("model_type")), **{**plain, **PLAIN})
    except Exception as error:  # configs raise anything
        raise SpecError(f"model.type {name}: its config.json does not do: {_line(error)}") from error


def kind(described: Any, name: str) -> Any:
    """Return the class of a network, if it reads texts and nothing else.

    Raises:
        SpecError: it does not.
    """
    transformers = _transformers(name)
    with quiet():
        known = transformers.MODEL_MAPPING.get(type(described), None)
    made = known[0] if isinstance(known, (tuple, list)) else known
    if made is None or made.main_input_name != "input_ids" or described.sub_configs or described.is_encoder_decoder:
        raise SpecError(
            f"model.type {name}: a {described.model_type} is no encoder of texts alone",
            hint="such as bert, roberta, distilbert, modernbert or deberta-v2",
        )
    return made


def _built(made: Any, described: Any, name: str) -> Any:
    """Build a network without its pooler, which nobody asks and which would never learn."""
    try:
        with quiet():
            network = made._from_config(described, **_form(made))  # noqa: SLF001  what AutoModel calls
    except Exception as error:  # networks raise anything
        raise SpecError(f"model.type {name}: its network cannot be built: {_line(error)}") from error
    if isinstance(getattr(network, "pooler", None), nn.Module):
        network.pooler = None
    return network


def _try(encoder: HuggingFace, name: str) -> None:
    """Read one text of the full length, so that what does not fit is told before an epoch is trained.

    Raises:
        UsageError: the network has fewer places, or cannot be called.
    """
    codes = torch.full((1, encoder.text.length), encoder.padding + 2)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            encoder(codes)
    except Exception as error:  # networks raise anything
        raise UsageError(
            f"model.type {name} fails on a text of {encoder.text.length:,} pieces: {_line(error)}",
            hint="set data.text.length to what it reads",
        ) from error


def _read(folder: Path, described: Any, name: str) -> dict[str, Tensor]:
    made = kind(described, name)
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            network, told = made.from_pretrained(
                str(folder), config=described, local_files_only=True, use_safetensors=True, output_loading_info=True,
                **_form(made),
            )  # fmt: skip
    except Exception as error:  # transformers raises anything
        raise SpecError(f"model.type {name}: the weights in {folder} cannot be loaded: {_line(error)}") from error
    if lost := sorted(key for key in told["missing_keys"] if not key.startswith("pooler.")):
        raise SpecError(f"model.type {name}: the weights in {folder} lack {len(lost)}, such as {lost[0]}")
    weights: dict[str, Tensor] = network.state_dict()
    return weights


def _form(made: Any) -> dict[str, Any]:
    """Say which attention and precision: never what the config asks for, which may be a kernel of a hub."""
    return {"dtype": torch.float32, "attn_implementation": "sdpa" if getattr(made, "_supports_sdpa", 0) else "eager"}


def _transformers(name: str) -> Any:
    try:
        with quiet():
            return import_module("transformers")
    except ImportError:
        raise huggingface.missing(name) from None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
