"""`make run`: the whole story on real data, a verb a rung, in a storage that is thrown away the next time."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from data import build

HERE = Path(__file__).parent
HOME = HERE.parents[1] / "build" / "flights"
RAYMLE = str(Path(sys.executable).parent / "raymle")
REFUSED = 10


def main() -> None:
    """Climb the ladder; the first rung that fails ends it."""
    started = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    shutil.copy(HERE / "raymle.yaml", HOME)
    rows = build(HOME / "flights.parquet")
    print(f"{rows:,} flights out of New York in 2013; `late` is to be predicted before landing\n")

    inline = rung("train")
    tell(f"run {inline['run_id']}, {where(inline)}; validation {scores(inline)}")
    on_ray = rung("train", "--profile", "two_workers")
    same = "the same splits" if inline["rows"] == on_ray["rows"] else "OTHER SPLITS"
    tell(f"run {on_ray['run_id']}, {where(on_ray)}, 2 DDP workers, {same}; validation {scores(on_ray)}")
    best = rung("tune")
    study = best["study"]
    tell(f"{study['trials']} trials, {study['stopped_early']} stopped early; best {best['run_id']}: {scores(best)}")

    rung_score(best["run_id"], "the sealed rows are opened, once")
    rung_score(best["run_id"], "the rows are spent: no test any more")
    rung_score(inline["run_id"], "spent for everybody")
    refused = rung("promote", inline["run_id"], code=REFUSED)
    tell(f"refused, exit {REFUSED}: {' '.join(refused['reasons'])}")
    version = rung("promote", best["run_id"])
    tell(f"{version['name']} version {version['version']} is {version['alias']}")

    predicted = rung("predict", "models:/flights@champion", "flights.parquet", "predicted.parquet")
    tell(f"{predicted['rows']:,} rows in {predicted['seconds']:.1f} s")
    rung_serve()
    print(f"\nAll of it took {time.monotonic() - started:.0f} s. Next, in {HOME.relative_to(HERE.parents[1])}:")
    for command, what in NEXT:
        print(f"  {command:42}{what}")


NEXT = (
    ("raymle runs ls", "what was made"),
    ("raymle ui", "review it in MLflow"),
    ("raymle serve models:/flights@champion", "serve the champion"),
    ("raymle init YOUR.csv --target COLUMN", "the same with your own data"),
)


def rung(*words: str, code: int = 0) -> dict[str, Any]:
    """Type a verb, show it with what it took, and return what it printed as JSON."""
    print(f"$ raymle {' '.join(words)}", flush=True)
    began = time.monotonic()
    done = subprocess.run([RAYMLE, *words, "--json"], cwd=HOME, capture_output=True, text=True, check=False)
    if done.returncode != code:
        sys.exit(f"exit code {done.returncode}\n{done.stderr[-2000:]}")
    print(f"  [{time.monotonic() - began:5.1f} s] ", end="")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rung_score(run_id: str, what: str) -> None:
    """Score a run and show under which label."""
    scored = rung("score", run_id)
    mine = next(each for each in scored["runs"] if each["run_id"] == run_id)
    seal = scored["seal"]
    tell(f"{what}: label {mine['label']}, roc_auc {mine['metrics']['roc_auc']:.4f}, {seal['spent']:,} rows spent")


def rung_serve() -> None:
    """Serve the champion, ask it once, and stop it."""
    words = ("serve", "models:/flights@champion", "--port", "0")
    print(f"$ raymle {' '.join(words)}", flush=True)
    began = time.monotonic()
    server = subprocess.Popen(
        [RAYMLE, *words, "--json"], cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        sys.exit(server.communicate()[1][-2000:])
    request = urllib.request.Request(  # the address is our own server's
        json.loads(line)["url"] + "/predict",
        data=json.dumps({"rows": [FLIGHT]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = response.read().decode()
    server.send_signal(signal.SIGINT)
    server.wait(60)
    print(f"  [{time.monotonic() - began:5.1f} s] ", end="")
    tell(f"POST /predict -> {answer}; Ctrl-C stopped it")


FLIGHT = {
    "month": 1, "day": 1, "dep_time": 1842, "sched_dep_time": 1422, "dep_delay": 260, "sched_arr_time": 1535,
    "carrier": "US", "flight": 1895, "tailnum": "N167US", "origin": "EWR", "dest": "CLT", "distance": 529, "hour": 14,
}  # fmt: skip


def where(run: dict[str, Any]) -> str:
    """Say where a run ran and how long it trained."""
    return f"{'in this process' if run['execution'] == 'inline' else 'on Ray'}, trained {run['seconds']['train']:.1f} s"


def scores(run: dict[str, Any]) -> str:
    """Return the metrics a reader looks at first."""
    found = run["metrics"]["validation"]
    return f"roc_auc {found['roc_auc']:.4f}, accuracy {found['accuracy']:.4f}"


def tell(text: str) -> None:
    """Print what a rung came to."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
