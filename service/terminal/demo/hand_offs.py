"""The tour's chapters in which the merchant is asked: he accepts, offers less, declines."""

from datetime import timedelta

from service.api.i18n import Language, amount_text
from service.terminal.demo.tour import AMOUNT, Json, Tour
from workflows.domain.enums import Role

OFFER = 3000
_AGE = timedelta(days=3)


def accepted(tour: Tour) -> None:
    tour.chapter("Three days later: the merchant is asked, and accepts")
    asked = _asked(tour)
    tour.say("The merchant: decision accept")
    tour.follow(tour.step(asked, "merchant-decision", {"decision": "accept"}, role=Role.merchant))


def less_offered(tour: Tour) -> None:
    tour.chapter("The merchant offers less, and the customer accepts")
    asked = _asked(tour)
    tour.say(f"The merchant: decision offer, {_text(OFFER)} of {_text(AMOUNT)}")
    offered = tour.step(asked, "merchant-decision", {"decision": "offer", "amount": OFFER, "reason_code": "used"}, role=Role.merchant)
    tour.tell_in_chinese(offered)
    tour.say("The customer: accept")
    tour.follow(tour.step(offered, "offer-response", {"accept": True}))
    payment = tour.call("GET", f"/v1/payments/{asked['payment_id']}")
    tour.say(f"Of the payment {_text(payment['amount_refunded'])} is refunded, and {_text(payment['amount_refundable'])} refundable again.")


def declined_and_escalated(tour: Tour) -> None:
    tour.chapter("The merchant declines, the customer turns to an agent, who approves")
    asked = _asked(tour)
    tour.say("The merchant: decision decline")
    declined = tour.step(asked, "merchant-decision", {"decision": "decline", "reason_code": "worn"}, role=Role.merchant)
    tour.say("The customer: escalate")
    escalated = tour.step(declined, "escalate")
    tour.say("The agent: approve")
    tour.follow(tour.step(escalated, "approve", {"note": "The photos show a new article."}, role=Role.agent))


def withdrawn(tour: Tour) -> None:
    tour.chapter("The customer thinks again")
    asked = _asked(tour)
    tour.say("The customer: withdraw")
    tour.step(asked, "withdraw")


def _asked(tour: Tour) -> Json:
    asked = tour.requested(tour.payment(age=_AGE))
    tour.tell(asked)
    return asked


def _text(amount: int) -> str:
    return amount_text(amount, "CNY", Language.en)
