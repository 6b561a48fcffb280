"""What every section of the spec shares: frozen, strict, and made of plain values."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

CONDITION = re.compile(r"^\s*([A-Za-z_][\w.:]*)\s*(>=|<=|==|>|<)\s*(-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$")
REFERENCE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


class Section(BaseModel):
    """One section of the spec. Variation is ``model_copy(update=...)``, never assignment."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        serialize_by_alias=True,  # what is dumped can be read again
    )


def _condition(text: str) -> str:
    if not CONDITION.match(text):
        raise ValueError(f"{text!r} is not a condition such as 'roc_auc >= 0.85'")
    return text


def _reference(text: str) -> str:
    if not REFERENCE.match(text):
        raise ValueError(f"{text!r} does not name a function such as 'package.module:function'")
    return text


Condition = Annotated[str, AfterValidator(_condition)]
Reference = Annotated[str, AfterValidator(_reference)]
