"""Where a server may listen: an address that is safe, and a port that is free."""

import ipaddress
import socket
import ssl

from raymle.config import ServeConfig
from raymle.errors import SecurityError, SetupError


def check(config: ServeConfig) -> None:
    """Refuse what is not safe or cannot work, before anything starts.

    Raises:
        SecurityError: it would listen beyond this machine without auth.
        SetupError: certificate and key are no pair.
    """
    if config.tls is not None:
        _check_pair(config.tls.certificate, config.tls.key)
    if is_loopback(config.host):
        return
    if config.auth is None:
        raise SecurityError(
            f"serve.host {config.host} is reachable from other machines, and there is no auth",
            hint="set serve.auth.tokens, or use serve.host=127.0.0.1 with an SSH tunnel",
        )


def _check_pair(certificate: str, key: str) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:  # an SSLError is one
        raise SetupError(
            f"serve.tls: {certificate} with {key} is no pair of certificate and key: {error}",
            hint="both are PEM files; the key has no password",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """Return the port if nobody listens there, any free one for 0.

    Raises:
        SetupError: it is taken; by whom, and the next free one.
    """
    found = _bind(host, port)
    if found is not None:
        return found
    following = next((each for each in range(port + 1, min(port + 100, 65536)) if _bind(host, each)), 0)
    raise SetupError(
        f"port {port} on {host} is taken{_holder(port)}",
        hint=f"serve.port={following} is free, or stop the other",
    )


def _bind(host: str, port: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    import psutil  # type: ignore[import-untyped]

    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (pid {found.pid})"
    except psutil.Error:  # others' processes may be hidden from us
        return ""
    return ""


def url(config: ServeConfig, route: str = "/") -> str:
    """Return the address that a client on this machine uses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104  compared, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if config.tls else 'http'}://{shown}:{config.port}{route.rstrip('/')}"
