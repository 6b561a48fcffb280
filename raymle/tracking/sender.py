"""The driver's side of the process that sends journals to MLflow.

A process and not a thread: MLflow's import holds the interpreter lock for more than a second, and its
settings are process-wide.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, final

import raymle
from raymle.errors import SetupError
from raymle.tracking import client, sent

if TYPE_CHECKING:
    from raymle.store import Store

FLUSH_S = 60.0
CHILD = "import sys; sys.path.append(sys.argv[1]); from raymle.tracking.worker import main; main()"


@final
class Sender:
    """Sends while it is open; closing it sends the rest and waits for that, not longer than a minute."""

    def __init__(self, process: "subprocess.Popen[str]", uri: str) -> None:
        self._process = process
        self._uri = client.redacted(uri)

    def close(self) -> str:
        """Return why something is left unsent, or nothing."""
        try:
            answer, _ = self._process.communicate(timeout=FLUSH_S)  # closes its standard input: the end
        except subprocess.TimeoutExpired:
            self._process.kill()  # safe: what was sent and not noted is recognised when it is sent again
            self._process.communicate()
            return f"MLflow at {self._uri} took longer than {FLUSH_S:.0f} s"
        try:
            return str(json.loads(answer)["reason"])
        except (ValueError, KeyError):
            return f"the sender ended with {self._process.returncode}"


def launch(store: "Store", uri: str, run_id: str | None) -> Sender:
    """Start sending a run, its trials, and what earlier runs left behind."""
    folder = sent.journals(store.root)
    folder.mkdir(parents=True, exist_ok=True)
    job = {"root": str(store.root), "uri": uri, "artifacts": client.artifacts(uri, store), "run": run_id}
    with (folder / "sender.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", CHILD, str(Path(raymle.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for the driver, which then ends us in order
        )
    assert process.stdin
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return Sender(process, uri)


def flush(store: "Store", uri: str, run_id: str | None = None) -> None:
    """Send what is not sent of a run and its trials, or of every run that has ended.

    Raises:
        SetupError: MLflow does not take it.
    """
    reason = launch(store, uri, run_id).close()
    if reason:
        raise SetupError(f"journals are left unsent: {reason}", hint="they stay in the storage; try again later")
