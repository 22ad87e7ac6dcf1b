"""The tour's chapters in which several persons decide, and goods come back before money goes."""

from datetime import timedelta

from service.terminal.demo.tour import Tour
from workflows.domain.enums import Role

ABOVE = 600_000  # minor units: more than the default policy lets one person of ours approve
_AGE = timedelta(days=3)


def three_persons(tour: Tour) -> None:
    tour.chapter("A hotline call about a large amount: three persons, three tokens")
    payment = tour.payment(age=_AGE, amount=ABOVE)
    tour.say("The first agent asks for the customer, who did not make this payment.")
    wish = {"reason": "unauthorised", "channel": "hotline"}
    asked = tour.call("POST", f"/v1/payments/{payment['id']}/cancellations", wish, role=Role.agent)
    tour.tell(asked)
    tour.say(
        f"Tier {asked['tier']}: the first answer is due by {asked['first_response_due_at']}, the decision by {asked['resolution_due_at']}."
    )
    tour.say("A second agent approves.")
    approved = tour.step(asked, "approve", {"note": "The card was reported stolen."}, role=Role.agent, sub="demo-second-agent")
    tour.say("A supervisor approves, too.")
    tour.follow(tour.step(approved, "approve", {"note": "Agreed."}, role=Role.supervisor))


def goods_first(tour: Tour) -> None:
    tour.chapter("The goods come back, then the money")
    asked = tour.requested(tour.payment(age=_AGE))
    tour.tell(asked)
    tour.say("The merchant: decision accept_with_return")
    awaited = tour.step(asked, "merchant-decision", {"decision": "accept_with_return"}, role=Role.merchant)
    tour.say("The customer sends the goods.")
    shipped = tour.step(awaited, "return", {"carrier": "sf-express", "tracking_number": "SF1000000000"})
    tour.say("The merchant: received intact")
    tour.follow(tour.step(shipped, "return-received", {"condition": "intact"}, role=Role.merchant))
