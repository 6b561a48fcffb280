"""What private values look like: shapes, and checksums where they have one. Every function takes one stripped text."""

import ipaddress
import re
from collections.abc import Callable

EMAIL = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\"]+\.[A-Za-z]{2,}")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
CALLED = re.compile(r"(?<![\w+])(\+|00)[1-9]\d{0,2}[ ()/.-]{0,2}\d[\d ()/.-]{5,12}\d\b")
LONG_NUMBER = re.compile(r"\+?\d[\d ()/-]{7,}\d")
NO_PHONE = re.compile(r"\d{3}-\d{2}-\d{4}|(\d{4}[-/. ]\d\d?[-/. ]\d\d?|\d\d?[-/. ]\d\d?[-/. ]\d{4})([T ].*)?")
PHONE = re.compile(r"(\+|00)?\(?\d{1,4}\)?([ ()/.-]{1,2}\(?\d{1,8}\)?){1,6}|(\+|00)\d{8,14}")
SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
SPANISH_ID = re.compile(r"([XYZ]\d{7}|\d{8})-?([A-Z])")
FRENCH_ID = re.compile(r"([12]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6})(\d{2})")
PASSPORT = re.compile(r"[A-Z]{1,2}\d{6,8}|[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8}")
CARD = re.compile(r"4(\d{12}|\d{15}|\d{18})|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|6\d{15,18}")


def is_email(text: str) -> bool:
    """Whether it is one e-mail address."""
    return bool(EMAIL.fullmatch(text))


def is_iban(text: str) -> bool:
    """Whether it is an IBAN whose check digits are right (ISO 13616, mod 97)."""
    if not IBAN.fullmatch(text):
        return False
    packed = text.replace(" ", "")
    return int("".join(str(int(each, 36)) for each in packed[4:] + packed[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Whether it is a payment card's number: an issuer's first digits, as many as it gives, Luhn's check digit."""
    digits = re.sub(r"[ -]", "", text)
    return bool(CARD.fullmatch(digits)) and luhn(digits)


def luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's check digit."""
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(each), 10)) for each in even)) % 10 == 0


def is_ip(text: str) -> bool:
    """Whether it is an address of IPv4 or IPv6."""
    if text.count(".") != 3 and text.count(":") < 2:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_phone(text: str) -> bool:
    """Whether it is written as a phone number: 8 to 15 digits in groups, or an international prefix; no date, no IP.

    Plain digits, or digits with one point, may be anything: a price, a count, an id.
    """
    digits = sum(each.isdigit() for each in text)
    if not 8 <= digits <= 15 or not PHONE.fullmatch(text) or NO_PHONE.fullmatch(text) or is_ip(text):
        return False
    return text.startswith(("+", "00")) or len(re.findall(r"\d[ ()/.-]+(?=\d)", text)) >= 2 or text[0] in "0("


def is_national_id(text: str) -> bool:
    """Whether it is a national id: of the US by its shape, of Spain, France and Germany by its checksum."""
    return bool(SSN.fullmatch(text)) or _is_spanish(text) or _is_french(text) or _is_german(text)


def _is_spanish(text: str) -> bool:
    """DNI and NIE: the letter is the number mod 23."""
    found = SPANISH_ID.fullmatch(text)
    if not found:
        return False
    digits = found[1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == found[2]


def _is_french(text: str) -> bool:
    """NIR, of the sécurité sociale: 97 minus the number mod 97; Corsica's letters count less."""
    found = FRENCH_ID.fullmatch(text.replace(" ", ""))
    if not found:
        return False
    digits = found[1].replace("2A", "19").replace("2B", "18")
    return 97 - int(digits) % 97 == int(found[2])


def _is_german(text: str) -> bool:
    """Steuer-ID: 11 digits, the last by ISO 7064 mod 11, 10."""
    digits = text.replace(" ", "")
    if not re.fullmatch(r"[1-9]\d{10}", digits):
        return False
    product = 10
    for each in digits[:10]:
        product = ((int(each) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_passport(text: str) -> bool:
    """Whether it has the shape of a passport's number; order numbers have it too."""
    return bool(PASSPORT.fullmatch(text)) and sum(each.isdigit() for each in text) >= 5


KINDS: dict[str, Callable[[str], bool]] = {
    "e-mail": is_email,
    "IBAN": is_iban,
    "payment card": is_card,
    "national id": is_national_id,
    "IP address": is_ip,
    "phone": is_phone,
    "passport": is_passport,
}
"""Kinds in the order in which they are tried: what fits several is the first."""
