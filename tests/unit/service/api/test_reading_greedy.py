"""Bodies that are made to keep a reader busy are refused before much is done for them."""

import json
from typing import Any

import pytest

from service.api.models.cancellations import RequestCancellation
from service.api.models.payments import RegisterPayment
from service.api.problems import RequestProblem
from service.api.reading import parse_body, parse_json
from service.api.types import BODY_BYTES_MAX, CONTAINERS_MAX, DEPTH_MAX, MEMBERS_MAX
from tests.unit.service.api.bodies import EXAMPLES, MODELS, PAYMENT
from workflows.domain.faults import FaultCode


def refusal(raw: bytes) -> tuple[str, FaultCode]:
    assert len(raw) <= BODY_BYTES_MAX
    with pytest.raises(RequestProblem) as refused:
        parse_body(raw, RegisterPayment)
    errors: Any = refused.value.members["errors"]
    return refused.value.problem.slug, errors[0].code


def nested(depth: int, inner: bytes = b"1", opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + inner + closing * depth


def test_more_members_than_any_object_has() -> None:
    assert refusal(json.dumps({f"m{number}": 1 for number in range(20_000)}).encode()) == ("malformed-request", FaultCode.too_many_members)
    assert refusal(json.dumps({"metadata": dict.fromkeys(map(str, range(MEMBERS_MAX + 1)), 1)}).encode())[1] is FaultCode.too_many_members
    assert len(parse_json(json.dumps(dict.fromkeys(map(str, range(MEMBERS_MAX)), 1)).encode())) == MEMBERS_MAX  # type: ignore[arg-type]


@pytest.mark.parametrize("one", [b"[]", b"{}", b'{"a":[]}', b'["]"]'])
def test_more_objects_and_arrays_than_any_body_has(one: bytes) -> None:
    many = b'{"items":[' + b",".join([one] * (BODY_BYTES_MAX // (len(one) + 2))) + b"]}"

    assert refusal(many) == ("malformed-request", FaultCode.too_many_values)
    assert parse_json(b"[" + b",".join([b"[]"] * (CONTAINERS_MAX - 1)) + b"]")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"[":', b"}]")])
def test_deeper_than_any_body_is(opening: bytes, closing: bytes) -> None:
    levels = opening.replace(b'"["', b"").count(b"[") + opening.count(b"{")

    assert refusal(nested(DEPTH_MAX + 1, b"1", opening, closing))[1] is FaultCode.nested_too_deep
    assert refusal(nested(40_000, b"1", b"[", b"]"))[1] in {FaultCode.nested_too_deep, FaultCode.too_many_values}
    assert parse_json(nested(DEPTH_MAX // levels, b"1", opening, closing)) is not None


def test_brackets_in_texts_are_texts() -> None:
    text = "[{" * 50_000 + '\\"[' + "]" * 100

    assert parse_json(json.dumps({"note": text, "more": [[text]]}).encode()) == {"note": text, "more": [[text]]}
    assert refusal(b'{"note": "' + b"[" * 100)[1] is FaultCode.not_json
    assert refusal(b"[" * 100 + b"1")[1] is FaultCode.not_json, "what is no JSON at all is called so"
    assert refusal(b'["' + b'\\"' * 100_000)[1] is FaultCode.not_json


@pytest.mark.parametrize("model", [RegisterPayment, RequestCancellation])
@pytest.mark.parametrize("member", ["items", "funding", "earned", "evidence"])
def test_ten_thousand_wrong_entries_cost_no_more_than_a_page_of_faults(model: Any, member: str) -> None:
    body = {member: [{"a": 1, "b": 2, "c": 3, "d": 4}] * 6_000}

    with pytest.raises(Exception) as raised:  # noqa: PT011 -- pydantic's own, counted below
        model.model_validate_json(json.dumps(body))

    counted: Any = raised.value
    assert counted.error_count() < 50


def test_faults_of_several_entries_are_told_together_each_at_its_place() -> None:
    line = {"reference": "a", "name": "n", "quantity": 1, "amount": 1}
    lines = [{**line, "reference": f"line-{number}"} for number in range(300)]
    lines[120], lines[123], lines[125] = {**line, "amount": "1"}, {**line, "quantity": 0, "more": 1}, {"reference": "b"}

    with pytest.raises(RequestProblem) as refused:
        parse_body(json.dumps({**PAYMENT, "amount": 300, "items": lines, "colour": "red"}).encode(), RegisterPayment)

    faults: Any = refused.value.members["errors"]
    assert {fault.pointer for fault in faults} == {
        "/colour",
        "/items/120/amount",
        "/items/123/quantity",
        "/items/123/more",
        "/items/125/name",
        "/items/125/quantity",
        "/items/125/amount",
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_example_is_within_the_limits(model: Any) -> None:
    assert parse_json(json.dumps(EXAMPLES[model]).encode()) == EXAMPLES[model]
