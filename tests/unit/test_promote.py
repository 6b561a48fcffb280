import pytest

from raymle import promote as stage
from raymle.config import PromoteConfig, Spec, TrackingConfig
from raymle.errors import ConflictError
from raymle.evaluate import ledger
from raymle.records import Column, Schema, ScoredRun, Trained
from raymle.store import open_store
from raymle.tracking import shelf

SCHEMA = Schema(
    columns=(Column(name="id", type="number", role="key"), Column(name="y", type="boolean", role="target")),
    target="y",
    task="classification",
)


class Registry:
    """MLflow's part, in memory: versions and one alias."""

    def __init__(self):
        self.versions = []
        self.alias = None
        self.tags = {}

    def champion(self, config, store, name):
        return (self.alias, self.versions[int(self.alias) - 1]) if self.alias else None

    def register(self, config, store, *, name, run_id, experiment, bundle, tags):
        if run_id not in self.versions:
            self.versions.append(run_id)
        self.tags[run_id] = tags
        return str(self.versions.index(run_id) + 1)

    def set_alias(self, config, store, name, alias, version, *, expected):
        if self.alias != expected:
            raise ConflictError("another promotion was first")
        self.alias = version


@pytest.fixture
def registry(monkeypatch):
    found = Registry()
    monkeypatch.setattr(stage, "registry", found)
    monkeypatch.setattr(stage, "_schema", lambda store, trained: SCHEMA)
    return found


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "runs"))


def run(store, run_id, splits_id="s1", status="finished", seed=0):
    trained = Trained(
        run_id=run_id, name="late", status=status, task="classification", metric="roc_auc", metrics={},
        bundle=str(store.root), splits_id=splits_id, rows={}, seconds={}, execution="inline", model="mlp", parameters=1,
    )  # fmt: skip
    data = {"source": "a", "target": "y", "key": "id"}
    spec = Spec.model_validate({"name": "late", "data": data, "split": {"seed": seed}})
    shelf.save(store, trained, spec)
    return trained


def score(store, label="test", rows=500, **aucs):
    runs = tuple(ScoredRun(run_id=each, metrics={"roc_auc": auc}, label=label) for each, auc in aucs.items())
    chain = ledger.entries(store)
    nothing = ledger.spent(store, [])
    assert ledger.append(
        store, chain, splits_id="s1", label=label, rows=rows, columns=("x",), spends=nothing, runs=runs
    )


def promote(store, trained, **config):
    return stage.promote(PromoteConfig(**config), trained, store=store, tracking=TrackingConfig(), metric="roc_auc")


def files(store):
    return sorted(str(path) for path in store.root.rglob("*"))


def test_the_first_champion_needs_a_test_score(store, registry):
    new = run(store, "new")
    before = files(store)
    refusal = promote(store, new)
    assert not refusal.passed
    assert (refusal.version, refusal.alias) == (None, None)
    assert len(refusal.reasons) == 2
    assert (registry.versions, files(store)) == ([], before)
    score(store, new=0.9)
    made = promote(store, new)
    assert made.model_dump(exclude={"replaces", "served"}) == {
        "name": "late",
        "version": "1",
        "alias": "champion",
        "passed": True,
        "reasons": (),
    }
    assert registry.tags["new"]["test.roc_auc"] == "0.9"
    assert registry.tags["new"]["test.rows"] == "500"
    assert registry.tags["new"]["raymle.ledger"].startswith("1 ")


def test_a_score_on_spent_rows_promotes_nobody(store, registry):
    new = run(store, "new")
    score(store, "validation", new=0.99)
    assert "spent" in promote(store, new).reasons[0]
    assert registry.alias is None


def test_a_run_whose_rows_were_spent_on_others_is_not_sent_to_score(store, registry):
    new = run(store, "new")
    run(store, "first")
    score(store, first=0.9)
    refusal = promote(store, new)
    assert "spent on other runs" in refusal.reasons[0]
    assert "new data" in refusal.reasons[1]


def test_promoting_the_champion_again_changes_nothing(store, registry):
    new = run(store, "new")
    score(store, new=0.9)
    promote(store, new)
    again = promote(store, new, require=("roc_auc >= 0.99",))
    assert (again.passed, again.version) == (True, "1")


def test_a_challenger_must_be_scored_beside_the_champion_and_win(store, registry):
    old, new = run(store, "old"), run(store, "new")
    score(store, old=0.8)
    promote(store, old)
    score(store, new=0.9)
    refusal = promote(store, new)
    assert "The champion, run old, was not scored in the same opening" in refusal.reasons[0]
    assert "raymle score" in refusal.reasons[1]
    score(store, new=0.9, old=0.91)
    assert "has a roc_auc of 0.91, run new 0.9" in promote(store, new).reasons[0]
    score(store, new=0.9, old=0.89)
    assert promote(store, new).version == "2"
    assert registry.alias == "2"


def test_a_champion_of_another_seed_may_have_trained_on_the_rows(store, registry):
    old, new = run(store, "old", "s0", seed=1), run(store, "new")
    score(store, old=0.8)
    promote(store, old)
    score(store, new=0.9, old=0.8)
    refusal = promote(store, new)
    assert not refusal.passed
    assert "may have trained" in refusal.reasons[0]
    assert "split.seed is 1 there and 0 here" in refusal.reasons[0]


def test_a_champion_of_older_data_with_the_same_split_rule_can_be_beaten(store, registry):
    old, new = run(store, "old", "s0"), run(store, "new")
    score(store, old=0.8)
    promote(store, old)
    score(store, new=0.9, old=0.8)
    assert promote(store, new).passed


def test_a_champion_that_is_not_in_this_storage_cannot_be_compared(store, registry):
    registry.versions, registry.alias = ["elsewhere"], "1"
    new = run(store, "new")
    score(store, new=0.9)
    assert "not in this storage" in promote(store, new).reasons[0]


def test_a_run_that_failed_is_never_promoted(store, registry):
    assert "failed" in promote(store, run(store, "new", status="failed")).reasons[0]


def test_of_two_promotions_one_hears_that_the_other_was_first(store, registry, monkeypatch):
    new = run(store, "new")
    score(store, new=0.9)
    real = registry.register

    def slow(*args, **kwargs):
        version = real(*args, **kwargs)
        registry.alias = "7"
        return version

    monkeypatch.setattr(registry, "register", slow)
    with pytest.raises(ConflictError):
        promote(store, new)
    assert registry.alias == "7"


def test_the_name_comes_from_the_spec_or_else_from_the_run(store, registry):
    new = run(store, "new")
    score(store, new=0.9)
    assert promote(store, new, model="churn").name == "churn"
