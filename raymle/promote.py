"""Make a scored run the champion, or refuse in two sentences."""

from pathlib import Path

from raymle.config import PromoteConfig, TrackingConfig
from raymle.errors import ArtifactError
from raymle.evaluate import gate, ledger
from raymle.model import read_contents
from raymle.records import Schema, Trained, Verdict, Version
from raymle.store import Store
from raymle.tracking import registry, shelf

ALIAS = "champion"


def promote(config: PromoteConfig, trained: Trained, *, store: Store, tracking: TrackingConfig, metric: str) -> Version:
    """Register a run and give it the alias champion, if its test score allows; else say why not.

    Raises:
        ConflictError: another promotion was first.
    """
    made = register(config, trained, store=store, tracking=tracking, metric=metric)
    return crown(made, store=store, tracking=tracking) if made.passed else made


def register(
    config: PromoteConfig, trained: Trained, *, store: Store, tracking: TrackingConfig, metric: str
) -> Version:
    """Register a run as a version, if its test score allows; else say why not.

    Nothing is written when the gate refuses. The champion's run is its version already.

    Args:
        config: The gate.
        trained: The challenger.
        store: Where the ledger is.
        tracking: Where models are registered.
        metric: The metric that decides between challenger and champion.
    """
    name = config.model or trained.name
    version, champion = registry.champion(tracking, store, name) or (None, None)
    if champion == trained.run_id:
        return Version(name=name, version=version, alias=ALIAS, passed=True, reasons=("It is the champion already.",))
    verdict = judge(config, trained, store=store, metric=metric, champion=champion)
    if not verdict.passed:
        return Version(name=name, version=None, alias=None, passed=False, reasons=verdict.reasons)
    opening = gate.opening(ledger.entries(store), trained.run_id, champion)
    made = registry.register(
        tracking,
        store,
        name=name,
        run_id=trained.run_id,
        experiment=trained.name,
        bundle=bundle(store, trained),
        tags=_tags(opening, trained.run_id) if opening else {},
    )
    return Version(name=name, version=made, alias=None, passed=True, reasons=verdict.reasons, replaces=version)


def crown(made: Version, *, store: Store, tracking: TrackingConfig) -> Version:
    """Give a registered version the alias champion, if the champion is still the one that it was judged beside.

    Raises:
        ConflictError: another promotion was first.
    """
    if made.version and made.alias != ALIAS:
        registry.set_alias(tracking, store, made.name, ALIAS, made.version, expected=made.replaces)
    return made.model_copy(update={"alias": ALIAS})


def judge(config: PromoteConfig, trained: Trained, *, store: Store, metric: str, champion: str | None) -> Verdict:
    """Decide whether a run may take over from the champion; reads only."""
    if trained.status != "finished":
        return gate.refusal(f"Run {trained.run_id} {trained.status}", "Promote a run that finished")
    if champion:
        why = overlap(store, trained, champion)
        if why:
            return gate.refusal(
                f"The champion, run {champion}, can't be scored on the sealed rows of run {trained.run_id}: {why}",
                "Train the challenger on the champion's split, or give promote.model a new name",
            )
    return gate.judge(
        config,
        trained.run_id,
        ledger.entries(store),
        metric=metric,
        champion=champion,
        splits_id=trained.splits_id,
    )


def bundle(store: Store, trained: Trained) -> Path:
    """Return a run's bundle on this machine, from the storage when it was made elsewhere."""
    here = Path(trained.bundle)
    return here if here.exists() else store.fetch(f"runs/{trained.run_id}/bundle")


def _tags(opening: ledger.Entry, run_id: str) -> dict[str, str]:
    """Say in the registry what the promotion rests on."""
    scored = opening.of(run_id)
    values = {f"test.{name}": f"{value:.6g}" for name, value in scored.metrics.items()} if scored else {}
    return {**values, "test.rows": str(opening.rows), "raymle.ledger": f"{opening.number} {opening.digest}"}


def overlap(store: Store, trained: Trained, champion: str) -> str:
    """Say why a champion can't be scored on a run's sealed rows; empty when it can."""
    try:
        theirs = shelf.load(store, champion)
        schemas = _schema(store, trained), _schema(store, theirs)
        specs = shelf.load_spec(store, trained.run_id), shelf.load_spec(store, champion)
    except ArtifactError:
        return "its record or bundle is not in this storage"
    if why := gate.other_question(*schemas):
        return why
    if theirs.splits_id == trained.splits_id:
        return ""
    why = gate.may_have_trained((specs[0], schemas[0]), (specs[1], schemas[1]))
    return why and f"it may have trained on them, for {why}"


def _schema(store: Store, trained: Trained) -> Schema:
    return read_contents(bundle(store, trained)).data_schema
