"""Where a server may listen."""

import os
import socket

import pytest

from raymle.config import ServeConfig
from raymle.errors import SecurityError, SetupError
from raymle.serve.ports import check, free_port, url

AUTH = {"tokens": "tokens.json"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "example.com", ""])
def test_listening_beyond_this_machine_needs_auth(host):
    with pytest.raises(SecurityError, match="there is no auth"):
        check(ServeConfig(host=host))
    check(ServeConfig.model_validate({"host": host, "auth": AUTH}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_fine(host):
    check(ServeConfig(host=host))


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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"host": "127.0.0.1", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "::1", "port": 8000}, "http://[::1]:8000"),
        ({"host": "0.0.0.0", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "127.0.0.1", "tls": {"certificate": "c", "key": "k"}}, "https://127.0.0.1:8000"),
    ],
)
def test_the_address_is_one_that_a_client_can_use(values, expected):
    assert url(ServeConfig.model_validate(values)) == expected
    assert url(ServeConfig.model_validate(values), "/churn") == f"{expected}/churn"
