"""Which columns look private, by name and by value, and how what they hold is kept out of sight."""

import re
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.data.summary import bins, patterns
from raymle.records import Column

LOOK_ROWS = 1000
FEW_VALUES = 20
FEWEST = 10
"""Of fewer numbers one with the right check digit says nothing."""
MOSTLY = 0.5
SURE = {"e-mail": 0.01, "IBAN": 0.01, "passport": 0.9}
"""Shares of rows from which a kind counts, where it is not half of them."""
MASK = "•••"
NAMES = {
    "IP address": r"ip|ip_?addr(ess|esse)?|(client|remote|user)_(ip|addr)|direccion_ip",
    "e-mail": r"e_?mail(_?(address|adresse))?|mail|courriel|correo(_electronico)?",
    "phone": r"(tele|mobile_?|cell_?)?phone(_?(number|no|nr))?|tel|mobile|fax|telefon(nummer)?|handy(nummer)?"
    r"|rufnummer|portable|movil|telefono",
    "IBAN": r"iban|(bank_?)?account_(number|no)|konto(nummer|_nr)?|numero_(de_)?compte|(numero_(de_)?)?cuenta",
    "payment card": r"((credit|debit|payment)_?)?card(_?(number|no))?|kreditkarte\w*|carte_(bancaire|de_credit)"
    r"|tarjeta\w*",
    "passport": r"passport\w*|reisepass\w*|passnummer|passeport|pasaporte",
    "national id": r"ssn|social_security\w*|national_id|tax_(id|number)|steuer_?(id\w*|nummer)|sozialversicherung\w*"
    r"|(personal)?ausweis\w*|nir|(numero_)?secu(rite_sociale)?|dni|nif|nie|cedula",
    "birth": r"birth\w*|date_of_birth|dob|geburts\w*|geb_?datum|naissance|nacimiento",
    "address": r"(home_|street_|postal_)?address(_?line)?|street|addr|strasse|anschrift|adresse|hausnummer|rue"
    r"|direccion|calle|domicilio|zip|zip_?code|post(al)?_?code|plz|postleitzahl|code_postal|codigo_postal",
    "person's name": r"(first|last|full|given|middle|family|maiden|nick|sur|customer|client|patient|person|employee"
    r"|member|contact|user|owner|passenger)_?names?|surname|(vor|nach|familien|kunden|benutzer)name|prenoms?"
    r"|nom_(de_famille|complet|client)|apellidos?|nombre_(completo|cliente)",
}  # fmt: skip
WHOLE = {"person's name": r"name|nom|nombre"}
"""Names that say it only when there is nothing else: `carrier_name` is nobody's, `nombre_d_enfants` a count."""
NO_VALUE = re.compile(
    r"_(count|counts|number_of|num|nb|anzahl|nombre_de|opened|clicked|clicks|calls|sent|has|is|verified|valid|type"
    r"|rate|share|days|length|domain|provider|brand)_"
)
"""Words of a measure about something private, not of the thing itself."""
BY_NUMBER = {
    "phone": 1e6, "IBAN": 1e6, "payment card": 1e11, "passport": 1e6, "national id": 1e6, "birth": 1850,
    "address": 1000,
}  # fmt: skip
"""Kinds that may be stored as numbers, and how large these are at least."""


def look(column: Column, values: pa.ChunkedArray | None) -> dict[str, Any] | None:
    """Return why a column looks private: its ``kind``, ``by`` name or values or both, and the ``share`` of rows.

    Args:
        column: Its name, type and role.
        values: Its sampled values; None where there are none, and only the name speaks.
    """
    by_value = None if values is None else _by_value(column, values)
    kind = named(column.name)
    if kind and values is not None and not _may_be(kind, column, values):
        kind = None
    if by_value is None:
        return None if kind is None else {"kind": kind, "by": ["name"], "share": None}
    found, share = by_value
    return {"kind": found, "by": ["name", "values"] if kind else ["values"], "share": share}


def named(name: str) -> str | None:
    """Return what a column's name says that it holds, in English, German, French or Spanish."""
    plain = _plain(name)
    if NO_VALUE.search(plain):
        return None
    for kind, pattern in NAMES.items():
        if re.search(rf"_({pattern})_", plain):
            return kind
    return next((kind for kind, pattern in WHOLE.items() if re.fullmatch(rf"_({pattern})_", plain)), None)


def masked(text: str) -> str:
    """Return a text with addresses, account and telephone numbers replaced."""
    for pattern in (patterns.EMAIL, patterns.IBAN, patterns.LONG_NUMBER):
        text = pattern.sub(MASK, text)
    return text


def _plain(name: str) -> str:
    """Return a name as `_word_word_`: customerEMail, Straße and prénom too."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("ß", "ss")
    ascii_only = unicodedata.normalize("NFKD", parted).encode("ascii", "ignore").decode()
    return f"_{re.sub(r'[^a-z0-9]+', '_', ascii_only.lower()).strip('_')}_"


def _may_be(kind: str, column: Column, values: pa.ChunkedArray) -> bool:
    """Whether a column's type and values allow what its name says: a flag or a few words name nobody."""
    known = values.drop_null()
    if column.role == "target" or column.type == "boolean" or not len(known):
        return False
    if column.type == "timestamp":
        return kind == "birth"
    if pa.types.is_floating(values.type):
        numbers = known.to_numpy()
        return kind in BY_NUMBER and float(np.median(numbers)) >= BY_NUMBER[kind] and bool((numbers % 1 == 0).all())
    if not pa.types.is_string(values.type):
        return True
    distinct = len(known.unique())
    return distinct > FEW_VALUES or distinct > len(known) / 2


def _by_value(column: Column, values: pa.ChunkedArray) -> tuple[str, float] | None:
    """Return the kind that the values have, and the share of those looked at that have it."""
    counts = Counter(_texts(values))
    rows = sum(counts.values())
    if not rows:
        return None
    found: Counter[str] = Counter()
    for text, count in counts.items():
        found[_kind(text, column)] += count
    ids_are_usual = column.role in {"key", "group"} or len(counts) < 0.9 * rows or rows < FEW_VALUES
    for kind in patterns.KINDS:
        if kind == "passport" and ids_are_usual:
            continue
        if found[kind] and found[kind] >= SURE.get(kind, MOSTLY) * rows:
            return kind, round(found[kind] / rows, 4)
    return None


def _texts(values: pa.ChunkedArray) -> list[str]:
    """Return values from all over the sample as text; of numbers only the whole ones with many digits."""
    some = bins.spread(values, LOOK_ROWS).drop_null()
    if pa.types.is_string(some.type):
        return [each.strip() for each in some.to_pylist()]
    if not pa.types.is_floating(some.type):
        return []
    numbers = some.to_numpy()
    if len(numbers) < FEWEST or np.median(numbers) < 1e10:
        return []
    return [f"{each:.0f}" for each in numbers if np.isfinite(each)]


def _kind(text: str, column: Column) -> str:
    if column.type == "text":  # an address within a sentence is as private as one alone
        if patterns.EMAIL.search(text):
            return "e-mail"
        if any(patterns.is_iban(each) for each in patterns.IBAN.findall(text)):
            return "IBAN"
        if patterns.CALLED.search(text):
            return "phone"
    if len(text) > 60 or not any(each.isdigit() or each in "@:" for each in text):
        return ""
    return next((kind for kind, fits in patterns.KINDS.items() if fits(text)), "")
