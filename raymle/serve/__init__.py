"""A model behind HTTP: checked requests in, predictions out, changed without a lost request."""

from raymle.serve.deployment import deploy as deploy
from raymle.serve.deployment import remove as remove
from raymle.serve.deployment import serving as serving
from raymle.serve.ports import check as check
from raymle.serve.ports import free_port as free_port
