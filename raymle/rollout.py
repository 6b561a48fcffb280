"""How a promotion, or its way back, reaches whoever serves the model.

The order is always: the version proves itself where it is served, then the registry's alias moves. So an alias never
names a version that its server refused.
"""

from contextlib import suppress

from raymle import promote as promotion
from raymle import references
from raymle.config import Spec, TrackingConfig
from raymle.errors import ArtifactError, ConflictError, RaymleError, SetupError, WorkError
from raymle.hosting import CHALLENGER, CHAMPION, place
from raymle.records import Record, Trained, Version
from raymle.serve import change, history
from raymle.serve.change import Taken
from raymle.serve.history import Model, Wanted
from raymle.store import Store, lock
from raymle.tracking import registry

LOCKED_S = 90
"""How long another promotion on this machine is waited for."""


class Served(Record):
    """What the history of a served model comes to."""

    model: str
    url: str
    live: bool
    """Whether a server answers there now."""
    champion: str
    """Version that answers."""
    challenger: str = ""
    share: float = 0.0
    shadow: bool = False
    ended: str = ""
    """Why the last challenger, or an upgrade that was refused, went."""


def promote(
    store: Store, spec: Spec, trained: Trained, *, canary: float | None = None, shadow: bool = False
) -> Version:
    """Make a run champion, or challenger of a served champion; or return the refusal with its reasons.

    Args:
        store: The home of runs, registry and history.
        spec: The run's.
        trained: The run.
        canary: Percent of the requests that it answers as challenger.
        shadow: Whether it is only compared.

    Raises:
        SetupError: a challenger needs somebody who serves the champion.
        WorkError: whoever serves the model refused it; the champion stays.
        ConflictError: another promotion was first.
    """
    name = spec.promote.model or trained.name
    with lock(store, f"promote-{name}", timeout_s=LOCKED_S):
        return _promoted(store, spec, trained, name, canary=canary, shadow=shadow)


def _promoted(
    store: Store, spec: Spec, trained: Trained, name: str, *, canary: float | None, shadow: bool
) -> Version:  # fmt: skip
    partly = canary is not None or shadow
    if partly:
        _check_served(store, name)
    gated = promotion.register(spec.promote, trained, store=store, tracking=spec.tracking, metric=trained.metric)
    if gated.version is None:
        return gated
    model = Model(version=gated.version, place=_registered_place(store, trained), run_id=trained.run_id)
    if gated.alias == CHAMPION:
        return _with(gated, CHAMPION, change.upgrade(store, name, model))
    if not partly:
        return _crowned(store, spec, gated, model)
    return _challenging(store, spec, gated, model, share=(canary or 0) / 100, shadow=shadow)


def _challenging(
    store: Store, spec: Spec, gated: Version, model: Model, *, share: float, shadow: bool
) -> Version:  # fmt: skip
    """Let a version answer a part, or in the shadow; the challenger that was there before goes whatever comes of it."""
    before = history.read(store, gated.name).challenger
    try:
        taken = change.challenge(store, gated.name, model, share=share, shadow=shadow)
    except WorkError as error:
        registry.move_alias(spec.tracking, store, gated.name, CHALLENGER, None)
        gone = f"; the challenger before it, version {before.model.version}, went too" if before else ""
        raise WorkError(f"{error}{gone}", hint=error.hint) from None
    registry.move_alias(spec.tracking, store, gated.name, CHALLENGER, gated.version)
    return _with(gated, CHALLENGER, taken)


def _crowned(store: Store, spec: Spec, gated: Version, model: Model) -> Version:
    """Let a version that passed its gate answer everything, then move the alias."""
    _check_champion(store, spec, gated)
    before = history.read(store, gated.name).champion
    taken = change.upgrade(store, gated.name, model)
    try:
        promotion.crown(gated, store=store, tracking=spec.tracking)
    except RaymleError:  # another promotion was first, or the registry is gone: no server runs ahead of the alias
        _follow_alias(store, spec.tracking, gated.name, before)
        raise
    if history.read(store, gated.name).challenger is None:
        registry.move_alias(spec.tracking, store, gated.name, CHALLENGER, None)
    return _with(gated, CHAMPION, taken)


def _check_champion(store: Store, spec: Spec, gated: Version) -> None:
    """Refuse before a server hears of it what was judged beside a champion of yesterday."""
    found = registry.champion(spec.tracking, store, gated.name)
    if (found and found[0]) != gated.replaces:
        raise ConflictError(f"{gated.name} has another champion since it was judged", hint="promote again")


def _with(version: Version, alias: str, taken: Taken) -> Version:
    """Return a version with its alias, and who has it already among the reasons."""
    told: tuple[str, ...] = ()
    if taken.replicas:
        told = (f"{taken.replicas} {'replica has' if taken.replicas == 1 else 'replicas have'} it at {taken.url}.",)
    elif taken.url:
        told = (f"The server at {taken.url} can't be heard from here; it follows when it looks.",)
    served = taken.url if taken.replicas else ""
    return version.model_copy(update={"alias": alias, "reasons": (*version.reasons, *told), "served": served})


def _check_served(store: Store, name: str) -> None:
    if not change.alive(history.read(store, name)):
        raise SetupError(
            f"nobody serves {name}, and a challenger answers beside its champion",
            hint=f"raymle serve models:/{name}@champion, then promote again",
        )


def _registered_place(store: Store, trained: Trained) -> str:
    return place(promotion.bundle(store, trained), store.root, store)


def _follow_alias(store: Store, tracking: TrackingConfig, name: str, before: Wanted | None) -> None:
    """Let a server go back to what the registry names; where that cannot be read, to what it served before."""
    with suppress(RaymleError):  # why the alias did not move is what the user has to hear
        try:
            model = _registered(store, tracking, f"{name}@{CHAMPION}")
        except RaymleError:
            if before is None:
                raise
            model = before.model
        change.upgrade(store, name, model)


def _registered(store: Store, tracking: TrackingConfig, which: str) -> Model:
    found = registry.resolve(tracking, store, f"{references.REGISTERED}{which}")
    return Model(version=found.version, place=place(found.bundle, store.root, store), run_id=found.run_id)


def rollback(store: Store, name: str) -> Version:
    """Take a step back: a challenger goes, or else the champion before this one is champion again.

    Raises:
        ArtifactError: there is no champion, or none before it.
        WorkError: whoever serves the model refused the earlier version; the champion stays.
    """
    with lock(store, f"promote-{name}", timeout_s=LOCKED_S):
        return _rolled_back(store, name)


def _rolled_back(store: Store, name: str) -> Version:
    tracking, state = references.tracking(store), history.read(store, name)
    champion = registry.champion(tracking, store, name)
    if state.challenger:
        reason = _without_challenger(store, tracking, name, state.challenger)
        current = champion[0] if champion else None
    else:
        current, reason = _stepped_back(store, tracking, name, champion[0] if champion else None)
    return Version(name=name, version=current, alias=CHAMPION, passed=True, reasons=(reason,))


def _without_challenger(store: Store, tracking: TrackingConfig, name: str, challenger: Wanted) -> str:
    change.withdraw(store, name, challenger, "rolled back")
    registry.move_alias(tracking, store, name, CHALLENGER, None)
    return f"The challenger, version {challenger.model.version}, is withdrawn; the champion stays."


def _stepped_back(store: Store, tracking: TrackingConfig, name: str, champion: str | None) -> tuple[str, str]:
    earlier = registry.before(tracking, store, name, champion) if champion else None
    if earlier is None:
        why = f"version {champion} of {name} is its first champion" if champion else f"{name} has no champion"
        raise ArtifactError(why, hint="raymle promote RUN makes another one champion")
    before = history.read(store, name).champion
    change.upgrade(store, name, _registered(store, tracking, f"{name}/{earlier}"))
    try:
        registry.set_alias(tracking, store, name, CHAMPION, earlier, expected=champion, remember=False)
    except RaymleError:  # somebody promoted from another machine meanwhile: that one stays
        _follow_alias(store, tracking, name, before)
        raise
    return earlier, f"Version {champion} was champion until now."


def status(store: Store, name: str | None = None) -> list[Served]:
    """Return what is or was served, by name."""
    return [_served(store, each) for each in ([name] if name else history.names(store))]


def _served(store: Store, name: str) -> Served:
    state = history.read(store, name)
    if not state.last:
        raise ArtifactError(f"{name} was never served from this storage", hint="raymle serve status shows what was")
    rival, url = state.challenger, change.alive(state)
    return Served(
        model=name,
        url=url or (state.urls[-1] if state.urls else ""),
        live=bool(url),
        champion=state.champion.model.version if state.champion else "",
        challenger=rival.model.version if rival else "",
        share=rival.share if rival else 0.0,
        shadow=rival.shadow if rival else False,
        ended=state.ended.reason if state.ended else "",
    )
