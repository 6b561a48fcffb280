"""The card that a reviewer reads first: the run's description in Markdown."""

from collections.abc import Mapping
from typing import Any

from raymle.config import Spec
from raymle.records import Metrics, Reproduced, ScoredRun, Seal, Trained

MOST = 4900
MOST_LAYERS = 20


def card(
    trained: Trained,
    spec: Spec,
    *,
    seal: Seal | None = None,
    champion: Mapping[str, Any] | None = None,
    scored: ScoredRun | None = None,
) -> str:
    """Write a run's card.

    Args:
        trained: The run.
        spec: What made it.
        seal: The receipt of the sealed rows.
        champion: The champion's ``version``, ``run_id`` and ``metrics`` on the same rows; empty when
            there is none, None when nobody asked.
        scored: The run's final score, if it has one.
    """
    metrics, label = (scored.metrics, scored.label) if scored else (_latest(trained), "validation")
    intervals = scored.intervals if scored else trained.intervals
    parts = [
        f"**{_verdict(trained, metrics, label, intervals)}**",
        _table(trained.metric, metrics, intervals, label),
        _seal(seal, scored),
        _difference(trained.metric, metrics, champion),
        _pretrained(trained),
        f"Reproduce: `raymle reproduce {trained.run_id}`",
        _origin(trained, spec),
    ]
    return "\n\n".join(part for part in parts if part)[:MOST]


def stamped(text: str, reproduced: Reproduced | None) -> str:
    """Put into a card, below its first line, whether the run was reproduced."""
    if reproduced is None:
        return text
    day, weights = reproduced.at[:10], f" (weights {reproduced.weights})" if reproduced.weights else ""
    head, _, rest = text.partition("\n\n")
    return f"{head}\n\nReproduced: **{reproduced.verdict}** on {day}{weights}\n\n{rest}"[:MOST]


def _latest(trained: Trained) -> Metrics:
    return trained.metrics.get("validation", {})


def _verdict(trained: Trained, metrics: Metrics, label: str, intervals: Mapping[str, tuple[float, float]]) -> str:
    if trained.status != "finished":
        return f"{trained.name}: {trained.status}"
    value = metrics.get(trained.metric)
    if value is None:
        return f"{trained.name}: {trained.model}, without a {trained.metric}"
    reached = _value(value, intervals.get(trained.metric))
    return f"{trained.name}: {trained.model} reaches {label} {trained.metric} {reached}"


def _table(first: str, metrics: Metrics, intervals: Mapping[str, tuple[float, float]], label: str) -> str:
    names = sorted(metrics, key=lambda name: (name != first, name))
    rows = [f"| {name} | {metrics[name]:.4g} | {_interval(intervals.get(name))} |" for name in names]
    return "\n".join([f"| {label} | value | 95 % interval |", "|--|--|--|", *rows]) if rows else ""


def _seal(seal: Seal | None, scored: ScoredRun | None) -> str:
    if seal is None:
        return ""
    state = f"Sealed test rows: {seal.rows:,}, of which {seal.fresh:,} fresh and {seal.spent:,} spent."
    if scored is None and seal.rows and not seal.fresh:
        return f"{state} All of them were opened for other runs: they are no test for this one."
    if scored is None:
        return f"{state} Not scored yet: `raymle score` opens them once."
    return f"{state} Scored; the score counts as {scored.label}."


def _difference(metric: str, metrics: Metrics, champion: Mapping[str, Any] | None) -> str:
    if champion is None:
        return ""
    if not champion:
        return "There is no champion yet."
    theirs = champion.get("metrics", {}).get(metric)
    who = f"the champion, version {champion.get('version')} ({champion.get('run_id')})"
    if theirs is None or metric not in metrics:
        return f"Not compared with {who} on the same rows."
    return f"{metric} differs by {metrics[metric] - theirs:+.4g} from {who}."


def _pretrained(trained: Trained) -> str:
    """Say what the run goes on from, and what became of each layer."""
    found = trained.pretrained
    if found is None:
        return ""
    parent, (head, *rows) = found.parent, found.table
    who = f"run `{parent.run_id}`" if parent.run_id else _inline(parent.asked)
    rows = (
        rows
        if len(rows) <= MOST_LAYERS
        else [*rows[: MOST_LAYERS - 1], (f"and {len(rows) - MOST_LAYERS + 1} more", "", "", "")]
    )
    lines = [head, ("--",) * len(head), *rows]
    named = [f"Pretrained from {who}, version `{parent.version[:12]}`.", *found.classes]
    return " ".join(named) + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _origin(trained: Trained, spec: Spec) -> str:
    rows = ", ".join(f"{count:,} {side}" for side, count in trained.rows.items())
    seconds = trained.seconds.get("total")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    return "\n".join(
        [
            f"- data: {_inline(spec.data.source)}, target {_inline(spec.data.target)}, splits `{trained.splits_id}`",
            f"- rows: {rows}",
            f"- made {trained.execution}{took}: {trained.parameters:,} parameters, "
            f"{trained.workers} worker(s), best epoch {trained.best_epoch} of {trained.epochs}",
            *_in_step(trained, spec),
        ]
    )


def _in_step(trained: Trained, spec: Spec) -> list[str]:
    """Say what holds several workers together; a run whose check failed has no card of this kind."""
    if trained.workers == 1 or trained.status != "finished":
        return []
    if trained.model == "trees":
        return [f"- in step: the trees of {trained.workers} workers were compared at the end and were the same"]
    return [
        f"- in step: the weights of {trained.workers} workers were compared after each of {trained.epochs} epochs and "
        f"were the same; the global batch is {spec.train.batch_size:,}, so the learning rate is not scaled"
    ]


def _inline(text: str) -> str:
    return f"`{text.replace('`', '')}`"


def _value(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.4g} ({_interval(interval)})" if interval else f"{value:.4g}"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else ""
