"""``raymle export`` as typed: what it makes is a model wherever one is asked for, and what is no model is refused."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

ROWS = 1200
SPEC = """\
name: wait
data: {source: wait.csv, target: minutes}
model: {type: linear}
train: {epochs: 20, batch_size: 32, optimizer: {learning_rate: 0.02}}
"""


class Shell:
    """A folder to type in; the home folder is in it too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words], capture_output=True, text=True, cwd=self.folder,
            env=environment | {"HOME": str(self.folder / "home")}, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"raymle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code)[0])


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("export")
    (folder / "home").mkdir()
    draw = np.random.default_rng(0)
    people, price = (
        draw.normal(size=ROWS),
        draw.standard_cauchy(ROWS),
    )  # far out, so that 8 bits are coarse for the rest
    day = draw.choice(["mon", "tue", "wed"], ROWS)
    minutes = 30 + 10 * people + 5 * (day == "mon") + draw.normal(scale=0.5, size=ROWS)
    table = pa.table({"people": people, "price": price, "day": day, "minutes": minutes})
    pyarrow.csv.write_csv(table, folder / "wait.csv")
    (folder / "raymle.yaml").write_text(SPEC)
    return Shell(folder)


@pytest.fixture(scope="module")
def trained(raymle: Shell) -> Any:
    return raymle.json("train")


def test_an_export_predicts_and_evaluates_like_the_run(raymle: Shell, trained: Any) -> None:
    raymle("export", "last", "out", "--plan")
    assert not (raymle.folder / "out").exists()
    made = raymle.json("export", "last", "out")
    assert list(made) == ["output", "form", "metric", "forms", "passed", "reasons"]
    assert (made["output"], made["form"], made["metric"], made["passed"]) == ("out", "onnx", "rmse", True)
    assert [form["name"] for form in made["forms"]] == ["original", "onnx"]
    assert abs(made["forms"][1]["loss"]) < 1e-4
    for model, name in (("last", "run.parquet"), ("out", "out.parquet")):
        raymle("predict", model, "wait.csv", name)
    run, out = (pq.read_table(raymle.folder / name)["prediction"].to_numpy() for name in ("run.parquet", "out.parquet"))
    np.testing.assert_allclose(out, run, rtol=1e-4)
    ours, theirs = (raymle.json("evaluate", model, "wait.csv")["metrics"] for model in (trained["bundle"], "out"))
    assert theirs == pytest.approx(ours, rel=1e-4)
    assert raymle.json("export", "last", "out")["output"] == "out"
    natives = [*(raymle.folder / "runs" / "native").iterdir()]
    assert len(natives) == 1


def test_what_loses_too_much_has_exit_code_10_and_shows_the_table(raymle: Shell, trained: Any) -> None:
    before = sorted(raymle.folder.iterdir())
    out, _ = raymle("export", "last", "small", "--quantize", "int8", "--calibrate", "static", code=10)
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["original", "onnx", "int8 static"]
    assert "int8 static loses" in lines[-1]
    assert sorted(raymle.folder.iterdir()) == before
    generous = raymle.json("export", "last", "small", "--quantize", "int8", "--max-loss", "500")
    assert generous["form"] in {"int8 static", "int8 dynamic"}
    assert (raymle.folder / "small" / "model.onnx").is_file()


def test_what_cannot_be_exported_is_refused(raymle: Shell, trained: Any) -> None:
    _, said = raymle("export", "last", "x", "--format", "torch", "--quantize", "int8", code=2)
    assert "--format onnx --quantize int8" in said
    _, said = raymle("export", "last", "wait.csv", code=8)
    assert "is there already" in said
    _, said = raymle("export", "no-such-run", "x", code=5)
    assert "no-such-run" in said
    assert not (raymle.folder / "x").exists()


class Trap:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (self.mark,)


def test_foreign_and_damaged_models_are_refused_and_nothing_of_them_runs(raymle: Shell, trained: Any) -> None:
    folder, mark = raymle.folder, raymle.folder / "it was opened"
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "model.pkl").write_bytes(pickle.dumps(Trap(str(mark))))
    shutil.copy(foreign / "model.pkl", folder / "model.pt")
    for model in ("foreign", "model.pt", "./foreign"):
        _, said = raymle("predict", model, "wait.csv", "p.parquet", code=9)
        assert "is a pickle" in said
        assert "a bundle is a folder" in said
    (folder / "empty").mkdir()
    _, said = raymle("evaluate", "empty", "wait.csv", code=5)
    assert "empty is not whole or not a bundle" in said
    (folder / "elsewhere" / "model").mkdir(parents=True)
    _, said = Shell(folder / "elsewhere")("predict", "model", "../wait.csv", "p.parquet", code=5)
    assert "model is not whole or not a bundle" in said
    assert [path.name for path in (folder / "elsewhere").iterdir()] == ["model"]
    assert not mark.exists()

    def copied(name: str) -> Path:
        return Path(shutil.copytree(trained["bundle"], folder / name))

    damaged = copied("damaged") / "transform.json"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    _, said = raymle("predict", "damaged", "wait.csv", "p.parquet", code=5)
    assert "damaged: transform.json" in said
    escaping = copied("escaping") / "MANIFEST.json"
    escaping.write_text(escaping.read_text().replace('"transform.json"', '"../escaping/transform.json"'))
    _, said = raymle("predict", "escaping", "wait.csv", "p.parquet", code=9)
    assert "which is not a file of that folder" in said
    newer = copied("newer") / "bundle.json"
    newer.write_text(newer.read_text().replace('"format": 1', '"format": 99').replace('"format":1', '"format":99'))
    _, said = raymle("predict", "newer", "wait.csv", "p.parquet", code=5)
    assert "format 99" in said
    assert not (folder / "p.parquet").exists()


def test_the_native_form_goes_with_its_run(raymle: Shell, trained: Any) -> None:
    assert [*(raymle.folder / "runs" / "native").iterdir()]
    raymle("runs", "rm", trained["run_id"])
    assert not [*(raymle.folder / "runs" / "native").iterdir()]
