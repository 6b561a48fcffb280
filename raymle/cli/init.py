"""``raymle init``: a spec for the user's own data."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raymle.cli.answer import Answer, table, verb
from raymle.cli.options import Json
from raymle.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from raymle.records import Column, Schema

SCHEMA = ".raymle/raymle.schema.json"
SPEC = "raymle.yaml"
WHEN_RIGHT = {"key": "if it names a row", "time": "if it orders the rows"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("init")(verb(init))


def init(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A file, glob, folder or URI.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="The column to predict.")] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The spec to write.")] = Path(SPEC),
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="Begin with a complete example and its data.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a spec that is there.")] = False,
    json: Json = False,
) -> Answer:
    """Write a six-line spec for your data.

    What was inferred stands beside it as comments; a JSON Schema for your editor goes to .raymle/.
    """
    if template is not None:
        if data is not None or target is not None or output.name != SPEC:
            raise UsageError(
                "init --template writes an example's own data and raymle.yaml",
                hint="leave DATA and --target out, and name a folder: --output FOLDER/raymle.yaml",
            )
        return _from_template(template, output.parent, force=force, json=json)
    if data is None or target is None:
        raise UsageError(
            "init needs the data and its target, or a template",
            hint="raymle init churn.csv --target churned, or raymle init --template flights",
        )
    if output.exists() and not force:
        raise ConflictError(f"{output} is there already", hint="--force writes over it, --output elsewhere")
    from raymle.data.image_files import SPLIT
    from raymle.data.infer import infer_roles
    from raymle.data.source import resolve

    found = resolve(data, folder=".")
    schema = infer_roles(found, target)
    text = spec_text(
        schema, name=_name(data), source=_relative(data, output.parent),
        has_sides=SPLIT in found.aside,
    )  # fmt: skip
    written = write(output, text)
    columns = [column.model_dump(mode="json") for column in schema.columns]
    document = {"spec": str(output), "schema": str(written), "task": schema.task, "columns": columns}
    note = f"wrote {output}; look at its comments, then: raymle train"
    return Answer(document, text.rstrip(), json, note=f"{note} {output}" * (str(output) != "raymle.yaml") or note)


def _from_template(name: str, folder: Path, *, force: bool, json: bool) -> Answer:
    from raymle.cli import templates

    written = [os.path.relpath(path) for path in templates.make(name, folder, force=force)]
    text = "\n".join(f"wrote {path}" for path in written)
    return Answer({"template": name, "written": written}, text, json, note="next: raymle data show, then raymle train")


def write(output: Path, text: str) -> Path:
    """Write the spec, once the loader accepts it, and the editor's schema beside it."""
    from raymle import loader
    from raymle.config import document

    loader.from_mapping(document.read(text, str(output)).values, output.parent)
    schema = output.parent / SCHEMA
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(json.dumps(loader.json_schema(), indent=1))
    output.write_text(text, encoding="utf-8")
    return schema


def spec_text(schema: "Schema", *, name: str, source: str, has_sides: bool = False) -> str:
    """Return six lines of YAML; what was inferred stands beside them as comments."""
    about = schema.task + (f" of {len(schema.classes)} classes" if schema.classes else "")
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA}",
        f"name: {_yaml(name)}",
        "data:",
        f"  source: {_yaml(source)}",
        f"  target: {_yaml(schema.target)}  # {about}",
        *_suggestions(schema),
        *(["split: {method: column}  # by the sub-folders train, validation and test"] if has_sides else []),
        f"model: {{type: {_family(schema)}, or your own as module:factory",
        "train: {epochs: auto, batch_size: auto}  # by the number of rows; it stops when validation gets no better",
        "",
        "# What each column is taken for; `types: {column: type}` under data overrules it.",
        *_commented(table(("column", "type", "role", "why"), map(_described, schema.columns))),
    ]
    return "\n".join(lines) + "\n"


def _family(schema: "Schema") -> str:
    if any(column.type == "image" for column in schema.features):
        return "cnn}  # or resnet, mlp, linear"
    if any(column.type == "text" for column in schema.features):
        return "mlp}  # or linear, lstm, transformer"
    return "mlp}  # or linear, trees"


def _suggestions(schema: "Schema") -> list[str]:
    """Leave empty columns out, and suggest keys and times, which only the user can know."""
    empty = [_yaml(column.name) for column in schema.columns if _is_empty(column)]
    ahead = "  # task: forecast  # uncomment it with time, to say the number some steps ahead"
    told = [ahead] * (schema.task == "regression" and any(column.role == "time" for column in schema.columns))
    return (
        [f"  drop: [{', '.join(empty)}]  # no values"] * bool(empty)
        + told
        + [
            f"  # {column.role}: {_yaml(column.name)}  # {column.reason}; uncomment {WHEN_RIGHT[column.role]}"
            for column in schema.columns
            if column.role in WHEN_RIGHT
        ]
    )


def _described(column: "Column") -> tuple[str, str, str, str]:
    """Name what is a guess with a question mark: the spec does not say so until the user does."""
    guess = column.role in WHEN_RIGHT or (column.role == "drop" and column.reason == "it has one value")
    return " ".join(column.name.split()), column.type, f"{column.role}?" if guess else column.role, column.reason


def _is_empty(column: "Column") -> bool:
    return column.role == "drop" and column.reason == "it has no values"


def _commented(text: str) -> list[str]:
    return [f"#   {line}" for line in text.splitlines()]


def _name(data: str) -> str:
    stem = re.split(r"[*?\[]", data)[0].rstrip("/").rpartition("/")[2].partition(".")[0]
    return re.sub(r"[^\w .-]+|^[^\w]+", "-", stem).strip("-. ")[:128] or "experiment"


def _relative(data: str, folder: Path) -> str:
    if "://" in data:
        return data
    return os.path.relpath(Path(data).expanduser(), folder)


def _yaml(text: str) -> str:
    """Quote a word only where YAML would read something else."""
    from raymle.config import document

    try:
        plain = document.value(f"{{a: {text}}}") == {"a": text} and " #" not in text
    except ValueError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)
