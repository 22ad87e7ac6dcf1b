"""What records tell, folded, is what the decisions wrote; of old or damaged records nothing is believed that they do not say."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, MERCHANT, NOW, SUPERVISOR
from tests.unit.workflows.domain import replaying
from workflows.domain.changes import Change
from workflows.domain.decisions import fulfilment, handoffs, payments, requests, reviews
from workflows.domain.decisions.fulfilment import FulfilmentTold
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.enums import Fulfilment, MerchantDecision
from workflows.domain.model import Snapshot
from workflows.domain.records import Record
from workflows.domain.replay.comparison import differences, plain
from workflows.domain.replay.story import Story


class History:
    """A payment with all its records."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.records: list[Record] = list(make.REGISTRATIONS[snapshot.payment.head])

    def then(self, change: Change | None) -> None:
        assert change is not None
        self.records += change.records
        self.snapshot = change.after(self.snapshot)
        assert replaying.found(self.snapshot, self.records) == []


def offered() -> History:
    history = History(make.completed(merchant_id="merchant", items=make.LINES, amount=300))
    told = FulfilmentTold(status=Fulfilment.shipped, at=NOW - make.MINUTE, carrier="sf", tracking_number="1")
    history.then(fulfilment.change_fulfilment(history.snapshot, told, make.context(NOW, MERCHANT)))
    wish = make.requested(note="why")
    history.then(requests.request(history.snapshot, wish, make.TERMS, make.context()))
    answer = MerchantResponse(decision=MerchantDecision.offer, amount=100, reason_code="used", note="used")
    (row,) = history.snapshot.cancellations
    history.then(handoffs.decide(history.snapshot, row, answer, make.TERMS, make.context(NOW, MERCHANT)))
    return history


def test_an_offer_that_is_taken() -> None:
    history = offered()
    (row,) = history.snapshot.cancellations
    history.then(handoffs.respond(history.snapshot, row, accept=True, terms=make.TERMS, context=make.context()))

    told = replaying.told(history.snapshot.payment, history.records).told
    (facts,) = told.cancellations.values()
    assert (facts["amount"], facts["partial"], facts["state"], facts["merchant"]["taken_by"]) == (100, True, "executing", "wallet-backend")
    assert (told.payment["partial_refunds"], told.sums()["amount_reserved"]) == (1, 100)
    assert told.payment["merchant_told_at"]


def test_two_persons_and_a_lowered_payment() -> None:
    history = History(make.completed(merchant_id="agent", amount=20_000))
    history.then(requests.request(history.snapshot, make.requested(), make.TERMS, make.context()))
    for actor in (AGENT, SUPERVISOR):
        (row,) = history.snapshot.cancellations
        history.then(reviews.assign(history.snapshot, row, to=None, context=make.context(NOW, actor)))
        (row,) = history.snapshot.cancellations
        history.then(reviews.approve(history.snapshot, row, note="n", terms=make.TERMS, context=make.context(NOW, actor)))
    lowered = History(make.pending())
    lowered.then(
        payments.modify(
            lowered.snapshot, amount=200, reason="less", funding=None, items=None, item_names=None, context=make.context(make.SOON)
        )
    )

    (facts,) = replaying.told(history.snapshot.payment, history.records).told.cancellations.values()
    assert [one["by"] for one in facts["approvals"]] == ["agent-1", "supervisor-1"]


def test_old_records_without_the_newer_members_are_no_findings() -> None:
    history = offered()
    story = Story(payment_id=history.snapshot.payment.id)
    for record in history.records:
        body = json.loads(record.body)
        for name in ("cancellation", "position", "recovery", "shipped_at", "delivered_at", "earned", "merchant_told_at"):
            if name in body["data"] and not (
                name.endswith("_at") and body["type"] == "payment.fulfilment_changed" and name != "merchant_told_at"
            ):
                del body["data"][name]
        for source in body["data"].get("funding", ()):
            source.pop("funder", None)
        story.see(record.sequence, body)

    assert list(differences(story, replaying.rows_of(history.snapshot))) == []


def test_each_field_that_is_otherwise_is_named() -> None:
    history = offered()
    (row,) = history.snapshot.cancellations
    told = replaying.told(history.snapshot.payment, history.records)
    changed: dict[str, Any] = {
        "offer_amount": 99,
        "deadline_at": NOW + timedelta(days=900),
        "assigned_to": "mallory",
        "merchant": None,
        "client_reference": "another",
    }
    for name, value in changed.items():
        rows = replaying.rows_of(replace(history.snapshot, cancellations=(replace(row, **{name: value}),)))
        found = [each.what for each in differences(told, rows)]
        assert len(found) == 1, name
        assert f" field={name} " in found[0]


def test_a_record_that_nobody_can_read_is_a_finding_and_stops_nothing() -> None:
    history = offered()
    story = Story(payment_id=history.snapshot.payment.id)
    for record in history.records:
        story.see(record.sequence, json.loads(record.body))
    unreadable: list[dict[str, Any]] = [{}, {"type": 1}, {"type": "refund.scheduled", "data": [], "occurred_at": None}]
    for number, body in enumerate(unreadable, start=90):
        story.see(number, body)

    found = [each.what for each in differences(story, replaying.rows_of(history.snapshot))]
    assert sum("unreadable=" in what for what in found) == 3


def test_a_row_without_records_and_records_without_a_row() -> None:
    history = offered()
    story = replaying.told(history.snapshot.payment, history.records)
    (row,) = history.snapshot.cancellations
    other = replace(row, id=UUID(int=77))

    found = [each.what for each in differences(story, replaying.rows_of(replace(history.snapshot, cancellations=(other,))))]

    assert sorted(what.rpartition(" ")[2] for what in found if " can_" in what) == ["records=none", "row=none"]


def test_moments_are_compared_as_moments() -> None:
    assert plain("2026-11-22T09:00:00.000000Z") == plain("2026-11-22T17:00:00+08:00")
    assert plain({"a": None, "b": ["x"]}) == {"b": ["x"]}
