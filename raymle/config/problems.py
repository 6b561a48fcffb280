"""What pydantic found wrong, as one sentence with its place and what to write instead."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from raymle.config.base import Section
from raymle.config.document import Document, Keys, dotted, wrong
from raymle.config.spec import Spec
from raymle.errors import SpecError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KINDS = {
    "int": "a whole number",
    "count": "a whole number or auto",
    "rate": "a number or auto",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def explain(error: ValidationError, document: Document) -> SpecError:
    """Make one error of the most telling problem; the others are counted."""
    found_first = sorted(error.errors(), key=_rank)
    problems = {_path(found["loc"], document): found for found in reversed(found_first)}
    path, found = min(problems.items(), key=lambda item: _rank(item[1]))
    told = unknown(path, document) if found["type"] == "extra_forbidden" else _known(path, found, document)
    others = len(problems) - 1
    if others:
        told.hint = "; ".join(filter(None, [told.hint, f"{others} more to look at after this one"]))
    return told


def settings(section: type[Section] = Spec, prefix: Keys = ()) -> Iterator[Keys]:
    """Yield the path of every setting; a section comes before what is in it."""
    for name, field in section.model_fields.items():
        path = (*prefix, field.alias or name)
        if path != ("folder",):
            yield path
        for inner in _sections(field.annotation):
            yield from settings(inner, path)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _rank(found: "ErrorDetails") -> int:
    """A misspelt key makes another one missing, and a union complains once for each of its types."""
    kind = found["type"]
    return 0 if kind == "extra_forbidden" else 3 if kind.endswith("_type") else 2 if kind == "missing" else 1


def _path(location: Keys, document: Document) -> Keys:
    """Drop what pydantic adds to a path: the names of a union's types and of validators."""
    values: Any = document.values
    path: Keys = ()
    for index, key in enumerate(location):
        inside = isinstance(values, list) and isinstance(key, int)
        if inside or (isinstance(values, dict) and key in values):
            path, values = (*path, key), values[key]
        elif index == len(location) - 1 and isinstance(values, dict) and str(key).isidentifier():
            path = (*path, key)
    return path


def unknown(path: Keys, document: Document) -> SpecError:
    """Make the error for a key that no section has, with the nearest that one has."""
    section, key = path[:-1], str(path[-1])
    known = list(settings())
    siblings = [str(each[-1]) for each in known if each[:-1] == section]
    near = get_close_matches(key, siblings, 1)
    elsewhere = [each for each in known if each[-1] == key]
    if near:
        hint = f"did you mean {dotted((*section, near[0]))}?"
    elif elsewhere:
        hint = f"did you mean {dotted(elsewhere[0])}?"
    else:
        hint = f"the settings of {dotted(section) or 'a spec'} are: {', '.join(siblings)}"
    return wrong(f"{dotted(path)} is not a setting", document.keys.get(path, ""), hint)


def _known(path: Keys, found: "ErrorDetails", document: Document) -> SpecError:
    name, kind = dotted(path), found["type"]
    if kind == "missing":
        return wrong(f"{name} is missing", _nearest(path, document), f"for instance {_example(path)}")
    place = _nearest(path, document)
    message, context = found["msg"], found.get("ctx", {})
    if kind == "value_error":
        said = message.removeprefix("Value error, ")
        return wrong(f"{name}: {said}" if name else said, place)
    shown = _shown(found["input"])
    if kind == "literal_error":
        near = get_close_matches(str(found["input"]), _choices(context), 1, cutoff=0.65)
        hint = f"did you mean {near[0]}?" if near else ""
        return wrong(f"{name} is {shown}, none of {', '.join(_choices(context))}", place, hint)
    if kind == "string_pattern_mismatch":
        return wrong(f"{name} is {shown}; it may have letters, digits, spaces, '_', '.' and '-'", place)
    expected = KINDS.get(kind.partition("_")[0]) if kind.endswith(("_type", "_from_float")) else None
    if expected:
        return wrong(f"{name} is {shown}, not {expected}", place, _quotes(found))
    return wrong(f"{name} is {shown}; it {message.removeprefix('Input ').removeprefix('String ')}", place)


def _quotes(found: "ErrorDetails") -> str:
    plain = isinstance(found["input"], bool | int | float)
    return "put it in quotes" if plain and found["type"] == "string_type" else ""


def _choices(context: dict[str, Any]) -> list[str]:
    return str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")


def _nearest(path: Keys, document: Document) -> str:
    """Return the place of a path, or of the nearest section around it."""
    for length in range(len(path), -1, -1):
        if place := document.places.get(path[:length]):
            return place
    return ""


def _example(path: Keys) -> str:
    examples = {
        "name": "churn",
        "data": "{source: churn.csv, target: churned}",
        "source": "churn.csv",
        "target": "churned",
    }
    return f"`{path[-1]}: {examples.get(str(path[-1]), '...')}`"


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
