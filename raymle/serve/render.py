"""A service as Ray Serve's own configuration: what ``serve deploy`` of Ray takes, checked by Ray's schema."""

from typing import TYPE_CHECKING, Any

from raymle.serve import settings
from raymle.serve.service import Service

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema

DEPLOYMENT = "model"


def document(service: Service, *, route: str = "/") -> dict[str, Any]:
    """Return the whole configuration of a cluster that serves one model."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": settings.http(service.config),
        "logging_config": settings.QUIET,
        "applications": [application(service, route=route)],
    }


def application(service: Service, *, route: str = "/") -> dict[str, Any]:
    """Return the part of a configuration that is one model's."""
    return {
        "name": service.name,
        "route_prefix": route,
        "import_path": "raymle.serve.replica:build",
        "args": {"service": service.model_dump(mode="json")},
        "deployments": [{"name": DEPLOYMENT, **settings.deployment(service.config)}],
    }


def checked(configuration: dict[str, Any]) -> "ServeDeploySchema":
    """Return a configuration as Ray's schema reads it."""
    from ray.serve.schema import ServeDeploySchema

    return ServeDeploySchema.model_validate(configuration)
