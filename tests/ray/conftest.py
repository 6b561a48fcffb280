"""Tests of Ray share one small prepared table."""

import secrets
import tempfile

import pytest
from small_table import splits as splits


@pytest.fixture(scope="module")
def two_cpus():
    """A Ray of two CPUs behind a token of its own."""
    import ray
    from ray._private.authentication_test_utils import reset_auth_token_state

    with (
        tempfile.TemporaryDirectory(prefix="rt", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        reset_auth_token_state()  # Ray read the environment when it was imported
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        yield
        ray.shutdown()
    reset_auth_token_state()
