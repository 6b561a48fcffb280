import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.errors import ArtifactError, ConflictError
from raymle.tracking import journal
from raymle.tracking.journal import Entry, Journal
from raymle.tracking.replay import LIMITS, batches

VALUES = st.dictionaries(st.text(max_size=20), st.text() | st.integers() | st.floats(allow_nan=False))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journals" / "run.jsonl"


def write(path, count):
    writer = Journal(path)
    for number in range(count):
        writer.append({"do": "metrics", "step": number, "text": "zwölf\nlines"})
    writer.close()


def steps(path):
    return [entry.event["step"] for entry in journal.read(path)]


@given(VALUES)
def test_any_event_comes_back_as_it_was(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("journal") / "run.jsonl"
    path.write_bytes(journal.encode({"do": "tags", "values": values}))
    assert [entry.event["values"] for entry in journal.read(path)] == [values]


def test_a_cut_anywhere_in_the_last_line_loses_only_that_line(path):
    write(path, 3)
    data = path.read_bytes()
    last = list(journal.read(path))[1].end
    for cut in range(last, len(data)):
        path.write_bytes(data[:cut])
        assert steps(path) == [0, 1]
        assert journal.whole(path) == last


def test_a_writer_goes_on_after_a_torn_line(path):
    write(path, 2)
    with path.open("ab") as file:
        file.write(b'60 12345678 {"do":"met')
    write(path, 1)
    assert steps(path) == [0, 1, 0]


def test_a_bad_line_in_the_middle_is_an_error_that_names_the_file(path):
    write(path, 3)
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"run\.jsonl is damaged before byte"):
        steps(path)


def test_a_journal_has_one_writer(path):
    writer = Journal(path)
    with pytest.raises(ConflictError, match="being written by another process"):
        Journal(path)
    assert not journal.is_abandoned(path)
    writer.close()
    assert journal.is_abandoned(path)


def test_reading_goes_on_at_an_offset(path):
    write(path, 4)
    entries = list(journal.read(path))
    assert list(journal.read(path, entries[1].end)) == entries[2:]


@given(
    st.lists(st.tuples(st.sampled_from(["params", "tags", "metrics", "artifact"]), st.integers(1, 100)), max_size=40)
)
def test_batches_keep_the_order_and_the_limits(shape):
    entries = [
        Entry({"do": what, "values": {str(name): 1 for name in range(count)}}, end)
        for end, (what, count) in enumerate(shape)
    ]
    made = list(batches(entries))
    assert [entry for batch in made for entry in batch] == entries
    for batch in made:
        for what, limit in LIMITS.items():
            assert sum(len(entry.event["values"]) for entry in batch if entry.event["do"] == what) <= limit
        assert len(batch) == 1 or all(entry.event["do"] != "artifact" for entry in batch)
