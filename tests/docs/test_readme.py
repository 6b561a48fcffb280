"""The README's commands exist, its links lead somewhere, and its Python runs."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow.parquet
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES_BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@PAGES_BY_NAME
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@PAGES_BY_NAME
def test_every_verb_that_is_shown_exists(page):
    from typer.main import get_command

    from raymle.cli.app import app

    known = get_command(app).commands
    shown = {line.split()[2] for line in re.findall(r"^\s*(\$ raymle \w.*)$", page.read_text(), re.MULTILINE)}
    shown |= {words.split()[1] for words in re.findall(r"`(raymle [a-z]+)", page.read_text())}
    assert shown <= set(known), shown - set(known)


@PAGES_BY_NAME
def test_every_spec_loads(page, tmp_path):
    from raymle import loader
    from raymle.config import document

    for text in blocks(page, "yaml"):
        loader.from_mapping(document.read(text, page.name).values, tmp_path)


@PAGES_BY_NAME
def test_every_python_block_runs(page, tmp_path):
    code = "\n".join(blocks(page, "python"))
    if not code:
        return
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_own_code_works_as_the_page_says(tmp_path):
    import numpy as np
    import pyarrow as pa

    import raymle

    (tmp_path / "mine.py").write_text("\n".join(blocks(ROOT / "docs/own-code.md", "python")))
    draw = np.random.default_rng(0)
    calls, days = draw.integers(0, 50, 900), draw.integers(1, 50, 900)
    churned = np.where(calls / days + draw.normal(scale=0.3, size=900) > 1, "yes", "no")
    table = pa.table({"calls": calls, "days": days, "plan": draw.choice(["a", "b"], 900), "churned": churned})
    pyarrow.parquet.write_table(table, tmp_path / "churn.parquet")
    (tmp_path / "raymle.yaml").write_text(
        "name: churn\n"
        "data: {source: churn.parquet, target: churned, transforms: ['mine:ratio']}\n"
        "model: {type: 'mine:make', params: {width: 32}}\n"
        "train: {loop: 'mine:loop', loss: 'mine:focal', epochs: 3, batch_size: 64, optimizer: {learning_rate: 0.1}}\n"
        "evaluate: {metrics: ['mine:profit']}\n"
    )
    run = raymle.Experiment.load(tmp_path / "raymle.yaml").train()
    assert run.metrics["roc_auc"] > 0.8
    assert "profit" in run.metrics
    assert run.evaluate(table).metrics["roc_auc"] > 0.8


def test_a_served_model_answers_as_the_page_says(tmp_path):
    import pyarrow as pa
    from served import served

    page = ROOT / "docs/serving-api.md"
    told = {}
    exec("\n".join(blocks(page, "python")), told)
    with served(tmp_path / "log") as (url, _):
        for command in "".join(blocks(page, "sh")).replace("http://127.0.0.1:8000", url).split("\n\n"):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
            first = json.loads(done.stdout)["predictions"][0]
            assert first == json.loads(blocks(page, "json")[0])["predictions"][0]
        table = pa.table({"amount": [75], "plan": ["pro"], "new": [True], "at": pa.nulls(1)})
        expected = {"prediction": ["yes"], "probability_no": [0.25], "probability_yes": [0.75]}
        assert told["predict"](url, table).to_pydict() == expected
        refused = urllib.request.Request(f"{url}/predict", b'{"rows": [{"amount": "lots", "plan": "pro", "new": true, "at": null}]}',
                                         {"Content-Type": "application/json"})  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(refused, timeout=30)
        assert json.load(caught.value) == json.loads(blocks(page, "json")[1])


def test_every_job_has_a_spec_that_loads_with_each_of_its_profiles():
    from raymle import loader

    for path in sorted((ROOT / "jobs").glob("*/raymle.yaml")):
        spec = loader.load(path)
        for profile in spec.profiles:
            loader.load(path, profile=profile)


def test_the_transcript_shows_what_the_ladder_types():
    ladder = (ROOT / "jobs" / "flights" / "ladder.py").read_text()
    transcript = blocks(ROOT / "README.md", "text")[0]
    typed = {line.split()[2] for line in transcript.splitlines() if line.startswith("$ raymle")}
    assert typed == {"train", "tune", "score", "promote", "predict", "serve"}
    assert all(f'"{verb}"' in ladder for verb in typed)
