"""The files for Prometheus and Grafana: valid to Debian's promtool, and about metrics that are there."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from raymle.errors import UsageError
from raymle.serve import dashboard, families

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
NAMES = pytest.mark.parametrize("model", ["churn", "churn of 2026.v-1", 'a "b" \\ c'])


def expressions(model):
    panels = dashboard.grafana(model)["panels"]
    drawn = [target["expr"] for panel in panels for target in panel["targets"]]
    return drawn + [rule["expr"] for group in dashboard.rules(model)["groups"] for rule in group["rules"]]


@needs_promtool
@NAMES
def test_promtool_takes_the_configuration_and_the_rules(tmp_path, model):
    for name in ("token", "ca.pem"):
        (tmp_path / name).write_text("x")
    written = dashboard.write(
        tmp_path / "out", model, ["10.0.0.1:8000", "[::1]:8000"],
        token_file=tmp_path / "token", tls=True, ca_file=tmp_path / "ca.pem",
    )  # fmt: skip
    done = subprocess.run(
        ["promtool", "check", "config", str(written[0])], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 rules found" in done.stdout


def test_the_token_is_named_and_not_copied(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("very secret")
    monkeypatch.chdir(tmp_path)
    written = dashboard.write(
        tmp_path / "out", "churn", ["here:8000"], token_file=(tmp_path / "token").relative_to(tmp_path)
    )
    job = yaml.safe_load(written[0].read_text())["scrape_configs"][0]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": str(tmp_path / "token")}
    assert (job["scheme"], job["static_configs"]) == ("http", [{"targets": ["here:8000"]}])
    assert not [path for path in written if "very secret" in path.read_text()]


@pytest.mark.parametrize("target", ["http://here:8000", "here", "here:8000/metrics", "user@here:1", ""])
def test_a_target_that_prometheus_would_not_load_is_refused(tmp_path, target):
    with pytest.raises(UsageError, match="is not host:port"):
        dashboard.write(tmp_path, "churn", ["here:8000", target])


@NAMES
def test_every_expression_names_metrics_and_labels_that_exist(model):
    labels = {label for family in families.FAMILIES for label in family.labels} | {"le", "node", "model"}
    for text in expressions(model):
        assert set(re.findall(r"raymle_\w+", text)) <= families.names()
        by = {label for found in re.findall(r"by \(([^)]*)\)", text) for label in found.split(", ")}
        assert by <= labels
        assert text.count("model=") == len(re.findall(r"raymle_\w+", text))


def test_the_dashboard_draws_every_metric():
    drawn = set(re.findall(r"raymle_\w+", " ".join(expressions("churn"))))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in drawn}
    assert stems == {family.name for family in families.FAMILIES} - {"raymle_request_rows_total"}


def test_the_dashboard_keeps_its_address_and_lets_the_source_be_chosen(tmp_path):
    written = dashboard.write(tmp_path, "churn", ["here:8000"])
    found = json.loads(written[-1].read_text())
    assert found["uid"] == dashboard.grafana("churn")["uid"] != dashboard.grafana("price")["uid"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", found["uid"])
    assert found["templating"]["list"][0]["type"] == "datasource"
    assert {panel["datasource"]["uid"] for panel in found["panels"]} == {"${datasource}"}
    places = [tuple(panel["gridPos"].values()) for panel in found["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in found["panels"]}) == len(places)
