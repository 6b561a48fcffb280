"""Errors say what now, have an exit code each, and survive the trip between Ray processes."""

import inspect
import pickle

import pytest

from raymle import errors
from raymle.errors import RaymleError

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, RaymleError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_whole_from_another_process(kind):
    back = pickle.loads(pickle.dumps(kind("what went wrong", hint="what now")))
    assert type(back) is kind
    assert (str(back), back.hint, back.exit_code) == ("what went wrong", "what now", kind.exit_code)


def test_the_exit_codes_are_those_of_the_manual():
    assert {kind.__name__: kind.exit_code for kind in CLASSES} == {
        "RaymleError": 1, "UsageError": 2, "SpecError": 3, "DataError": 3, "WorkError": 4, "ArtifactError": 5,
        "ResourceError": 6, "SetupError": 7, "ConflictError": 8, "SecurityError": 9, "GateRefused": 10,
    }  # fmt: skip
