import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.data import tokens

TEXTS = st.lists(
    st.one_of(st.none(), st.text(max_size=60), st.text("aB1 é\u0301!👍日ا\u200d", max_size=60)), max_size=12
)


def codes(*texts: str | None, length: int = 12, vocabulary: int = 1 << 15) -> list[list[int]]:
    found = tokens.encode(pa.array(texts, pa.string()), length=length, vocabulary=vocabulary)
    return [[code for code in row if code] for row in found.tolist()]


@settings(deadline=None)
@given(TEXTS)
def test_a_text_has_the_same_codes_alone_and_beside_others(texts: list[str | None]) -> None:
    together = tokens.encode(pa.array(texts, pa.string()), length=8, vocabulary=1000)
    alone = [tokens.encode(pa.array([text], pa.string()), length=8, vocabulary=1000)[0] for text in texts]
    assert together.shape == (len(texts), 8)
    assert together.tolist() == [each.tolist() for each in alone]


@settings(deadline=None)
@given(TEXTS)
def test_codes_are_in_the_vocabulary_and_padding_stands_at_the_end_alone(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    found = tokens.encode(array, length=8, vocabulary=1000)
    assert ((found >= 0) & (found < 1000)).all()
    assert ((found != 0).sum(1) == np.minimum(tokens.counts(array), 8)).all()
    assert (np.diff((found != 0).astype(int), axis=1) <= 0).all()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_words_are_those_that_a_plain_loop_finds(text: str) -> None:
    assert len(codes(text, length=200)[0]) == len(plainly(text))


def plainly(text: str) -> list[str]:
    """Cut a text character by character, as the module says that it does."""
    import unicodedata

    found: list[str] = []
    word = ""
    for character in [*unicodedata.normalize("NFKC", text).lower(), " "]:
        kind = tokens._kinds()[min(ord(character), tokens.PLANES)]
        if kind == tokens.LETTER:
            word += character
            continue
        found += [word[start : start + 8] for start in range(0, len(word), 8)]
        word = ""
        found += [character] if kind == tokens.SIGN else []
    return found


def test_codes_never_change() -> None:
    """Bundles of earlier versions hold weights for exactly these."""
    found = codes("Good food, but 20% too slow!", "Straße 日本 👍🏽 שלום", length=12)
    assert found == [[1647, 6857, 28131, 13172, 2096, 4274, 13591], [23079, 31257, 10013, 754, 30751, 25230]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Great FOOD", "great, food."),
        ("café", "cafe\u0301"),
        ("ﬁne", "fine"),
        ("\uff21\uff22\uff23", "abc"),
        ("a\u00a0b", "a b"),
        ("Жар ПТИЦА", "жар птица"),
    ],
)
def test_spellings_of_the_same_words_are_the_same(one: str, other: str) -> None:
    assert codes(one) == codes(other)


def test_texts_without_words_are_empty() -> None:
    assert codes(None, "", "  \n\t", "…—,.;", "\u200d\ufe0f") == [[], [], [], [], []]


def test_pictures_signs_and_characters_of_unspaced_scripts_are_words() -> None:
    assert [len(each) for each in codes("🎉🎉", "👍🏽", "really?!", "日本語", "ไทย", "5 €")] == [2, 2, 3, 3, 3, 2]
    assert codes("🎉")[0] != codes("👍")[0]


def test_writing_from_right_to_left_and_combining_marks_are_words() -> None:
    assert [len(each) for each in codes("שלום עולם", "مرحبا بالعالم", "n\u0303a\u0301", "\u0301")] == [2, 2, 1, 1]


def test_long_words_share_their_beginning() -> None:
    (one,), (other,) = codes("reproducing")[0][:1], codes("reproducible")[0][:1]
    assert one == other
    assert codes("reproducing") != codes("reproducible")
    assert codes("reproduc ing") != codes("reproducing")


def test_a_text_of_ten_megabytes_is_read_as_far_as_its_first_words_go() -> None:
    text = "word " * 2_000_000
    started = time.monotonic()
    assert len(codes(text, length=256)[0]) == 256
    assert time.monotonic() - started < 2
    assert codes(" " * tokens.MOST_CHARACTERS + "word") == [[]]


def test_slices_of_a_column_and_many_blocks_are_right() -> None:
    texts = pa.array([f"row {number} of many, with some words to fill it" for number in range(20_000)])
    whole = tokens.encode(texts, length=4, vocabulary=1 << 15)
    part = tokens.encode(texts.slice(11_111, 5), length=4, vocabulary=1 << 15)
    assert (whole[11_111:11_116] == part).all()
    assert (tokens.counts(texts) == 10).all()
    assert (tokens.tokens(texts).rows == np.repeat(np.arange(20_000), 10)).all()


def test_hashes_fill_the_vocabulary_evenly() -> None:
    words = pa.array([f"w{number}" for number in range(100_000)])
    found = np.bincount(tokens.encode(words, length=1, vocabulary=1001)[:, 0], minlength=1001)[1:]
    assert ((found - 100) ** 2 / 100).sum() < 1300  # chi-squared of 999 degrees; 1180 in one of 10,000
