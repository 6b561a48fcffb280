"""What is served and how: a model, its configuration, and the storage that its changes come through."""

from pathlib import Path
from typing import Any, NamedTuple

from raymle import loader, native, references
from raymle.config import ServeConfig, Spec
from raymle.errors import UsageError
from raymle.model import read_contents
from raymle.records import Endpoint
from raymle.serve import history
from raymle.serve.history import Event, Model
from raymle.serve.service import Service
from raymle.store import Store, open_store

CHAMPION, CHALLENGER = "champion", "challenger"


class Asked(NamedTuple):
    """A service, and the storage that its changes come through."""

    service: Service
    store: Store | None


def service_of(model: str, *, storage: str, overrides: tuple[str, ...] = ()) -> Asked:
    """Return a model as it would be served; ``models:/NAME@champion`` follows promotions.

    Args:
        model: MODEL of the command line.
        storage: Where runs and history are.
        overrides: ``serve.KEY=VALUE`` each.

    Raises:
        UsageError: the model cannot be served.
    """
    follows = model.startswith(references.REGISTERED) and model.endswith(f"@{CHAMPION}")
    store = open_store(storage) if follows else None
    since = history.read(store, references.registered_name(model)).last + 1 if store else 0  # before the alias is read
    found = references.model(model, storage)
    config = config_of(found.spec, overrides)
    _check_transforms(found.bundle)
    served = Model(version=found.version, place=place(found.bundle, found.root, store), run_id=found.run_id)
    service = Service(
        name=found.name, model=served, config=config, storage=store.uri if store else None, since=since
    )  # fmt: skip
    return Asked(service, store)


def config_of(spec: Spec | None, overrides: tuple[str, ...]) -> ServeConfig:
    """Return the ``serve`` section of a model's spec, with ``serve.KEY=VALUE`` applied."""
    base = {"name": "x", "data": {"source": "x", "target": "x"}}
    spec = spec or loader.from_mapping(base)
    if spec.serve.capture is not None:
        raise UsageError("serve.capture comes later", hint="leave serve.capture out")
    values = dict(loader.parse_override(text) for text in overrides)
    if strange := next((key for key in values if not key.startswith("serve.")), None):
        raise UsageError(f"{strange!r} is not a key of the section serve", hint="such as serve.replicas.max=4")
    config = loader.override(spec, values).serve if values else spec.serve
    return _located(config, Path(spec.folder))


def _located(config: ServeConfig, folder: Path) -> ServeConfig:
    """Return a configuration whose files are found from every process; relative ones start at the spec's folder."""
    changed: dict[str, Any] = {}
    if config.auth:
        changed["auth"] = config.auth.model_copy(update={"tokens": _file(folder, config.auth.tokens)})
    if config.tls:
        names = {"certificate": config.tls.certificate, "key": config.tls.key}
        changed["tls"] = config.tls.model_copy(update={each: _file(folder, name) for each, name in names.items()})
    return config.model_copy(update=changed)


def _file(folder: Path, name: str) -> str:
    path = (folder / Path(name).expanduser()).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="`raymle serve token FILE NAME` makes a file of tokens")
    return str(path)


def _check_transforms(bundle: Path) -> None:
    """Refuse a model whose rows pass the user's own functions first: requests hold what comes after them."""
    if read_contents(bundle).transforms:
        raise UsageError(
            "this model has data.transforms, and serving those comes later", hint="use `raymle predict` for files"
        )


def place(bundle: Path, root: Path, store: Store | None) -> str:
    """Make the native form of a bundle, and say where replicas find it: in the storage, or on this machine."""
    made = native.ready(bundle, root)
    if store is None or not made.is_relative_to(store.root):
        return str(made)
    name = str(made.relative_to(store.root))
    store.publish(name)
    return name


def serving(service: Service, endpoint: Endpoint) -> Event:
    """Return what the history keeps of a server that came up."""
    return Event(kind="serving", model=service.model, url=endpoint.url, about=service.since)
