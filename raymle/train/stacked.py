"""Many small trainings at once: each is what ``trainer.fit`` would make of it, and all take their steps together."""

import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch

from raymle.config.amount import settled
from raymle.config.model import ModelConfig
from raymle.config.train import TrainConfig
from raymle.data import shards
from raymle.errors import RaymleError, UsageError
from raymle.model.build import build
from raymle.records import Epoch, Fitted, Splits
from raymle.train.bundler import Bundler
from raymle.train.check import check, shape_of, why_not
from raymle.train.stack import Stack
from raymle.train.stacked_epoch import Course, epoch


@final
@dataclass(frozen=True)
class Member:
    """One training of a stack; it pickles."""

    train: TrainConfig
    model: ModelConfig
    out: Path
    """Where its bundle appears."""


@final
@dataclass(frozen=True)
class Told:
    """What an epoch brought, by the members' places."""

    reports: dict[int, Epoch]
    """Of those that trained."""
    ends: dict[int, Fitted | str]
    """Of those that are over: what was made and saved, or why it failed."""


def fit(
    members: Sequence[Member], splits: Splits, *, metric: str, folder: str, transforms: Sequence[str] = ()
) -> Generator[Told, Collection[int] | None, None]:
    """Train all members, tell after each epoch how they are, and save the best weights of each as a bundle.

    Send the places of those to stop early: they are over without another epoch, and what is told next has their ends.
    Places of those that are over already change nothing. A member that fails leaves the others as they are. Its
    ``rows_per_second`` are its own rows by the stack's seconds, its ``seconds`` its share of the stack's.

    Args:
        members: What to train; ``shape_of`` each is the same.
        splits: Prepared data.
        metric: The validation metric that decides which epoch is best.
        folder: Where the user's own code is.
        transforms: The user's own functions over raw rows, which travel in the bundles.

    Raises:
        UsageError: the members cannot be one stack.
    """
    started = time.monotonic()
    require_alike(members, folder)
    members = [replace(each, train=settled(each.train, each.model, splits.rows["train"])) for each in members]
    first = members[0]
    bundler = Bundler.of(first.train, first.model, splits, metric=metric, folder=folder, transforms=transforms)
    if not bundler.contents.inputs.is_table:
        raise UsageError("a stack trains over numbers and categories alone", hint="train each by itself")
    courses = begin(members, bundler)
    stack = Stack(
        [course.module for course in courses],
        [course.train.optimizer for course in courses],
        bundler.objective.learning(torch.device("cpu"), "none"),
    )
    train, validation = shards.load(splits, "train"), shards.load(splits, "validation")
    ends: dict[int, Fitted | str] = {}
    while courses:
        reports = epoch(stack, courses, train, validation, bundler.objective)
        for course in courses:
            course.seconds += (time.monotonic() - started) / len(courses)
        ends |= finish([course for course in courses if course.is_over], members, bundler)
        stopped = (yield Told(reports, ends)) or ()
        started = time.monotonic()
        going = [course for course in courses if not course.is_over]
        ends = finish([course for course in going if course.place in stopped], members, bundler)
        going = [course for course in going if course.place not in ends]
        stack.keep([courses.index(course) for course in going])
        courses = going
    if ends:
        yield Told({}, ends)


def require_alike(members: Sequence[Member], folder: str) -> None:
    """Raise for what cannot be trained, or not together."""
    for member in members:
        check(member.train, member.model, folder=folder)
        if reason := why_not(member.train, member.model):
            raise UsageError(f"{reason}: the training cannot be one of a stack", hint="train it alone")
    if len({shape_of(member.train, member.model) for member in members}) != 1:
        raise UsageError("the trainings of a stack differ in more than numbers", hint="make a stack of each shape")


def begin(members: Sequence[Member], bundler: Bundler) -> list[Course]:
    """Build the members' networks, each with the weights that its seed gives."""
    inputs, outputs = bundler.contents.inputs, bundler.contents.outputs
    return [
        Course(place, member.train, build(member.model, inputs, outputs, seed=member.train.seed))
        for place, member in enumerate(members)
    ]


def finish(courses: Sequence[Course], members: Sequence[Member], bundler: Bundler) -> dict[int, Fitted | str]:
    """Save the best weights of those that are over; say by place what was made, or why the training failed."""
    return {course.place: end(course, members[course.place].out, bundler) for course in courses}


def end(course: Course, out: Path, bundler: Bundler) -> Fitted | str:
    """Save a network's best weights as a bundle; say what was made, or why the training failed."""
    started = time.monotonic()
    course.best.give(course.module)
    try:
        fitted = bundler.finish(course.module, course.best, course.train, out)
        bundler.save(out, course.module, fitted.metrics)
    except RaymleError as error:  # the others go on
        return str(error)
    seconds = course.seconds + time.monotonic() - started
    return fitted.model_copy(update={"bundle": str(out), "seconds": round(seconds, 3), "stacked": True})
