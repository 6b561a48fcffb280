"""A service as Ray Serve's own configuration, held against Ray's schema."""

import json

import pytest

from raymle.config import ServeConfig
from raymle.serve import render, settings
from raymle.serve.history import Model
from raymle.serve.service import Service


def service(**values):
    config = ServeConfig.model_validate(values)
    return Service(
        name="churn", model=Model(version="7", place="native/abc"), config=config, storage="s3://b/c", since=3
    )


def deployment(**values):
    return render.document(service(**values))["applications"][0]["deployments"][0]


def test_rays_schema_takes_it_and_a_replica_reads_its_service_back():
    found = render.checked(json.loads(json.dumps(render.document(service()))))
    application = found.applications[0]
    assert application.import_path == "raymle.serve.replica:build"
    assert Service.model_validate(application.args["service"]) == service()


def test_a_new_replica_is_ready_before_the_old_one_goes():
    assert deployment()["max_surge_percent"] == 100


def test_nothing_waits_without_a_limit():
    found = deployment(queue=100, batch={"max_size": 32})
    assert 132 < found["max_ongoing_requests"] < 300
    assert 132 < found["max_queued_requests"] < 300
    assert found["backpressure_config"] == {"status_code": 503, "retry_after_s": 1}


def test_one_number_of_replicas_is_fixed_and_a_range_scales():
    assert deployment(replicas={"min": 2, "max": 2})["num_replicas"] == 2
    scaling = deployment(replicas={"min": 1, "max": 4})
    assert "num_replicas" not in scaling
    assert (scaling["autoscaling_config"]["min_replicas"], scaling["autoscaling_config"]["max_replicas"]) == (1, 4)


def test_a_part_of_a_gpu_is_asked_for():
    assert deployment(resources={"cpu": 2, "gpu": 0.25})["ray_actor_options"] == {"num_cpus": 2, "num_gpus": 0.25}


def test_an_environment_for_haproxy_keeps_its_files_in_one_private_folder(tmp_path):
    found = settings.environment(tmp_path, ServeConfig())
    assert found["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    places = [value for name, value in found.items() if name.endswith(("PATH", "LOC", "FILE", "BASE"))]
    assert len(places) >= 5
    assert all(each.startswith(str(tmp_path)) for each in places)
    assert "RAY_SERVE_HAPROXY_RETRY_ON" not in found


def test_lost_answers_are_asked_for_again_when_that_is_wanted(tmp_path):
    found = settings.environment(tmp_path, ServeConfig(retry=True))
    assert "empty-response" in found["RAY_SERVE_HAPROXY_RETRY_ON"]


@pytest.mark.parametrize("name", ["certificate", "key"])
def test_the_certificate_with_its_key_is_for_nobody_elses_eyes(tmp_path, name):
    for each in ("certificate", "key"):
        (tmp_path / each).write_text(each)
    config = ServeConfig.model_validate(
        {"tls": {"certificate": str(tmp_path / "certificate"), "key": str(tmp_path / "key")}}
    )
    found = tmp_path / "tls.pem"
    assert settings.certificate(tmp_path, config) == str(found)
    assert found.stat().st_mode & 0o077 == 0
    assert name in found.read_text()
