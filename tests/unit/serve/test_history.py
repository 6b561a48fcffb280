"""A served model's history: numbered events, and the state that they come to."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.serve import history
from raymle.serve.history import Event, Model, State
from raymle.store import open_store

V1, V2, V3 = (Model(version=str(number), place=f"native/{number}") for number in (1, 2, 3))


def state(*events):
    found = State()
    for number, event in enumerate(events, 1):
        found = history.after(found, event.model_copy(update={"number": number}))
    return found


def serving(model=V1):
    return Event(kind="serving", model=model, url="http://127.0.0.1:8000")


def test_an_upgrade_replaces_the_champion_and_remembers_the_one_before():
    found = state(serving(), Event(kind="champion", model=V2))
    assert found.champion.model == V2
    assert [each.model for each in found.before] == [V1]


def test_a_refused_upgrade_leaves_the_one_before():
    found = state(serving(), Event(kind="champion", model=V2), Event(kind="refused", about=2, by="a", reason="NaN"))
    assert found.champion.model == V1
    assert found.ended.reason == "NaN"


def test_a_second_refusal_of_the_same_upgrade_changes_nothing_more():
    refusal = Event(kind="refused", about=2, by="a", reason="NaN")
    found = state(serving(), Event(kind="champion", model=V2), refusal, refusal.model_copy(update={"by": "b"}))
    assert found.champion.model == V1
    assert not found.before


def test_a_challenger_stays_until_it_is_withdrawn():
    asked = Event(kind="challenger", model=V2, share=0.1)
    assert state(serving(), asked).challenger.share == 0.1
    assert state(serving(), asked, Event(kind="withdrawn", about=2)).challenger is None


def test_a_challenger_that_becomes_champion_is_no_challenger_any_more():
    found = state(serving(), Event(kind="challenger", model=V2, share=0.1), Event(kind="champion", model=V2))
    assert found.challenger is None
    assert found.champion.model == V2


def test_another_champion_leaves_the_challenger():
    found = state(serving(), Event(kind="challenger", model=V2, share=0.1), Event(kind="champion", model=V3))
    assert found.challenger.model == V2


def test_a_restart_begins_with_what_is_served_and_without_a_challenger():
    found = state(
        serving(),
        Event(kind="challenger", model=V2, share=0.1),
        Event(kind="stopped", url="http://127.0.0.1:8000"),
        serving(V3),
    )
    assert (found.champion.model, found.challenger, found.urls) == (V3, None, ("http://127.0.0.1:8000",))
    assert not found.before


def test_nobody_serves_after_the_end():
    assert state(serving(), Event(kind="stopped", url="http://127.0.0.1:8000")).urls == ()


def test_a_second_server_that_ends_leaves_the_first():
    other = serving().model_copy(update={"url": "http://127.0.0.1:9000"})
    found = state(serving(), other, Event(kind="stopped", url="http://127.0.0.1:9000"))
    assert found.urls == ("http://127.0.0.1:8000",)


def test_a_promotion_while_a_server_starts_is_not_forgotten():
    early = serving().model_copy(update={"about": 2})
    assert state(serving(), Event(kind="champion", model=V2), early).champion.model == V2
    assert state(serving(), early).champion.model == V1


def test_writers_at_the_same_time_get_numbers_of_their_own(tmp_path):
    store = open_store(str(tmp_path))
    writers = [
        threading.Thread(target=lambda by=str(each): history.append(store, "churn", Event(kind="trying", by=by)))
        for each in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = history.read(store, "churn")
    assert found.last == 8
    assert sorted(each.by for each in found.answers) == [str(each) for each in range(8)]


def test_reading_on_from_a_state_gives_what_reading_all_gives(tmp_path):
    store = open_store(str(tmp_path))
    history.append(store, "churn", serving())
    early = history.read(store, "churn")
    history.append(store, "churn", Event(kind="champion", model=V2))
    assert history.read(store, "churn", early) == history.read(store, "churn")


def test_a_champion_that_was_withdrawn_never_comes_back():
    found = state(
        serving(), Event(kind="champion", model=V2), Event(kind="champion", model=V3),
        Event(kind="withdrawn", about=2), Event(kind="refused", about=3),
    )  # fmt: skip
    assert found.champion.model == V1


KINDS = st.sampled_from(["serving", "stopped", "champion", "challenger", "trying", "taken", "refused", "withdrawn"])
EVENTS = st.lists(
    st.builds(Event, kind=KINDS, model=st.sampled_from([V1, V2, V3]), about=st.integers(0, 12), share=st.just(0.5)),
    max_size=12,
)


@given(EVENTS)
def test_what_was_refused_is_never_wanted(events):
    events = [serving(), *events]
    found = state(*events)
    refused = {each.about for each in events if each.kind in {"refused", "withdrawn"}}
    early = {each.about for number, each in enumerate(events, 1) if each.about >= number}
    for wanted in (found.champion, found.challenger):
        began = events[wanted.number - 1].kind == "serving" if wanted else True
        assert began or wanted.number not in refused - early


@pytest.mark.parametrize("name", ["churn", "a model"])
def test_names_are_those_of_all_served_models(tmp_path, name):
    store = open_store(str(tmp_path))
    history.append(store, name, serving())
    assert history.names(store) == [name]
