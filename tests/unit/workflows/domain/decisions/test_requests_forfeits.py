"""Promotions that a rule does not give back: settled without any movement, and never refunded later."""

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH, TERMS
from workflows.domain.enums import Source
from workflows.domain.errors import AmountExceedsRefundable
from workflows.domain.model import Funding, Snapshot

FORFEITING = replace(
    TERMS,
    policy=make.policy(rules=[{"name": "forfeiting", "when": {"state": "completed"}, "route": "automatic", "forfeit": ["coupon"]}]),
)


def asked(snapshot: Snapshot, amount: int | None = None) -> Snapshot:
    return make.request(snapshot, make.requested(amount=amount), terms=FORFEITING).after(snapshot)


def sums(snapshot: Snapshot) -> tuple[str, int, int, int, int]:
    payment = snapshot.payment
    return payment.state.value, payment.amount_refunded, payment.amount_reserved, payment.amount_forfeited, payment.amount_refundable


def test_a_coupon_that_is_forfeited_makes_no_leg() -> None:
    snapshot = asked(make.completed(funding=BOTH))

    assert [(leg.source, leg.amount) for leg in snapshot.legs] == [("balance", 200)]
    assert [refund.amount for refund in snapshot.refunds] == [200]
    assert make.newest(snapshot).forfeited == (100, 0)
    assert sums(snapshot) == ("refunding", 0, 200, 100, 0)
    assert sums(make.arrived(snapshot)) == ("refunded", 200, 0, 100, 0)


def test_a_part_forfeits_its_share_only_and_the_parts_make_up_the_whole() -> None:
    snapshot = make.arrived(asked(make.completed(funding=BOTH), 150))
    assert sums(snapshot) == ("completed", 100, 0, 50, 150)

    snapshot = make.arrived(asked(snapshot))

    assert sums(snapshot) == ("refunded", 200, 0, 100, 0)
    assert snapshot.payment.allocated == (100, 200)


def test_what_was_forfeited_is_not_refundable_any_more() -> None:
    snapshot = make.arrived(asked(make.completed(funding=BOTH), 150))

    with pytest.raises(AmountExceedsRefundable) as refused:
        asked(snapshot, 151)
    assert refused.value.amount_refundable == 150


def test_where_all_of_it_is_forfeited_nothing_moves_and_all_is_done() -> None:
    coupon = (Funding(source=Source.coupon, amount=300, provider="sandbox", provider_reference="c"),)
    before = make.completed(funding=coupon)

    change = make.request(before, terms=FORFEITING)

    after = change.after(before)
    assert (make.newest(after).state, after.refunds, after.legs, change.jobs) == ("completed", (), (), ())
    assert sums(after) == ("refunded", 0, 0, 300, 0)
    assert make.types(change)[-1] == "payment.refunded"
    assert {"refund.forfeited", "cancellation.completed"} <= set(make.types(change))


def test_nothing_is_forfeited_of_a_payment_that_is_voided() -> None:
    rule = {"name": "void", "when": {"state": "pending"}, "route": "void", "forfeit": ["coupon"]}
    terms = replace(TERMS, policy=make.policy(rules=[rule]))
    before = make.pending(funding=BOTH)

    snapshot = make.arrived(make.request(before, terms=terms).after(before))

    assert sums(snapshot) == ("cancelled", 0, 0, 0, 300)
    assert make.newest(snapshot).forfeited == ()
