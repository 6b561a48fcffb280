import socket
import time

import pytest

from raymle.cloud import doctor


def test_a_doctor_without_a_network_looks_at_everything_in_five_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    started = time.monotonic()
    found = {check.name: check for check in doctor.checks(str(tmp_path), tracking_uri="http://127.0.0.1:1")}
    assert time.monotonic() - started < 5
    assert {"python", "packages", "memory", "disk", "storage", "ray token", "mlflow", "cluster"} <= set(found)
    assert found["mlflow"].answer == "warn"
    assert found["cluster"].answer == "fail"
    assert all(check.fix for check in found.values() if check.answer != "ok")


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert doctor.free(port).answer == "warn"
    assert doctor.free(port).answer == "ok"


def test_a_token_that_others_can_read_comes_with_the_command_that_hides_it(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert doctor.token().fix == f"chmod 600 {path}"
    assert "s3cret" not in doctor.token().model_dump_json()
    path.chmod(0o600)
    assert doctor.token().answer == "ok"


def test_a_switch_that_lets_data_run_code_fails(monkeypatch):
    monkeypatch.setenv("RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE", "1")
    assert doctor.switches().answer == "fail"


@pytest.mark.parametrize("uri", ["http://user:s3cret@127.0.0.1:1", "postgresql://user:s3cret@db/mlflow"])
def test_no_password_is_shown(uri):
    assert "s3cret" not in doctor.tracking(uri).model_dump_json()
