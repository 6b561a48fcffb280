import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from raymle.config import EvaluateConfig, Spec
from raymle.errors import ArtifactError, ConflictError, DataError, RaymleError, UsageError
from raymle.evaluate import ledger, unseal
from raymle.tracking import shelf


def spec(**split):
    return Spec.model_validate({"name": "late", "data": {"source": "a", "target": "late", "key": "id"}, "split": split})


def test_an_opening_is_a_test_once_and_validation_ever_after(bench):
    bench.seal("s1", bench.rows(range(300)))
    first = bench.score(bench.run("a"))
    again = bench.score(bench.run("a"))
    other = bench.score(bench.run("b"))
    assert [scored.runs[0].label for scored in (first, again, other)] == ["test", "validation", "validation"]
    assert [scored.entry for scored in (first, again, other)] == [1, 2, 3]
    assert first.rows == again.rows == 300
    assert first.runs[0].metrics == again.runs[0].metrics
    assert first.seal.model_dump() == {"rows": 300, "fresh": 0, "spent": 300}


def test_the_receipt_counts_without_spending(bench):
    splits = bench.seal("s1", bench.rows(range(300)))
    before = bench.files()
    assert unseal.receipt(bench.store, splits, name="late").model_dump() == {"rows": 300, "fresh": 300, "spent": 0}
    assert bench.files() == before
    bench.score(bench.run("a"))
    assert unseal.receipt(bench.store, splits, name="late").model_dump() == {"rows": 300, "fresh": 0, "spent": 300}
    grown = bench.seal("s2", bench.rows(range(350)))
    assert unseal.receipt(bench.store, grown, name="late").model_dump() == {"rows": 350, "fresh": 50, "spent": 300}


def test_appended_rows_are_fresh_and_the_score_rests_on_them_alone(bench, tmp_path):
    bench.seal("s1", bench.rows(range(300)))
    bench.score(bench.run("a"))
    bench.seal("s2", bench.rows([*range(300), *range(900, 960)]))
    scored = bench.score(bench.run("b", "s2"), output=tmp_path / "rows.parquet")
    assert scored.runs[0].label == "test"
    assert scored.rows == 60
    assert pq.read_table(tmp_path / "rows.parquet")["id"].to_pylist() == list(range(900, 960))
    bench.seal("only", bench.rows(range(900, 960)))
    bench.seal("all", bench.rows(range(400)))
    assert bench.score(bench.run("c", "only")).runs[0].label == "validation"
    assert bench.score(bench.run("d", "all")).rows == 100


def test_other_contents_under_a_spent_key_are_not_fresh(bench):
    bench.seal("s1", bench.rows(range(300)))
    bench.score(bench.run("a"))
    bench.seal("s2", bench.rows(range(300), salt="relabelled"))
    assert bench.score(bench.run("a", "s2")).runs[0].label == "validation"


def test_spent_contents_under_another_key_are_not_fresh(bench):
    table = bench.rows(range(300))
    bench.seal("s1", table)
    bench.score(bench.run("a"))
    renamed = table.set_column(3, "__identity", pa.array(np.arange(300, dtype=np.uint64)))
    bench.seal("s2", renamed.take(np.random.default_rng(0).permutation(300)))
    assert bench.score(bench.run("a", "s2")).runs[0].label == "validation"


def test_another_target_asks_another_question_of_the_same_keys(bench):
    bench.seal("s1", bench.rows(range(300)))
    bench.score(bench.run("a"))
    schema = bench.schema.model_copy(update={"target": "lost"})
    bench.seal("s2", bench.rows(range(300), salt="with the column late, without the column lost"))
    assert bench.score(bench.run("b", "s2", bench.bundle(schema=schema))).runs[0].label == "test"


def test_all_candidates_are_scored_on_the_same_rows_in_one_entry(bench):
    bench.seal("s1", bench.rows(range(300)))
    sharp, blurred = bench.run("a", bundle=bench.bundle(0.3)), bench.run("b", bundle=bench.bundle(0.9))
    scored = bench.score(sharp, blurred, sharp)
    assert [run.run_id for run in scored.runs] == ["a", "b"]
    assert {run.label for run in scored.runs} == {"test"}
    assert scored.runs[0].metrics["roc_auc"] > scored.runs[1].metrics["roc_auc"]
    (entry,) = ledger.entries(bench.store)
    assert entry.runs == scored.runs


def test_the_entry_is_durable_before_anything_is_returned(bench, tmp_path, monkeypatch):
    bench.seal("s1", bench.rows(range(300)))
    monkeypatch.setattr(unseal, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.score(bench.run("a"), output=tmp_path / "rows.csv")
    assert ledger.entries(bench.store)[0].of("a").label == "test"


def test_the_output_has_the_rows_and_each_candidates_predictions(bench, tmp_path):
    bench.seal("s1", bench.rows(range(30)))
    bench.score(bench.run("a"), bench.run("b"), output=tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.column_names == [
        "id", "x", "late",
        "prediction_a", "probability_no_a", "probability_yes_a",
        "prediction_b", "probability_no_b", "probability_yes_b",
    ]  # fmt: skip
    bench.score(bench.run("a"), output=tmp_path / "rows.csv")
    assert pa.csv.read_csv(tmp_path / "rows.csv").column_names[-3:] == [
        "prediction", "probability_no", "probability_yes",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.parquet", "runs"]


def test_a_scorer_that_was_overtaken_looks_again_and_finds_the_rows_spent(bench, monkeypatch):
    bench.seal("s1", bench.rows(range(300)))
    real, calls = ledger.append, []

    def overtaken(store, chain, **entry):
        calls.append(entry["label"])
        if len(calls) == 1:
            real(store, chain, **{**entry, "runs": ()})
        return real(store, chain, **entry)

    monkeypatch.setattr(ledger, "append", overtaken)
    scored = bench.score(bench.run("a"))
    assert calls == ["test", "validation"]
    assert scored.entry == 2
    assert scored.runs[0].label == "validation"


def test_a_scorer_that_is_always_overtaken_gives_up(bench, monkeypatch):
    bench.seal("s1", bench.rows(range(30)))
    monkeypatch.setattr(ledger, "append", lambda *_, **__: None)
    with pytest.raises(ConflictError):
        bench.score(bench.run("a"))


def test_a_scorer_that_dies_before_its_entry_has_spent_what_it_opened(bench, monkeypatch):
    splits = bench.seal("s1", bench.rows(range(30)))

    def dies(name, data):
        if name.endswith(".json"):
            raise KeyboardInterrupt
        return type(bench.store).write_new(bench.store, name, data)

    monkeypatch.setattr(bench.store, "write_new", dies)
    with pytest.raises(KeyboardInterrupt):
        bench.score(bench.run("a"))
    monkeypatch.delattr(bench.store, "write_new")
    assert unseal.receipt(bench.store, splits, name="late").fresh == 0
    monkeypatch.setattr(unseal, "WAIT_S", 0)
    assert bench.score(bench.run("a")).runs[0].label == "validation"


def test_a_removed_entry_leaves_its_rows_spent(bench, monkeypatch):
    splits = bench.seal("s1", bench.rows(range(30)))
    bench.score(bench.run("a"))
    (bench.store.root / "ledger/000001.json").unlink()
    assert unseal.receipt(bench.store, splits, name="late").fresh == 0
    monkeypatch.setattr(unseal, "WAIT_S", 0)
    assert bench.score(bench.run("a")).runs[0].label == "validation"


def refused(bench, *runs, **settings):
    before = bench.files()
    with pytest.raises(RaymleError) as caught:
        bench.score(*runs, **settings)
    assert bench.files() == before, "a refusal writes nothing"
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_candidate_of_another_split_is_refused(bench):
    bench.seal("s1", bench.rows(range(30)))
    mine, theirs = bench.run("a"), bench.run("b", "s2")
    shelf.save(bench.store, mine, spec(seed=0))
    shelf.save(bench.store, theirs, spec(seed=1))
    error = refused(bench, mine, theirs)
    assert isinstance(error, DataError)
    assert "run b" in str(error)
    assert "split.seed is 1 there and 0 here" in str(error)


def test_a_champion_of_older_data_is_scored_on_the_new_rows(bench):
    bench.seal("s2", bench.rows(range(300)))
    mine, champion = bench.run("new", "s2"), bench.run("old", "s1")
    shelf.save(bench.store, mine, spec())
    shelf.save(bench.store, champion, spec())
    scored = bench.score(mine, champion)
    assert [run.run_id for run in scored.runs] == ["new", "old"]


@pytest.mark.parametrize("change", [{"target": "lost"}, {"classes": ("maybe", "no")}])
def test_a_candidate_for_another_question_is_refused(bench, change):
    bench.seal("s1", bench.rows(range(30)))
    other = bench.bundle(schema=bench.schema.model_copy(update=change))
    assert "it predicts" in str(refused(bench, bench.run("a"), bench.run("b", bundle=other)))


def test_a_run_that_failed_is_refused(bench):
    bench.seal("s1", bench.rows(range(30)))
    assert "failed" in str(refused(bench, bench.run("a", status="failed")))


def test_no_sealed_rows_is_refused(bench):
    bench.seal("s1", bench.rows([]))
    assert "has no sealed rows" in str(refused(bench, bench.run("a")))


def test_sealed_rows_that_are_gone_are_refused(bench):
    assert isinstance(refused(bench, bench.run("a")), ArtifactError)


@pytest.mark.parametrize("name", ["rows.xlsx", "nowhere/rows.csv", "folder.csv"])
def test_an_output_that_cannot_be_written_is_refused_before_the_rows_are_spent(bench, tmp_path, name):
    bench.seal("s1", bench.rows(range(30)))
    (tmp_path / "folder.csv").mkdir()
    assert isinstance(refused(bench, bench.run("a"), output=tmp_path / name), UsageError)


def test_a_damaged_ledger_is_refused(bench):
    bench.seal("s1", bench.rows(range(30)))
    bench.score(bench.run("a"))
    path = bench.store.root / "ledger/000001.json"
    path.write_text(path.read_text().replace("test", "validation", 1))
    assert isinstance(refused(bench, bench.run("a")), ArtifactError)


def test_a_users_metric_sees_the_answers_only_when_they_are_spent(bench, tmp_path):
    splits = bench.seal("s1", bench.rows(range(30)))
    (tmp_path / "broken_metric.py").write_text("def profit(y, p):\n    raise ValueError('no price')\n")
    with pytest.raises(RaymleError, match="the metric profit failed: ValueError: no price"):
        bench.score(bench.run("a"), config=EvaluateConfig(metrics=("broken_metric:profit",)), folder=str(tmp_path))
    assert unseal.receipt(bench.store, splits, name="late").fresh == 0
    assert ledger.entries(bench.store)[0].of("a").metrics["roc_auc"] > 0.5


def test_a_users_metric_stands_beside_the_others(bench, tmp_path):
    bench.seal("s1", bench.rows(range(30)))
    (tmp_path / "own_profit.py").write_text("def profit(y, p):\n    return len(y)\n")
    scored = bench.score(bench.run("a"), config=EvaluateConfig(metrics=("own_profit:profit",)), folder=str(tmp_path))
    assert scored.runs[0].label == "test"
    assert scored.runs[0].metrics["profit"] == 30
    assert "roc_auc" in scored.runs[0].metrics
    assert [entry.rows for entry in ledger.entries(bench.store)] == [30, 30]
