"""A YAML file, then a profile, then ``key=value``: one frozen Spec. The only reader of the environment."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raymle.config import Spec, document, problems
from raymle.config.data import suited
from raymle.config.document import Document
from raymle.errors import SpecError, UsageError

Names = tuple[str, ...]

MAX_BYTES = 256 * 1024
SPACE = ("tune", "space")
"""Below it a key is itself a path of the spec."""
RANGES = {"uniform": 2, "loguniform": 2, "int": 2, "quniform": 3, "choice": None}
"""How many numbers each kind of range has."""
INIT_HINT = "`raymle init DATA --target T` writes a spec for your data"


def load(path: str | Path = "raymle.yaml", overrides: Sequence[str] = (), profile: str | None = None) -> Spec:
    """Read a spec: the file, then the profile, then each ``key=value``; ranges go to ``tune.space``."""
    file = _find(Path(path))
    draft = document.read(_text(file), str(file))
    folder = file.resolve().parent
    _check_profiles(draft, folder)
    if profile is not None:
        _apply_profile(draft, profile)
    for text in overrides:
        keys, value = _assignment(text)
        _put(draft, keys, value, f"the command line, {text}")
    return _build(draft, folder)


def from_mapping(values: Mapping[str, Any], folder: str | Path = ".") -> Spec:
    """Make a spec of plain nested values; relative paths start at the folder."""
    return _build(Document(values=deepcopy(dict(values))), Path(folder).resolve())


def override(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """Return the spec with ``{"train.epochs": 3}`` put over it."""
    draft = Document(values=spec.model_dump(mode="json", exclude={"folder"}))
    for dotted, value in values.items():
        _put(draft, _keys(dotted), value, "")
    return _build(draft, Path(spec.folder))


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``a.b=value``; the value is YAML, and a range such as ``uniform:0:1`` stays text.

    Raises:
        UsageError: it is not ``key=value``, or the value is not YAML.
    """
    dotted, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][^\s=]*", dotted):
        raise UsageError(f"{text!r} is not key=value", hint="such as train.epochs=3 or 'model={type: trees}'")
    return dotted, value if _is_range(value) else _value(value, text)


def ranges(overrides: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Return the overrides that are ranges: ``{"train.batch_size": {"choice": [256, 1024]}}``."""
    parsed = [parse_override(text) for text in overrides]
    return {dotted: _range(value) for dotted, value in parsed if _is_range(value)}


def environment(name: str) -> str | None:
    """Return an environment variable, None when it is absent or empty."""
    return os.environ.get(name) or None


def json_schema() -> dict[str, Any]:
    """Return the spec's JSON Schema in draft 7, which is what editors read."""
    schema = Spec.model_json_schema()
    del schema["properties"]["folder"]
    text = json.dumps(schema).replace('"#/$defs/', '"#/definitions/').replace('"$defs"', '"definitions"')
    return {"$schema": "http://json-schema.org/draft-07/schema#", **json.loads(text)}


def _find(path: Path) -> Path:
    file = path / "raymle.yaml" if path.is_dir() else path
    if not file.is_file():
        is_setting = str(path).split(".", maxsplit=1)[0] in Spec.model_fields and file.suffix not in {".yaml", ".yml"}
        raise UsageError(f"there is no spec {file}", hint=f"did you mean {path}=VALUE?" if is_setting else INIT_HINT)
    return file


def _text(file: Path) -> str:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise SpecError(f"{file} has {size:,} bytes, a spec at most {MAX_BYTES:,}", hint="is this the data?")
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _build(draft: Document, folder: Path) -> Spec:
    """Validate the values and make relative paths absolute."""
    if "folder" in draft.values:
        raise problems.unknown(("folder",), draft)
    given = draft.values
    values = {**given, **suited(given.get("data"), given.get("split"), given.get("model"))}
    try:
        spec = Spec.model_validate_json(json.dumps(values, default=_jsonable), strict=True)
    except ValidationError as error:
        raise problems.explain(error, draft) from None
    data = spec.data.model_copy(update={"source": _absolute(spec.data.source, folder)})
    places = {"data": data, "storage": _absolute(spec.storage, folder), "folder": str(folder)}
    return spec.model_copy(update=places)


def _absolute(place: str, folder: Path) -> str:
    return place if "://" in place else str(folder / Path(place).expanduser())


def _jsonable(value: Any) -> Any:
    """Accept numpy's scalars and paths from Python."""
    return value.item() if hasattr(value, "item") else str(value)


def _check_profiles(draft: Document, folder: Path) -> None:
    """Find what is wrong in every profile now, not on the day that it is first chosen."""
    profiles = draft.values.get("profiles")
    for profile in profiles if isinstance(profiles, dict) else ():
        trial = deepcopy(draft)
        _apply_profile(trial, profile)
        _build(trial, folder)


def _apply_profile(draft: Document, profile: str) -> None:
    profiles = draft.values.get("profiles") or {}
    if profile not in profiles:
        near = get_close_matches(profile, profiles, 1)
        hint = f"did you mean {near[0]}?" if near else f"its profiles are: {', '.join(profiles) or 'none'}"
        raise UsageError(f"{draft.name} has no profile {profile!r}", hint=hint)
    if isinstance(profiles[profile], dict):
        for dotted, value in profiles[profile].items():
            _put(draft, _keys(dotted), value, draft.keys[("profiles", profile, dotted)])


def _put(draft: Document, keys: Names, value: Any, place: str) -> None:
    """Set one path; a mapping replaces what was there, so one model's parameters never reach another."""
    values, new = draft.values, len(keys)
    for depth, key in enumerate(keys[:-1], 1):
        if not isinstance(values.get(key), dict):
            values[key] = {}
            new = min(new, depth)
        values = values[key]
    values[keys[-1]] = value
    for table in (draft.keys, draft.places):
        for stale in [known for known in table if known[:new] == keys[:new]]:
            del table[stale]
        table.update({keys[:depth]: place for depth in range(new, len(keys) + 1)})


def _assignment(text: str) -> tuple[Names, Any]:
    """Read one ``key=value`` of the command line; a range is a line of ``tune.space``."""
    dotted, value = parse_override(text)
    if not _is_range(value):
        return _keys(dotted), value
    return (*SPACE, dotted.removeprefix(f"{'.'.join(SPACE)}.")), _range(value)


def _keys(dotted: str) -> Names:
    keys = tuple(dotted.split("."))
    return (*SPACE, ".".join(keys[2:])) if keys[:2] == SPACE and len(keys) > 2 else keys


def _is_range(value: Any) -> bool:
    return isinstance(value, str) and ":" in value and value.partition(":")[0] in RANGES


def _range(text: str) -> dict[str, list[Any]]:
    kind, _, rest = text.partition(":")
    values = _value(f"[{rest if kind == 'choice' else rest.replace(':', ', ')}]", text)
    count = RANGES[kind] or len(values)
    if not values or len(values) != count or (kind != "choice" and not all(map(_is_number, values))):
        hint = "such as loguniform:1e-4:1e-1, uniform:0.1:0.9, int:1:8 or choice:relu,sigmoid"
        raise UsageError(f"{text!r} is not a range", hint=hint)
    return {kind: values}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _value(text: str, whole: str) -> Any:
    try:
        return document.value(text)
    except SpecError as error:
        raise UsageError(f"the value in {whole!r} is not YAML: {error}", hint="quotes may help") from None
