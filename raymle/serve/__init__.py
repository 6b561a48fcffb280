"""A model behind HTTP: checked requests in, predictions out."""

from raymle.serve.deployment import check as check
from raymle.serve.deployment import free_port as free_port
from raymle.serve.deployment import serving as serving
