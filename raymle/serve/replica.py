"""One process of Ray Serve with the model in it."""

import logging
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymle.serve.render import DEPLOYMENT
from raymle.serve.service import Service

if TYPE_CHECKING:
    from ray.serve import Application

    from raymle.serve.asgi import App

logger = logging.getLogger(__name__)
LOOK_S, REMOTE = 0.5, 10
"""How often a replica looks for what is new, and how many times as seldom in an object store."""


def build(args: dict[str, Any]) -> "Application":
    """Return the application of a service: what the ``import_path`` of a Serve configuration names."""
    from ray import serve

    deployment = serve.deployment(name=DEPLOYMENT)(serve.ingress()(Replica))
    return deployment.bind(args["service"])


class Replica:
    """A model behind HTTP; requests that come together are predicted together."""

    def __init__(self, service: dict[str, Any]) -> None:
        from ray import serve

        from raymle.serve.follower import Follower

        self._service = Service.model_validate(service)
        name = str(serve.get_replica_context().replica_id.unique_id)
        self._follower = Follower(self._service, name, _folder(self._service))
        self._ended = threading.Event()
        threading.Thread(target=self._look, daemon=True, name="follows the history").start()

    def __serve_build_asgi_app__(self) -> "App":
        """Return the app that Serve puts behind its proxy."""
        from raymle.serve.admission import Tokens
        from raymle.serve.app import application
        from raymle.serve.card import Card
        from raymle.serve.limits import configured

        config, lineup = self._service.config, self._follower.lineup
        bundle = lineup.champion.bundle
        return application(
            lineup.answer,
            Card(
                bundle.schema, self._service.name, lambda: lineup.champion.model.version, bundle.transform, config.page
            ),
            limits=configured(config),
            auth=Tokens(Path(config.auth.tokens), rate_per_s=config.auth.rate_per_s) if config.auth else None,
            metrics=self._follower.metrics.text,
            observe=lineup.observe,
            room=lineup.room,
            names_requests=False,  # Serve does
        )

    def _version(self) -> str:
        return self._follower.lineup.champion.model.version

    def _look(self) -> None:
        remote = "://" in (self._service.storage or "")
        while not self._ended.wait(LOOK_S * (REMOTE if remote else 1)):
            try:
                self._follower.look()
            except Exception:  # a storage that cannot be reached changes nothing, and is looked at again
                logger.exception("%s cannot follow its history", self._service.name)

    def __del__(self) -> None:
        """Stop to look, when Serve takes the replica away."""
        self._ended.set()
        self._follower.metrics.close()


def _folder(service: Service) -> Path:
    """Return the folder in which the replicas of this node count, which nobody else reads."""
    if service.metrics:
        return _private(Path(service.metrics)) or Path(tempfile.mkdtemp())
    home = _private(Path(tempfile.gettempdir()) / f"raymle-metrics-{os.getuid()}")
    found = _private(home / service.name) if home else None
    return found or Path(tempfile.mkdtemp())  # somebody else has the name: this replica counts alone


def _private(folder: Path) -> Path | None:
    """Make a folder that only this account reads; None when the name is somebody else's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_ours else None
