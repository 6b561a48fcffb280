"""The load that other tests measure with counts what a client would miss."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from load import Answer, Call, flow, outage, running, summary

GOOD = 200, {"X-Model-Version": "7"}
CUT = None


@contextmanager
def server(reply):
    """Serve from threads; ``reply`` gives status and headers for the number of a request, or None to cut it off."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                turn = len(turns)
                turns.append(turn)
            found = reply(turn)
            if found is CUT:
                self.close_connection = True
                return
            self.send_response(found[0])
            for name, value in {**found[1], "Content-Length": "4"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"text")

        def log_message(self, *_):
            pass

    lock, turns = threading.Lock(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.daemon_threads = True
        served.handle_error = lambda *_: None  # a client that has gone
        threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield f"http://127.0.0.1:{served.server_address[1]}/"
        finally:
            served.shutdown()


def test_requests_do_not_wait_for_a_server_that_stands_still():
    open_again = threading.Event()

    def reply(turn):
        if turn == 10:
            threading.Timer(0.5, open_again.set).start()
        if turn >= 10:
            open_again.wait(5)
        return GOOD

    with server(reply) as url:
        found = summary(flow(Call(url, b"{}"), rate=50, seconds=1))
    assert (found.requests, found.good, found.failed, found.outage_s) == (50, 50, 0, 0)
    assert found.versions == {"7": 50}
    assert 0.45 < found.worst_s < 2
    assert found.p50_s < found.worst_s


def test_a_request_without_an_answer_counts_as_failed_and_a_proper_refusal_as_refused():
    kinds = [GOOD, CUT, (503, {"Retry-After": "1"}), (503, {})]
    with server(lambda turn: kinds[turn % 4]) as url:
        answers = flow(Call(url, b"{}"), rate=100, seconds=0.4)
    found = summary(answers)
    assert (found.requests, found.good, found.refused, found.failed) == (40, 10, 10, 20)
    assert found.statuses == {0: 10, 200: 10, 503: 20}
    assert all(each.error for each in answers if not each.status)
    assert {each.error for each in answers if each.status == 503} == {"text"}


@pytest.mark.parametrize(("retry", "good"), [(False, 4), (True, 8)])
def test_a_request_is_sent_again_only_when_asked_for(retry, good):
    with server(lambda turn: GOOD if turn % 2 else CUT) as url:
        found = summary(flow(Call(url, b"a", retry=retry), rate=20, seconds=0.4))
    assert (found.requests, found.good) == (8, good)


def test_nobody_there_and_too_slow_are_failures():
    with server(lambda turn: threading.Event().wait(1) or GOOD) as url:
        slow = flow(Call(url, b"", timeout_s=0.2), rate=20, seconds=0.2)
    gone = flow(Call(url, b""), rate=20, seconds=0.2)
    assert [each.status for each in (*slow, *gone)] == [0] * 8
    assert all("Timeout" in each.error for each in slow)
    assert summary(gone).failed == 4


def test_a_load_runs_beside_the_block_and_is_whole_after_it():
    reached = threading.Event()
    with server(lambda turn: reached.set() or GOOD) as url, running(Call(url, b""), rate=50) as answers:
        assert reached.wait(10)
    assert answers
    assert answers == sorted(answers)
    assert all(each.is_good for each in answers)


@pytest.mark.parametrize(
    ("statuses", "seconds"),
    [([200, 200], 0), ([200, 0, 0, 200, 0, 200], 2), ([200, 500, 503], 1.5), ([0], 0.5)],
    ids=["none", "the longest of two", "to the end", "alone"],
)
def test_an_outage_lasts_to_the_next_good_request(statuses, seconds):
    answers = [Answer(float(turn), 0.5, status) for turn, status in enumerate(statuses)]
    assert outage(answers) == seconds
