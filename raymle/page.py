"""What every HTML page shares: the style, how numbers are written, and that text from outside is never markup."""

import base64
import hashlib
from importlib.resources import files
from typing import Any


def fill(template: str, **facts: Any) -> str:
    """Fill a Jinja template; it finds the page's ``style``, and the filters ``number``, ``data`` and ``sha256``."""
    from jinja2.sandbox import SandboxedEnvironment

    style = files("raymle").joinpath("page.css").read_text("utf-8")
    environment = SandboxedEnvironment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, data=_base64, sha256=_sha256)
    return environment.from_string(template).render(style=style, **facts)


def number(value: Any) -> str:
    """Write a number for a reader: whole ones with separators, others with four digits, none as a dash."""
    if value is None or value != value:
        return "-"
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _sha256(text: str) -> str:
    """Name an inline style or script as a page's Content-Security-Policy does."""
    return f"sha256-{_base64(hashlib.sha256(text.encode()).digest())}"
