"""Studies as a person would see them."""

from raymle.tune.progress import Progress, Row


def row(number, state="finished", score=0.5, *, epochs=10, settings=None, seconds=1.0, reason="", values=()):
    """Make a trial of at most ten epochs."""
    settings = {"train.optimizer.learning_rate": number / 100} if settings is None else settings
    return Row(number, f"run-{number}", state, score, epochs, 10, settings, seconds, reason, values)


def progress(
    *rows,
    metric="roc_auc",
    is_maximised=True,
    trials=20,
    elapsed_s=12.0,
    minutes=None,
    dollars=0.0,
    max_dollars=None,
    at_once=1,
):
    """Make a study of these trials."""
    return Progress(metric, is_maximised, trials, rows, elapsed_s, minutes, dollars, max_dollars, at_once)
