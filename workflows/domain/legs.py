"""Legs: each movement of money at one rail, and what the rail said of it."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.enums import LegKind, LegState, OutcomeSource, RailCall, Recovery, Source

TOLD_BY_PERSON = "told_by_person"  # the failure code of a leg that a person found to have failed
ANSWERS_MAX, FIRST_ANSWERS = 100, 20  # kept of one leg, and how many of them from its beginning


class RailAnswer(Struct, frozen=True, array_like=True):
    """One word of a rail about a leg, for whoever has to find out what became of it."""

    at: datetime
    call: RailCall
    answer: str  # succeeded, declined:<code>, unknown:<why>, …
    by: str | None = None  # whoever read it off the rail's books


def _never(_: str, __: datetime) -> datetime | None:
    return None


class SuccessorRules(Struct, frozen=True):
    """What follows a leg: where the one goes that takes the place of a failed one, and when a confirmed one is asked after."""

    balance_provider: str  # through which the wallet's balance is paid
    reference: Callable[[str, str], str]  # of a provider and the failed leg's reference there: the reference in the new order
    first_recheck: Callable[[str, datetime], datetime | None] = _never  # of a provider, and when it confirmed a refund


class Leg(Struct, frozen=True, kw_only=True):
    """One movement at one rail: part of a refund, or the void of one source. One rail key, for ever."""

    id: UUID
    payment_id: UUID
    cancellation_id: UUID
    refund_id: UUID | None  # None for a void
    kind: LegKind
    source: Source
    position: int  # index into the payment's funding
    provider: str
    provider_reference: str
    amount: int
    currency: str
    state: LegState
    outcome_source: OutcomeSource | None
    provider_refund_id: str | None
    rail_reference: str | None
    attempts: int
    failure_code: str | None
    next_attempt_at: datetime | None
    sent_at: datetime | None = None  # when the last attempt to send it was written down
    first_sent_at: datetime | None = None  # when the first one was
    recovery: Recovery | None = None  # ordered by a person, for when the rail has cancelled what waits for somebody
    answers: tuple[RailAnswer, ...] = ()  # what was heard of it, oldest first; of many the first and the last
    replaces: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def rail_key(self) -> str:
        """64 hex digits: the payment's id, then the leg's. Made of the key, so that it can be neither chosen anew nor changed."""
        return ids.rail_key(self.payment_id, self.id)

    def with_answer(self, at: datetime, call: RailCall, answer: str, by: str | None = None) -> "Leg":
        """The leg with one more answer; of more than `ANSWERS_MAX` the oldest that is not among the first ones goes."""
        answers = (*self.answers, RailAnswer(at, call, answer, by))
        if len(answers) > ANSWERS_MAX:
            answers = answers[:FIRST_ANSWERS] + answers[FIRST_ANSWERS - ANSWERS_MAX :]
        return replace(self, answers=answers)

    def unanswered(self, call: RailCall) -> int:
        """How many times in a row, up to now, such a call brought no answer that settles anything."""
        count = 0
        for one in reversed(self.answers):
            if one.call is not call:
                break
            count += 1
        return count
