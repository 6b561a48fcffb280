"""Columns that look private, by name and by value, and those that only seem to."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.data.summary import patterns, private
from raymle.data.summary.columns import describe
from raymle.records import Column

ROWS = 200
DRAW = np.random.default_rng(0)


def look(name, values, kind="category", role="feature"):
    return private.look(Column(name=name, type=kind, role=role), pa.chunked_array([values]))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("e-mail", "ann.lee+x@mail.example.org"), ("IBAN", "DE89 3704 0044 0532 0130 00"), ("IBAN", "GB82WEST12345698765432"),
        ("payment card", "4111 1111 1111 1111"), ("payment card", "378282246310005"), ("IP address", "192.168.0.17"),
        ("IP address", "2001:db8::8a2e:370:7334"), ("phone", "+49 171 2345678"), ("phone", "(555) 123-4567"),
        ("phone", "01 23 45 67 89"), ("phone", "+33612345678"), ("national id", "123-45-6789"),
        ("national id", "12345678Z"), ("national id", "X1234567L"), ("national id", "2 55 08 14 168 025 38"),
        ("national id", "86095742719"), ("passport", "AB1234567"), ("passport", "C01X00T47"),
    ],
)  # fmt: skip
def test_what_a_private_value_looks_like(kind, value):
    assert next(name for name, fits in patterns.KINDS.items() if fits(value)) == kind


@pytest.mark.parametrize(
    "value",
    [
        "1234.56", "19.99", "12345678", "1,234,567.89", "2026-01-31", "31.01.2026", "31/01/2026", "2026-01-31 12:00",
        "10:30:00", "N14228", "carrier", "1.2.3", "300.1.2.3", "me at home", "a@b", "DE89370400440532013001",
        "4111111111111112", "000-45-6789", "12345678A", "1-2-3", "40.7128,-74.0060", "B0012", "978-3-16", "86095742710",
    ],
)  # fmt: skip
def test_what_it_does_not_look_like(value):
    assert [name for name, fits in patterns.KINDS.items() if fits(value)] == []


@given(st.text(alphabet="0123456789", min_size=13, max_size=19), st.integers(0, 9))
def test_of_ten_last_digits_one_is_luhns(body, first):
    assert sum(patterns.luhn(f"{body}{last}") for last in range(10)) == 1


@given(st.text(max_size=40))
def test_any_text_can_be_asked(text):
    assert all(fits(text.strip()) in {True, False} for fits in patterns.KINDS.values())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("email", "e-mail"), ("customerEMail", "e-mail"), ("courriel", "e-mail"), ("correo_electrónico", "e-mail"),
        ("first_name", "person's name"), ("Nachname", "person's name"), ("prénom", "person's name"),
        ("apellidos", "person's name"), ("name", "person's name"), ("Straße", "address"), ("código postal", "address"),
        ("PLZ", "address"), ("Telefonnummer", "phone"), ("téléphone", "phone"), ("móvil", "phone"),
        ("date_of_birth", "birth"), ("Geburtsdatum", "birth"), ("fecha_nacimiento", "birth"), ("ip", "IP address"),
        ("iban", "IBAN"), ("card_number", "payment card"), ("Reisepassnummer", "passport"), ("ssn", "national id"),
        ("dni", "national id"),
    ],
)  # fmt: skip
def test_names_of_four_languages(name, kind):
    assert private.named(name) == kind


@pytest.mark.parametrize(
    "name",
    ["carrier_name", "product_name", "nombre_d_enfants", "phone_calls", "email_opened", "has_phone", "trip", "shipping",
     "tailnum", "discard", "hotel", "email_domain", "street_count", "renamed", "phonetic", "price", "flight"],
)  # fmt: skip
def test_names_that_only_seem_to(name):
    assert private.named(name) is None


def test_a_price_is_no_phone_number_and_a_random_number_no_card():
    assert look("price", pa.array(DRAW.uniform(1e7, 1e9, ROWS).round(2)), "number") is None
    assert look("amount", pa.array([f"{each:.2f}" for each in DRAW.uniform(1e5, 1e7, ROWS)])) is None
    assert look("serial", pa.array(DRAW.integers(4 * 10**15, 5 * 10**15, ROWS).astype(float)), "number") is None
    assert look("serial", pa.array([f"{each}" for each in DRAW.integers(4 * 10**15, 5 * 10**15, ROWS)])) is None


def test_a_card_stored_as_a_number_is_found():
    stems = [f"4{each:014d}" for each in DRAW.integers(0, 10**13, ROWS)]
    cards = [f"{each}{last}" for each in stems for last in range(10) if patterns.luhn(f"{each}{last}")]
    found = look("serial", pa.array([float(each) for each in cards]), "number")
    assert (found["kind"], found["by"], found["share"]) == ("payment card", ["values"], 1.0)


def test_evidence_says_name_values_and_share():
    half = pa.array([f"p{row}@example.org" if row % 2 else f"unknown {row}" for row in range(ROWS)])
    assert look("email", half) == {"kind": "e-mail", "by": ["name", "values"], "share": 0.5}
    assert look("contact", half) == {"kind": "e-mail", "by": ["values"], "share": 0.5}
    assert look("surname", pa.array([f"Name{row}" for row in range(ROWS)])) == {
        "kind": "person's name", "by": ["name"], "share": None,
    }  # fmt: skip


def test_a_name_alone_does_not_make_a_flag_or_a_few_words_private():
    assert look("mobile", pa.array([True, False] * 100), "boolean") is None
    assert look("name", pa.array(["north", "south"] * 100)) is None
    assert look("phone", pa.array(DRAW.integers(0, 9, ROWS).astype(float)), "number") is None
    assert look("phone", pa.array(DRAW.integers(10**9, 10**10, ROWS).astype(float)), "number")["kind"] == "phone"
    assert look("birth_year", pa.array(DRAW.integers(1940, 2000, ROWS).astype(float)), "number")["kind"] == "birth"


def test_order_numbers_that_repeat_or_are_the_key_are_no_passports():
    numbers = pa.array([f"AB{row:06d}" for row in range(ROWS)])
    assert look("code", numbers)["kind"] == "passport"
    assert look("order", numbers, role="key") is None
    assert look("code", pa.array([f"AB{row % 50:06d}" for row in range(ROWS)])) is None


def test_an_address_within_a_text_is_found_and_no_value_of_a_private_column_is_told():
    says = [f"write to ann{row}@example.org, please" if row % 10 == 0 else f"nothing {row}" for row in range(ROWS)]
    told = describe(Column(name="note", type="text", role="feature"), pa.chunked_array([says]))
    assert told["evidence"] == {"kind": "e-mail", "by": ["values"], "share": 0.1}
    assert "ann" not in str(told)
    assert told["length"]["max"] > 20
    born = pa.chunked_array([DRAW.integers(1940, 2000, ROWS).astype(float)])
    told = describe(Column(name="birth", type="number", role="feature"), born)
    assert {"min", "max", "median", "quartiles", "histogram", "mean"}.isdisjoint(told)
    assert told["distinct"] > 20


def test_numbers_and_addresses_in_examples_are_masked():
    assert private.masked("ask ann@example.org or +49 171 2345678, DE89370400440532013000 in 2026") == (
        "ask ••• or •••, ••• in 2026"
    )
