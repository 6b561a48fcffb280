"""Malformed specs: each its own one-sentence error with its place, its exit code, and nothing left behind."""

from pathlib import Path

import pytest

from raymle import loader
from raymle.errors import RaymleError, SpecError, UsageError

GOOD = "name: churn\ndata:\n  source: churn.csv\n  target: churned\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

# name: (text of the spec, the sentence, line:column or "", part of the hint)
BAD: dict[str, tuple[str | bytes, str, str, str]] = {
    "empty file": ("", "is empty", "", "raymle init"),
    "only a comment": ("# nothing yet\n", "is empty", "", "raymle init"),
    "a list": ("- name: churn\n", "the spec is not a mapping of settings", "1:1", "name: churn"),
    "a word": ("churn", "the spec is not a mapping of settings", "1:1", ""),
    "two documents": (GOOD + "---\nname: b\n", "not YAML: but found another document", "5:1", ""),
    "a tab": (
        "name: a\ndata:\n\tsource: x\n",
        "not YAML: found character '\\t' that cannot start any token",
        "3:1",
        "spaces",
    ),
    "an open bracket": (GOOD + "model: {type: mlp\n", "not YAML: ", "6:1", ""),
    "an open quote": ('name: "churn\n', "not YAML: found unexpected end of stream", "2:1", ""),
    "bad indent": (
        "name: a\n data:\n  source: x\n",
        "not YAML: mapping values are not allowed here",
        "2:6",
        "",
    ),
    "control character": ("name: a\x07\n", "not YAML: unacceptable character #x0007", "", ""),
    "not UTF-8": (b"name: caf\xe9\n", "is not UTF-8 text", "", ""),
    "too large": (GOOD + "# " + "x" * 300_000, "a spec at most 262,144", "", "is this the data?"),
    "a python tag": (
        GOOD + "model: !!python/object/apply:os.system [touch /tmp/owned]\n",
        "the tag !!python/object/apply:os.system is not allowed",
        "5:8",
        "plain values",
    ),
    "an own tag": (GOOD + "storage: !env HOME\n", "the tag !env is not allowed", "5:10", ""),
    "a tagged key": (
        "!!python/name:os.system a: 1\n",
        "the tag !!python/name:os.system is not allowed",
        "1:1",
        "",
    ),
    "a binary": (GOOD + "storage: !!binary aGk=\n", "the tag !!binary is not allowed", "5:10", ""),
    "a false integer": (
        GOOD + "train: {epochs: !!int five}\n",
        "'five' does not fit its tag !!int",
        "5:17",
        "",
    ),
    "alias bomb": (BOMB, "the spec has more than 10,000 values", "1:35", "aliases"),
    "endless alias": (GOOD + "model: &m {params: {again: *m}}\n", "nested more than 40 levels", "5:8", ""),
    "unknown alias": (GOOD + "model: *nothing\n", "not YAML: found undefined alias 'nothing'", "5:8", ""),
    "very deep": (GOOD + "model: {params: {a: " + "[" * 5_000, "is nested too deeply", "", ""),
    "a list as key": (GOOD + "? [a, b]\n: 1\n", "a key is a list or a mapping", "5:3", "one word"),
    "duplicate key": (GOOD + "name: again\n", "name is written twice", "5:1", "line 1"),
    "duplicate inner key": (
        GOOD + "train:\n  epochs: 1\n  seed: 1\n  epochs: 2\n",
        "train.epochs is written twice",
        "8:3",
        "line 6",
    ),
    "anomalies by labels": (
        GOOD + "  task: anomaly\nmodel: {type: mlp}\n",
        "model.type is mlp, which learns from labels",
        "1:1",
        "",
    ),
    "an autoencoder of labels": (
        GOOD + "model: {type: autoencoder}\n",
        "model.type autoencoder is for data.task: anomaly",
        "1:1",
        "",
    ),
    "no name": ("data: {source: a, target: b}\n", "name is missing", "1:1", "name: churn"),
    "no data": ("name: a\n", "data is missing", "1:1", "source: churn.csv"),
    "no target": ("name: a\ndata:\n  source: x.csv\n", "data.target is missing", "3:3", "target: churned"),
    "empty source": ("name: a\ndata: {source: '', target: b}\n", "data.source is ''", "2:16", ""),
    "null section": ("name: a\ndata:\n", "data is null, not a mapping", "2:6", ""),
    "section is a list": (GOOD + "train: [1]\n", "train is [1], not a mapping", "5:8", ""),
    "a path as name": (
        "name: ../up\ndata: {source: a, target: b}\n",
        "name is '../up'; it may have letters",
        "1:7",
        "",
    ),
    "number as name": ("name: 7\ndata: {source: a, target: b}\n", "name is 7, not text", "1:7", "quotes"),
    "misspelt section": (
        GOOD + "trian: {epochs: 3}\n",
        "trian is not a setting",
        "5:1",
        "did you mean train?",
    ),
    "misspelt key": (
        GOOD + "train:\n  epoch: 3\n",
        "train.epoch is not a setting",
        "6:3",
        "did you mean train.epochs?",
    ),
    "key of another section": (
        GOOD + "learning_rate: 0.1\n",
        "learning_rate is not a setting",
        "5:1",
        "did you mean train.optimizer.learning_rate?",
    ),
    "key of nothing": (
        GOOD + "split: {zzz: 1}\n",
        "split.zzz is not a setting",
        "5:9",
        "the settings of split are: method, by",
    ),
    "misspelt required key": (
        "name: a\ndata: {source: a, tarjet: b}\n",
        "data.tarjet is not a setting",
        "2:19",
        "did you mean data.target?",
    ),
    "folder is not the user's": (GOOD + "folder: /\n", "folder is not a setting", "5:1", ""),
    "merge key": (GOOD + "train: {<<: {epochs: 1}}\n", "train.<< is not a setting", "5:9", ""),
    "text for a number": (
        GOOD + "train: {epochs: five}\n",
        "train.epochs is 'five', not a whole number",
        "5:17",
        "",
    ),
    "quoted number": (GOOD + "train: {epochs: '5'}\n", "train.epochs is '5', not a whole number", "5:17", ""),
    "half an epoch": (GOOD + "train: {epochs: 2.5}\n", "train.epochs is 2.5, not a whole number", "5:17", ""),
    "true epochs": (GOOD + "train: {epochs: true}\n", "train.epochs is true, not a whole number", "5:17", ""),
    "no epochs": (
        GOOD + "train: {epochs: 0}\n",
        "train.epochs is 0; it should be greater than or equal to 1",
        "5:17",
        "",
    ),
    "infinite learning rate": (
        GOOD + "train: {optimizer: {learning_rate: .inf}}\n",
        "train.optimizer.learning_rate is inf; it should be a finite number",
        "5:36",
        "",
    ),
    "unknown optimizer": (
        GOOD + "train: {optimizer: {type: adamv}}\n",
        "train.optimizer.type is 'adamv', none of adamw, adam, sgd, rmsprop",
        "5:27",
        "did you mean adam?",
    ),
    "unknown split": (GOOD + "split: {method: hahs}\n", "split.method is 'hahs', none of", "5:17", "hash?"),
    "fractions over one": (
        GOOD + "split: {fractions: {train: 0.8, validation: 0.2, test: 0.2}}\n",
        "split.fractions: the fractions sum to 1.2, not to 1",
        "5:20",
        "",
    ),
    "a column for another split": (
        GOOD + "split: {method: hash, by: part}\n",
        "split: split.by goes with",
        "5:8",
        "",
    ),
    "unknown model": (GOOD + "model: {type: mpl}\n", "model.type: 'mpl' is none of linear, mlp", "5:15", ""),
    "upside-down workers": (
        GOOD + "train: {workers: {min: 4, max: 2}}\n",
        "train.workers: max 2 is below min 4",
        "5:18",
        "",
    ),
    "no workers": (GOOD + "train: {workers: 0}\n", "train: workers is 0; at least 1 is needed", "5:8", ""),
    "many workers": (
        GOOD + "train: {workers: many}\n",
        "train.workers is 'many', not a whole number",
        "5:18",
        "",
    ),
    "bad condition": (
        GOOD + "promote:\n  require:\n    - roc_auc > 0.5\n    - roc_auc is good\n",
        "promote.require[1]: 'roc_auc is good' is not a condition such as 'roc_auc >= 0.85'",
        "8:7",
        "",
    ),
    "bad function": (
        GOOD + "evaluate: {metrics: ['profit']}\n",
        "evaluate.metrics[0]: 'profit' does not name a function",
        "5:22",
        "",
    ),
    "bad port": (GOOD + "serve: {port: 70000}\n", "serve.port is 70000; it should be less than", "5:15", ""),
    "key is a number": (
        "name: a\ndata: {source: a, target: b, key: [id, 3]}\n",
        "data.key[1] is 3, not text",
        "2:40",
        "",
    ),
    "unknown column type": (
        "name: a\ndata: {source: a, target: b, types: {plan: categry}}\n",
        "data.types.plan is 'categry', none of",
        "2:44",
        "did you mean category?",
    ),
    "broken profile": (
        GOOD + "profiles:\n  big:\n    train.epocs: 9\n",
        "train.epocs is not a setting",
        "7:5",
        "did you mean train.epochs?",
    ),
    "profile is a list": (GOOD + "profiles: {big: [1]}\n", "profiles.big is [1], not a mapping", "5:17", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_spec_is_one_sentence_with_its_place_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    text, sentence, place, hint = BAD[name]
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        loader.load(file)
    first, *rest = str(caught.value).splitlines()
    assert sentence in first
    assert rest == ([f"  at {file}:{place}"] if place else [])
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_every_sentence_is_its_own() -> None:
    told = [(sentence, hint) for _, sentence, place, hint in BAD.values() if place or hint]
    assert len(BAD) >= 25
    assert len({sentence for sentence, _ in told}) >= 50


# name: (overrides, profile, the sentence, exit code, part of the hint)
BAD_LINES: dict[str, tuple[tuple[str, ...], str | None, str, int, str]] = {
    "no equals sign": (("train.epochs",), None, "'train.epochs' is not key=value", 2, "train.epochs=3"),
    "no key": (("=3",), None, "'=3' is not key=value", 2, ""),
    "value is not YAML": (("model={type: mlp",), None, "is not YAML", 2, "quotes"),
    "value is a tag": (("name=!!python/name:os.system x",), None, "is not YAML", 2, ""),
    "half a range": (
        ("train.seed=uniform:1",),
        None,
        "'uniform:1' is not a range",
        2,
        "loguniform:1e-4:1e-1",
    ),
    "a range of words": (("train.seed=int:a:b",), None, "'int:a:b' is not a range", 2, ""),
    "an empty choice": (("train.seed=choice:",), None, "'choice:' is not a range", 2, ""),
    "unknown profile": ((), "lptop", "has no profile 'lptop'", 2, "did you mean laptop?"),
    "no such profile": ((), "zzz", "has no profile 'zzz'", 2, "its profiles are: laptop"),
    "misspelt override": (
        ("train.epoch=3",),
        None,
        "train.epoch is not a setting",
        3,
        "did you mean train.epochs?",
    ),
    "a choice that is none": (
        ("split.method=random",),
        None,
        "split.method is 'random', none of hash, stratified",
        3,
        "",
    ),
    "a seed that is too large": (("train.seed=5000000000",), None, "train.seed is 5000000000", 3, ""),
    "a condition without a number": (("promote.require=['roc_auc >= 1.2.3']",), None, "is not a condition", 3, ""),
    "wrong value": (("train.epochs=many",), None, "train.epochs is 'many', not a whole number", 3, ""),
    "inside a word": (("name.first=a",), None, "name is {'first': 'a'}, not text", 3, ""),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_malformed_command_line_is_one_sentence(name: str, tmp_path: Path) -> None:
    overrides, profile, sentence, code, hint = BAD_LINES[name]
    (tmp_path / "raymle.yaml").write_text(GOOD + "profiles: {laptop: {train.epochs: 1}}\n")
    with pytest.raises(RaymleError) as caught:
        loader.load(tmp_path, overrides, profile)
    first, *rest = str(caught.value).splitlines()
    assert sentence in first
    assert caught.value.exit_code == code
    assert rest == ([f"  at the command line, {overrides[0]}"] if code == 3 else [])
    assert hint in caught.value.hint


def test_a_spec_that_is_not_there_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no spec") as caught:
        loader.load(tmp_path / "nowhere.yaml")
    assert "raymle init" in caught.value.hint


def test_all_problems_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD + "train: {epochs: 0, batch_size: 0, seed: -1}\n")
    with pytest.raises(SpecError) as caught:
        loader.load(file)
    assert caught.value.hint == "2 more to look at after this one"
