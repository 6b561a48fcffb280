"""Hostile requests to a real server: each gets a typed 4xx, the same process answers on, its memory stays bounded."""

import http.client
import json
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from served import GOOD, SLOW_PLAN, SMALL, ipc, served

JSON = {"Content-Type": "application/json"}
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
MOST_GROWTH = 64 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("server") / "log") as (url, process):
        for _ in range(20):
            assert post(url, rows())[0] == 200
        before = process.memory_info().rss
        yield url
        assert post(url, rows())[0] == 200
        assert process.memory_info().rss - before < MOST_GROWTH


def rows(**values: object) -> bytes:
    return json.dumps({"rows": [{**GOOD, **values}]}).encode()


def raw(text: str) -> bytes:
    """Put JSON text where the amount stands."""
    return rows(amount="@").replace(b'"@"', text.encode())


def columns(**values: object) -> bytes:
    return json.dumps({"columns": {name: [value] for name, value in GOOD.items()} | values}).encode()


def arrow(**values: object) -> bytes:
    return ipc(pa.table({"amount": [1.5], "plan": ["basic"], "new": [True], "at": ["2026-01-31"]} | values))


def post(url: str, body, headers=JSON, *, path="/predict", method="POST"):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


HOSTILE = {
    "empty body": (b"", JSON, 400),
    "not JSON": (b"rows=1", JSON, 400),
    "half a document": (rows()[:-3], JSON, 400),
    "bytes that are not UTF-8": (b'{"rows": "\xff\xfe"}', JSON, 400),
    "UTF-16": (rows().decode().encode("utf-16"), JSON, 400),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", JSON, 400),
    "a gzip bomb's header": (b"\x1f\x8b\x08\x00" + b"\x00" * 100, JSON, 400),
    "a million lists deep": (b"[" * 10**6, JSON, 400),
    "a hundred thousand objects deep": (b'{"a":' * 10**5, JSON, 400),
    "deep and whole": (b"[" * 500_000 + b"]" * 500_000, JSON, 400),
    "deep nesting in a value": (raw("[" * 100_000 + "]" * 100_000), JSON, 400),
    "nesting that is not too deep for a parser": (raw("[" * 900 + "]" * 900), JSON, 422),
    "NaN": (raw("NaN"), JSON, 400),
    "Infinity": (raw("Infinity"), JSON, 400),
    "minus Infinity": (raw("-Infinity"), JSON, 400),
    "a number of 5,000 digits": (raw("1" * 5_000), JSON, 400),
    "the same key twice": (rows().replace(b'"amount"', b'"plan": "a", "amount"'), JSON, 400),
    "rows twice": (b'{"rows": [], "rows": []}', JSON, 400),
    "1e999": (raw("1e999"), JSON, 422),
    "a number of 400 digits": (raw("1" * 400), JSON, 422),
    "beyond float32": (raw("1e300"), JSON, 422),
    "null": (b"null", JSON, 422),
    "a bare number": (b"1", JSON, 422),
    "a list": (b"[]", JSON, 422),
    "no rows key": (b"{}", JSON, 422),
    "one key too many": (b'{"rows": [], "model": "../../etc/passwd"}', JSON, 422),
    "rows and columns": (b'{"rows": [], "columns": {}}', JSON, 422),
    "rows is no list": (b'{"rows": {"amount": 1}}', JSON, 422),
    "no rows": (b'{"rows": []}', JSON, 422),
    "no columns": (b'{"columns": {}}', JSON, 422),
    "columns of no rows": (columns(amount=[], plan=[], new=[], at=[]), JSON, 422),
    "columns of unlike length": (columns(amount=[1, 2]), JSON, 422),
    "a column that is no list": (columns(plan="basic"), JSON, 422),
    "a row that is no object": (b'{"rows": [[1, 2]]}', JSON, 422),
    "an empty row": (b'{"rows": [{}]}', JSON, 422),
    "null row": (b'{"rows": [null]}', JSON, 422),
    "a column that is not there": (rows(amuont=1), JSON, 422),
    "a dunder column": (rows(__class__="x"), JSON, 422),
    "a column named by half a surrogate pair": (b'{"rows": [{"\\ud800": 1}]}', JSON, 422),
    "half a surrogate pair": (rows(plan="\ud800"), JSON, 422),
    "text for a number": (rows(amount="1.5"), JSON, 422),
    "boolean for a number": (rows(amount=True), JSON, 422),
    "boolean for a number in a column": (columns(amount=[True]), JSON, 422),
    "list for a number": (rows(amount=[1.5]), JSON, 422),
    "object for a category": (rows(plan={"$ne": 1}), JSON, 422),
    "infinite category": (raw("1").replace(b'"basic"', b"1e999"), JSON, 422),
    "number for a boolean": (rows(new=1), JSON, 422),
    "number for a time": (rows(at=1_700_000_000), JSON, 422),
    "no such day": (rows(at="2026-02-30"), JSON, 422),
    "a time before the first year": (rows(at="0001-01-01T00:00:00+23:59"), JSON, 422),
    "an address for a time": (rows(at="http://169.254.169.254/"), JSON, 422),
    "too many rows": (json.dumps({"rows": [{}] * 1001}).encode(), JSON, 413),
    "too many bytes": (rows(plan="x" * 2**20), JSON, 413),
    "too many bytes by its header": (rows(), {**JSON, "Content-Length": "99999999999"}, 413),
    "no content type": (rows(), {}, 415),
    "a form": (rows(), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "a pickle by its type": (rows(), {"Content-Type": "application/python-pickle"}, 415),
    "another charset": (rows(), {"Content-Type": "application/json; charset=utf-7"}, 415),
    "compressed": (rows(), {**JSON, "Content-Encoding": "gzip"}, 415),
    "a large body of another type": (b"x" * 2**22, {"Content-Type": "text/plain"}, 415),
    "JSON that says it is Arrow": (rows(), ARROW, 400),
    "Arrow that says it is JSON": (arrow(), JSON, 400),
    "half an Arrow stream": (arrow()[:400], ARROW, 400),
    "an Arrow file's head": (b"ARROW1\x00\x00" + b"\xff" * 100, ARROW, 400),
    "an Arrow body of a terabyte": (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" * 100, ARROW, 400),
    "compressed Arrow": (ipc(pa.table({"amount": [1.5] * 10**6}), compression="zstd"), ARROW, 415),
    "Arrow text for a number": (arrow(amount=["many"]), ARROW, 422),
    "an Arrow list": (arrow(plan=[["a"]]), ARROW, 422),
    "an Arrow column that is not there": (arrow(amuont=[1]), ARROW, 422),
    "too many rows of Arrow": (ipc(pa.table({name: pa.nulls(1001) for name in GOOD})), ARROW, 413),
    "one long word for every row": (
        ipc(pa.table({**{name: pa.nulls(1000) for name in GOOD}, "plan": pa.array(["x" * 10**5] * 1000).dictionary_encode()})),
        ARROW, 413,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_with_a_typed_4xx(server, name):
    body, headers, expected = HOSTILE[name]
    status, answered = post(server, body, headers)
    assert status == expected, answered
    error = json.loads(answered)["error"]
    assert set(error) == {"type", "message", "rows"}
    assert len(answered) < 2_000
    for fault in error["rows"]:
        assert set(fault) == {"row", "column", "reason"}
    if expected == 422 and name not in {"null", "a bare number", "a list"} and headers is not ARROW:
        assert error["type"] == "invalid_rows"


@pytest.mark.parametrize(("path", "method", "expected"), [
    ("/../../etc/passwd", "GET", 404), ("/%2e%2e/%2e%2e/etc/passwd", "GET", 404), ("//predict", "POST", 404),
    ("/predict/../openapi.json", "GET", 404), ("/predict%00", "POST", 404), ("/predict/", "POST", 404),
    ("/openapi.json/..;/metrics", "GET", 404), ("/PREDICT", "POST", 404), ("/predict", "TRACE", 405),
    ("/predict", "GET", 405), ("/health/live", "DELETE", 405),
])  # fmt: skip
def test_tricks_with_paths_and_methods_lead_nowhere(server, path, method, expected):
    status, answered = post(server, rows() if method == "POST" else None, JSON, path=path, method=method)
    assert status == expected
    assert json.loads(answered)["error"]["type"]


def chunks(size: int, count: int):
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize(
    "headers", [{**JSON, "Content-Length": str(100 * 2**20)}, {**JSON, "Transfer-Encoding": "chunked"}]
)
def test_a_hundred_megabytes_are_not_kept(server, headers):
    try:
        status, answered = post(server, chunks(2**16, 1600), headers)
    except (BrokenPipeError, ConnectionResetError):
        return  # it was cut off while it sent, as it should be
    assert status == 413
    assert json.loads(answered)["error"]["type"] == "too_large"


def talk(url: str, *parts: bytes, pause: float) -> tuple[int, str]:
    """Send parts with pauses until the server says something, and return that."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.settimeout(30)
        try:
            for part in parts:
                connection.sendall(part)
                if select.select([connection], [], [], pause)[0]:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())["error"]["type"]


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("parts", [
    [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 20],
    [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 20],
    [HEAD + b"Content-Length: 1000\r\n\r\n"],
], ids=["slowly", "in chunks without an end", "not at all"])  # fmt: skip
def test_a_body_that_does_not_end_is_a_408_and_keeps_nobody_waiting(server, parts):
    with ThreadPoolExecutor(10) as pool:
        slow = [pool.submit(talk, server, *parts, pause=0.1) for _ in range(8)]
        assert post(server, rows())[0] == 200
        said = [each.result() for each in slow]
    assert set(said) == {(408, "timeout")}


def in_flight(url: str) -> int:
    return int(post(url, None, {}, path="/metrics", method="GET")[1].split()[1])


def test_clients_who_leave_leave_no_work_behind(server):
    body = rows(plan=SLOW_PLAN)
    head = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode()
    place = urlsplit(server)
    for _ in range(10):
        leaving = [socket.create_connection((place.hostname, place.port)) for _ in range(20)]
        for each in leaving:
            each.sendall(head + body)
        for each in leaving:
            each.close()
    until = time.monotonic() + SMALL.deadline
    while in_flight(server) and time.monotonic() < until - 0.5:
        pass
    assert in_flight(server) == 0
    assert time.monotonic() < until


def test_work_that_takes_too_long_is_a_504_and_is_ended(server):
    status, answered = post(server, rows(plan=SLOW_PLAN), {**JSON, "X-Request-Timeout": "0.2"})
    assert (status, json.loads(answered)["error"]["type"]) == (504, "deadline")
    assert in_flight(server) == 0
