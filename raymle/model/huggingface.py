"""The folder of a Hugging Face model: what is in it, and what is refused before it is used. Knows no framework.

The network's own ``config.json`` goes into the model's parameters when a training begins, so that workers and bundles
need the folder no more; the weights are read once, by ``nets.huggingface``.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from raymle.config.model import HUGGING_FACE, ModelConfig
from raymle.data.texts import Text
from raymle.errors import SetupError, SpecError, UsageError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
UNSAFE = {"auto_map": "code of its own, which is never run", "quantization_config": "quantised weights"}
"""Keys of a config.json that are refused, and what they mean."""
TOKENIZER = "set data.text.tokenizer to the tokenizer.json of the same model"


def check(config: ModelConfig, folder: str) -> None:
    """Refuse what cannot be loaded, before any data is read.

    Raises:
        SetupError: the package is not installed.
        SpecError: the folder or what must be in it is missing, or its model brings code of its own.
    """
    if find_spec("transformers") is None:
        raise missing(config.type)
    if "config" in config.params:
        raise SpecError(f"model.params.config is read from the {CONFIG} of {config.type}", hint="leave it out")
    read(config, folder)
    where = place(config, folder)
    _check_weights(where, config.type)


def packed(config: ModelConfig, folder: str) -> ModelConfig:
    """Return the section with the network's own config in its parameters; of other models it stays as it is."""
    if not config.is_hugging_face or "config" in config.params:
        return config
    return config.model_copy(update={"params": {**config.params, "config": read(config, folder)}})


def fits_texts(config: ModelConfig, texts: Sequence[Text], *, folder: str) -> None:
    """Refuse columns of text that are not in the codes of the model's own tokenizer.

    Args:
        config: The section; of other models than Hugging Face's all is well.
        texts: What was learned of the columns.
        folder: Where relative paths start.

    Raises:
        UsageError: words are hashed, or texts are too long.
        SpecError: the tokenizer is another model's.
    """
    if not config.is_hugging_face:
        return
    known = packed(config, folder).params["config"]
    size, longest = known.get("vocab_size"), known.get("max_position_embeddings", known.get("n_positions"))
    for text in texts:
        require_tokenizer(config, text.tokenizer)
        if isinstance(size, int) and text.vocabulary - 1 > size:
            raise SpecError(
                f"data.text.tokenizer has {text.vocabulary - 1:,} pieces, and {config.type} knows {size:,}",
                hint=TOKENIZER,
            )
        if isinstance(longest, int) and longest > 0 and text.length > longest:
            raise UsageError(
                f"column {text.column!r} has {text.length:,} pieces a text, and {config.type} reads {longest:,}",
                hint=f"set data.text.length to {longest:,} or less",
            )


def require_tokenizer(config: ModelConfig, tokenizer: str | None) -> None:
    """Refuse hashed words.

    Raises:
        UsageError: there is no tokenizer.
    """
    if config.is_hugging_face and not tokenizer:
        raise UsageError(f"model.type {config.type} needs its own tokenizer, and words are hashed", hint=TOKENIZER)


def place(config: ModelConfig, folder: str) -> Path:
    """Return where the model is."""
    return Path(folder) / Path(config.type.removeprefix(HUGGING_FACE)).expanduser()


def read(config: ModelConfig, folder: str) -> dict[str, Any]:
    """Return the network's own config.

    Raises:
        SpecError: it is not there, is none, or wants more than a network of transformers.
    """
    where = place(config, folder)
    if not where.is_dir():
        raise SpecError(
            f"model.type {config.type}: there is no folder {where}",
            hint="relative paths start at the spec's folder; nothing is downloaded from a hub",
        )
    try:
        found = json.loads((where / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SpecError(f"model.type {config.type}: {where / CONFIG} cannot be read: {why}") from None
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise SpecError(f"model.type {config.type}: {where / CONFIG} names no model_type")
    refuse(found, config.type)
    return found


def refuse(found: dict[str, Any], name: str) -> None:
    """Refuse a config that wants more than a network of transformers.

    Raises:
        SpecError: it does.
    """
    for key, meaning in UNSAFE.items():
        if found.get(key):
            raise SpecError(f"model.type {name}: its {CONFIG} has {key}: {meaning}", hint="use another model")


def _check_weights(where: Path, name: str) -> None:
    """Look for weights, and read what their file says of itself.

    Raises:
        SpecError: there are none, or the file is damaged.
    """
    there = [where / each for each in WEIGHTS if (where / each).is_file()]
    if not there:
        raise SpecError(
            f"model.type {name}: {where} has no {WEIGHTS[0]}",
            hint="other weights are pickles, which are never opened: save them by save_pretrained of transformers",
        )
    try:
        if there[0].name == WEIGHTS[0]:
            safe_open(there[0], "numpy")
    except (OSError, SafetensorError) as error:
        raise SpecError(f"model.type {name}: {there[0]} is no safetensors file: {error}") from None


def missing(name: str) -> SetupError:
    """Say that the package is not installed."""
    return SetupError(
        f"model.type {name} needs transformers, which is not installed",
        hint="pip install 'raymle[text]', or use model.type=transformer",
    )
