"""From raw data to a served, watched, reproducible model, on a laptop or a Ray cluster.

The public names load on first use, so ``import raymle`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raymle.api import Experiment as Experiment
    from raymle.api import Run as Run
    from raymle.api import compare as compare
    from raymle.api import export as export
    from raymle.api import predict as predict
    from raymle.api import serve as serve
    from raymle.errors import RaymleError as RaymleError

__version__ = "0.1.0"
__all__ = ["Experiment", "RaymleError", "Run", "compare", "export", "predict", "serve"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'raymle' has no attribute {name!r}")
    if name == "RaymleError":
        return import_module("raymle.errors").RaymleError
    api = import_module("raymle.api")
    # `export`, `predict` and `serve` are modules too: once they are loaded, the functions must be found first
    globals().update({public: getattr(api, public) for public in __all__ if hasattr(api, public)})
    return globals()[name]
