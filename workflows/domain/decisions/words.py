"""A word about a leg: what was said, and how it was heard."""

from datetime import datetime

from msgspec import Struct

from workflows.domain.enums import OutcomeSource, RailCall
from workflows.domain.legs import Leg
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Outcome, Pending, ProviderUnavailable, Returned, Settled, Unknown


class Word(Struct, frozen=True, kw_only=True):
    """What was heard of a leg, and how."""

    outcome: Outcome
    call: RailCall
    by: str | None = None  # whoever read it off the rail's books
    note: str | None = None  # what that person says of it
    next_attempt_at: datetime | None = None  # when the leg is looked after again, where it is not at its end

    @property
    def source(self) -> OutcomeSource:
        return _SOURCE[self.call]


def heard(leg: Leg, word: Word, now: datetime) -> Leg:
    """The leg with this answer among those that were heard of it."""
    return leg.with_answer(now, word.call, answer_text(word.outcome), word.by)


def answer_text(outcome: Outcome) -> str:
    """A rail's answer in a word, with its own code where it gave one, as whoever looks for the money needs it."""
    name = _NAMES[type(outcome)]
    match outcome:
        case Declined(failure_code=code) | Returned(failure_code=code) if code is not None:
            return f"{name}:{code}"
        case Unknown(why=why):
            return f"{name}:{why}"
        case _:
            return name


_NAMES: dict[type[Outcome], str] = {
    Done: "succeeded",
    Pending: "pending",
    Declined: "declined",
    Unknown: "unknown",
    ProviderUnavailable: "unavailable",
    NeedsAction: "requires_action",
    Settled: "settled",
    Absent: "absent",
    Returned: "returned",
}
_SOURCE = {
    RailCall.send: OutcomeSource.reply,
    RailCall.ask: OutcomeSource.query,
    RailCall.cancel: OutcomeSource.reply,
    RailCall.notification: OutcomeSource.notification,
    RailCall.person: OutcomeSource.person,
}
