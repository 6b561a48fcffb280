"""YAML text to plain values, with the place of every key and value; what a spec never needs is refused."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from raymle.errors import SpecError

Keys = tuple[str | int, ...]

MAX_VALUES = 10_000
MAX_DEPTH = 40


@dataclass(frozen=True)
class Document:
    """Plain nested values, and ``name:line:column`` of each key and each value."""

    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    keys: dict[Keys, str] = field(default_factory=dict)
    places: dict[Keys, str] = field(default_factory=dict)


def read(text: str, name: str) -> Document:
    """Read a whole spec.

    Raises:
        SpecError: it is not YAML, not a mapping, has a duplicate key, a tag, or too much in it.
    """
    root = _compose(text, name)
    if root is None:
        raise SpecError(f"{name} is empty", hint="`raymle init DATA --target T` writes a spec for your data")
    if not isinstance(root, yaml.MappingNode):
        raise wrong("the spec is not a mapping of settings", _place(root, name), "it starts like `name: churn`")
    document = Document(name)
    document.values.update(_plain(root, (), document))
    return document


def value(text: str) -> Any:
    """Read one value, as typed on a command line."""
    root = _compose(text, "")
    return None if root is None else _plain(root, (), Document())


def wrong(message: str, place: str, hint: str = "") -> SpecError:
    """Make an error that says where."""
    return SpecError(f"{message}\n  at {place}" if place else message, hint=hint)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: 1e-4 is a number; yes and 2026-01-31 are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+0123456789.")),
    ("float", r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), _first)

_SCALARS: dict[str, Any] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(re.sub(r"\.(?=[a-zA-Z])", "", text)),
    "str": str,
}


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, name) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name} is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise SpecError(f"{name} is nested too deeply") from None


def _unreadable(error: yaml.MarkedYAMLError, name: str) -> SpecError:
    problem = " ".join(str(error.problem).split())
    mark = error.problem_mark or error.context_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and name else ""
    hint = "indent with spaces, not tabs" if "\\t" in problem else "look at that line and the one above it"
    return wrong(f"this is not YAML: {problem}", place, hint)


def _plain(node: yaml.Node, path: Keys, document: Document) -> Any:
    """Turn a node into plain values, noting places on the way."""
    place = _place(node, document.name)
    document.places[path] = place
    if len(document.places) > MAX_VALUES:  # aliases multiply: a few lines can mean billions
        raise wrong(f"the spec has more than {MAX_VALUES:,} values", place, "write out what its aliases stand for")
    if len(path) > MAX_DEPTH:
        raise wrong(f"the spec is nested more than {MAX_DEPTH} levels deep", place)
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
        return _scalar(node, kind, place)
    raise wrong(f"the tag {_short(node.tag)} is not allowed", place, "a spec holds plain values only")


def _scalar(node: yaml.ScalarNode, kind: str, place: str) -> Any:
    try:
        return _SCALARS[kind](node.value)
    except ValueError:
        raise wrong(f"{node.value!r} does not fit its tag {_short(node.tag)}", place) from None


def _mapping(node: yaml.MappingNode, path: Keys, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _place(key_node, document.name)
        if not isinstance(key_node, yaml.ScalarNode):
            raise wrong("a key is a list or a mapping", place, "a key is one word")
        if key_node.tag.startswith("!") or "python" in key_node.tag:
            raise wrong(f"the tag {_short(key_node.tag)} is not allowed", place, "a spec holds plain values only")
        key = key_node.value
        here = (*path, key)
        if key in values:
            first = document.keys[here].removeprefix(f"{document.name}:").partition(":")[0]
            raise wrong(f"{dotted(here)} is written twice", place, f"it is already on line {first}")
        document.keys[here] = place
        values[key] = _plain(value_node, here, document)
    return values


def dotted(path: Keys) -> str:
    """Write a path as a user types it: ``train.epochs``, ``promote.require[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _place(node: yaml.Node, name: str) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}" if name else ""
