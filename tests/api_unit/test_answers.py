"""Answers: what the functions give is what the document promises, member by member."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, TypeAdapter

from service.api import answer_models as forms
from service.api import answers
from service.api.answers import Answer, EligibilityView
from service.api.i18n import Advice, Language, failure
from workflows.domain import enums
from workflows.domain.decisions.eligibility import ReasonOutcome
from workflows.domain.errors import Window
from workflows.domain.eta import Eta
from workflows.domain.model import (
    Actor,
    Approval,
    Cancellation,
    Earned,
    Funding,
    Item,
    ItemQuantity,
    Leg,
    MerchantAnswer,
    Payment,
    Refund,
    ReturnedGoods,
)

AT = datetime(2026, 11, 22, 8, 26, tzinfo=UTC)
TEXT_AT = "2026-11-22T08:26:00.000000Z"
PAY, CAN, RFD, LEG, OLD = (UUID(int=0x0193B1E6A5C07D2E8F4A6B1C2D3E4F50 + n) for n in range(5))
WINDOW = Window(enums.Anchor.completed_at, AT, AT + timedelta(days=15))
ETA = Eta(earliest=AT, latest=AT + timedelta(minutes=5))
PAYMENT = Payment(
    id=PAY,
    version=3,
    reference="r-1",
    uetr=UUID("5f0c8c1e-2f64-4b19-9f4e-0f6f8f0c2a11"),
    wallet_id="w-1",
    merchant_id="m-1",
    order_reference="o-1",
    category=enums.Category.travel,
    amount=1000,
    currency="CNY",
    funding=(Funding(source=enums.Source.card, amount=1000, provider="stripe", provider_reference="ch_1"),),
    items=(Item(reference="a", quantity=2, amount=400), Item(reference="b c", quantity=1, amount=600)),
    earned=(Earned(kind=enums.EarnedKind.points, amount=7, provider="wallet", provider_reference="p"),),
    state=enums.PaymentState.refunding,
    origin_state=None,
    fulfilment=enums.Fulfilment.shipped,
    authorised_at=AT,
    completed_at=AT,
    shipped_at=AT,
    delivered_at=None,
    failure_code=None,
    amount_refunded=100,
    amount_reserved=200,
    amount_charged_back=50,
    disputes_open=1,
    allocated=(300,),
    cancelled_quantities=(0, 0),
    policy_version="2026-11-a",
    merchant_rules_version=None,
    partial_refunds=1,
    last_partial_at=AT,
    sequence=4,
    head="0" * 64,
    created_at=AT,
    updated_at=AT,
)
CANCELLATION = Cancellation(
    id=CAN,
    payment_id=PAY,
    version=2,
    state=enums.CancellationState.awaiting_agent,
    route=enums.Route.return_,
    reason=enums.Reason.damaged,
    amount=200,
    currency="CNY",
    items=(ItemQuantity(reference="a", quantity=1),),
    partial=True,
    channel=enums.Channel.hotline,
    requested_by=Actor(role=enums.ActorRole.agent, id="a-1", channel=enums.Channel.hotline),
    client_reference="c-1",
    fingerprint="f" * 64,
    rule="seven-day-return",
    policy_version="2026-11-a",
    window=WINDOW,
    facts={"state": "completed", "amount": 200},
    refusal=None,
    refusal_next_steps=(),
    deadline_at=AT,
    on_deadline=enums.OnDeadline.agent,
    second_approval=False,
    override_ticket=None,
    assigned_to="a-2",
    approvals=(
        Approval(by="a-2", role=enums.ActorRole.agent, at=AT),
        Approval(by="s-1", role=enums.ActorRole.supervisor, at=AT + timedelta(minutes=5)),
    ),
    reopened=False,
    created_at=AT,
    updated_at=AT,
)
REFUND = Refund(
    id=RFD,
    payment_id=PAY,
    cancellation_id=CAN,
    version=1,
    state=enums.LegState.processing,
    amount=200,
    currency="CNY",
    created_at=AT,
    updated_at=AT,
)
MOVEMENT = Leg(
    id=LEG,
    payment_id=PAY,
    cancellation_id=CAN,
    refund_id=RFD,
    kind=enums.LegKind.refund,
    source=enums.Source.card,
    position=0,
    provider="stripe",
    provider_reference="ch_1",
    amount=200,
    currency="CNY",
    state=enums.LegState.processing,
    rail_key=PAY.hex + LEG.hex,
    outcome_source=enums.OutcomeSource.query,
    provider_refund_id="re_1",
    rail_reference="arn-1",
    attempts=2,
    failure_code=None,
    next_attempt_at=AT,
    replaces=OLD,
    created_at=AT,
    updated_at=AT,
)
VIEW = EligibilityView(
    allowed=True,
    route=enums.Route.merchant,
    rule="ask-the-merchant",
    policy_version="2026-11-a",
    window=WINDOW,
    amount_refundable=650,
    allocation=((enums.Source.card, 650),),
    forfeited=((enums.Source.coupon, 50),),
    eta=ETA,
    refusal=None,
    by_reason=(ReasonOutcome(reasons=(enums.Reason.damaged,), route=None, refusal=enums.Refusal.no_rule),),
    message="The merchant decides.",
    next_steps=(),
)
EXAMPLES: list[type[BaseModel]] = [
    forms.PaymentAnswer,
    forms.CancellationAnswer,
    forms.RefundAnswer,
    forms.EligibilityAnswer,
    forms.RecordAnswer,
    forms.ImportAnswer,
    forms.MetaAnswer,
    forms.ProblemAnswer,
]


def payment_answer(payment: Payment = PAYMENT, **changed: Any) -> Answer:
    told: dict[str, Any] = {
        "texts": {"metadata": {"city": "杭州"}, "item_names": ["tea", "cups"]},
        "cancellations": [CAN],
        "open_cancellation": CAN,
        "available_actions": ["fulfilment"],
        "frozen": False,
        "refundable_until": AT + timedelta(days=15),
        "failure": None,
    }
    return answers.payment_answer(payment, **{**told, **changed})


def cancellation_answer(cancellation: Cancellation = CANCELLATION, **changed: Any) -> Answer:
    told: dict[str, Any] = {
        "texts": {},
        "approval_notes": {},
        "refund": None,
        "message": "We look into it.",
        "available_actions": ["withdraw"],
    }
    return answers.cancellation_answer(cancellation, PAYMENT, **{**told, **changed})


def held_against(model: type[BaseModel], answer: Answer) -> None:
    """The answer has the members of the document, no other, and survives the wire."""
    wire = answers.to_json(answer)
    assert json.loads(wire) == answer
    required = {name for name, member in model.model_json_schema()["properties"].items() if name in model.model_json_schema()["required"]}
    assert required == set(answer)
    model.model_validate_json(wire)


@pytest.mark.parametrize("model", EXAMPLES)
def test_each_example_is_of_its_own_form(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()

    model.model_validate_json(json.dumps(schema["example"]), strict=True)
    assert set(schema["required"]) <= set(schema["example"])


def test_a_payment() -> None:
    answer = payment_answer()

    held_against(forms.PaymentAnswer, answer)
    assert answer["id"] == f"pay_{PAY.hex}"
    assert (answer["amount_refunded"], answer["amount_reserved"], answer["amount_charged_back"], answer["amount_refundable"]) == (
        100,
        200,
        50,
        650,
    )
    assert answer["items"] == [
        {"reference": "a", "name": "tea", "quantity": 2, "amount": 400},
        {"reference": "b c", "name": "cups", "quantity": 1, "amount": 600},
    ]
    assert (answer["authorised_at"], answer["delivered_at"]) == (TEXT_AT, None)
    assert (answer["disputed"], answer["frozen"], answer["failure"]) == (True, False, None)
    assert (answer["open_cancellation"], answer["cancellations"]) == (f"can_{CAN.hex}", [f"can_{CAN.hex}"])
    assert (answer["metadata"], answer["available_actions"]) == ({"city": "杭州"}, ["fulfilment"])


def test_a_payment_whose_texts_were_erased() -> None:
    failed = replace(PAYMENT, state=enums.PaymentState.failed, failure_code=enums.PaymentFailure.network, disputes_open=0)

    told = failure(enums.PaymentFailure.network, None, Language.en)

    answer = payment_answer(failed, texts={}, cancellations=[], open_cancellation=None, frozen=True, failure=told, refundable_until=None)

    held_against(forms.PaymentAnswer, answer)
    items: Any = answer["items"]
    assert [item["name"] for item in items] == [None, None]
    assert (answer["metadata"], answer["carrier"], answer["tracking_number"], answer["refundable_until"]) == ({}, None, None, None)
    assert answer["failure"] == {
        "code": "network",
        "message": "The connection was lost before the payment was made.",
        "next_steps": [{"action": "try_again", "message": "Please try to pay again."}],
        "detail": None,
    }
    assert (answer["open_cancellation"], answer["disputed"], answer["frozen"]) == (None, False, True)


def test_item_names_that_are_fewer_than_the_lines_leave_the_rest_unnamed() -> None:
    items: Any = payment_answer(texts={"item_names": ["tea"]})["items"]

    assert [item["name"] for item in items] == ["tea", None]


def test_a_payment_tells_how_far_its_goods_are_and_until_when_to_ask() -> None:
    answer = payment_answer(texts={"carrier": "sf", "tracking_number": "SF1000"})

    assert (answer["carrier"], answer["tracking_number"], answer["refundable_until"]) == ("sf", "SF1000", "2026-12-07T08:26:00.000000Z")


def test_a_refund() -> None:
    answer = answers.refund_answer(REFUND, [MOVEMENT, replace(MOVEMENT, replaces=None, outcome_source=None, next_attempt_at=None)], ETA)

    held_against(forms.RefundAnswer, answer)
    legs: Any = answer["legs"]
    assert [leg["replaces"] for leg in legs] == [f"leg_{OLD.hex}", None]
    assert "rail_key" not in legs[0]
    assert "provider_reference" not in legs[0]
    assert answer["eta"] == {"earliest": TEXT_AT, "latest": "2026-11-22T08:31:00.000000Z", "basis": "table"}


def test_a_refund_without_an_eta() -> None:
    held_against(forms.RefundAnswer, answers.refund_answer(REFUND, [], None))


def test_a_cancellation() -> None:
    answer = cancellation_answer(approval_notes={("a-2", TEXT_AT): "fine"}, refund=answers.refund_answer(REFUND, [MOVEMENT], ETA))

    held_against(forms.CancellationAnswer, answer)
    assert (answer["route"], answer["requested_by"]) == ("return", {"role": "agent", "id": "a-1"})
    assert answer["decision"] == {
        "rule": "seven-day-return",
        "policy_version": "2026-11-a",
        "window": {"anchor": "completed_at", "opens_at": TEXT_AT, "closes_at": "2026-12-07T08:26:00.000000Z"},
        "facts": {"state": "completed", "amount": 200},
    }
    assert answer["approvals"] == [
        {"by": "a-2", "role": "agent", "at": TEXT_AT, "note": "fine"},
        {"by": "s-1", "role": "supervisor", "at": "2026-11-22T08:31:00.000000Z", "note": None},
    ]
    assert (answer["deadline_at"], answer["on_deadline"], answer["assigned_to"]) == (TEXT_AT, "agent", "a-2")


def test_a_cancellation_tells_what_the_merchant_offered_and_what_came_back() -> None:
    evidence = [{"name": "photo.jpg", "sha256": "ab" * 32}]
    texts = {"merchant_note": "used", "evidence": evidence, "return_tracking_number": "SF1000", "return_note": "a dent"}
    decided = replace(
        CANCELLATION,
        merchant=MerchantAnswer(decision=enums.MerchantDecision.offer, reason_code="used", decided_at=AT, decided_by="shop"),
        offers=2,
        offer_amount=120,
        goods=ReturnedGoods(carrier="sf", shipped_at=AT, received_at=AT, condition=enums.ReturnCondition.damaged),
        raised=True,
    )

    answer = cancellation_answer(decided, texts=texts)

    held_against(forms.CancellationAnswer, answer)
    assert answer["raised"] is True
    assert answer["merchant"] == {
        "decision": "offer",
        "amount": 120,
        "offers": 2,
        "reason_code": "used",
        "note": "used",
        "decided_at": TEXT_AT,
    }
    assert answer["evidence"] == evidence
    assert answer["return"] == {
        "carrier": "sf",
        "tracking_number": "SF1000",
        "shipped_at": TEXT_AT,
        "received_at": TEXT_AT,
        "condition": "damaged",
        "note": "a dent",
    }
    assert answer["fulfilment"] == {"status": "shipped", "shipped_at": TEXT_AT, "delivered_at": None}


def test_what_was_erased_of_an_answer_and_a_return_is_null() -> None:
    decided = replace(
        CANCELLATION,
        merchant=MerchantAnswer(decision=enums.MerchantDecision.decline, reason_code=None, decided_at=AT, decided_by="shop"),
        goods=ReturnedGoods(carrier="sf", shipped_at=AT, received_at=None, condition=None),
    )

    answer: Any = cancellation_answer(decided)

    held_against(forms.CancellationAnswer, answer)
    assert (answer["merchant"]["note"], answer["evidence"], answer["merchant"]["amount"]) == (None, [], None)
    assert (answer["return"]["tracking_number"], answer["return"]["note"], answer["return"]["condition"]) == (None, None, None)


def test_a_cancellation_that_was_denied_says_who_and_why() -> None:
    denied = replace(CANCELLATION, state=enums.CancellationState.declined, declined_by=enums.ActorRole.agent, on_deadline=None)

    answer = cancellation_answer(denied, texts={"denial": {"reason_code": "no_proof", "note": "another shop's receipt"}})

    held_against(forms.CancellationAnswer, answer)
    assert (answer["declined_by"], answer["denial"]) == ("agent", {"reason_code": "no_proof", "note": "another shop's receipt"})


def test_a_cancellation_tells_its_note_and_who_overrode_policy() -> None:
    overridden = replace(CANCELLATION, override_ticket="T-1")

    answer = cancellation_answer(overridden, texts={"note": "please", "justification": "promised on the phone"})

    held_against(forms.CancellationAnswer, answer)
    assert (answer["note"], answer["override"]) == ("please", {"ticket": "T-1", "justification": "promised on the phone"})
    assert cancellation_answer(overridden)["override"] == {"ticket": "T-1", "justification": None}
    assert cancellation_answer()["override"] is None


def test_a_cancellation_tells_what_was_forfeited_by_source() -> None:
    assert cancellation_answer(replace(CANCELLATION, forfeited=(20,)))["forfeited"] == [{"source": "card", "amount": 20}]
    assert cancellation_answer(replace(CANCELLATION, forfeited=(0,)))["forfeited"] == []


def test_a_refused_cancellation() -> None:
    refused = replace(
        CANCELLATION,
        state=enums.CancellationState.refused,
        route=None,
        rule=None,
        window=None,
        refusal=enums.Refusal.no_rule,
        deadline_at=None,
        on_deadline=None,
        approvals=(),
    )

    answer = cancellation_answer(refused)

    held_against(forms.CancellationAnswer, answer)
    assert (answer["route"], answer["refusal"], answer["refund"], answer["deadline_at"]) == (None, "no-rule", None, None)


def test_eligibility() -> None:
    answer = answers.eligibility_answer(VIEW)

    held_against(forms.EligibilityAnswer, answer)
    assert answer["allocation"] == [{"source": "card", "amount": 650}]
    assert answer["forfeited"] == [{"source": "coupon", "amount": 50}]
    assert answer["by_reason"] == [{"reasons": ["damaged"], "route": None, "refusal": "no-rule"}]


def test_eligibility_that_is_refused() -> None:
    step: Advice = {"action": "contact_support", "message": "Talk to us."}
    refused = replace(VIEW, allowed=False, route=None, window=Window(None, None, AT), eta=None, refusal="wallet-frozen", next_steps=[step])

    answer = answers.eligibility_answer(refused)

    held_against(forms.EligibilityAnswer, answer)
    assert answer["window"] == {"anchor": None, "opens_at": None, "closes_at": TEXT_AT}
    assert answer["next_steps"] == [step]


def test_a_page_an_import_and_an_etag() -> None:
    page = answers.page_answer([payment_answer()], "abc")
    imported = answers.import_answer(
        accepted=2, duplicates=1, rejected=1, errors=[(4, "validation-failed", "/amount: Must be at least 1.")]
    )

    TypeAdapter(forms.Page[forms.PaymentAnswer]).validate_json(answers.to_json(page))
    held_against(forms.ImportAnswer, imported)
    assert imported["errors"] == [{"line": 4, "code": "validation-failed", "detail": "/amount: Must be at least 1."}]
    assert answers.etag(3) == '"3"'


def test_json_is_short_and_in_utf_8() -> None:
    assert answers.to_json({"a": ["é", 1, None, True]}) == '{"a":["é",1,null,true]}'.encode()
    with pytest.raises(ValueError, match="Out of range float"):
        answers.to_json({"a": float("nan")})
