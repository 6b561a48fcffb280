import os
import socket

import pytest

from raymle.config import ServeConfig
from raymle.errors import SecurityError, SetupError, UsageError
from raymle.serve.deployment import check, free_port, serving


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "example.com", ""])
def test_listening_beyond_this_machine_is_refused(host):
    with pytest.raises(SecurityError, match="there is no auth"):
        check(ServeConfig(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_fine(host):
    check(ServeConfig(host=host))


@pytest.mark.parametrize(
    "later",
    [
        {"auth": {"tokens": "tokens.json"}},
        {"tls": {"certificate": "a.pem", "key": "b.pem"}},
        {"capture": {}},
        {"replicas": {"min": 1, "max": 2}},
    ],
)
def test_what_comes_later_is_refused_with_a_sentence(later):
    with pytest.raises(UsageError, match="comes later"):
        check(ServeConfig.model_validate(later))


def test_a_taken_port_names_its_holder_and_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 is taken by .*pid {os.getpid()}") as caught:
            free_port("127.0.0.1", port)
        assert "is free" in caught.value.hint
    assert free_port("127.0.0.1", port) == port


def test_port_0_takes_a_free_one():
    assert free_port("127.0.0.1", 0) > 1023


def test_a_model_with_the_users_own_transforms_is_not_served_without_them(tmp_path):
    (tmp_path / "bundle.json").write_text('{"transforms": ["features:clip"]}')
    with (
        pytest.raises(UsageError, match="serving those comes later"),
        serving(ServeConfig(), tmp_path, name="churn", version="1"),
    ):
        pass
