"""One run of wrk: requests a second, and how long they took."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SCALE = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
SCRIPT = """
local bodies = {%s}
local requests, turn = {}, 0
function init()
  for place, body in ipairs(bodies) do
    requests[place] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""


class Measured(NamedTuple):
    """What wrk counted."""

    per_s: float
    """Good answers only."""
    p50_ms: float
    p99_ms: float
    bad: int
    """Answers that are no 2xx or 3xx, and errors of the connection."""


def script(path: Path, bodies: Sequence[bytes]) -> Path:
    """Write the script that posts these bodies in turn."""
    path.write_text(SCRIPT % ", ".join(json.dumps(body.decode()) for body in bodies))
    return path


def run(url: str, *, script: Path, clients: int, seconds: float) -> Measured:
    """Let so many clients ask as fast as they are answered, for whole seconds."""
    argv = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "30s", "--latency", "-s", str(script), url]
    return parse(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def parse(text: str) -> Measured:
    """Read what wrk printed."""
    share = {
        int(at): float(value) * SCALE[unit] for at, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)", text)
    }
    total, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    if total is None or rate is None or 99 not in share:
        raise SystemExit(f"wrk says:\n{text}")
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = int(statuses[1]) if statuses else 0
    broken = sum(map(int, errors.groups())) if errors else 0
    good = 1 - refused / max(1, int(total[1]))
    return Measured(good * float(rate[1]), share[50], share[99], refused + broken)
