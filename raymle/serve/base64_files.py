"""Files inside JSON: base64, or a data: URL."""

import base64
import binascii
from typing import Any

NOT_BASE64 = "the text is not base64; send a file's bytes in base64, or as a data: URL"


def file_of(value: Any) -> bytes | None:
    """Return the file that a JSON value holds: base64, or a data: URL.

    Raises:
        ValueError: it is neither.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("an image is a text in base64")  # noqa: TRY004  one kind of error for a value
    head, comma, rest = value.partition(",") if value.startswith("data:") else ("", "", value)
    if comma and not head.endswith(";base64"):
        raise ValueError("the data: URL is not in base64")
    try:
        return base64.b64decode("".join(rest.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(NOT_BASE64) from None
