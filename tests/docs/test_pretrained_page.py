"""The page on pretrained weights shows what is told."""

import re
from pathlib import Path

import pytest

from raymle.errors import SpecError

PAGE = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text()
RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_what_the_page_shows_is_what_is_told(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks("python")[0], names)
    told = RUN.sub("RUN", capfd.readouterr().err)
    refusal, lines = blocks("text")
    assert RUN.sub("RUN", lines) in told
    with pytest.raises(SpecError) as caught:
        names["experiment"](names["shop"](200, ["a", "b", "c"]), **{"from": "last"}).train(
            model={"type": "mlp", "params": {"hidden": [64]}}
        )
    assert refusal.splitlines()[1:] == [f"error: {caught.value}", f"  hint: {caught.value.hint}"]
