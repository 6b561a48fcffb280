"""The app as a server calls it: what comes back, in which type, in what time, and what is told of it."""

import asyncio
import json
import logging
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from served import GOOD, SCHEMA, SMALL, TRANSFORM, ipc
from starlette.types import Message

from raymle.serve import auth
from raymle.serve.admission import Tokens
from raymle.serve.app import Answer, Call, Card, application
from raymle.serve.limits import Limits, Overloaded

JSON = {"content-type": "application/json"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
BODY = json.dumps({"rows": [GOOD]}).encode()
STREAM = ipc(pa.table({"amount": [1.5], "plan": ["basic"], "new": [True], "at": ["2026-01-31"]}))
QUICK = SMALL.model_copy(update={"seconds": 0.2, "deadline": 0.4})


async def halves(table: pa.Table, call: Call) -> Answer:
    return Answer(np.full((table.num_rows, 2), 0.5), "8" if call.key == "canary" else "7")


class Client:
    """Calls the app as a server does, and keeps what it sends and what it is told."""

    def __init__(self, predict=halves, *, limits: Limits = QUICK, page: bool = True, **options) -> None:
        self.told: list[tuple[int, float, int]] = []
        card = Card(SCHEMA, "churn", lambda: "7", TRANSFORM, page)
        self.app = application(predict, card, limits=limits, observe=lambda *each: self.told.append(each), **options)

    async def ask(self, body=BODY, headers=JSON, *, path="/predict", method="POST", leave_after=None, root=""):
        """``body`` is bytes, or chunks, of which None never arrives; the client leaves after some seconds, or never."""
        chunks = [body] if isinstance(body, bytes) else list(body)
        sent: list[Message] = []

        async def receive() -> Message:
            if chunks and chunks[0] is not None:
                chunk = chunks.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
            await (asyncio.Event().wait() if leave_after is None else asyncio.sleep(leave_after))
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": root, "headers": [(name.encode(), value.encode("latin1")) for name, value in headers.items()],
            "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await self.app(scope, receive, send)
        answered = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], answered, {key.decode(): value.decode() for key, value in sent[0]["headers"]}


def ask(*args, client=None, **options):
    status, answered, headers = asyncio.run((client or Client()).ask(*args, **options))
    return status, json.loads(answered), headers


def failed(*args, **options) -> tuple[int, str]:
    status, answered, _ = ask(*args, **options)
    assert set(answered) == {"error"}
    assert set(answered["error"]) == {"type", "message", "rows"}
    return status, answered["error"]["type"]


def test_a_good_row_gets_a_class_with_its_probabilities():
    status, answered, headers = ask(headers={**JSON, "x-request-id": "r-1"})
    assert status == 200
    assert answered == {"predictions": [{"class": "no", "probabilities": {"no": 0.5, "yes": 0.5}}], "version": "7"}
    assert (headers["x-model-version"], headers["x-request-id"]) == ("7", "r-1")


def test_the_version_that_answered_is_told_in_body_and_header():
    _, answered, headers = ask(headers={**JSON, "x-sticky-key": "canary"})
    assert (answered["version"], headers["x-model-version"]) == ("8", "8")
    assert ask()[2]["x-model-version"] == "7"


@pytest.mark.parametrize(("sent", "accept", "expected"), [
    (JSON, None, "json"), (ARROW, None, "arrow"), (JSON, "*/*", "json"), (ARROW, "*/*", "arrow"),
    (JSON, "application/vnd.apache.arrow.stream", "arrow"), (ARROW, "application/json", "json"),
    (JSON, "text/html, application/json;q=0.5, application/vnd.apache.arrow.stream;q=0.9", "arrow"),
    (ARROW, "text/html,application/*;q=0.1", "arrow"), (JSON, "application/json;q=0, */*", "arrow"),
])  # fmt: skip
def test_the_answer_has_the_type_that_the_client_likes_best(sent, accept, expected):
    headers = sent | ({"accept": accept} if accept else {})
    status, answered, got = asyncio.run(Client().ask(BODY if sent is JSON else STREAM, headers))
    assert status == 200
    if expected == "json":
        assert got["content-type"] == "application/json"
        assert len(json.loads(answered)["predictions"]) == 1
    else:
        assert got["content-type"] == "application/vnd.apache.arrow.stream"
        assert pa.ipc.open_stream(answered).read_all().column_names == [
            "prediction",
            "probability_no",
            "probability_yes",
        ]


@pytest.mark.parametrize(("headers", "expected"), [
    ({"accept": "text/html"}, (406, "not_acceptable")),
    ({"accept": "application/json;q=0"}, (406, "not_acceptable")),
    ({"accept": "application/json;q=." * 50}, (406, "not_acceptable")),
    ({"x-request-timeout": "soon"}, (400, "header")),
    ({"x-request-timeout": "nan"}, (400, "header")),
    ({"x-request-timeout": "inf"}, (400, "header")),
    ({"x-request-timeout": "0"}, (400, "header")),
    ({"x-request-timeout": "-1"}, (400, "header")),
    ({"x-request-timeout": "1_0"}, (400, "header")),
    ({"x-request-timeout": "1e999"}, (400, "header")),
    ({"x-sticky-key": "k" * 257}, (400, "header")),
    ({"content-type": "application/vnd.apache.arrow.stream"}, (400, "not_arrow")),
    ({"content-type": "application/vnd.apache.arrow.file"}, (415, "content_type")),
])  # fmt: skip
def test_headers_that_ask_for_what_is_not_there_are_refused(headers, expected):
    assert failed(headers=JSON | headers) == expected


def test_a_header_that_could_forge_a_log_line_is_not_echoed():
    assert ask(headers={**JSON, "x-request-id": "a\tb"})[2]["x-request-id"] != "a\tb"


async def never(table: pa.Table, call: Call) -> Answer:
    await asyncio.sleep(600)
    raise AssertionError


def test_a_deadline_ends_the_work_and_says_so():
    client = Client(never)
    assert failed(client=client) == (504, "deadline")
    assert [(status, rows) for status, _, rows, _ in client.told] == [(504, 0)]


def test_a_client_may_ask_for_less_time_but_not_for_more():
    seen: list[float] = []

    async def look(table: pa.Table, call: Call) -> Answer:
        seen.append(call.deadline - asyncio.get_running_loop().time())
        return await halves(table, call)

    for wanted in ("0.1", "1e-1", "3600"):
        ask(client=Client(look), headers={**JSON, "x-request-timeout": wanted})
    assert 0 < max(seen[:2]) <= 0.1 < seen[2] <= QUICK.deadline


@pytest.mark.parametrize("body", [[b'{"rows"', None], [None]])
def test_a_body_that_does_not_come_is_a_408(body):
    assert failed(body) == (408, "timeout")


def test_a_client_who_leaves_ends_the_work():
    ended: list[str] = []

    async def slow(table: pa.Table, call: Call) -> Answer:
        try:
            return await never(table, call)
        finally:
            ended.append(call.request_id)

    client = Client(slow, limits=SMALL.model_copy(update={"deadline": 60.0}))
    asyncio.run(client.ask(headers={**JSON, "x-request-id": "r-1"}, leave_after=0.05))
    assert ended == ["r-1"]
    assert [status for status, *_ in client.told] == [499]


def test_a_client_who_leaves_while_sending_is_told_apart():
    client = Client()
    asyncio.run(client.ask([b'{"rows"', None], leave_after=0.01))
    assert [status for status, *_ in client.told] == [499]


def test_a_server_that_ends_the_request_itself_is_told_too():
    async def main() -> None:
        task = asyncio.create_task(client.ask())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])

    client = Client(never)
    asyncio.run(main())
    assert [status for status, *_ in client.told] == [499]


def test_overload_says_when_to_come_back():
    async def full(table: pa.Table, call: Call) -> Answer:
        raise Overloaded(retry_after_s=1.2)

    status, answered, headers = ask(client=Client(full))
    assert (status, answered["error"]["type"], headers["retry-after"]) == (503, "overloaded", "2")


def test_a_bug_is_a_500_without_its_inside_and_is_logged_with_the_requests_id(caplog):
    async def broken(table: pa.Table, call: Call) -> Answer:
        raise ZeroDivisionError("the secret inside")

    with caplog.at_level(logging.ERROR):
        status, answered, _ = ask(client=Client(broken), headers={**JSON, "x-request-id": "r-9"})
    assert (status, answered["error"]["type"]) == (500, "internal")
    assert "secret" not in json.dumps(answered)
    assert "r-9" in caplog.text
    assert "the secret inside" in caplog.text


def test_a_timeout_inside_the_model_is_a_bug_and_no_deadline():
    async def broken(table: pa.Table, call: Call) -> Answer:
        raise TimeoutError

    assert failed(client=Client(broken)) == (500, "internal")


def test_every_request_for_predictions_is_told_once_with_status_and_rows():
    client = Client()
    ask(json.dumps({"rows": [GOOD] * 3}).encode(), client=client)
    ask(b"no", client=client)
    ask(b"", client=client, path="/health/live", method="GET")
    assert [(status, rows) for status, _, rows, _ in client.told] == [(200, 3), (400, 0)]
    assert all(0 <= seconds < 60 for _, seconds, _, _ in client.told)


def test_a_large_body_does_not_keep_others_waiting():
    many = json.dumps(
        {"columns": {name: [value] * 1000 for name, value in {**GOOD, "plan": "x" * 300}.items()}}
    ).encode()
    assert len(many) > 2**18
    status, answered, _ = ask(many)
    assert status == 200
    assert len(answered["predictions"]) == 1000


def test_health_is_ready_only_once_the_model_is():
    ready: list[bool] = []
    client = Client(ready=lambda: bool(ready))
    get = {"client": client, "method": "GET"}
    assert ask(b"", path="/health/live", **get)[:2] == (200, {"status": "live"})
    status, answered, headers = ask(b"", path="/health/ready", **get)
    assert (status, answered["error"]["type"], headers["retry-after"]) == (503, "not_ready", "1")
    ready.append(True)
    assert ask(b"", path="/health/ready", **get)[:2] == (200, {"status": "ready", "model": "churn", "version": "7"})


def test_metrics_are_passed_on_as_text():
    status, answered, headers = asyncio.run(Client(metrics=lambda: b"up 1\n").ask(b"", path="/metrics", method="GET"))
    assert (status, answered) == (200, b"up 1\n")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("path", "method", "expected", "allowed"), [
    ("/../etc/passwd", "GET", 404, None), ("/predict/", "POST", 404, None), ("/metrics", "GET", 404, None),
    ("/predict", "GET", 405, "POST"), ("/health/live", "POST", 405, "GET, HEAD"), ("/predict", "OPTIONS", 405, "POST"),
])  # fmt: skip
def test_other_paths_and_methods_are_typed_too(path, method, expected, allowed):
    status, answered, headers = ask(b"", path=path, method=method)
    assert status == expected
    assert answered["error"]["type"]
    assert headers.get("allow") == allowed
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_can_be_left_out():
    assert ask(b"", client=Client(page=False), path="/", method="GET")[0] == 404


def test_where_there_are_too_many_the_body_is_not_looked_at():
    @contextmanager
    def full():
        raise Overloaded
        yield

    status, answered, headers = ask(b"no JSON at all", client=Client(room=full))
    assert (status, answered["error"]["type"]) == (503, "overloaded")
    assert headers["retry-after"] == "1"


def test_the_document_names_the_prefix_under_which_the_model_is_reached():
    _, document, _ = ask(b"", path="/churn/openapi.json", method="GET", root="/churn")
    assert document["servers"] == [{"url": "/churn"}]
    assert "servers" not in ask(b"", path="/openapi.json", method="GET")[1]


GUARDED = [("/predict", "POST"), ("/openapi.json", "GET"), ("/metrics", "GET")]
OPEN = ["/", "/health/live", "/health/ready"]


@pytest.fixture
def guarded(tmp_path):
    path = tmp_path / "tokens.json"
    token = auth.add(path, "ci")
    return Client(auth=Tokens(path, rate_per_s=3), metrics=lambda: b"up 1\n"), token


@pytest.mark.parametrize(("path", "method"), GUARDED)
@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic {}", "Bearer", "{}", "Bearer {} {}"])
def test_without_a_token_nothing_of_the_model_is_told(guarded, path, method, given):
    client, token = guarded
    headers = JSON | ({"authorization": given.format(token, token)} if given else {})
    status, answered, got = ask(BODY, headers, client=client, path=path, method=method)
    assert (status, answered["error"]["type"], got["www-authenticate"]) == (401, "unauthorized", "Bearer")
    assert "x-model-version" not in got
    assert token not in json.dumps(answered)


def test_a_token_lets_in_until_it_comes_too_often(guarded):
    client, token = guarded
    headers = {**JSON, "authorization": f"Bearer {token}"}
    answered = [asyncio.run(client.ask(BODY if path == "/predict" else b"", headers, path=path, method=method))
                for path, method in GUARDED]  # fmt: skip
    assert [status for status, *_ in answered] == [200] * 3
    status, answered, got = ask(headers=headers, client=client)
    assert (status, answered["error"]["type"], got["retry-after"]) == (429, "too_many_requests", "1")


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_tells_nothing_of_the_model(guarded, path):
    status, answered, headers = asyncio.run(guarded[0].ask(b"", path=path, method="GET"))
    assert status == 200
    assert b"churn" not in answered
    assert "x-model-version" not in headers
