"""One process of Ray Serve with the model in it."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymle.errors import RaymleError
from raymle.serve.lineup import Lineup
from raymle.serve.metrics import Metrics
from raymle.serve.render import DEPLOYMENT
from raymle.serve.service import Service

if TYPE_CHECKING:
    from ray.serve import Application

    from raymle.serve.app import App

LOOK_S = 0.5
"""How often a replica looks for what is new; in an object store ten times as seldom."""


def build(args: dict[str, Any]) -> "Application":
    """Return the application of a service: what the ``import_path`` of a Serve configuration names."""
    from ray import serve

    deployment = serve.deployment(name=DEPLOYMENT)(serve.ingress()(Replica))
    return deployment.bind(args["service"])


class Replica:
    """A model behind HTTP; requests that come together are predicted together."""

    def __init__(self, service: dict[str, Any]) -> None:
        from ray import serve

        self._service = Service.model_validate(service)
        self._name = serve.get_replica_context().replica_id.unique_id
        self._lineup = Lineup(self._service, self._name)
        self._ended = threading.Event()
        threading.Thread(target=self._follow, daemon=True, name="follows the history").start()

    def __serve_build_asgi_app__(self) -> "App":
        """Return the app that Serve puts behind its proxy."""
        raise NotImplementedError

    def _follow(self) -> None:
        remote = "://" in (self._service.storage or "")
        while not self._ended.wait(LOOK_S * (10 if remote else 1)):
            try:
                self._lineup.keep_up()
            except RaymleError:  # a storage that cannot be reached changes nothing
                continue

    def __del__(self) -> None:
        """Stop to follow, when Serve takes the replica away."""
        self._ended.set()
