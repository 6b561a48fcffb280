"""How Ray and Ray Serve are set up for us: what their defaults would lose, leave open or slow down.

The figures behind these settings are in ``docs/serving.md``.
"""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from raymle.config import ServeConfig
from raymle.serve import haproxy

QUIET = {"log_level": "ERROR", "enable_access_log": False}
SPARE = 64
"""Requests beyond what a replica works on that it is given, to be refused in our words and counted."""
HAPROXY_FILES = {
    "CONFIG_FILE_LOC": "haproxy.cfg",
    "SOCKET_PATH": "haproxy.sock",
    "SERVER_STATE_FILE": "state",
    "METRICS_SOCKET_PATH": "metrics.sock",
}
PROXY = {
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1",  # no load balancer that must notice first
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "3",
}
"""How soon Serve sees that its own proxy is gone; by default that takes half a minute."""
RETRIED = {
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout",
    "RAY_SERVE_HAPROXY_RETRIES": "3",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(64 * 2**10),  # only what fits is sent again
}


def environment(folder: Path, config: ServeConfig) -> dict[str, str]:
    """Return the environment of a Ray that serves: requests go through HAProxy straight to the replicas.

    Args:
        folder: A private folder of this machine, for HAProxy's files.
        config: Whether lost answers are asked for again, and the certificate.

    Returns:
        Where Ray brings no HAProxy, the environment of Serve's own proxy, which is slower.
    """
    program = haproxy.install(folder, at_once=_at_once(config) + SPARE, certificate=certificate(folder, config))
    if program is None:
        return PROXY
    files = {f"RAY_SERVE_HAPROXY_{name}": str(folder / file) for name, file in HAPROXY_FILES.items()}
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(program),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # ours are counted by the replicas
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "1s",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(_free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # one that is dead is seen at once, one that is slow may be
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
        **files,
        **(RETRIED if config.retry else {}),
    }


def end(folder: Path) -> None:
    """End what is left of HAProxy: Ray leaves it when its own processes are ended all at once."""
    import psutil  # type: ignore[import-untyped]

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(folder)) and word.endswith(HAPROXY_FILES["CONFIG_FILE_LOC"]) for word in words):
            with suppress(psutil.Error):
                process.kill()


def certificate(folder: Path, config: ServeConfig) -> str | None:
    """Write certificate and key into the one private file that HAProxy wants, and return its path."""
    if config.tls is None:
        return None
    both = folder / "tls.pem"
    both.touch(mode=0o600)
    both.write_bytes(b"\n".join(Path(each).read_bytes() for each in (config.tls.certificate, config.tls.key)))
    return str(both)


def http(config: ServeConfig) -> dict[str, Any]:
    """Return Serve's HTTP options; deadlines are ours."""
    return {"host": config.host, "port": config.port, "request_timeout_s": None, "keep_alive_timeout_s": 90}


def deployment(config: ServeConfig) -> dict[str, Any]:
    """Return the options of the one deployment: replaced before it is stopped, checked, bounded."""
    replicas, waiting = config.replicas, _at_once(config)
    scaling: dict[str, Any] = {"num_replicas": replicas.min}
    if replicas.max > replicas.min:
        scaling = {
            "autoscaling_config": {
                "min_replicas": replicas.min, "max_replicas": replicas.max, "initial_replicas": replicas.min,
                "target_ongoing_requests": max(1, config.batch.max_size // 4),
                "upscale_delay_s": 3, "downscale_delay_s": 60, "look_back_period_s": 5,
            }
        }  # fmt: skip
    return {
        **scaling,
        "ray_actor_options": {"num_cpus": config.resources.cpu, "num_gpus": config.resources.gpu},
        "max_ongoing_requests": waiting + SPARE,
        "max_queued_requests": waiting + SPARE,
        "backpressure_config": {"status_code": 503, "retry_after_s": 1},
        "graceful_shutdown_timeout_s": 2 * config.timeout_s,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 2,
        "health_check_timeout_s": 5,
        "max_constructor_retry_count": 2,
        "max_surge_percent": 100,
    }


def _at_once(config: ServeConfig) -> int:
    """Return how many requests one replica works on: those of a batch, and those that may wait."""
    return config.queue + config.batch.max_size


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
