"""What whoever has to look for stuck money needs to see of it."""

from pydantic import Field

from service.api.models.base import LegId, Money, Out, Time
from workflows.domain.enums import LegKind, LegState, RailCall, Recovery, Source


class RailAnswerOut(Out):
    """One word of the rail."""

    at: Time = Field(description="When it was heard.")
    call: RailCall = Field(description="What it was the answer to; `notification` where the rail told it unasked.")
    answer: str = Field(
        description="What it said, with its own code where it gave one; `unknown:…` where no readable answer came.",
        examples=["unknown:timeout"],
    )
    by: str | None = Field(description="Who read it in the rail's own books: a pseudonym.")


class AttentionOut(Out):
    """A part of a refund or a void that has not arrived."""

    leg_id: LegId
    kind: LegKind = Field(description="Part of a refund, or of a void.")
    source: Source
    amount: Money
    state: LegState
    failure_code: str | None = Field(description="Why the rail refused it, or why it was never sent.")
    provider: str = Field(description="The rail.", examples=["sandbox"])
    rail_key: str = Field(description="The idempotency key under which it was sent, at every attempt.")
    provider_reference: str = Field(description="The rail's name for the payment.")
    provider_refund_id: str | None = Field(description="The rail's name for the movement, where it has told one.")
    attempts: int = Field(description="How often it was sent.")
    first_sent_at: Time | None = Field(description="When it was first sent; null where it never was.")
    last_sent_at: Time | None = Field(description="When it was last sent.")
    next_attempt_at: Time | None = Field(description="When the rail is asked next; null at its end.")
    ordered: Recovery | None = Field(description="What follows once the rail has cancelled it.")
    replaces: LegId | None = Field(description="The leg that this one takes the place of.")
    answers: list[RailAnswerOut] = Field(description="What the rail has said, oldest first: the first 20 and the last 80 answers at most.")
    advice: str = Field(description="What to look for in the rail's own dashboard, and what can be done.")
