"""The steps that a life may take on a cancellation, and which of them are legal where."""

from tests.crash.deciding import (
    ACCEPT,
    ACCEPT_OFFER,
    ACCEPT_WITH_RETURN,
    APPROVE,
    ASSIGN,
    DECLINE,
    DECLINE_OFFER,
    DENY,
    ESCALATE,
    OTHER_AGENT,
    SHIP,
    SUPERVISOR,
    WITHDRAW,
    by,
    received,
)
from workflows.domain.enums import ReturnCondition

STEPS = {
    "accept": ACCEPT,
    "accept_with_return": ACCEPT_WITH_RETURN,
    "offer": DECLINE,  # made anew for each amount
    "decline": DECLINE,
    "accept_offer": ACCEPT_OFFER,
    "decline_offer": DECLINE_OFFER,
    "escalate": ESCALATE,
    "ship": SHIP,
    "received_intact": received(ReturnCondition.intact),
    "received_damaged": received(ReturnCondition.damaged),
    "received_missing": received(ReturnCondition.missing),
    "withdraw": WITHDRAW,
    "assign": ASSIGN,
    "approve": APPROVE,
    "approve by another": by(OTHER_AGENT, APPROVE),
    "approve by a supervisor": by(SUPERVISOR, APPROVE),
    "deny": DENY,
    "deny by a supervisor": by(SUPERVISOR, DENY),
}
# What is legal where, chosen more often than chance would.
REVIEWS = ("approve", "approve by a supervisor", "deny by a supervisor", "assign")
LEGAL = {
    "awaiting_merchant": ("offer", "accept_with_return", "decline", "escalate", "accept"),
    "offered": ("decline_offer", "accept_offer"),
    "awaiting_return": ("ship", "received_damaged", "received_intact", "received_missing"),
    "awaiting_agent": REVIEWS,
    "awaiting_second_approval": REVIEWS,
    "declined": ("escalate",),
}
