"""Bodies under anything at all, and under every real payment."""

import gzip
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.models import payments
from service.api.types import Body
from tests import ROOT
from tests.unit.service.api.bodies import EXAMPLES, MODELS, errors_of

DATA = ROOT.parent / "shared" / "data" / "online-retail" / "payments.ndjson.gz"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
@pytest.mark.slow
def test_any_members_give_a_body_or_a_list_of_errors(model: type[Body], data: st.DataObject) -> None:
    names = st.sampled_from([*model.model_fields, "unknown"])
    odd = data.draw(st.dictionaries(names, JSON_VALUES, max_size=4))

    found = errors_of(model, json.dumps({**EXAMPLES[model], **odd}))

    assert all(where == "" or where.startswith("/") for where in found)
    assert all(detail and detail != "Is not valid." for detail in found.values())


@settings(max_examples=2 * settings().max_examples)
@given(raw=st.binary(max_size=200))
def test_any_bytes_give_a_body_or_a_list_of_errors(raw: bytes) -> None:
    for model in MODELS:
        errors_of(model, raw)


def real_payments() -> Iterator[bytes]:
    with gzip.open(DATA) as stream:
        yield from stream


@pytest.mark.skipif(not DATA.exists(), reason="the real payments are not on this machine")
@pytest.mark.slow
def test_every_real_payment_is_taken() -> None:
    taken = [payments.RegisterPayment.model_validate_json(line) for line in real_payments()]

    assert len(taken) == 9659
    assert {body.currency for body in taken} == {"GBP"}
