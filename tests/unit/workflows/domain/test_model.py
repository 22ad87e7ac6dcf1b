"""What a payment has left, and what is found in a snapshot."""

from uuid import UUID

from msgspec.structs import replace

from tests import factories as make
from workflows.domain.enums import CANCELLATION_OPEN, CancellationState, LegKind, LegState
from workflows.domain.legs import Leg
from workflows.domain.model import PersonalText


def test_what_is_reserved_cannot_be_refunded_again_but_is_left() -> None:
    payment = make.with_payment(
        make.completed(), amount_refunded=50, amount_reserved=40, amount_charged_back=30, amount_forfeited=20
    ).payment

    assert (payment.amount, payment.amount_refundable, payment.amount_left) == (300, 160, 200)


def test_more_than_all_that_came_back_leaves_nothing() -> None:
    """A charge-back beside a refund takes more than the payment was."""
    payment = make.with_payment(make.completed(), amount_refunded=300, amount_charged_back=300).payment

    assert (payment.amount_refundable, payment.amount_left) == (0, 0)


def test_one_cancellation_is_open_whatever_came_back_beside_it() -> None:
    snapshot = make.asked(make.completed())
    (row,) = snapshot.cancellations

    def is_open(state: CancellationState, *, reopened: bool = False) -> bool:
        return make.with_cancellation(snapshot, row, state=state, reopened=reopened).open_cancellation is not None

    assert {state for state in CancellationState if is_open(state)} == CANCELLATION_OPEN
    assert not any(is_open(state, reopened=True) for state in CancellationState)
    other = replace(row, id=make.new_id())
    both = replace(snapshot, cancellations=(replace(row, reopened=True), other))
    assert both.open_cancellation == other
    assert both.cancellation(row.id) == replace(row, reopened=True)
    assert both.cancellation(make.new_id()) is None


def test_the_newest_text_of_a_name_counts() -> None:
    snapshot = make.completed()
    subject, other = make.new_id(), make.new_id()
    old, new = make.new_id(), make.new_id()

    def text(id_: UUID, subject_id: UUID, value: str) -> PersonalText:
        return PersonalText(id=id_, payment_id=snapshot.payment.id, subject_id=subject_id, name="note", value=value, salt=b"")

    texts = (text(new, subject, "new"), text(old, subject, "old"), text(make.new_id(), other, "another's"))
    found = replace(snapshot, texts=texts)

    assert (found.text(subject, "note"), found.text(other, "note"), found.text(subject, "tracking_number")) == ("new", "another's", None)


def test_legs_are_found_by_their_cancellation_and_kind() -> None:
    snapshot = make.asked(make.completed(funding=make.BOTH))
    (row,) = snapshot.cancellations
    void = replace(snapshot.legs[0], id=make.new_id(), kind=LegKind.void)
    stranger = replace(snapshot.legs[0], id=make.new_id(), cancellation_id=make.new_id())
    more = replace(snapshot, legs=(*snapshot.legs, void, stranger))

    assert more.legs_of(row.id, LegKind.refund) == snapshot.legs
    assert more.legs_of(row.id, LegKind.void) == (void,)
    assert more.leg(stranger.id) == stranger
    assert more.leg(make.new_id()) is None


def test_a_leg_that_was_replaced_no_longer_counts() -> None:
    snapshot = make.asked(make.completed())
    old = replace(snapshot.legs[0], state=LegState.failed)
    successor = replace(old, id=make.new_id(), replaces=old.id)

    def current(*legs: Leg) -> list[Leg]:
        return list(replace(snapshot, legs=legs).current_legs(old.cancellation_id, LegKind.refund))

    for state in LegState:
        assert current(old, replace(successor, state=state)) == current(replace(successor, state=state), old)
        assert current(old, replace(successor, state=state)) == [replace(successor, state=state)]
    adopted = replace(old, state=LegState.succeeded)
    assert current(adopted, successor) == [adopted], "what arrived counts, whatever was to follow it"
