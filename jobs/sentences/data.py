"""Build a table of sentences from the docstrings of installed packages: `package` to predict from `sentence`.

Nothing is imported or downloaded: the source files are parsed. Sentences that name their own package are left out, and
those that two packages have. `file` keeps the sentences of one module on one side of the split.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PACKAGES = {"matplotlib": "matplotlib|mpl|pyplot", "numpy": "numpy|np", "pandas": "pandas|pd",
            "scipy": "scipy", "sklearn": "sklearn|scikit", "sympy": "sympy"}  # fmt: skip
"""Packages, and the names by which they would be known at once."""
SHORTEST, LONGEST = 30, 400
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def build(path: Path, *, rows: int | None = None) -> int:
    """Write the table as parquet, so many rows of each package if given, and return how many rows it has."""
    found: dict[str, tuple[str, str] | None] = {}
    for package in PACKAGES:
        for place, (sentence, file) in enumerate(sentences(package)):
            if rows is not None and place >= rows:
                break
            known = found.setdefault(sentence, (package, file))
            if known and known[0] != package:
                found[sentence] = None
    kept = [(sentence, *where) for sentence, where in found.items() if where]
    table = pa.table(dict(zip(("sentence", "package", "file"), zip(*kept, strict=True), strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return table.num_rows


def sentences(package: str) -> Iterator[tuple[str, str]]:
    """Yield the first paragraph of each docstring, and the file where it is."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent
    own = re.compile(rf"(?i)\b({PACKAGES[package]})\b")
    for file in sorted(root.rglob("*.py")):
        name = f"{package}/{file.relative_to(root)}"
        if "tests" in file.parts:
            continue
        for text in docstrings(file):
            sentence = " ".join(text.split("\n\n")[0].split())
            if SHORTEST <= len(sentence) <= LONGEST and not own.search(sentence):
                yield sentence, name


def docstrings(file: Path) -> Iterator[str]:
    """Yield the docstrings of a source file; one that is none is passed over."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    yield from (text for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("sentences.parquet"))
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args()
    print(build(arguments.path, rows=arguments.rows), "rows in", arguments.path)
