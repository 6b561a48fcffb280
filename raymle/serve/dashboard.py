"""Files that point Prometheus and Grafana at a served model: what to scrape, when to alert, what to draw."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from raymle.errors import UsageError

RULES, SCRAPE, GRAFANA = "raymle-rules.yml", "prometheus.yml", "raymle-dashboard.json"
SPAN = "5m"
MOST_ERRORS, SLOW_S, MOST_UNSEEN = 0.05, 1, 0.2


def write(
    folder: Path,
    model: str,
    targets: Sequence[str],
    *,
    token_file: Path | None = None,
    tls: bool = False,
    ca_file: Path | None = None,
) -> list[Path]:
    """Write prometheus.yml, its alert rules and a Grafana dashboard, and return where they are.

    Args:
        folder: Where to; it is made.
        model: The name that is served.
        targets: ``host:port`` of each node that serves.
        token_file: Holds the bearer token, when the server asks for one; Prometheus reads it at each scrape.
        tls: Whether the server speaks https.
        ca_file: Holds the certificate that vouches for the server's, when no public authority does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token, authority = (str(path.resolve()) if path else None for path in (token_file, ca_file))
    config = scrape(targets, token_file=token, tls=tls, ca_file=authority)
    texts = {
        SCRAPE: yaml.safe_dump(config, sort_keys=False),
        RULES: yaml.safe_dump(rules(model), sort_keys=False, width=1000),
        GRAFANA: json.dumps(grafana(model), indent=1),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def scrape(targets: Sequence[str], *, token_file: str | None, tls: bool, ca_file: str | None = None) -> dict[str, Any]:
    """Return a prometheus.yml that asks each target for ``/metrics`` and loads the rules beside it.

    Raises:
        UsageError: a target is not ``host:port``.
    """
    for target in targets:
        if not re.fullmatch(r"[^/@\s]+:\d{1,5}", target):
            raise UsageError(f"{target!r} is not host:port", hint="as 10.0.0.1:8000, without https:// or a path")
    job: dict[str, Any] = {"job_name": "raymle", "metrics_path": "/metrics", "scheme": "https" if tls else "http"}
    if token_file:
        job["authorization"] = {"type": "Bearer", "credentials_file": token_file}
    if ca_file:
        job["tls_config"] = {"ca_file": ca_file}
    job["static_configs"] = [{"targets": list(targets)}]
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [RULES],
        "scrape_configs": [job],
    }


def rules(model: str) -> dict[str, Any]:
    """Return alert rules: nobody answers, errors, slow answers, values that training did not see."""
    replicas = _of("raymle_replicas", model)
    failed = _rate(_of("raymle_requests_total", model, 'status=~"5.."'))
    answered = _rate(_of("raymle_requests_total", model))
    alerts = [
        _alert("NoReplica", f"absent({replicas}) or sum({replicas}) == 0", "1m", f"no replica of {model} answers"),
        _alert("Errors", f"{failed} / {answered} > {MOST_ERRORS}", SPAN, f"over 5 % of the answers of {model} are 5xx"),
        _alert("Slow", f"{_quantile(0.99, model)} > {SLOW_S}", "10m", f"1 % of the answers of {model} take over 1 s"),
        _alert(
            "Unseen", f"{_share('raymle_unseen_total', model)} > {MOST_UNSEEN}", "30m",
            "over 20 % of the values of {{ $labels.column }} are new to " + model, severity="warning",
        ),
    ]  # fmt: skip
    return {"groups": [{"name": f"raymle {model}", "rules": alerts}]}


def _alert(name: str, expr: str, span: str, summary: str, *, severity: str = "critical") -> dict[str, Any]:
    return {
        "alert": f"Raymle{name}",
        "expr": expr,
        "for": span,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }


def _of(name: str, model: str, *more: str) -> str:
    """Select one model's series of that name."""
    return f"{name}{{{', '.join((f'model={json.dumps(model, ensure_ascii=False)}', *more))}}}"


def _rate(series: str, *by: str) -> str:
    """Return how much a second, summed over nodes, apart for each value of the labels."""
    kept = f" by ({', '.join(by)}) " if by else ""
    return f"sum{kept}(rate({series}[{SPAN}]))"


def _quantile(share: float, model: str) -> str:
    return f"histogram_quantile({share}, {_rate(_of('raymle_request_seconds_bucket', model), 'le')})"


def _mean(histogram: str, model: str, *by: str) -> str:
    return " / ".join(_rate(_of(f"{histogram}_{part}", model), *by) for part in ("sum", "count"))


def _share(counter: str, model: str) -> str:
    """Return the share of the rows, for each column."""
    return f"{_rate(_of(counter, model), 'column')} / scalar({_rate(_of('raymle_input_rows_total', model))})"


def grafana(model: str) -> dict[str, Any]:
    """Return a dashboard to import; the Prometheus that it draws from is chosen there."""
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"raymle-{hashlib.sha256(model.encode()).hexdigest()[:16]}",
        "title": f"raymle: {model}",
        "tags": ["raymle"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [_panel(place, *panel) for place, panel in enumerate(_panels(model))],
    }


def _panels(model: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return title, unit, and the legend and expression of each line."""

    def of(name: str) -> str:
        return _of(name, model)

    return [
        ("Requests by status", "reqps", {"{{status}}": _rate(of("raymle_requests_total"), "status")}),
        ("Latency", "s", {f"p{share * 100:g}": _quantile(share, model) for share in (0.5, 0.95, 0.99)}),
        ("Errors by type", "reqps", {"{{type}}": f"{_rate(of('raymle_errors_total'), 'type')} > 0"}),
        ("Requests by version", "reqps", {"{{version}}": _rate(of("raymle_requests_total"), "version")}),
        ("Rows of a batch", "short", {"mean": _mean("raymle_batch_rows", model)}),
        ("Time of a batch", "s", {"{{version}}": _mean("raymle_batch_seconds", model, "version")}),
        ("Rows in the queue", "short", {"{{node}}": f"sum by (node) ({of('raymle_queue_rows')})"}),
        ("Requests in flight", "short", {"{{node}}": f"sum by (node) ({of('raymle_in_flight_requests')})"}),
        ("Replicas", "short", {"{{node}}": f"sum by (node) ({of('raymle_replicas')})"}),
        ("Predictions by class", "short", {"{{class}}": _rate(of("raymle_predictions_total"), "class")}),
        ("Mean prediction", "none", {"{{version}}": _mean("raymle_prediction", model, "version")}),
        ("Versions", "short", {
            "{{version}} on {{runtime}}": f"count by (version, runtime) ({of('raymle_model_info')})",
        }),
        ("Missing values", "percentunit", {
            "{{column}}": _share("raymle_missing_total", model),
            "{{column}}, empty": _share("raymle_empty_total", model),
        }),
        ("Unseen categories", "percentunit", {"{{column}}": _share("raymle_unseen_total", model)}),
        ("Outlying numbers", "percentunit", {"{{column}}": _share("raymle_outlying_total", model)}),
        ("Challenger", "short", {
            "{{version}} {{event}}": _rate(of("raymle_challenger_total"), "version", "event"),
        }),
    ]  # fmt: skip


def _panel(place: int, title: str, unit: str, lines: dict[str, str]) -> dict[str, Any]:
    """Return a graph; three stand side by side."""
    row, column = divmod(place, 3)
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {"x": 8 * column, "y": 8 * row, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": expr, "legendFormat": legend}
            for number, (legend, expr) in enumerate(lines.items())
        ],
    }
