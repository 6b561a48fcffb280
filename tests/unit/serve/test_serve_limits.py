"""Limits come from the spec, and a refusal survives the trip between processes."""

import pickle

import pytest
from pydantic import ValidationError

from raymle.config import ServeConfig
from raymle.serve import wire
from raymle.serve.limits import Overloaded, RequestError, configured


def test_the_spec_says_what_one_request_may_ask_for():
    config = ServeConfig.model_validate({"timeout_s": 5, "limits": {"body_mib": 0.5, "rows": 10}})
    limits = configured(config)
    assert (limits.body, limits.rows, limits.deadline) == (2**19, 10, 5)
    assert limits.read >= limits.body
    assert configured(ServeConfig()).body == 8 * 2**20


@pytest.mark.parametrize("wrong", [
    {"auth": {}}, {"auth": {"tokens": ""}}, {"auth": {"tokens": "t", "rate_per_s": 0}}, {"tls": {"certificate": "a"}},
    {"timeout_s": 0}, {"limits": {"rows": 0}}, {"limits": {"body_mib": 0}}, {"resources": {"gpu": -1}},
])  # fmt: skip
def test_what_cannot_be_is_refused_by_the_spec(wrong):
    with pytest.raises(ValidationError):
        ServeConfig.model_validate(wrong)


@pytest.mark.parametrize("refused", [
    RequestError("no", status=422, kind="invalid_rows", rows=[{"row": 1, "column": "a", "reason": "no"}], headers={"A": "b"}),
    Overloaded("full", retry_after_s=3.5), Overloaded(),
])  # fmt: skip
def test_a_refusal_comes_back_whole_from_another_process(refused):
    back = pickle.loads(pickle.dumps(refused))
    assert (type(back), str(back), back.__dict__) == (type(refused), str(refused), refused.__dict__)
    assert wire.error(back) == wire.error(refused)
    assert isinstance(back, RequestError)
