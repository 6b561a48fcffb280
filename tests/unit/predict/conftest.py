"""One model for all tests of batch prediction."""

import pytest
from small_model import make


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("model"))
