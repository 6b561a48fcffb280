"""A model served for as long as a command runs, on a Ray of our own or on the one that is at hand."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raymle import references, runtime
from raymle.config import ServeConfig
from raymle.errors import RaymleError
from raymle.hosting.asked import CHALLENGER, Asked, serving
from raymle.hosting.cluster import check_cluster
from raymle.records import Endpoint, Plan
from raymle.serve import check, free_port, history, ports, settings
from raymle.serve import serving as on_ray
from raymle.serve.history import Event, State
from raymle.serve.service import Service
from raymle.store import Store
from raymle.tracking import registry

FOLLOWS = "models:/NAME@champion"
WHY = "a server runs on Ray Serve"


def planned(asked: Asked) -> Plan:
    """Check everything and say what ``hosted`` would do; nothing is started.

    Raises:
        SecurityError: it would listen beyond this machine without auth.
        SetupError: the port is taken.
    """
    service, config = asked.service, asked.service.config
    _checked_port(config)
    replicas, needs = config.replicas, config.resources
    at = ports.url(config) if config.port else f"a free port of {config.host}"
    return Plan(
        verb="serve",
        what=f"{service.name} version {service.model.version} answers POST /predict at {at}",
        where="the Ray at hand" if runtime.is_at_hand() else "a Ray of its own on this machine",
        why=WHY,
        steps=(
            f"start {_count(replicas.min, replicas.max)}, each with {needs.cpu:g} CPUs and {needs.gpu:g} GPUs",
            "load, warm up and try the golden rows, then answer",
            "follow promotions and rollbacks" if asked.store else f"answer with this version only: {FOLLOWS} follows",
        ),
    )


def _count(fewest: int, most: int) -> str:
    few = "1 replica" if fewest == 1 else f"{fewest} replicas"
    return few if most == fewest else f"{few}, up to {most} under load"


def _checked_port(config: ServeConfig) -> int:
    check(config)
    port = free_port(config.host, config.port)
    if runtime.is_at_hand():
        check_cluster(config)
    return port


@contextmanager
def hosted(asked: Asked) -> Iterator[Endpoint]:
    """Serve on a Ray of our own, or on the one that is at hand, until the block ends.

    Raises:
        SecurityError: it would listen beyond this machine without auth.
        SetupError: the port is taken.
        WorkError: the model did not come up.
    """
    service, store = asked
    config = service.config
    port = _checked_port(config)
    with _place_for_haproxy() as folder, runtime.variables(_environment(folder, config)):
        service = service.model_copy(
            update={"config": config.model_copy(update={"port": port}), "metrics": str(folder / "metrics")}
        )
        with (
            runtime.connected(runtime.local(WHY)),
            on_ray(service) as endpoint,
            _noted(store, service, endpoint),
        ):
            yield endpoint


@contextmanager
def _place_for_haproxy() -> Iterator[Path]:
    with runtime.scratch() as folder:
        try:
            yield folder
        finally:
            settings.end(folder)


def _environment(folder: Path, config: ServeConfig) -> dict[str, str]:
    """Return the environment of a Ray of our own; one that runs already has its own."""
    return {} if runtime.is_at_hand() else settings.environment(folder, config)


@contextmanager
def _noted(store: Store | None, service: Service, endpoint: Endpoint) -> Iterator[None]:
    """Say in the history that a model is served, and at the end that it is not."""
    if store is None:
        yield
        return
    history.append(store, service.name, serving(service, endpoint))
    try:
        yield
    finally:
        history.append(store, service.name, Event(kind="stopped", url=endpoint.url))


def changes(asked: Asked) -> Iterator[str]:
    """Yield, one call a step, what changed in a served model since the last one; empty when nothing did.

    A challenger that went by itself loses its alias too.
    """
    service, store = asked
    state = history.read(store, service.name) if store else State()
    while True:
        before, state = state, history.read(store, service.name, state) if store else state
        if store and before.challenger and not state.challenger and state.ended and state.ended.by != history.USER:
            with suppress(RaymleError):  # the registry may be out of reach; `raymle rollback` takes it away then
                registry.move_alias(references.tracking(store), store, service.name, CHALLENGER, None)
        yield _difference(service.name, before, state)


def _difference(name: str, before: State, state: State) -> str:
    news = []
    if state.ended and state.ended != before.ended:
        version = state.ended.model.version if state.ended.model else ""
        news = [f"{name} version {version} is out: {state.ended.reason}"]
    heard = [each for each in state.answers[len(before.answers) :] if each.kind == "taken" and each.model]
    news += [f"{name} version {each.model.version} is in replica {each.by}" for each in heard if each.model]
    return "\n".join(news)
