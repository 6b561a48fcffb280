"""The page of the metrics lists those that there are, with their types and labels."""

import re
from pathlib import Path

from raymle.serve import dashboard, families

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_the_table_has_every_metric_with_its_type_and_labels():
    found = re.findall(r"^\| `(raymle_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.MULTILINE)
    told = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in found}
    assert told == {
        family.name: (family.kind.split("_")[0], list(family.labels)) for family in families.FAMILIES
    }  # fmt: skip


def test_the_table_has_every_alert():
    alerts = [rule["alert"] for group in dashboard.rules("churn")["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(Raymle\w+)`", PAGE, re.MULTILINE) == alerts
