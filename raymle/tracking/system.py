"""What a run costs this machine while it runs."""

import threading
from collections.abc import Callable
from typing import final

from raymle.records import Metrics

EVERY_S = 10.0


@final
class Watch:
    """Tells the machine's load every ten seconds and once more at the end, from a thread of its own."""

    def __init__(self, tell: "Callable[..., None]", *, every_s: float = EVERY_S) -> None:
        self._tell = tell
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raymle-system", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell once more and stop."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        import psutil  # type: ignore[import-untyped]

        psutil.cpu_percent()  # the first call only starts the clock
        step = 0
        while not self._ended.wait(self._every_s):
            self._tell(sample(), step=step)
            step += 1
        self._tell(sample(), step=step)


def sample() -> Metrics:
    """Return the machine's load and this process's memory, under the names of MLflow's system metrics tab."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_megabytes": psutil.Process().memory_info().rss / 1e6,
    }
