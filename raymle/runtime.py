"""Where work runs: in this process, or on Ray. The only caller of ``ray.init``."""

import gc
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from raymle.config import ClusterConfig
from raymle.errors import SetupError, UsageError
from raymle.loader import environment
from raymle.records import Record

INLINE_BYTES = 1 << 30
OWN_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # how soon the end of a training is seen
}
"""Environment of a Ray that one command starts and ends."""
SCRATCH, ALIVE, NEW_S = "raymle-", "alive.lock", 60
"""How scratch folders and their locks are called, and how long a new one is left alone: it may not be locked yet."""
USES_RAY, END_S = "uses-ray", 5
"""Name of a thread that works with Ray, and how many seconds its end is waited for."""
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105  the name of one


class Execution(Record):
    """Where a verb runs, and why there."""

    kind: Literal["inline", "ray"]
    address: str | None
    why: str
    large: bool = False
    """Whether the source is worth spreading over Ray Data: remote, or over a GiB once decoded."""

    @property
    def on_ray(self) -> bool:
        """Whether Ray is needed at all."""
        return self.kind == "ray"


INLINE = Execution(kind="inline", address=None, why="nothing here needs Ray")


def is_at_hand() -> bool:
    """Whether a Ray is connected, or named by ``RAY_ADDRESS``."""
    import ray

    return bool(ray.is_initialized() or environment("RAY_ADDRESS"))


def local(why: str) -> Execution:
    """Return an execution on the Ray that is at hand, or else on one of our own."""
    return Execution(kind="ray", address=environment("RAY_ADDRESS") or "local", why=why)


def decide(cluster: ClusterConfig, *, needs_ray: str = "", decoded_bytes: int = 0, remote: bool = False) -> Execution:
    """Decide between this process, a Ray of our own, and a running cluster.

    Args:
        cluster: The spec's section.
        needs_ray: Why the verb cannot do without Ray; empty when it can.
        decoded_bytes: Size of the source once it is read.
        remote: Whether the source is in an object store.
    """
    address = cluster.address
    large = remote or decoded_bytes >= INLINE_BYTES
    if address == "inline":
        if needs_ray:
            raise UsageError(f"cluster.address is inline, but {needs_ray}", hint="use cluster.address=local")
        return Execution(kind="inline", address=None, why="cluster.address is inline")
    if address == "local":
        return Execution(kind="ray", address="local", why="cluster.address is local", large=large)
    if address != "auto":
        return Execution(kind="ray", address=address, why="cluster.address names it", large=large)
    if running := environment("RAY_ADDRESS"):
        why = "RAY_ADDRESS is set, as it is inside a Ray job"
        return Execution(kind="ray", address=running, why=why, large=large)
    if needs_ray:
        return Execution(kind="ray", address="local", why=needs_ray, large=large)
    if large:
        why = "the source is in an object store" if remote else f"the source is {decoded_bytes / 2**30:.1f} GiB"
        return Execution(kind="ray", address="local", why=why, large=True)
    return Execution(kind="inline", address=None, why="one worker, a local source under 1 GiB")


class Connection(NamedTuple):
    """A Ray that is coming up, or none that is needed."""

    wait: Callable[[], object]
    """Wait until it is there."""
    let_go: Callable[[], object]
    """Say that it is not needed any more: it goes while the block still works."""


@contextmanager
def connected(execution: Execution) -> Iterator[None]:
    """Hold a Ray connection for the block; a Ray that the caller started is used and left running."""
    with starting(execution) as connection:
        connection.wait()
        yield


@contextmanager
def variables(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the block: a Ray that starts in it has them on all its processes."""
    before = {name: environment(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def starting(execution: Execution) -> Iterator[Connection]:
    """Connect to Ray while the block begins with something else, and leave it while it ends with something else."""
    if not execution.on_ray:
        yield Connection(_nothing, _nothing)
        return
    import ray

    if ray.is_initialized():
        yield Connection(_nothing, _nothing)
        return
    around: AbstractContextManager[dict[str, Any]] = (
        _own_settings() if execution.address == "local" else nullcontext({})
    )
    with ThreadPoolExecutor(1) as pool, around as settings:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        up = pool.submit(_init, str(execution.address), settings)

        def wait() -> None:
            up.result()
            _restore(handlers)

        try:
            yield Connection(wait, lambda: pool.submit(_leave))  # after it is up: there is one thread
        finally:
            up.exception()  # only a Ray that is up can be ended
            pool.submit(_end).result()


def _leave() -> None:
    """End Ray in the middle of the work, when nobody uses it any more."""
    gc.collect()  # an actor's handle calls Ray when it is collected
    _end()


def _end() -> None:
    """End Ray after those that use it: whoever calls it while it goes down ends this process, with code 1."""
    import ray

    wait_for_users()
    ray.shutdown()
    _let_ray_print(allowed=True)


def wait_for_users(timeout_s: float = END_S) -> None:
    """Wait for the threads of this process that still work with Ray, for each not longer than this."""
    for thread in threading.enumerate():
        if thread.name == USES_RAY:
            thread.join(timeout_s)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    """Take back the signals: Ray's own handlers end the process by an abort."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def _nothing() -> None:
    """Wait for a Ray that is not needed, or there already."""


def _init(address: str, settings: dict[str, Any]) -> None:
    import ray

    _let_ray_print(allowed=False)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except ConnectionError as error:
        raise SetupError(
            f"no Ray answers at {address}: {error}",
            hint="start one with `ray start --head`, or use cluster.address=local",
        ) from error


def _let_ray_print(*, allowed: bool) -> None:
    """Allow or forbid Ray the page that it prints of every worker that dies: whoever waits for one tells it."""
    from ray._private import worker

    worker._worker_logs_enabled = allowed  # noqa: SLF001  there is no other switch


@contextmanager
def _own_settings() -> Iterator[dict[str, Any]]:
    """Prepare for a Ray of our own behind a token nobody else has; with the block goes everything that it wrote."""
    with scratch() as folder:
        yield from _settings_in(folder)


def _settings_in(folder: Path) -> Iterator[dict[str, Any]]:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    settings = OWN_RAY | {"RAY_AUTH_TOKEN_PATH": str(token)}
    try:
        with variables(settings | {TOKEN: ""}):
            os.environ.pop(TOKEN)  # it would go before the file
            _reread_auth()
            yield {"include_dashboard": False, "_temp_dir": str(folder / "ray")}
    finally:
        _reread_auth()


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a temporary folder for the block; what killed processes have left of theirs, tokens among it, goes first.

    Its name is short, because the paths of sockets end at 107 bytes.
    """
    from filelock import FileLock

    for old in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        _remove_dead(old)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
    try:
        with FileLock(folder / ALIVE):  # the kernel frees it, whatever ends the process
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(folder: Path) -> None:
    """Remove a scratch folder that no living process has locked."""
    from filelock import FileLock, Timeout

    with suppress(Timeout, OSError):  # it may be somebody else's
        if time.time() - (folder / ALIVE).stat().st_ctime > NEW_S:
            with FileLock(folder / ALIVE, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def _reread_auth() -> None:
    """Make Ray look at the environment again: it reads the auth mode when it is imported."""
    from ray import _raylet

    raylet: Any = _raylet  # compiled: no types
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
