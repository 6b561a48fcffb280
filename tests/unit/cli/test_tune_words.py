"""What is wrong with a search is told in a sentence, with an exit code, before anything is started or written."""

import pytest

from raymle.cli import app

SPEC = "name: hunt\ndata: {source: rows.csv, target: y}\n"
RATE = "train.optimizer.learning_rate"
RANGE = f"{RATE}=loguniform:1e-4:1e-1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raymle.yaml").write_text(SPEC)
    (tmp_path / "rows.csv").write_text("x,y\n" + "1,yes\n2,no\n" * 50)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 3, "tune.space is empty"),
        ([f"{RATE[:-1]}=loguniform:1e-4:1e-1"], 3, f"did you mean {RATE}?"),
        (["model.params.hiden=choice:[8],[16]"], 3, "did you mean hidden?"),
        (["data.target=choice:x,y"], 3, "paths of model and train can"),
        ([f"{RATE}=uniform:1:0.1"], 3, "low must be below high"),
        (["model.params.activation=choice:"], 2, "'choice:' is not a range"),
        (["tune.space={model.params.activation: {choice: []}}"], 3, "choice needs a list of options, not []"),
        ([RANGE, "tune.objectives=[roc_auc, parameter]"], 3, "did you mean parameters?"),
        ([RANGE, "tune.objectives=[roc_auc, gini]"], 3, "no trial reports 'gini'"),
        ([RANGE, "tune.budget.minutes=0"], 3, "tune.budget.minutes is 0; it should be greater than 0"),
        ([RANGE, "tune.budget.dollars=0"], 3, "tune.budget.dollars is 0; it should be greater than 0"),
        ([RANGE, "tune.budget.dollars=5"], 2, "set cluster.dollars_per_hour"),
        ([RANGE, "tune.algorithm=grid"], 3, "no finite number of values"),
        ([RANGE, "tune.scheduler=ashe"], 3, "did you mean asha?"),
        ([RANGE, "cluster.address=inline"], 2, "a search runs on Ray Tune"),
        ([RANGE, "--resume", "last"], 5, "there is no study in"),
        ([RANGE, "--resume", "20260101"], 5, "there is no study '20260101' in"),
        ([RANGE, "--resume", ""], 2, "--resume names nothing"),
        ([RANGE, "--resume", "last", "--key", "k"], 2, "--resume and --key do not go together"),
        ([RANGE, "--resume", "last", "--plan"], 2, "--plan and --resume do not go together"),
        ([RANGE, "--key", "", "--plan"], 2, "--plan and --key do not go together"),
        ([RANGE, "--take-over"], 2, "--take-over needs --resume"),
    ],
)
def test_what_is_wrong_with_a_search_is_told_at_once(folder, capsys, words, code, says):
    assert app.run(["tune", *words, "--json"]) == code
    out, told = capsys.readouterr()
    assert says in " ".join(told.split())
    assert out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["raymle.yaml", "rows.csv"]
