import pytest

from raymle import page


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (3.0, "3"), (12345, "12,345"), (0.123456, "0.1235"), ("x", "x"), (1e20, "1e+20")],
)  # fmt: skip
def test_numbers_are_written_for_readers(value, text):
    assert page.number(value) == text


def test_what_is_filled_in_is_text_and_never_markup_or_a_template():
    assert page.fill("<b>{{ name }}</b>", name="<i>{{ 7*7 }}</i>") == "<b>&lt;i&gt;{{ 7*7 }}&lt;/i&gt;</b>"
