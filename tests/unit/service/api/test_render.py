"""Which steps a payment's state allows, whoever asks."""

from service.api.render import payment_actions
from tests import factories as make
from workflows.domain.enums import Fulfilment, PaymentState


def test_a_pending_payment_can_be_settled_failed_changed_and_voided() -> None:
    assert payment_actions(make.pending()) == ("complete", "fail", "modify", "fulfilment", "request_cancellation")


def test_a_settled_payment_can_be_delivered_and_cancelled() -> None:
    snapshot = make.completed()

    assert payment_actions(snapshot) == ("fulfilment", "request_cancellation")
    shipped = make.with_payment(snapshot, fulfilment=Fulfilment.shipped, shipped_at=make.NOW)
    assert payment_actions(shipped) == ("fulfilment", "correct_fulfilment", "request_cancellation")
    returned = make.with_payment(snapshot, fulfilment=Fulfilment.returned, return_received_at=make.NOW)
    assert payment_actions(returned) == ("correct_fulfilment", "request_cancellation")


def test_nothing_is_cancelled_where_nothing_is_left_or_a_dispute_is_open() -> None:
    snapshot = make.completed()

    assert payment_actions(make.with_payment(snapshot, amount_reserved=snapshot.payment.amount)) == ("fulfilment",)
    assert payment_actions(make.with_payment(snapshot, disputes_open=1)) == ("fulfilment",)
    assert payment_actions(make.asked(snapshot)) == ("fulfilment",)


def test_of_a_payment_that_is_over_only_the_delivery_goes_on_where_money_moved() -> None:
    over = (PaymentState.cancelled, PaymentState.failed, PaymentState.refunded)

    found = [payment_actions(make.with_payment(make.completed(), state=state, shipped_at=make.NOW)) for state in over]

    assert found == [(), (), ("fulfilment", "correct_fulfilment")]
