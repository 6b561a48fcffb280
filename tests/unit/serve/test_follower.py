"""One replica's champion and challenger, with real models and a real history, without a server."""

import asyncio
import threading
import time
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_table import splits as splits

from raymle import native
from raymle.config import ModelConfig, ServeConfig
from raymle.data.shards import load_transform
from raymle.errors import WorkError
from raymle.model.build import build
from raymle.model.bundle import Contents, save
from raymle.serve import history, slot
from raymle.serve.app import Call
from raymle.serve.follower import Follower
from raymle.serve.history import Event, Model
from raymle.serve.limits import Overloaded
from raymle.serve.service import Service
from raymle.serve.traffic import Evidence
from raymle.store import open_store

ROWS = pa.table({"number": [0.5, -1.0, 2.0], "colour": ["red", "green", "red"]})
BAD_NET = """
import time
import torch
from pathlib import Path

class Net(torch.nn.Module):
    def __init__(self, inputs, outputs, kind):
        super().__init__()
        self.layer, self.kind = torch.nn.Linear(inputs.numbers, outputs), kind

    def forward(self, numbers, categories):
        if torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling():
            raise RuntimeError("not for export")
        if Path(FLAG).exists():
            if self.kind == "slow":
                time.sleep(0.05)
            elif self.kind == "raises":
                raise RuntimeError("no")
            else:
                return self.layer(numbers) * float("nan")
        return self.layer(numbers)

def make(inputs, outputs, kind): return Net(inputs, outputs, kind)
"""


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "runs"))


@pytest.fixture
def version(splits, store, tmp_path):
    """Return a function that makes a version whose answers its bias decides."""

    def make(name, *, towards=0, config=None, source=None):
        transform, schema = load_transform(splits), splits.data_schema
        config = config or ModelConfig(type="linear")
        folder = tmp_path / f"code-{name}"
        code = {}
        if source:
            folder.mkdir()
            (folder / "badnet.py").write_text(source)
            code = {"badnet.py": source.encode()}
        network = build(config, transform.inputs, 2, folder=str(folder))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            next(each for each in network.parameters() if each.shape == (2,))[towards] = 3.0
        contents = Contents(data_schema=schema, model=config, inputs=transform.inputs, outputs=2)
        bundle = save(tmp_path / f"bundle-{name}", contents, transform=transform, network=network, code=code)
        place = native.ready(bundle, store.root)
        return Model(version=name, place=str(place.relative_to(store.root)))

    return make


def bad(tmp_path, version, kind):
    """Return a version that begins to misbehave now, for the rows of a test."""
    flag = tmp_path / "flag"
    config = ModelConfig(type="badnet:make", params={"kind": kind})
    made = version(f"bad-{kind}", config=config, source=BAD_NET.replace("FLAG", repr(str(flag))))
    return made, flag


@pytest.fixture
def lineup(store, version, tmp_path):
    """Return a function that opens a replica's versions, the champion first."""
    made = []

    def opened(champion=None, **config):
        champion = champion or version("1")
        since = history.append(store, "churn", Event(kind="serving", model=champion, url="http://x")).number
        settings = ServeConfig.model_validate({"load_timeout_s": 20, **config})
        service = Service(name="churn", model=champion, config=settings, storage=store.uri, since=since)
        made.append(Follower(service, f"replica-{len(made)}", tmp_path / "metrics"))
        return made[-1]

    (tmp_path / "metrics").mkdir()
    yield opened
    for each in made:
        each.metrics.close()


def ask(follower, *keys):
    """Return which version answered each key, and the first answer."""

    async def main():
        until = time.monotonic() + 20
        answers = [await follower.lineup.answer(ROWS, Call(key, key, until)) for key in keys]
        await asyncio.sleep(0.2)  # comparisons go on behind the answers
        return [each.version for each in answers], answers[0].predictions

    return asyncio.run(main())


def want(store, kind, model, **values):
    return history.append(store, "churn", Event(kind=kind, model=model, **values)).number


def said(store, kind):
    return [each for each in history.read(store, "churn").answers if each.kind == kind]


def test_an_upgrade_is_taken_when_it_has_proved_itself(lineup, store, version):
    replica = lineup()
    number = want(store, "champion", version("2", towards=1))
    assert ask(replica, "a")[0] == ["1"]
    replica.look()
    versions, predictions = ask(replica, "a")
    assert versions == ["2"]
    assert (predictions.argmax(axis=1) == 1).all()
    assert [each.about for each in said(store, "taken")] == [number]


def test_a_version_with_another_schema_is_refused(lineup, store, version, tmp_path, splits):
    replica = lineup()
    schema = splits.data_schema
    other = schema.model_copy(update={"classes": ("no", "maybe")})
    contents = Contents(
        data_schema=other, model=ModelConfig(type="linear"), inputs=load_transform(splits).inputs, outputs=2
    )
    network = build(contents.model, contents.inputs, 2)
    bundle = save(tmp_path / "other", contents, transform=load_transform(splits), network=network)
    place = native.ready(bundle, store.root).relative_to(store.root)
    want(store, "champion", Model(version="2", place=str(place)))
    replica.look()
    assert ask(replica, "a")[0] == ["1"]
    assert (
        "cannot take over: it answers one of no, maybe, and one of no, yes is served"
        in said(store, "refused")[0].reason
    )


def test_a_version_that_is_not_whole_is_refused_and_not_tried_again(lineup, store, version):
    replica = lineup()
    want(store, "champion", Model(version="2", place="native/nothing"))
    replica.look()
    replica.look()
    assert len(said(store, "trying")) == len(said(store, "refused")) == 1
    assert ask(replica, "a")[0] == ["1"]


def test_another_replica_waits_for_the_first_and_follows_it(lineup, store, version):
    first = lineup()
    second = lineup(first.lineup.champion.model)
    want(store, "champion", version("2"))
    number = history.read(store, "churn").last
    history.append(store, "churn", Event(kind="trying", about=number, by="somebody"))
    second.look()
    assert ask(second, "a")[0] == ["1"]
    history.append(store, "churn", Event(kind="taken", about=number, by="somebody"))
    second.look()
    assert ask(second, "a")[0] == ["2"]
    assert first.lineup.champion.model.version == "1"


def test_a_version_that_ended_the_replica_that_tried_it_is_never_tried_again(lineup, store, version):
    replica = lineup(load_timeout_s=5)
    number = want(store, "champion", version("2"))
    history.append(store, "churn", Event(kind="trying", about=number, by="dead"))
    replica.look()
    replica._doubted[number] -= 6  # as if so many seconds had passed: the other one may be about to say so itself
    replica.look()
    assert not said(store, "refused")
    replica._doubted[number] -= 4
    replica.look()
    assert "ended the replica that loaded it" in said(store, "refused")[0].reason
    assert ask(replica, "a")[0] == ["1"]


def test_a_replica_that_starts_anew_begins_with_what_the_others_have(lineup, store, version, tmp_path):
    first = lineup()
    want(store, "champion", version("2"))
    first.look()
    again = Follower(first._service, "again", tmp_path / "metrics")
    assert again.lineup.champion.model.version == "2"
    again.metrics.close()


def test_a_canary_answers_its_keys(lineup, store, version):
    replica = lineup()
    want(store, "challenger", version("2"), share=0.5)
    replica.look()
    keys = [f"customer {each}" for each in range(40)]
    once, again = ask(replica, *keys)[0], ask(replica, *keys)[0]
    assert once == again
    assert set(once) == {"1", "2"}


def test_a_canary_that_disagrees_goes_by_itself(lineup, store, version):
    replica = lineup(guard={"min_requests": 5})
    number = want(store, "challenger", version("2", towards=1), share=1.0)
    replica.look()
    assert set(ask(replica, *"abcdefgh")[0]) == {"2"}
    replica.look()
    assert set(ask(replica, *"abcdefgh")[0]) == {"1"}
    replica.look()
    told = said(store, "withdrawn")
    assert [each.about for each in told] == [number]
    assert "otherwise than the champion" in told[0].reason
    assert history.read(store, "churn").challenger is None


def test_a_canary_that_was_judged_never_comes_back(lineup, store, version, tmp_path):
    """The event loop judges while the thread that follows the history is about to exchange the versions."""
    replica = lineup()
    model, flag = bad(tmp_path, version, "raises")
    want(store, "challenger", model, share=1.0)
    replica.look()
    rival = replica.lineup.rival
    flag.touch()
    ask(replica, *"abcdef")
    replica.lineup.oppose(rival)
    assert replica.lineup.rival is None


def test_a_canary_is_compared_anew_with_another_champion(lineup, store, version):
    replica = lineup()
    want(store, "challenger", version("2"), share=1.0)
    replica.look()
    ask(replica, *"abcdef")
    assert replica.lineup.rival.seen.compared
    want(store, "champion", version("3"))
    replica.look()
    assert replica.lineup.rival.seen == Evidence()


def test_an_upgrade_without_golden_rows_proves_nothing(lineup, store, version, tmp_path):
    replica = lineup()
    version("2")
    want(store, "champion", Model(version="2", place=str(tmp_path / "bundle-2")))
    replica.look()
    assert "has no golden rows" in said(store, "refused")[0].reason


def test_a_download_that_stalls_is_given_up(lineup, store, version, monkeypatch):
    replica = lineup(load_timeout_s=1)
    asked = version("2")
    monkeypatch.setattr(slot, "place_of", lambda *_: threading.Event().wait(30))
    want(store, "champion", asked)
    replica.look()
    assert "was not here and loaded within 1 s" in said(store, "refused")[0].reason
    assert ask(replica, "a")[0] == ["1"]


def test_a_callers_hurry_is_not_the_canarys_fault(lineup, store, version, tmp_path):
    replica = lineup()
    model, flag = bad(tmp_path, version, "slow")
    want(store, "challenger", model, share=1.0)
    replica.look()
    flag.touch()

    async def main():
        for _ in range(6):
            with suppress(TimeoutError):
                await replica.lineup.answer(ROWS, Call("a", None, time.monotonic() + 0.01))

    asyncio.run(main())
    replica.look()
    assert replica.lineup.rival is not None


@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_a_canary_that_fails_is_answered_for_by_the_champion_and_goes(lineup, store, version, tmp_path, kind):
    replica = lineup()
    model, flag = bad(tmp_path, version, kind)
    want(store, "challenger", model, share=1.0)
    replica.look()
    assert replica.lineup.rival is not None
    flag.touch()
    versions, predictions = ask(replica, *"abcdef")
    assert set(versions) == {"1"}
    assert np.isfinite(predictions).all()
    assert replica.lineup.rival is None
    replica.look()
    assert "it failed 3 of 3 requests" in said(store, "withdrawn")[0].reason


def test_a_canary_that_is_slow_goes(lineup, store, version, tmp_path):
    replica = lineup(guard={"min_requests": 5, "disagreement": None})
    model, flag = bad(tmp_path, version, "slow")
    want(store, "challenger", model, share=0.5)
    replica.look()
    flag.touch()
    ask(replica, *[f"customer {each}" for each in range(40)])
    replica.look()
    replica.look()
    assert "times the champion's" in said(store, "withdrawn")[0].reason


def test_a_shadow_that_fails_never_reaches_a_caller(lineup, store, version, tmp_path):
    replica = lineup()
    model, flag = bad(tmp_path, version, "raises")
    want(store, "challenger", model, shadow=True)
    replica.look()
    flag.touch()
    assert set(ask(replica, *"abcdef")[0]) == {"1"}
    replica.look()
    replica.look()
    assert said(store, "withdrawn")


def test_a_full_queue_is_told_and_not_kept(lineup):
    replica = lineup(queue=2)

    async def main():
        until = time.monotonic() + 20
        asked = (replica.lineup.answer(ROWS, Call("a", None, until)) for _ in range(10))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(main())
    assert sum(isinstance(each, Overloaded) for each in answers) == 8


def test_a_first_version_that_does_not_predict_numbers_is_none(lineup, version, tmp_path, store, splits):
    transform = load_transform(splits)
    contents = Contents(
        data_schema=splits.data_schema, model=ModelConfig(type="linear"), inputs=transform.inputs, outputs=2
    )
    network = build(contents.model, contents.inputs, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    bundle = save(tmp_path / "nan", contents, transform=transform, network=network)
    with pytest.raises(WorkError, match="does not predict numbers"):
        lineup(Model(version="1", place=str(native.ready(bundle, store.root).relative_to(store.root))))
